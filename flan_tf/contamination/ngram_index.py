"""Runs of words that texts share with a corpus which streams by once.

    index = Index([words("It rained all night."), ...], sizes=[3, ...])
    index.read([corpus.Document("news.txt:7", "Yes, it rained ALL night!")])
    index.dirty()                                    [True, ...]

A word is what blanks part, in lower case and without its punctuation (Brown et
al. 2020, appendix C). A text's n-grams are all its runs of n words; one with
fewer words is a single n-gram.

Memory grows with the texts, not with the corpus: some 50 bytes for each of
their n-grams, whatever streams by. N-grams are looked up by 64-bit hashes, and
each hit is compared word by word, so no hash that two share counts as a match.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan_tf.data import corpus

# A document never lies in two batches; a batch has at least so many words.
_BATCH_WORDS = 1 << 17
# Entries of the table that most n-grams of a corpus fail at, for each n-gram.
_TABLE_PER_NGRAM = 8

_NO_WORD = re.compile(r"[^\w\s]|_")
_NO_WORD_ASCII = {
  code: None for code in range(128) if _NO_WORD.match(chr(code))
}


class Match(NamedTuple):
  """An n-gram of a text that the corpus has.

  Attributes:
    ngram: its words, with blanks between them.
    documents: how many documents of the corpus have it.
    where: the first of them.
  """

  ngram: str
  documents: int
  where: str


def words(text: str) -> list[str]:
  """
  >>> words("It's 9 o'clock - WAKE up!")
  ['its', '9', 'oclock', 'wake', 'up']
  """
  text = text.lower()
  if text.isascii():
    return text.translate(_NO_WORD_ASCII).split()
  return _NO_WORD.sub("", text).split()


def size_of(
  lengths: Sequence[int],
  percentile: float = 5,
  least: int = 8,
  most: int = 13,
) -> int:
  """The n of a data set: a low percentile of its lengths, within bounds.

  Lengths are in words. 5 % of the texts are shorter, and 8 to 13 is the
  choice of Brown et al. (2020), appendix C: shorter runs are shared by chance.

  >>> size_of([6, 9, 40]), size_of([10] * 30), size_of([200, 300])
  (8, 10, 13)
  """
  if not 1 <= least <= most:
    raise ValueError(
      f"The size of n-grams must be at least 1 and at most something no"
      f" smaller; got {least} to {most} words."
    )
  if not len(lengths):
    return most
  return int(np.clip(np.percentile(lengths, percentile), least, most))


class Index:
  """The n-grams of texts, and which of them a corpus has.

  Args:
    texts: the words of each text.
    sizes: the n of each text, 1 or more.
    seed: of the hash; where two n-grams share one, the next seed is taken.

  Attributes:
    documents: of the corpus, read so far.
    words: of the corpus, read so far.
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
    # Number 0 is a word that no text has.
    self._numbers: dict[str, int] = {}
    number = self._numbers.setdefault
    lengths = np.array([len(text) for text in texts], np.int64)
    ids = np.fromiter(
      (number(word, len(self._numbers) + 1) for text in texts for word in text),
      np.int32,
      int(lengths.sum()),
    )
    starts = np.cumsum(lengths) - lengths
    of_text = np.minimum(lengths, np.array(sizes, np.int64))
    self._texts = len(texts)
    self._tables: dict[int, _Table] = {}
    for size in sorted(set(of_text[of_text > 0].tolist())):
      chosen = np.flatnonzero(of_text == size)
      counts = lengths[chosen] - size + 1
      place = _ranges(starts[chosen], counts)
      text = np.repeat(chosen.astype(np.int32), counts)
      self._tables[size] = _Table(ids, place, text, size)
    self._hash(seed)

  def read(self, documents: Iterable[corpus.Document]) -> None:
    """Looks for the n-grams in documents; may be called again for more."""
    last = max(self._tables, default=0)
    for ids, document, where in self._batches(documents):
      hashes = np.zeros([len(ids)], np.uint64)
      known = np.ones([len(ids)], bool)
      for size in range(1, min(last, len(ids)) + 1):
        # From the n-grams of size - 1 to those of `size`.
        word = ids[size - 1 :]
        known = known[: len(word)] & (word != 0)
        hashes = hashes[: len(word)] + self._term(word, size - 1)
        if size in self._tables:
          self._tables[size].read(hashes, known, ids, document, where)

  def dirty(self, frequent: int | None = 10) -> np.ndarray:
    """Which texts share an n-gram with the corpus, bool [texts].

    Args:
      frequent: n-grams in more documents than that do not count: everybody
        uses them. None counts all.
    """
    out = np.zeros([self._texts], bool)
    for table in self._tables.values():
      out[table.text[table.hits(frequent)[table.ngram]]] = True
    return out

  def matches(self, text: int, frequent: int | None = 10) -> Iterator[Match]:
    """The n-grams of one text that the corpus has, each once, in order."""
    for table in self._tables.values():
      mine = slice(*np.searchsorted(table.text, [text, text + 1]))
      ngrams = table.ngram[mine]
      for index in dict.fromkeys(ngrams[table.hits(frequent)[ngrams]].tolist()):
        ngram = " ".join(self._words[i - 1] for i in table.words_of(index))
        yield Match(ngram, int(table.documents[index]), table.where[index])

  def too_frequent(self, frequent: int | None = 10) -> int:
    """How many n-grams `dirty` does not count."""
    return sum(
      int((table.hits(None) & ~table.hits(frequent)).sum())
      for table in self._tables.values()
    )

  @functools.cached_property
  def _words(self) -> list[str]:
    return list(self._numbers)

  def _term(self, word: np.ndarray, place: int) -> np.ndarray:
    """What the word at a place of an n-gram adds to its hash."""
    return self._values[word] * self._powers[place]

  def _hash(self, seed: int) -> None:
    """Gives each n-gram its hash, different n-grams different ones."""
    generator = np.random.default_rng(seed)
    shape, limit = [len(self._numbers) + 1], 1 << 64
    self._values = generator.integers(0, limit, shape, np.uint64)
    odd = generator.integers(0, limit >> 1, dtype=np.uint64).item() * 2 + 1
    longest = max(self._tables, default=0)
    powers = [pow(odd, place, limit) for place in range(longest)]
    self._powers = np.array(powers, np.uint64)
    unique = all([t.index(self._term) for t in self._tables.values()])
    if not unique:
      self._hash(seed + 1)

  def _batches(self, documents) -> Iterator[tuple]:
    """Documents side by side, a 0 behind each.

    Yields:
      Word numbers, int32 [n]; which document each is of, int32 [n]; where the
      documents are from.
    """
    number = self._numbers.get
    ids, ends, where = [], [], []
    for document in documents:
      ids.extend([number(word, 0) for word in words(document.text)])
      ids.append(0)
      ends.append(len(ids))
      where.append(document.where)
      if len(ids) >= _BATCH_WORDS:
        yield self._batch(ids, ends, where)
        ids, ends, where = [], [], []
    if ids:
      yield self._batch(ids, ends, where)

  def _batch(self, ids, ends, where):
    self.documents += len(where)
    self.words += len(ids) - len(where)
    lengths = np.diff(ends, prepend=0)
    document = np.repeat(np.arange(len(where), dtype=np.int32), lengths)
    return np.array(ids, np.int32), document, where


class _Table:
  """All n-grams of one size.

  Attributes:
    text: whose n-gram it is, int32 [places], ascending.
    ngram: which of the different n-grams is there, int32 [places].
    documents: how many documents have it, int32 [n-grams].
    where: n-gram -> the first document that has it.
  """

  def __init__(self, ids, place, text, size):
    self._ids, self._place, self._size = ids, place, size
    self.text = text
    self.where: dict[int, str] = {}

  def index(self, term) -> bool:
    """Sorts the n-grams by hash; whether each has a hash of its own."""
    hashes = np.zeros([len(self._place)], np.uint64)
    for offset in range(self._size):
      hashes += term(self._ids[self._place + offset], offset)
    self._hashes, first, ngram = np.unique(
      hashes, return_index=True, return_inverse=True
    )
    self._first = self._place[first]
    self.ngram = ngram.astype(np.int32)
    self.documents = np.zeros([len(first)], np.int32)
    bits = (_TABLE_PER_NGRAM * len(first)).bit_length()
    self._shift = np.uint64(64 - bits)
    self._filter = np.zeros([1 << bits], bool)
    self._filter[self._hashes >> self._shift] = True
    same = self._equal(self._ids, self._place, self._first[self.ngram])
    return bool(same.all())

  def read(self, hashes, known, ids, document, where) -> None:
    """Counts the documents of a batch that have each n-gram.

    Args:
      hashes: of all n-grams of the batch, uint64 [n].
      known: whether our texts have all their words, bool [n].
      ids: the words of the batch, int32 [n + size - 1].
      document: of each word.
      where: where the documents are from.
    """
    known = known & self._filter[hashes >> self._shift]
    place = np.flatnonzero(known)
    ngram = np.searchsorted(self._hashes, hashes[place])
    ngram = np.minimum(ngram, len(self._hashes) - 1)
    found = self._hashes[ngram] == hashes[place]
    place, ngram = place[found], ngram[found]
    same = self._equal(ids, place, self._first[ngram])
    place, ngram = place[same], ngram[same]
    pairs = np.stack([ngram, document[place]], 1)
    pairs = np.unique(pairs, axis=0)  # A document counts once.
    np.add.at(self.documents, pairs[:, 0], 1)
    for index, number in pairs.tolist():
      self.where.setdefault(index, where[number])

  def hits(self, frequent: int | None) -> np.ndarray:
    """Which n-grams the corpus has, but not too often, bool [n-grams]."""
    most = np.iinfo(np.int32).max if frequent is None else frequent
    return (self.documents > 0) & (self.documents <= most)

  def words_of(self, index: int) -> list[int]:
    first = self._first[index]
    return self._ids[first : first + self._size].tolist()

  def _equal(self, ids, place, ours) -> np.ndarray:
    """Whether n-grams of `ids` are word by word those of our texts."""
    same = np.ones([len(place)], bool)
    for offset in range(self._size):
      same &= ids[place + offset] == self._ids[ours + offset]
    return same


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """The numbers from each start on.

  [7, 20], [3, 2] becomes [7, 8, 9, 20, 21].
  """
  ends = np.cumsum(counts)
  offset = starts - (ends - counts)
  return np.arange(counts.sum(), dtype=np.int64) + np.repeat(offset, counts)
