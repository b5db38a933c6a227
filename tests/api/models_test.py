"""`load`, `generate` and `score` on a tiny model."""

import gc
import math
import os
import pathlib
from unittest import mock

import numpy as np
from absl.testing import absltest

import flan_tf as flan
from flan_tf.inference import prompt_answers
from tests.helpers import byte_pairs, gguf_files, tiny

TINY = tiny.Tiny()
TEXTS = ("The lighthouse counted 12 ships, isn't it?", "Is it so? yes no")


def setUpModule():
  global MODEL
  TINY.open()
  TINY.train(TINY.run(train__steps=2), TINY.folder / "tuned")
  MODEL = flan.load(TINY.folder / "tuned", batch=4)


tearDownModule = TINY.close


def toy_gguf(path: pathlib.Path, seed: int = 0) -> str:
  """Writes a llama of random weights; returns its location."""
  vocabulary = byte_pairs.train(TEXTS * 20, "smollm", size=320)
  tensors = gguf_files.llama_tensors(
    vocabulary.size, np.random.default_rng(seed)
  )
  tensors = {name: 0.1 * value for name, value in tensors.items()}
  gguf_files.write(str(path), "llama", tensors, vocabulary)
  return f"gguf:{path}"


class LoadTest(absltest.TestCase):
  def folder(self) -> pathlib.Path:
    return pathlib.Path(self.create_tempdir().full_path)

  def test_a_workdir_gives_its_newest_checkpoint(self):
    self.assertStartsWith(MODEL.checkpoint, str(TINY.folder / "tuned"))
    self.assertEqual(os.path.basename(MODEL.checkpoint), "step_00000002")
    same = flan.load(f"native:{MODEL.checkpoint}", batch=4)
    self.assertEqual(same.checkpoint, MODEL.checkpoint)
    self.assertRegex(
      repr(MODEL),
      r"^<Model .*step_00000002: 0\.0M parameters, separator flan, float32,"
      " mesh one core>$",
    )

  def test_a_converted_model_is_kept_while_it_is_used(self):
    location = toy_gguf(self.folder() / "toy.gguf")
    model = flan.load(location, batch=1)
    checkpoint = model.checkpoint
    self.assertTrue(os.path.exists(checkpoint))
    self.assertIsInstance(model.generate("Is it so?", max_new=2).text, str)
    del model
    gc.collect()
    self.assertFalse(os.path.exists(checkpoint))

  def test_a_cache_is_read_again(self):
    folder = self.folder()
    location = toy_gguf(folder / "toy.gguf")
    cache = folder / "native"
    first = flan.load(location, batch=1, cache_dir=cache)
    self.assertEqual(first.checkpoint, str(cache))
    expected = first.score("Is it so?", ["yes", "no"])
    from flan_tf.bridges import convert

    with mock.patch.object(convert, "write_target", side_effect=AssertionError):
      again = flan.load(location, batch=1, cache_dir=cache)
    self.assertEqual(again.score("Is it so?", ["yes", "no"]), expected)
    with self.subTest("it is no cache of another model"):
      other = toy_gguf(folder / "other.gguf", seed=1)
      with self.assertRaisesRegex(
        ValueError, r"has a checkpoint of GGUF file .*toy\.gguf.*, not of .*oth"
      ):
        flan.load(other, cache_dir=cache)
    with self.subTest("a checkpoint of this project can be loaded as it is"):
      self.assertEqual(
        flan.load(cache, batch=1).score("Is it so?", ["yes", "no"]), expected
      )

  def test_a_failed_conversion_leaves_nothing(self):
    folder = self.folder()
    (folder / "bad.gguf").write_bytes(b"no model")
    before = set(folder.iterdir())
    with mock.patch.dict(os.environ, TMPDIR=str(folder)):
      with mock.patch("tempfile.tempdir", None):
        with self.assertRaises(ValueError):
          flan.load(f"gguf:{folder}/bad.gguf")
    self.assertEqual(set(folder.iterdir()), before)

  def test_refused(self):
    for location, message in (
      ("none", "No complete checkpoint at 'none'"),
      ("ggguf:a.gguf", "Unknown format 'ggguf'. Did you mean 'gguf'?"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        flan.load(location)
    with self.assertRaisesRegex(ValueError, "Leave cache_dir out"):
      flan.load(MODEL.checkpoint, cache_dir="cache")
    with self.assertRaisesRegex(ValueError, "no chat template"):
      flan.load(MODEL.checkpoint, separator="chat")

  def test_lengths_and_separator_can_be_changed(self):
    model = flan.load(MODEL.checkpoint, batch=1, separator="newline")
    self.assertEqual(model.run.data.separator, "newline")
    self.assertEqual(model.run.data.length, MODEL.run.data.length)


class GenerateTest(absltest.TestCase):
  def test_one_text_and_several(self):
    prompts = ["Is it so?", "A film that I liked."]
    answers = MODEL.generate(prompts, max_new=4)
    expected = prompt_answers.answer_prompts(MODEL.language_model, prompts, 4)
    self.assertEqual(answers, expected)
    self.assertEqual(
      MODEL.generate(prompts[0], max_new=4).text, answers[0].text
    )
    self.assertEmpty(MODEL.generate([]))

  def test_the_function_loads_a_model_that_is_named(self):
    for model in (MODEL, MODEL.checkpoint):
      answer = flan.generate(model, "Is it so?", max_new=3)
      self.assertEqual(answer.text, MODEL.generate("Is it so?", max_new=3).text)

  def test_sampling_and_stops_are_used(self):
    sampling = flan.Sampling(temperature=2.0, seed=1)
    text = MODEL.generate("Is it so?", max_new=9, sampling=sampling).text
    greedy = MODEL.generate("Is it so?", max_new=9).text
    self.assertNotEqual(text, greedy)
    stop = text[len(text) // 2]
    cut = MODEL.generate(
      "Is it so?", max_new=9, sampling=sampling, stops=[stop]
    )
    self.assertEqual(cut.text, text.partition(stop)[0])

  def test_a_conversation(self):
    reply = MODEL.conversation(max_new=3).answer("Is it so?")
    self.assertEqual(reply.text, MODEL.generate("Is it so?", max_new=3).text)

  def test_nothing_is_printed(self):
    import contextlib
    import io

    out = io.StringIO()
    with mock.patch.object(out, "isatty", lambda: True):
      with contextlib.redirect_stdout(out):
        model = flan.load(MODEL.checkpoint, batch=4)
        model.generate("Is it so?", max_new=2)
        model.score("Is it so?", ["yes", "no"])
    self.assertEmpty(out.getvalue())


class ScoreTest(absltest.TestCase):
  def test_scores_are_log_probabilities(self):
    scores = MODEL.score("Is it so?", ["yes", "no"])
    self.assertEqual(list(scores), ["yes", "no"])
    self.assertLess(math.exp(scores["yes"]) + math.exp(scores["no"]), 1)
    (expected,) = prompt_answers.answer_prompts(
      MODEL.language_model, ["Is it so?"], options=[("yes", "no")]
    )
    self.assertEqual(scores, dict(expected.option_log_probs))

  def test_several_prompts(self):
    prompts = ["Is it so?", "Was it?"]
    together = MODEL.score(prompts, ("yes", "no"))
    self.assertLen(together, 2)
    for prompt, scores in zip(prompts, together, strict=True):
      alone = flan.score(MODEL, prompt, ("yes", "no"))
      for option in ("yes", "no"):
        self.assertAlmostEqual(scores[option], alone[option], places=4)

  def test_refused(self):
    for options, message in (
      ("yes", "expected a list of one or more texts, as .*, got 'yes'"),
      ([], r"expected a list of one or more texts"),
      (["yes", "yes"], "two of them are equal"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        MODEL.score("Is it so?", options)


if __name__ == "__main__":
  absltest.main()
