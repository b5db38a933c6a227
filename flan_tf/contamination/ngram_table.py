"""All n-grams of one size, and the documents of a corpus that contain them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Size of the filter that most n-grams of a corpus fail at, in entries for each
# n-gram of the table.
_FILTER_ENTRIES_PER_NGRAM = 8

# Takes word numbers [n] and a position in an n-gram; returns uint64 [n].
HashTerm = Callable[[np.ndarray, int], np.ndarray]


class DocumentBatch(NamedTuple):
  """Documents of a corpus one after the other, with a 0 after each.

  Attributes:
    words: word numbers, int32 [n]; 0 is a word that no text has.
    document: index of the document of each word, int32 [n].
    where: location of each document, for people.
  """

  words: np.ndarray
  document: np.ndarray
  where: list[str]


class NgramTable:
  """The n-grams of texts, all of one size.

  Args:
    words: word numbers of all texts, one text after the other, int32 [words].
    begins: position in `words` where each n-gram begins, int64 [positions].
    text: number of the text of each n-gram, ascending, int32 [positions].
    size: number of words of an n-gram.

  Attributes:
    text: as above.
    ngram: number of the n-gram at each position, int32 [positions]. Equal
      n-grams have the same number.
    documents: number of documents that contain each n-gram, int32 [n-grams].
    where: n-gram -> location of the first document that contains it.
  """

  def __init__(
    self,
    words: np.ndarray,
    begins: np.ndarray,
    text: np.ndarray,
    size: int,
  ):
    self._words, self._begins, self._size = words, begins, size
    self.text = text
    self.where: dict[int, str] = {}

  def assign_hashes(self, hash_term: HashTerm) -> bool:
    """Hashes the n-grams and sorts them by hash.

    Args:
      hash_term: returns what a word at a position of an n-gram adds to the hash
        of this n-gram.

    Returns:
      Whether all different n-grams have different hashes.
    """
    hashes = np.zeros([len(self._begins)], np.uint64)
    for offset in range(self._size):
      hashes += hash_term(self._words[self._begins + offset], offset)
    self._hashes, first, ngram = np.unique(
      hashes, return_index=True, return_inverse=True
    )
    # The position of one occurrence of each n-gram.
    self._first = self._begins[first]
    self.ngram = ngram.astype(np.int32)
    self.documents = np.zeros([len(first)], np.int32)
    bits = (_FILTER_ENTRIES_PER_NGRAM * len(first)).bit_length()
    self._filter_shift = np.uint64(64 - bits)
    self._filter = np.zeros([1 << bits], bool)
    self._filter[self._hashes >> self._filter_shift] = True
    is_equal = self._equal(self._words, self._begins, self._first[self.ngram])
    return bool(is_equal.all())

  def count_documents(
    self, batch: DocumentBatch, hashes: np.ndarray, known: np.ndarray
  ) -> None:
    """Counts the documents of a batch that contain each n-gram.

    Args:
      batch: the documents.
      hashes: hash of the n-gram at each position of the batch, uint64 [n].
      known: whether the texts have all words of this n-gram, bool [n].
    """
    # The filter is faster than the search, and rejects most n-grams.
    known = known & self._filter[hashes >> self._filter_shift]
    begins = np.flatnonzero(known)
    ngram = np.searchsorted(self._hashes, hashes[begins])
    ngram = np.minimum(ngram, len(self._hashes) - 1)
    has_hash = self._hashes[ngram] == hashes[begins]
    begins, ngram = begins[has_hash], ngram[has_hash]
    is_equal = self._equal(batch.words, begins, self._first[ngram])
    begins, ngram = begins[is_equal], ngram[is_equal]
    # A document counts once, however often it contains the n-gram.
    pairs = np.stack([ngram, batch.document[begins]], 1)
    pairs = np.unique(pairs, axis=0)
    np.add.at(self.documents, pairs[:, 0], 1)
    for index, document in pairs.tolist():
      self.where.setdefault(index, batch.where[document])

  def found(self, max_documents: int | None) -> np.ndarray:
    """Returns which n-grams the corpus contains, bool [n-grams].

    Args:
      max_documents: n-grams in more documents do not count; None for no limit.
    """
    limit = np.iinfo(np.int32).max if max_documents is None else max_documents
    return (self.documents > 0) & (self.documents <= limit)

  def words_of(self, ngram: int) -> list[int]:
    """Returns the word numbers of an n-gram."""
    first = self._first[ngram]
    return self._words[first : first + self._size].tolist()

  def _equal(
    self, words: np.ndarray, begins: np.ndarray, own_begins: np.ndarray
  ) -> np.ndarray:
    """Compares n-grams of `words` with n-grams of the texts, word by word.

    Args:
      words: word numbers.
      begins: positions in `words`, [n].
      own_begins: positions in the words of the texts, [n].

    Returns:
      bool [n].
    """
    is_equal = np.ones([len(begins)], bool)
    for offset in range(self._size):
      is_equal &= words[begins + offset] == self._words[own_begins + offset]
    return is_equal
