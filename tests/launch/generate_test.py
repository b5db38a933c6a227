"""Answers to single prompts, files of prompts and conversations."""

import contextlib
import dataclasses
import io
import json
import math
import pathlib
from unittest import mock

import numpy as np
from absl.testing import absltest

from flan_tf import config, progress_bars, sampling
from flan_tf.inference import (
  answer_file,
  conversation,
  progress,
  prompt_answers,
)
from tests.helpers import tiny

TINY = tiny.Tiny()


def setUpModule():
  global MODEL
  TINY.open()
  from flan_tf.inference.language_model import LanguageModel

  TINY.workdir = TINY.folder / "trained"
  TINY.train(TINY.run(train__steps=2), TINY.workdir)
  MODEL = LanguageModel.load(str(TINY.workdir), batch=4)


tearDownModule = TINY.close


class AnswerTest(absltest.TestCase):
  def test_answers_are_the_models_continuations(self):
    prompts = ["Is it so?", "A film that I liked.\n\nIs this praise?", ""]
    found = prompt_answers.answer_prompts(MODEL, prompts, max_new=5)
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
    from flan_tf.inference.language_model import ScoredExample

    (answer,) = prompt_answers.answer_prompts(MODEL, ["Is it so?"], max_new=1)
    (prompt,) = MODEL.vocabulary.encode(["Is it so?"])
    prompt = np.append(prompt, MODEL.vocabulary.eos_id)
    every = [
      ScoredExample(np.int32([*prompt, token]), 1)
      for token in range(MODEL.vocabulary.size)
    ]
    best = MODEL.score(every).max()
    self.assertTrue(math.isclose(answer.log_prob, best, rel_tol=1e-4))

  def test_a_long_prompt_is_cut_and_told(self):
    (answer,) = prompt_answers.answer_prompts(
      MODEL, ["a b c d " * 200], max_new=2
    )
    self.assertTrue(answer.trimmed)


class LabelTest(absltest.TestCase):
  def test_scores_are_those_of_an_evaluation(self):
    import tasks
    from flan_tf.data import opened_tasks, requests
    from flan_tf.inference import predictions
    from flan_tf.task import registry

    task = registry.TaskRegistry(tasks.ALL).get("rte")
    (item,), _ = opened_tasks.open_tasks([task], TINY.data_dir)
    rows = requests.read_evaluation_rows(task, item.dataset, item.ranges.dev, 6)
    asked = requests.render_requests(task, rows.rows, template=2)
    expected = predictions.predict(MODEL, task, asked, MODEL.prompt_format)
    prompts = [request.prompt for request in asked]
    options = [request.example.options for request in asked]
    found = prompt_answers.answer_prompts(MODEL, prompts, options=options)
    for answer, prediction in zip(found, expected, strict=True):
      self.assertEqual(answer.text, prediction.answer)
      self.assertEqual(
        tuple(answer.option_log_probs), prediction.example.options
      )
      np.testing.assert_allclose(
        tuple(answer.option_log_probs.values()), prediction.log_probs, rtol=1e-5
      )
      self.assertEqual(answer.log_prob, answer.option_log_probs[answer.text])
      self.assertEqual(answer.log_prob, max(answer.option_log_probs.values()))

  def test_some_prompts_have_options_and_others_not(self):
    prompts = ["Is it so?", "What is it?", "Is it?"]
    options = [("yes", "no", "it is not possible to tell"), (), ("yes", "no")]
    mixed = prompt_answers.answer_prompts(MODEL, prompts, 3, options=options)
    for number, found in enumerate(mixed):
      (alone,) = prompt_answers.answer_prompts(
        MODEL, [prompts[number]], 3, options=[options[number]]
      )
      self.assertEqual(found.text, alone.text)
      self.assertEqual(list(found.option_log_probs), list(options[number]))
      self.assertAlmostEqual(found.log_prob, alone.log_prob, places=4)
      self.assertEqual(found.tokens, alone.tokens)
    (free,) = prompt_answers.answer_prompts(MODEL, ["What is it?"], 3)
    self.assertEqual(mixed[1].text, free.text)

  def test_an_options_score_is_that_of_its_text(self):
    from flan_tf.inference.language_model import ScoredExample

    (answer,) = prompt_answers.answer_prompts(
      MODEL, ["Is it so?"], options=[("yes", "no")]
    )
    eos = MODEL.vocabulary.eos_id
    prompt, *texts = MODEL.vocabulary.encode(["Is it so?", "yes", "no"])
    for text, ids in zip(("yes", "no"), texts, strict=True):
      example = ScoredExample(np.int32([*prompt, eos, *ids, eos]), len(ids) + 1)
      (score,) = MODEL.score([example])
      self.assertAlmostEqual(answer.option_log_probs[text], score, places=4)
      if text == answer.text:
        self.assertEqual(answer.tokens, len(ids) + 1)

  def test_probability_is_the_softmax_of_the_scores(self):
    scores = {"yes": -1.0, "no": -1.0 - math.log(3), "maybe": -1000.0}
    answer = prompt_answers.PromptAnswer(
      "?", "yes", -1.0, 2, True, False, scores
    )
    self.assertAlmostEqual(answer.probability, 0.75)
    line = answer.to_json()
    self.assertEqual(line["scores"], scores)
    self.assertAlmostEqual(line["probability"], 0.75)


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

  def run_file(self, stop_after: int = 99, by: str = "") -> tuple[int, int]:
    def answer_batch(prompts, options, first):
      del first
      if len(self.calls) == stop_after:
        raise KeyboardInterrupt
      self.calls.append(prompts)
      return [
        prompt_answers.PromptAnswer(
          prompt=prompt,
          text=texts[0] if texts else prompt.upper(),
          log_prob=-1.5,
          tokens=2,
          ended=True,
          trimmed=False,
          option_log_probs={text: -1.5 - i for i, text in enumerate(texts)},
        )
        for prompt, texts in zip(prompts, options, strict=True)
      ]

    return answer_file.answer_file(
      answer_batch, self.source, self.target, 2, by
    )

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

  def test_lines_with_options_gain_scores(self):
    self.write(
      {"prompt": "a", "options": ["yes", "no"]},
      {"prompt": "b", "options": []},
      {"prompt": "c"},
    )
    self.assertEqual(self.run_file(), (3, 0))
    first, *others = self.read()
    self.assertEqual(first["answer"], "yes")
    self.assertEqual(first["scores"], {"yes": -1.5, "no": -2.5})
    self.assertAlmostEqual(first["probability"], 1 / (1 + math.exp(-1)))
    for line, answer in zip(others, "BC", strict=True):
      self.assertEqual(line["answer"], answer)
      self.assertNotIn("scores", line)
      self.assertNotIn("probability", line)

  def test_prompts_to_rank_share_rows(self):
    options = {"options": ["yes", "no"]}
    ranked = [{"prompt": "a" * 3_000, **options} for _ in range(5)]
    free = [{"prompt": text} for text in "bcd"]
    self.write(*ranked, *free)
    self.assertEqual(self.run_file(), (8, 0))
    # Three prompts fill two rows of 4,096 characters; then two prompts to
    # continue fill a batch.
    self.assertEqual([len(prompts) for prompts in self.calls], [3, 4, 1])
    self.assertEqual([line["prompt"][0] for line in self.read()], [*"aaaaabcd"])

  def test_options_that_cannot_be_ranked(self):
    for options in (
      "yes",
      ["yes"],
      ["yes", 1],
      ["a", "a"],
      ["a", ""],
      {"a": 1},
    ):
      self.write({"prompt": "a"}, {"prompt": "b", "options": options})
      with self.assertRaisesRegex(
        ValueError, 'line 2: expected "options" to be two or more different'
      ):
        self.run_file()
    self.assertEmpty(self.calls)

  def test_a_bar_on_a_terminal(self):
    self.write(*({"prompt": text} for text in "abc"))
    shown = io.StringIO()
    with (
      mock.patch.object(progress_bars, "_enabled", True),
      mock.patch.object(shown, "isatty", lambda: True),
      contextlib.redirect_stdout(shown),
    ):
      self.run_file()
    self.assertRegex(shown.getvalue(), r"3/3.*prompts/s")

  def test_a_line_in_the_log_elsewhere(self):
    self.write(*({"prompt": text} for text in "abc"))
    with mock.patch.object(progress, "_LOG_EVERY", 0):
      with self.assertLogs("flan_tf.inference.answer_file", "INFO") as log:
        self.run_file()
    self.assertRegex(
      log.output[-1], "out.jsonl: 3 of 3 prompts answered, [0-9]"
    )

  def test_goes_on_where_it_was_stopped(self):
    self.write(*({"prompt": text} for text in "abcde"))
    with self.assertRaises(KeyboardInterrupt):
      self.run_file(stop_after=1)
    with open(self.target, "a") as file:
      file.write('{"prompt": "c", "ans')  # Stopped in the middle of a line.
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
    for other in ({"prompt": "other"}, {"prompt": "a", "options": ["b", "c"]}):
      self.write(other)
      with self.assertRaisesRegex(ValueError, "line 1 answers another prompt"):
        self.run_file()

  def test_a_question_that_was_cut_short_is_told(self):
    with open(self.source, "w") as file:
      file.write('{"prompt": "a"}\n{"prompt": "b"')
    with self.assertRaisesRegex(ValueError, "in.jsonl, line 2: "):
      self.run_file()

  def test_another_model_does_not_go_on(self):
    self.write({"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"})
    with self.assertRaises(KeyboardInterrupt):
      self.run_file(stop_after=1, by="one")
    self.assertEqual({line["by"] for line in self.read()}, {"one"})
    with self.assertRaisesRegex(
      ValueError, "line 1 was answered by 'one', not by 'two'. Choose another"
    ):
      self.run_file(by="two")
    self.assertEqual(self.run_file(by="one"), (1, 2))


class BinaryTest(absltest.TestCase):
  def test_as_a_shell_starts_it(self):
    command = ("-m", "launch.generate", f"--checkpoint={TINY.workdir}")
    process = tiny.start(*command, "--prompt=Is it so?", "--max_new=3")
    out, err = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 0, err)
    (answer,) = prompt_answers.answer_prompts(MODEL, ["Is it so?"], max_new=3)
    self.assertEqual(out.rstrip("\n"), answer.text.rstrip("\n"))

  def test_options_and_their_probabilities(self):
    command = ("-m", "launch.generate", f"--checkpoint={TINY.workdir}")
    process = tiny.start(*command, "--prompt=Is it so?", "--score=yes|no")
    out, err = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 0, err)
    (answer,) = prompt_answers.answer_prompts(
      MODEL, ["Is it so?"], options=[("yes", "no")]
    )
    lines = out.splitlines()
    self.assertRegex(lines[0], "option +log p +among these")
    self.assertStartsWith(lines[1], answer.text)
    self.assertIn(f"{100 * answer.probability:.1f} %", lines[1])
    self.assertLen(lines, 3)

  def test_a_table_of_options(self):
    from launch import generate

    self.assertEqual(
      generate.score_table({"no": -1 - math.log(3), "yes\nyes": -1.0}),
      "option     log p  among these\n"
      "yes\\nyes  -1.000       75.0 %\n"
      "no        -2.099       25.0 %",
    )

  def test_options_that_cannot_be_shown(self):
    from launch import generate

    self.assertEqual(generate.parse_options("a|b\\n"), ("a", "b\n"))
    self.assertEqual(generate.parse_options(""), ())
    for text in ("yes", "yes|yes", "yes|", "|"):
      with self.assertRaisesRegex(ValueError, "two or more different texts"):
        generate.parse_options(text)

  def test_an_answer_that_was_cut_says_so(self):
    from launch import generate

    def answer(prompt, write):
      write(prompt)
      return conversation.Reply(prompt, prompt == "one", False)

    talk, out = mock.Mock(answer=answer), io.StringIO()
    with contextlib.redirect_stdout(out):
      generate._print_answer(talk, "one")
      generate._print_answer(talk, "two")
    self.assertEqual(out.getvalue(), "one\ntwo ...\n")


class ConversationTest(absltest.TestCase):
  def test_what_is_written_is_the_answer(self):
    (expected,) = prompt_answers.answer_prompts(MODEL, ["Is it so?"], max_new=9)
    parts = []
    talk = conversation.Conversation(MODEL, max_new=9)
    said = talk.answer("Is it so?", parts.append)
    self.assertEqual("".join(parts), said.text)
    self.assertEqual(said.text, expected.text)
    self.assertEqual(said.ended, expected.ended)

  def test_without_a_chat_each_prompt_is_alone(self):
    talk = conversation.Conversation(MODEL, max_new=3)
    first = talk.answer("Is it so?")
    self.assertEqual(talk.answer("Is it so?"), first)
    self.assertFalse(talk.has_memory)

  def test_a_stop_string_ends_an_answer(self):
    how = {"max_new": 9, "sampling": sampling.Sampling(2.0, seed=1)}
    (whole,) = prompt_answers.answer_prompts(MODEL, ["Is it so?"], **how)
    stop = whole.text[len(whole.text) // 2]
    (cut,) = prompt_answers.answer_prompts(
      MODEL, ["Is it so?"], **how, stops=[stop]
    )
    self.assertEqual(cut.text, whole.text.partition(stop)[0])
    self.assertTrue(cut.ended)
    self.assertLessEqual(cut.tokens, whole.tokens)

  def test_turns_before_are_kept_until_there_is_no_room(self):
    run = config.replace(MODEL.run, "data", separator="chat")
    chat = config.ChatConfig("Be short.|Q:", "|A:", "|")
    run = dataclasses.replace(run, chat=chat)
    asked = []

    def continued(prompts, max_new, ends, **how):
      asked.append(MODEL.vocabulary.decode(prompts[0]).replace(" ", ""))
      return [MODEL.vocabulary.encode(["so"])[0]]

    with (
      mock.patch.object(MODEL, "run", run),
      mock.patch.object(MODEL, "continuations", continued),
    ):
      talk = conversation.Conversation(MODEL, max_new=3)
      talk.answer("one")
      talk.answer("two")
      talk.forget()
      talk.answer("three")
      for _ in range(40):
        talk.answer("many words " * 4)
    self.assertEqual(asked[0], "Beshort.|Q:one|A:")
    self.assertEqual(asked[1], "Beshort.|Q:one|A:so|Q:two|A:")
    self.assertEqual(asked[2], "Beshort.|Q:three|A:")
    self.assertStartsWith(asked[-1], "Beshort.|Q:many")
    self.assertEqual(len(asked[-1]), len(asked[-2]))
    self.assertNotIn("three", asked[-1])


if __name__ == "__main__":
  absltest.main()
