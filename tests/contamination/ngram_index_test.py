"""The n-gram index finds the same dirty texts as a slow reference."""

import gzip
import json
import os
import pathlib
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf.contamination import ngram_index
from flan_tf.contamination.words import split_words
from flan_tf.data import corpus

RAIN = "It rained all night."


def documents(*texts):
  return [corpus.Document(f"d{n}", text) for n, text in enumerate(texts)]


def ngrams(words, size):
  """Returns all runs of `size` words, as a set of tuples."""
  return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def reference(texts, sizes, corpus_words, frequent):
  """Returns which texts are dirty, by comparing all n-grams."""
  dirty = []
  for text, size in zip(texts, sizes, strict=True):
    mine = ngrams(text, min(size, len(text))) if text else set()
    counts = [
      sum(run in ngrams(words, len(run)) for words in corpus_words)
      for run in mine
    ]
    dirty.append(any(n and (frequent is None or n <= frequent) for n in counts))
  return dirty


class WordsTest(parameterized.TestCase):
  @parameterized.parameters(
    ("It's 9 o'clock - WAKE up!", "its 9 oclock wake up"),
    ("state-of-the-art, snake_case", "stateoftheart snakecase"),
    ("two\n\nlines\tand a tab", "two lines and a tab"),
    ("3.5 % of $2,000", "35 of 2000"),
    ("\u201cCaf\u00e9\u201d \u2014 \u00dcBER\u2026", "caf\u00e9 \u00fcber"),
    ("a\u00a0blank that does not break", "a blank that does not break"),
    ("... -- !", ""),
    ("", ""),
  )
  def test_lower_case_without_punctuation_parted_by_blanks(self, text, words):
    self.assertEqual(" ".join(split_words(text)), words)

  def test_ascii_and_other_texts_follow_the_same_rule(self):
    ascii_text = "".join(map(chr, range(128)))
    alone = split_words(ascii_text)
    with_more = split_words(ascii_text + " \u00e9")
    self.assertEqual([*alone, "\u00e9"], with_more)

  def test_the_size_is_a_low_percentile_within_bounds(self):
    self.assertEqual(ngram_index.ngram_size([3] * 10), 8)
    self.assertEqual(ngram_index.ngram_size([100] * 10), 13)
    # One text in a hundred is shorter, which is less than 5 %.
    self.assertEqual(ngram_index.ngram_size([2] + [11] * 99), 11)
    self.assertEqual(ngram_index.ngram_size([4, 5], least=2, most=4), 4)
    self.assertEqual(ngram_index.ngram_size(range(101), percentile=10), 10)
    self.assertEqual(ngram_index.ngram_size([]), 13)

  def test_bounds_that_exclude_each_other_are_refused(self):
    with self.assertRaisesRegex(ValueError, "got 9 to 8 words"):
      ngram_index.ngram_size([10], least=9, most=8)


class IndexTest(parameterized.TestCase):
  @parameterized.product(frequent=(None, 1, 3), batch=(1, 60, 1 << 17))
  def test_it_finds_what_a_slow_reference_finds(self, frequent, batch):
    generator = np.random.default_rng(7)

    def draw(longest):
      count = generator.integers(0, longest)
      return [str(n) for n in generator.integers(0, 4, count)]

    texts = [draw(12) for _ in range(60)]
    sizes = generator.integers(1, 7, 60).tolist()
    corpus_words = [draw(30) + ["new"] + draw(9) for _ in range(12)]
    read = documents(*map(" ".join, corpus_words))
    index = ngram_index.NgramIndex(texts, sizes)
    with mock.patch.object(ngram_index, "_BATCH_WORDS", batch):
      index.read(iter(read[:5]))
      index.read(read[5:])
    expected = reference(texts, sizes, corpus_words, frequent)
    self.assertEqual(index.dirty_texts(frequent).tolist(), expected)
    self.assertTrue(0 < sum(expected) < len(texts))
    self.assertEqual(index.documents, 12)
    self.assertEqual(index.words, sum(map(len, corpus_words)))

  def test_a_match_says_how_often_and_where(self):
    words = split_words(RAIN)
    index = ngram_index.NgramIndex([["dry"], words], [3, 3])
    index.read(documents("Sun.", "Yes, it rained ALL day.", "it rained all"))
    self.assertEqual(
      list(index.matches(1)), [ngram_index.NgramMatch("it rained all", 2, "d1")]
    )
    self.assertEmpty(list(index.matches(0)))
    self.assertEqual(index.dirty_texts().tolist(), [False, True])

  def test_an_ngram_counts_once_a_document(self):
    index = ngram_index.NgramIndex([["a", "b"]], [2])
    index.read(documents("a b a b", "a b"))
    (match,) = index.matches(0)
    self.assertEqual(match.documents, 2)

  def test_nothing_runs_from_one_document_into_the_next(self):
    index = ngram_index.NgramIndex([split_words(RAIN)], [4])
    index.read(documents("it rained", "all night"))
    self.assertFalse(index.dirty_texts().any())

  def test_a_text_of_fewer_words_is_one_ngram(self):
    index = ngram_index.NgramIndex([split_words(RAIN)] * 2 + [[]], [8, 5, 8])
    index.read(documents("it rained all", "Then it rained all night long."))
    self.assertEqual(index.dirty_texts().tolist(), [True, True, False])
    (match,) = index.matches(0)
    self.assertEqual(match.where, "d1")

  def test_phrases_of_many_documents_do_not_count(self):
    texts = ["once upon a time".split(), "the green idea slept".split()]
    index = ngram_index.NgramIndex(texts, [4, 4])
    index.read(documents(*["Once upon a time"] * 11))
    index.read(documents("The green idea slept."))
    self.assertEqual(index.dirty_texts().tolist(), [False, True])
    self.assertEqual(index.dirty_texts(max_documents=11).tolist(), [True, True])
    self.assertEqual(
      index.dirty_texts(max_documents=None).tolist(), [True, True]
    )
    self.assertEqual(index.count_too_frequent(), 1)
    self.assertEqual(index.count_too_frequent(None), 0)
    self.assertEmpty(list(index.matches(0)))

  def test_a_hash_that_two_share_is_no_match(self):
    class AnyOrder(ngram_index.NgramIndex):
      def _hash_term(self, word, position):
        return super()._hash_term(word, 0)

    index = AnyOrder(["a b c".split()], [3])
    index.read(documents("c b a"))
    self.assertFalse(index.dirty_texts().any())
    index.read(documents("a b c"))
    self.assertTrue(index.dirty_texts().all())

  def test_two_of_our_ngrams_with_one_hash_take_another_seed(self):
    class Colliding(ngram_index.NgramIndex):
      seeds = ()

      def _assign_hashes(self, seed):
        self.seeds = (*self.seeds, seed)
        super()._assign_hashes(seed)

      def _hash_term(self, word, position):
        return super()._hash_term(word, position) * np.uint64(
          len(self.seeds) > 1
        )

    index = Colliding(["a b".split(), "b a".split()], [2, 2])
    self.assertEqual(index.seeds, (0, 1))
    index.read(documents("b a"))
    self.assertEqual(index.dirty_texts().tolist(), [False, True])

  def test_no_texts_and_no_documents(self):
    empty = ngram_index.NgramIndex([], [])
    empty.read(documents(RAIN))
    self.assertEmpty(empty.dirty_texts())
    index = ngram_index.NgramIndex([["a"]], [1])
    index.read([])
    self.assertEqual((index.words, index.dirty_texts().any()), (0, False))

  def test_each_text_needs_a_size(self):
    with self.assertRaisesRegex(ValueError, "each of 2 texts, got"):
      ngram_index.NgramIndex([["a"], ["b"]], [1])
    with self.assertRaisesRegex(ValueError, "a size of 1 or more"):
      ngram_index.NgramIndex([["a"]], [0])


class FilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def write(self, name, text):
    path = self.folder / name
    if name.endswith(".gz"):
      path.write_bytes(gzip.compress(text.encode()))
    else:
      path.write_text(text)
    return str(path)

  def read(self, *names, **more):
    patterns = [str(self.folder / name) for name in names]
    return [
      (os.path.basename(document.where), document.text)
      for document in corpus.read_files(patterns, **more)
    ]

  def test_a_blank_line_ends_a_document_of_a_text_file(self):
    self.write("a.txt", "It rained\nall night.\n\n \nThen\nsun.")
    expected = [("a.txt:1", "It rained\nall night."), ("a.txt:5", "Then\nsun.")]
    self.assertEqual(self.read("a.txt"), expected)

  def test_a_line_of_json_is_a_document(self):
    lines = "\n".join(json.dumps({"text": t, "n": 1}) for t in ("One", "Two"))
    self.write("b.jsonl", lines + "\n\n")
    expected = [("b.jsonl:1", "One"), ("b.jsonl:2", "Two")]
    self.assertEqual(self.read("b.jsonl"), expected)
    self.write("c.json.gz", lines)
    names = ["c.json.gz:1", "c.json.gz:2"]
    self.assertEqual([where for where, _ in self.read("c.json.gz")], names)

  def test_another_field_and_several_files_each_once(self):
    self.write("a.jsonl", json.dumps({"body": "One"}))
    self.write("b.jsonl", json.dumps({"body": "Two"}))
    found = self.read("*.jsonl", "a.jsonl", field="body")
    self.assertEqual([text for _, text in found], ["One", "Two"])

  def test_however_it_is_cut_into_pieces_a_file_is_the_same(self):
    text = "\n".join(f"line {n}\n" * (n % 4) for n in range(300))
    self.write("a.txt", text)
    self.write("a.txt.gz", text)
    whole = [text for _, text in self.read("a.txt")]
    self.assertEqual(whole, [text for _, text in self.read("a.txt.gz")])
    with mock.patch.object(corpus, "_CHUNK", 7):
      self.assertEqual(whole, [text for _, text in self.read("a.txt")])

  def test_no_run_is_lost_where_a_long_paragraph_is_cut(self):
    words = [f"w{n}" for n in range(400)]
    lines = [" ".join(words[n : n + 10]) for n in range(0, 400, 10)]
    path = self.write("a.txt", "\n".join(lines))
    with mock.patch.object(corpus, "_LONGEST_PARAGRAPH", 500):
      found = list(corpus.read_files([path]))
    self.assertGreater(len(found), 2)
    index = ngram_index.NgramIndex([words], [13])
    index.read(found)
    self.assertLen(list(index.matches(0)), 388)
    self.assertLess(max(len(document.text) for document in found), 800)

  def test_a_name_that_no_file_has(self):
    with self.assertRaisesRegex(FileNotFoundError, "No file matches '.*none"):
      self.read("none*.txt")
    with self.assertRaisesRegex(FileNotFoundError, "text or JSON lines"):
      corpus.read_files(
        [str(self.folder)]
      )  # The error comes before anything is read.

  def test_lines_that_are_no_such_objects(self):
    cases = (
      ('{"text": "One"}\nTwo', "bad.jsonl, line 2 is not JSON"),
      ('["One"]', "line 1: expected a JSON object, got list"),
      ('{"texts": "One"}', "Did you mean 'texts'.* --field"),
      ('{"text": 3}', "Unknown text field 'text'"),
    )
    for text, message in cases:
      self.write("bad.jsonl", text)
      with self.assertRaisesRegex(ValueError, message):
        self.read("bad.jsonl")


if __name__ == "__main__":
  absltest.main()
