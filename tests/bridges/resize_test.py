"""Resized vocabularies: old rows do not change, new ones are their mean."""

import dataclasses
import functools
import pathlib
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.bridges import model_source, resize
from flan_tf.bridges.native import checkpoint_source, checkpoint_writer
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.inference.language_model import LanguageModel
from flan_tf.vocab.load import load_vocabulary, vocabulary_from_bytes
from launch import convert
from tests.helpers import binaries, byte_pairs, tiny, toys

TINY = tiny.Tiny()
TEXTS = ("The lighthouse counted 12 ships, isn't it?", "OPTIONS:\n- yes\n- no")
NEW = ("<|user|>", "<|model|>")


def setUpModule():
  toys.open_cores()
  TINY.open()


tearDownModule = TINY.close


@functools.cache
def pieces_of(kind: str):
  if kind == "byte_pairs":
    return byte_pairs.train(TEXTS * 20, size=300)
  return load_vocabulary(TINY.vocabulary)


def toy(
  family: str, kind: str = "byte_pairs", unused: int = 7, **change
) -> model_source.ModelSource:
  """Returns a random model with some rows that belong to no piece."""
  made = pieces_of(kind)
  run = dataclasses.replace(
    toys.run_config(),
    model=dataclasses.replace(
      toys.FAMILIES[family], vocab=384, pieces=made.size + unused
    ),
  )
  model = LanguageModel(run, made, 4, toys.mesh("")[0])
  values = toys.random_weights(model.weights.specs)

  def tensor(name: str, value: np.ndarray) -> model_source.SourceTensor:
    if name in model_source.VOCABULARY_TABLES:
      value[made.size + unused :] = 0
    return model_source.SourceTensor(
      value.shape, lambda: value, lambda begin, end: value[begin:end]
    )

  tensors = {name: tensor(name, value) for name, value in values.items()}
  opened = model_source.ModelSource(model.run.model, made, tensors, "a toy", 64)
  return dataclasses.replace(opened, **change)


class ResizeTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def log_probs(
    self, opened: model_source.ModelSource, name: str
  ) -> np.ndarray:
    """Returns the log-probability of every piece after one prompt."""
    path = str(self.folder / name)
    checkpoint_writer.write(opened, path)
    model = LanguageModel.load(path, config.MeshConfig(platform="cpu"), 4)
    every = [np.array([i]) for i in range(model.run.model.pieces)]
    (found,) = model.score_options([np.array([5, 17, 40])], [every])
    return found

  @parameterized.parameters("gemma2", "qwen2", "gpt2")
  def test_more_rows_change_nothing(self, family):
    opened = toy(family)
    more = resize.resize(opened, 640)
    self.assertEqual((more.model.vocab, more.model.pieces), (640, 307))
    np.testing.assert_allclose(
      self.log_probs(more, "more"), self.log_probs(opened, "old"), atol=1e-6
    )

  @parameterized.product(
    family=["gemma2", "qwen2"], kind=["byte_pairs", "sentencepiece"]
  )
  def test_old_logits_stay_and_new_ones_are_their_mean(self, family, kind):
    opened = toy(family, kind)
    old = opened.vocabulary.size
    more = resize.resize(opened, new_pieces=NEW)
    before, after = self.log_probs(opened, "old"), self.log_probs(more, "new")
    np.testing.assert_allclose(np.exp(after).sum(), 1, rtol=1e-5)
    # All of them moved by what the new ones took: their logits are the same.
    kept = np.delete(np.arange(len(before)), [old, old + 1])
    moved = (after[: len(before)] - before)[kept]
    np.testing.assert_allclose(moved, moved[0], atol=1e-5)
    if not opened.model.logit_cap:  # A mean of rows gives a mean of logits.
      expected = after[:old].mean()
      np.testing.assert_allclose(after[old : old + 2], expected, atol=1e-4)
    for name in model_source.VOCABULARY_TABLES:
      if name in more.tensors:
        table, rows = opened.tensors[name].read(), more.tensors[name].read()
        mean = table[:old].astype(np.float64).mean(0)
        np.testing.assert_allclose(rows[old : old + 2], [mean] * 2, rtol=1e-6)
        np.testing.assert_array_equal(rows[:old], table[:old])
        # Rows that no piece has stay what they are.
        np.testing.assert_array_equal(rows[old + 2 :], table[old + 2 :])

  @parameterized.parameters("byte_pairs", "sentencepiece")
  def test_new_pieces_are_one_token_each(self, kind):
    old = pieces_of(kind)
    made = resize.resize(toy("qwen2", kind), new_pieces=NEW).vocabulary
    made = vocabulary_from_bytes(made.serialized)
    self.assertEqual(made.size, old.size + 2)
    ids = made.encode_special("<|user|>12<|model|>").tolist()
    (number,) = old.verbatim.encode(["12"])
    self.assertEqual(ids, [old.size, *number, old.size + 1])
    self.assertEqual(made.pieces([old.size]), ["<|user|>"])
    # Everything else is as it was, and no text gives a new piece.
    roles = ("bos_id", "eos_id", "pad_id", "has_start", "start_id")
    for role in roles:
      self.assertEqual(getattr(made, role), getattr(old, role))
    texts = [*TEXTS, "<|user|> is a text"]
    graph = made.tokenize(texts).to_list()
    for text, wanted, found in zip(
      texts, old.encode(texts), graph, strict=True
    ):
      (ids,) = made.encode([text])
      self.assertEqual(ids.tolist(), wanted.tolist())
      self.assertEqual(found, wanted.tolist())
      self.assertEqual(made.decode(ids), old.decode(ids))

  def test_there_and_back(self):
    opened = toy("qwen2")
    back = resize.resize(resize.resize(opened, 4096), 384)
    self.assertEqual(back.model, opened.model)
    for name, tensor in opened.tensors.items():
      self.assertEqual(back.tensors[name].shape, tensor.shape)
      np.testing.assert_array_equal(back.tensors[name].read(), tensor.read())

  def test_pieces_may_need_more_rows(self):
    opened = toy("qwen2", unused=0)
    names = [f"<|{number}|>" for number in range(100)]
    more = resize.resize(opened, new_pieces=names)
    self.assertEqual((more.model.vocab, more.model.pieces), (512, 400))
    self.assertIn("100 pieces added, 512 rows instead of 384", more.origin)
    table = more.tensors["unembedding"].read()
    self.assertTrue(table[399].any())
    self.assertFalse(table[400:].any())

  def test_read_in_parts(self):
    opened = toy("qwen2")
    largest = 0

    def watched(tensor: model_source.SourceTensor) -> model_source.SourceTensor:
      def read_rows(begin, end):
        nonlocal largest
        largest = max(largest, end - begin)
        return tensor.read_rows(begin, end)

      def read():
        raise AssertionError("read as a whole")

      return model_source.SourceTensor(tensor.shape, read, read_rows)

    table = opened.tensors["embedding"]
    wanted = resize.resize(opened, 512, NEW).tensors["embedding"].read()
    tensors = {**opened.tensors, "embedding": watched(table)}
    watching = dataclasses.replace(opened, tensors=tensors)
    self.enter_context(mock.patch.object(resize, "_MEAN_ROWS", 64))
    changed = resize.resize(watching, 512, NEW).tensors["embedding"]
    parts = [changed.read_rows(at, at + 32) for at in range(0, 512, 32)]
    np.testing.assert_allclose(np.concatenate(parts), wanted, rtol=1e-6)
    self.assertLessEqual(largest, 64)

  def test_a_source_that_reads_whole_tensors_only(self):
    opened = toy("qwen2")
    whole = {
      name: dataclasses.replace(tensor, read_rows=None)
      for name, tensor in opened.tensors.items()
    }
    changed = resize.resize(
      dataclasses.replace(opened, tensors=whole), 512, NEW
    )
    wanted = resize.resize(opened, 512, NEW)
    for name, tensor in changed.tensors.items():
      self.assertIsNone(tensor.read_rows)
      other = wanted.tensors[name].read()
      np.testing.assert_allclose(tensor.read(), other, rtol=1e-6)

  @parameterized.parameters(
    (306, (), "--vocab=306: the model predicts 307 pieces .300 of them"),
    (384, [f"<{i}>" for i in range(99)], "predicts 399 pieces"),
    (0, ["<|endoftext|>"], "has these already: '<.endoftext.>'"),
    (0, ["a", "<b>", "<b>"], "has these already: 'a'"),
    (0, ["<b>", "<b>"], "named twice: '<b>'"),
    (0, ["<b c>"], "a piece must have no blanks in it: '<b c>'"),
    (0, [""], "a piece must not be empty"),
    (10**11, (), r"expected 16,777,216 rows or fewer.* would take 25,600 GB"),
  )
  def test_refused(self, vocab, pieces, message):
    with self.assertRaisesRegex(resize.ResizeError, message):
      resize.resize(toy("qwen2"), vocab, pieces)


class RunsTest(absltest.TestCase):
  def test_convert_with_new_pieces_and_talk_with_them(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    TINY.train(TINY.run(train__steps=1), folder / "base")
    status, output, errors = binaries.call(
      convert,
      f"--source=native:{folder / 'base'}",
      f"--target=native:{folder / 'made'}",
      "--vocab=512",
      "--add_pieces=<|user|>,<|model|>",
      "--chat=<|user|>{prompt}<|model|>\\n{answer}{eos}",
    )
    self.assertEqual(status, 0, errors)
    self.assertIn("2 pieces added, 512 rows", output)
    made = checkpoint_source.open_source(str(folder / "made"))
    self.assertEqual(made.chat.between, "<|model|>\n")
    before = checkpoint_source.open_source(str(folder / "base"))
    run = TINY.run(
      train__init_from=str(folder / "made"),
      data__vocabulary="",
      data__separator="chat",
      train__steps=2,
    )
    tuned = TINY.train(run, folder / "tuned")
    self.assertEqual(tuned.config.model.vocab, 512)
    saved = Bundle.open(str(folder / "tuned")).run
    self.assertEqual(saved.model.pieces, before.model.vocab)
    # What it read: the new piece, before every prompt.
    targets = next(tuned.batches).features["targets"]
    self.assertEqual(targets[0, 0], before.vocabulary.size)


if __name__ == "__main__":
  absltest.main()
