"""Answers to prompts: one, a file of them, a conversation; what stops it."""

import contextlib
import io
import json
import math
import pathlib
from unittest import mock

import numpy as np
import tiny
from absl.testing import absltest

from flan_tf.eval import answering

TINY = tiny.Tiny()


def setUpModule():
  global MODEL
  TINY.open()
  from flan_tf.eval.model import Model

  TINY.workdir = TINY.folder / "trained"
  TINY.train(TINY.run(train__steps=2), TINY.workdir)
  MODEL = Model.load(str(TINY.workdir), batch=4)


tearDownModule = TINY.close


class AnswerTest(absltest.TestCase):
  def test_answers_are_the_models_continuations(self):
    prompts = ["Is it so?", "A film that I liked.\n\nIs this praise?", ""]
    found = answering.answer(MODEL, prompts, max_new=5)
    self.assertEqual([answer.prompt for answer in found], prompts)
    eos = np.array([MODEL.vocabulary.eos_id], np.int32)
    asked = [
      np.concatenate([ids, eos]) for ids in MODEL.vocabulary.encode(prompts)
    ]
    for answer, ids in zip(found, MODEL.generate(asked, 5), strict=True):
      self.assertEqual(answer.text, MODEL.vocabulary.decode(ids))
      self.assertEqual(answer.ended, len(ids) < 5)
      self.assertEqual(answer.tokens, len(ids) + answer.ended)
      self.assertLess(answer.log_prob, 0)
      self.assertFalse(answer.trimmed)

  def test_no_other_token_is_more_likely_than_the_first(self):
    from flan_tf.eval.model import Example

    (answer,) = answering.answer(MODEL, ["Is it so?"], max_new=1)
    (prompt,) = MODEL.vocabulary.encode(["Is it so?"])
    prompt = np.append(prompt, MODEL.vocabulary.eos_id)
    every = [
      Example(np.int32([*prompt, token]), 1)
      for token in range(MODEL.vocabulary.size)
    ]
    best = MODEL.score(every).max()
    self.assertTrue(math.isclose(answer.log_prob, best, rel_tol=1e-4))

  def test_a_long_prompt_is_cut_and_told(self):
    (answer,) = answering.answer(MODEL, ["a b c d " * 200], max_new=2)
    self.assertTrue(answer.trimmed)


class FileTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.source = str(self.folder / "in.jsonl")
    self.target = str(self.folder / "out.jsonl")
    self.calls = []

  def write(self, *lines) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    pathlib.Path(self.source).write_text(text)

  def run_file(self, stop_after: int = 99) -> tuple[int, int]:
    def answer_batch(prompts):
      if len(self.calls) == stop_after:
        raise KeyboardInterrupt
      self.calls.append(prompts)
      return [
        answering.Answer(p, p.upper(), -1.5, 2, True, False) for p in prompts
      ]

    return answering.answer_file(answer_batch, self.source, self.target, 2)

  def read(self) -> list[dict]:
    return list(
      map(json.loads, pathlib.Path(self.target).read_text().splitlines())
    )

  def test_lines_keep_what_they_had(self):
    self.write({"prompt": "a", "id": 7}, {"prompt": "b"}, {"prompt": "c"})
    self.assertEqual(self.run_file(), (3, 0))
    self.assertEqual(
      self.read()[0],
      {
        "prompt": "a",
        "id": 7,
        "answer": "A",
        "log_prob": -1.5,
        "tokens": 2,
        "ended": True,
        "trimmed": False,
      },
    )
    self.assertEqual(self.calls, [["a", "b"], ["c"]])

  def test_goes_on_where_it_was_stopped(self):
    self.write(*({"prompt": text} for text in "abcde"))
    with self.assertRaises(KeyboardInterrupt):
      self.run_file(stop_after=1)
    with open(self.target, "a") as file:
      file.write('{"prompt": "c", "ans')  # Killed in the middle of a line.
    self.assertEqual(self.run_file(), (3, 2))
    self.assertEqual([line["answer"] for line in self.read()], list("ABCDE"))
    self.assertEqual(self.calls, [["a", "b"], ["c", "d"], ["e"]])

  def test_errors(self):
    with self.assertRaisesRegex(FileNotFoundError, "no file .*in.jsonl"):
      self.run_file()
    self.write({"prompt": "a"}, {"text": "b"})
    with self.assertRaisesRegex(ValueError, 'line 2: expected .* "prompt"'):
      self.run_file()
    self.write({"prompt": "a"})
    self.run_file()
    self.write({"prompt": "other"})
    with self.assertRaisesRegex(ValueError, "line 1 answers another prompt"):
      self.run_file()


class BinaryTest(absltest.TestCase):
  def test_as_a_shell_starts_it(self):
    command = ("-m", "launch.generate", f"--checkpoint={TINY.workdir}")
    process = tiny.start(*command, "--prompt=Is it so?", "--max_new=3")
    out, err = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 0, err)
    (answer,) = answering.answer(MODEL, ["Is it so?"], max_new=3)
    self.assertEqual(out.rstrip("\n"), answer.text.rstrip("\n"))

  def test_a_conversation(self):
    from launch import generate

    def echo(prompts):
      return [
        answering.Answer(text, repr(text), 0, 1, text == "one", False)
        for text in prompts
      ]

    out = io.StringIO()
    with mock.patch("sys.stdin", io.StringIO("one\n\na\\nb\n")):
      with contextlib.redirect_stdout(out):
        generate._converse(echo)
    self.assertEqual(out.getvalue(), "'one'\n'a\\nb' ...\n")


if __name__ == "__main__":
  absltest.main()
