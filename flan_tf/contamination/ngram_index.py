"""An index of the n-grams of texts, which are searched in a corpus.

    texts = [split_words("It rained all night."), ...]
    index = NgramIndex(texts, sizes=[3, ...])
    index.read([Document("news.txt:7", "Yes, it rained ALL night!")])
    index.dirty_texts()                                       [True, ...]

The n-grams of a text are all its runs of n words. A text of fewer words is a
single n-gram. A text is dirty if the corpus contains one of its n-grams.

The corpus is read as a stream. Memory grows with the texts, about 50 bytes per
n-gram, and not with the corpus. N-grams are found by 64-bit hashes and then
compared word by word, so that equal hashes alone are no match.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan_tf.contamination.ngram_table import DocumentBatch, NgramTable
from flan_tf.contamination.words import split_words
from flan_tf.data.corpus import Document

# Minimum number of words of a batch of documents.
_BATCH_WORDS = 1 << 17


class NgramMatch(NamedTuple):
  """An n-gram of an evaluated text that the training corpus contains, too.

  Attributes:
    ngram: its words, separated by spaces.
    documents: number of documents that contain it.
    where: location of the first of these documents.
  """

  ngram: str
  documents: int
  where: str


def ngram_size(
  lengths: Sequence[int],
  percentile: float = 5,
  least: int = 8,
  most: int = 13,
) -> int:
  """Returns the n of a data set: a low percentile of its text lengths.

  As in Brown et al. (2020), appendix C, 5 % of the texts are shorter, and n is
  8 to 13. Shorter n-grams are shared by chance.

  >>> ngram_size([6, 9, 40]), ngram_size([10] * 30), ngram_size([200, 300])
  (8, 10, 13)

  Args:
    lengths: number of words of each text.
    percentile: the percentile, 0 to 100.
    least: smallest n.
    most: largest n, also the result without texts.
  """
  if not 1 <= least <= most:
    raise ValueError(
      "Expected bounds of the n-gram size with 1 <= least <= most; got"
      f" {least} to {most} words."
    )
  if not len(lengths):
    return most
  return int(np.clip(np.percentile(lengths, percentile), least, most))


class NgramIndex:
  """The n-grams of texts, and the documents of a corpus that contain them.

  Args:
    texts: words of each text.
    sizes: n of each text, 1 or more.
    seed: seed of the hash. If two n-grams share a hash, the next seed is used.

  Attributes:
    documents: number of documents read so far.
    words: number of words read so far.
  """

  def __init__(
    self,
    texts: Sequence[Sequence[str]],
    sizes: Sequence[int],
    seed: int = 0,
  ):
    if len(texts) != len(sizes) or min(sizes, default=1) < 1:
      raise ValueError(
        f"Expected a size of 1 or more for each of {len(texts)} texts, got"
        f" {list(sizes[:5])} ... for {len(sizes)}."
      )
    self.documents = self.words = 0
    # Words are numbered from 1; number 0 is a word that no text has.
    self._numbers: dict[str, int] = {}
    number = self._numbers.setdefault
    lengths = np.array([len(text) for text in texts], np.int64)
    words = np.fromiter(
      (number(word, len(self._numbers) + 1) for text in texts for word in text),
      np.int32,
      int(lengths.sum()),
    )
    self._num_texts = len(texts)
    self._tables = _build_tables(words, lengths, np.array(sizes, np.int64))
    self._assign_hashes(seed)

  def read(self, documents: Iterable[Document]) -> None:
    """Searches the n-grams in documents; may be called again for more."""
    largest = max(self._tables, default=0)
    for batch in self._batches(documents):
      hashes = np.zeros([len(batch.words)], np.uint64)
      known = np.ones([len(batch.words)], bool)
      for size in range(1, min(largest, len(batch.words)) + 1):
        # An n-gram of `size` words is one of `size - 1` words and its last.
        last_word = batch.words[size - 1 :]
        known = known[: len(last_word)] & (last_word != 0)
        hashes = hashes[: len(last_word)] + self._hash_term(last_word, size - 1)
        if size in self._tables:
          self._tables[size].count_documents(batch, hashes, known)

  def dirty_texts(self, max_documents: int | None = 10) -> np.ndarray:
    """Returns which texts share an n-gram with the corpus, bool [texts].

    Args:
      max_documents: n-grams in more documents do not count, because they are
        common phrases; None for no limit.
    """
    dirty = np.zeros([self._num_texts], bool)
    for table in self._tables.values():
      dirty[table.text[table.found(max_documents)[table.ngram]]] = True
    return dirty

  def matches(
    self, text: int, max_documents: int | None = 10
  ) -> Iterator[NgramMatch]:
    """Yields each n-gram of one text that the corpus contains, in text order.

    Args:
      text: number of the text.
      max_documents: see `dirty_texts`.
    """
    for table in self._tables.values():
      positions = slice(*np.searchsorted(table.text, [text, text + 1]))
      ngrams = table.ngram[positions]
      found = ngrams[table.found(max_documents)[ngrams]]
      for ngram in dict.fromkeys(found.tolist()):
        words = " ".join(self._words[i - 1] for i in table.words_of(ngram))
        yield NgramMatch(words, int(table.documents[ngram]), table.where[ngram])

  def count_too_frequent(self, max_documents: int | None = 10) -> int:
    """Returns how many n-grams are in more documents than allowed."""
    return sum(
      int((table.found(None) & ~table.found(max_documents)).sum())
      for table in self._tables.values()
    )

  @functools.cached_property
  def _words(self) -> list[str]:
    return list(self._numbers)

  def _hash_term(self, word: np.ndarray, position: int) -> np.ndarray:
    """Returns what words at a position of an n-gram add to its hash."""
    return self._values[word] * self._powers[position]

  def _assign_hashes(self, seed: int) -> None:
    """Hashes all n-grams; tries the next seed if two of them share a hash."""
    generator = np.random.default_rng(seed)
    shape, limit = [len(self._numbers) + 1], 1 << 64
    self._values = generator.integers(0, limit, shape, np.uint64)
    odd = generator.integers(0, limit >> 1, dtype=np.uint64).item() * 2 + 1
    largest = max(self._tables, default=0)
    powers = [pow(odd, position, limit) for position in range(largest)]
    self._powers = np.array(powers, np.uint64)
    # A list, so that all tables have hashes even if one is not unique.
    is_unique = [
      table.assign_hashes(self._hash_term) for table in self._tables.values()
    ]
    if not all(is_unique):
      self._assign_hashes(seed + 1)

  def _batches(self, documents: Iterable[Document]) -> Iterator[DocumentBatch]:
    """Yields batches of whole documents."""
    number = self._numbers.get
    words, ends, where = [], [], []
    for document in documents:
      words.extend([number(word, 0) for word in split_words(document.text)])
      words.append(0)
      ends.append(len(words))
      where.append(document.where)
      if len(words) >= _BATCH_WORDS:
        yield self._batch(words, ends, where)
        words, ends, where = [], [], []
    if words:
      yield self._batch(words, ends, where)

  def _batch(
    self, words: list[int], ends: list[int], where: list[str]
  ) -> DocumentBatch:
    self.documents += len(where)
    self.words += len(words) - len(where)
    lengths = np.diff(ends, prepend=0)
    document = np.repeat(np.arange(len(where), dtype=np.int32), lengths)
    return DocumentBatch(np.array(words, np.int32), document, where)


def _build_tables(
  words: np.ndarray, lengths: np.ndarray, sizes: np.ndarray
) -> dict[int, NgramTable]:
  """Returns a table for each size of n-grams.

  Args:
    words: word numbers of all texts, one text after the other, int32 [words].
    lengths: number of words of each text, int64 [texts].
    sizes: n of each text, int64 [texts].
  """
  starts = np.cumsum(lengths) - lengths
  sizes = np.minimum(lengths, sizes)
  tables = {}
  for size in sorted(set(sizes[sizes > 0].tolist())):
    texts = np.flatnonzero(sizes == size)
    counts = lengths[texts] - size + 1
    tables[size] = NgramTable(
      words=words,
      begins=_concatenate_ranges(starts[texts], counts),
      text=np.repeat(texts.astype(np.int32), counts),
      size=size,
    )
  return tables


def _concatenate_ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns `counts` numbers from each start.

  [7, 20], [3, 2] becomes [7, 8, 9, 20, 21].
  """
  ends = np.cumsum(counts)
  offset = starts - (ends - counts)
  return np.arange(counts.sum(), dtype=np.int64) + np.repeat(offset, counts)
