"""SentencePiece: no text is lost, and equal texts train equal models."""

import pathlib
import tempfile

import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.vocab.base import VocabularyError
from flan_tf.vocab.sentence_piece import UNK, SentencePieceVocabulary

TEXTS = (
  "The lighthouse keeper counted the ships at dawn.",
  "OPTIONS:\n- yes\n- no",
  "Seven rivers meet near the old stone bridge, people say.",
  "Does the second sentence follow from the first?",
) * 25


class VocabularyTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.vocabulary = SentencePieceVocabulary.train(TEXTS, 340)

  @parameterized.parameters(
    "a\nb",
    "OPTIONS:\n- yes\n- no",
    "  two  blanks ",
    "\n\nlines\n",
    "tab\tand\r\nreturn",
    "é 漢字 😀 {braces}",
    "",
    " ",
  )
  def test_round_trip(self, text):
    (ids,) = self.vocabulary.encode([text])
    self.assertEqual(self.vocabulary.decode(ids), text)
    graph = self.vocabulary.tokenize(tf.constant([text]))
    self.assertEqual(graph[0].numpy().tolist(), ids.tolist())
    self.assertNotIn(UNK, ids.tolist())

  def test_eager_and_mapped_agree(self):
    texts = tf.constant(TEXTS[:4])
    eager = self.vocabulary.tokenize(texts)
    (mapped,) = tf.data.Dataset.from_tensors(texts).map(
      self.vocabulary.tokenize
    )
    self.assertEqual(eager.to_list(), mapped.to_list())
    self.assertEqual(eager.dtype, tf.int32)

  def test_ids(self):
    made = self.vocabulary
    self.assertEqual((made.pad_id, made.eos_id, made.bos_id), (0, 1, 0))
    self.assertEqual(made.size, 340)
    (ids,) = made.encode(["dawn"])
    self.assertEqual(made.decode([0, *ids, 1, 0, 0]), "dawn")

  def test_a_newline_is_one_piece(self):
    (ids,) = self.vocabulary.encode(["yes\nyes"])
    (plain,) = self.vocabulary.encode(["yes"])
    self.assertEqual(ids.tolist()[: len(plain)], plain.tolist())
    self.assertEqual(self.vocabulary.decode(ids[len(plain) :][:1]), "\n")

  @parameterized.parameters("bpe", "unigram")
  def test_training_is_deterministic(self, kind):
    first, again = (
      SentencePieceVocabulary.train(iter(TEXTS), 320, kind=kind)
      for _ in range(2)
    )
    self.assertEqual(first.fingerprint, again.fingerprint)

  def test_a_small_corpus_lowers_the_size_and_says_so(self):
    with self.assertLogs(level="WARNING") as logs:
      made = SentencePieceVocabulary.train(TEXTS, 5_000)
    self.assertBetween(made.size, 300, 4_999)
    self.assertIn(f"give {made.size} pieces", logs.output[0])

  def test_long_lines_are_read(self):
    made = SentencePieceVocabulary.train(["zebra quartz " * 2_000], 290)
    (ids,) = made.encode(["zebra quartz"])
    self.assertLess(len(ids), 8)

  @parameterized.parameters(
    ({"texts": [], "size": 300}, "no text"),
    ({"texts": TEXTS, "size": 20}, "20 pieces.*at least 260"),
    ({"texts": TEXTS, "size": 300, "kind": "word"}, "'bpe' or 'unigram'"),
  )
  def test_bad_training(self, kwargs, message):
    with self.assertRaisesRegex(ValueError, message):
      SentencePieceVocabulary.train(**kwargs)

  def test_save_and_load(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, "deep", "toy.model")
      self.vocabulary.save(path)
      loaded = SentencePieceVocabulary.load(path)
      self.assertEqual(loaded.fingerprint, self.vocabulary.fingerprint)
      self.assertEqual([p.name for p in path.parent.iterdir()], ["toy.model"])

  def test_bad_files(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, "toy.model")
      with self.assertRaisesRegex(
        VocabularyError, "no vocabulary file .*toy.model"
      ):
        SentencePieceVocabulary.load(path)
      for content in (b"", b"not a model", self.vocabulary.serialized[:500]):
        path.write_bytes(content)
        with self.assertRaisesRegex(
          VocabularyError, "toy.model are not a SentencePiece model"
        ):
          SentencePieceVocabulary.load(path)


if __name__ == "__main__":
  absltest.main()
