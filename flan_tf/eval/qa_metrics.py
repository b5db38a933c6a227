"""Scores of short free answers against right ones, each 0 to 1.

Texts are normalized before they are compared:

    squad       lower case, no punctuation, no articles
    trivia_qa   as squad, but punctuation and underscores become spaces
    drop        as squad word by word; hyphens split words; 7.0 equals 7; an
                answer without any of the right numbers scores 0

Exact match compares the normalized texts; F1 compares the bags of their words,
for DROP the sets. Among several right answers the best score counts. The rules
are those of the data sets' own scripts (Rajpurkar et al. 2016 and 2018, Joshi
et al. 2017, Dua et al. 2019), because no package offers them without a second
deep-learning framework. Known differences:

    SQuAD 2     where nobody could answer, the right answer is "unanswerable",
                as in the published tasks, and not an empty text
    DROP        TFDS keeps one of several spans, so no spans are aligned; a
                date of TFDS, 2004-December-26, is read as 26 December 2004
    CoQA        TFDS keeps only the answers of the first person
    QuAC        the answer of each person is right; the original script leaves
                out one person at a time
"""

import collections
import re
import string
from collections.abc import Callable, Sequence

_Score = Callable[[str, str], float]

_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
# The script of TriviaQA also removes typographic quotes and accents used as
# quotes.
_TRIVIA_PUNCTUATION = re.compile(
  f"[{re.escape(string.punctuation)}\u2018\u2019\u00b4`_]"
)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
# The script of DROP writes a date as day, month, year; TFDS with hyphens.
_TFDS_DATE = re.compile(r"(\d{3,4})?-([^\W\d_]+)-(\d{1,2})")
_LIST_NUMBER = re.compile(r"^\s*\d+[.)]\s*")


def best_score(score: _Score, text: str, references: Sequence[str]) -> float:
  """Returns the highest score of a text against any of its references."""
  return max(score(text, reference) for reference in references)


def exact_match(text: str, reference: str) -> float:
  """Returns 1 if the texts are equal, apart from spaces at their ends."""
  return float(text.strip() == reference.strip())


def squad_em(text: str, reference: str) -> float:
  """Returns 1 if the texts are equal after SQuAD's normalization."""
  return float(_normalize_squad(text) == _normalize_squad(reference))


def squad_f1(text: str, reference: str) -> float:
  """Returns F1 of the bags of words after SQuAD's normalization.

  >>> squad_f1("the Black Sea", "Black Sea coast")
  0.8
  """
  words = _normalize_squad(text).split()
  right = _normalize_squad(reference).split()
  if not words or not right:
    # The rule of SQuAD 2; the script of SQuAD 1 gives 0.
    return float(words == right)
  return _bag_f1(words, right)


def trivia_qa_em(text: str, reference: str) -> float:
  """Returns 1 if the texts are equal after TriviaQA's normalization."""
  return float(_normalize_trivia_qa(text) == _normalize_trivia_qa(reference))


def trivia_qa_f1(text: str, reference: str) -> float:
  """Returns F1 of the bags of words after TriviaQA's normalization."""
  return _bag_f1(
    _normalize_trivia_qa(text).split(), _normalize_trivia_qa(reference).split()
  )


def drop_em(text: str, reference: str) -> float:
  """Returns 1 if the texts are equal after DROP's normalization."""
  return float(_normalize_drop(text) == _normalize_drop(reference))


def drop_f1(text: str, reference: str) -> float:
  """Returns F1 of the sets of words after DROP's normalization.

  It is 0 if the reference has numbers and the text has none of them. As in
  DROP's script, it is rounded to two decimals.
  """
  words = set(_normalize_drop(text).split())
  right = set(_normalize_drop(reference).split())
  if not words or not right:
    return float(words == right)
  numbers = set(filter(_is_number, right))
  if numbers and not numbers & words:
    return 0.0
  return round(_f1(len(words & right), len(words), len(right)), 2)


def turn_f1(text: str, reference: str) -> float:
  """Returns the mean SQuAD F1 of numbered answers, line by line.

  Lines are matched by their position. A missing or extra line counts as 0:

    1. Anna          1. Anna
    2. to Rome       2. Rome, by train      (1 + 0.4 + 0) / 3
                     3. in May
  """
  lines, right = _unnumbered_lines(text), _unnumbered_lines(reference)
  longest = max(len(lines), len(right))
  if not longest:
    return 1.0
  pairs = zip(lines, right, strict=False)
  return sum(squad_f1(line, answer) for line, answer in pairs) / longest


def word_similarity(text: str, reference: str) -> float:
  """Returns 1 - edit distance in words / words of the longer text."""
  from rapidfuzz.distance import Levenshtein

  return Levenshtein.normalized_similarity(text.split(), reference.split())


def _normalize_squad(text: str) -> str:
  text = _PUNCTUATION.sub("", text.lower())
  return " ".join(_ARTICLES.sub(" ", text).split())


def _normalize_trivia_qa(text: str) -> str:
  text = _TRIVIA_PUNCTUATION.sub(" ", text.lower())
  return " ".join(_ARTICLES.sub(" ", text).split())


def _normalize_drop(text: str) -> str:
  date = _TFDS_DATE.fullmatch(text.strip())
  if date:
    text = " ".join(filter(None, reversed(date.groups())))
  words = []
  for word in re.split(r"[ \-]", text.lower()):
    if not _is_number(word):
      word = _PUNCTUATION.sub("", word)
    if _is_number(word):
      word = str(float(word))
    words += _ARTICLES.sub(" ", word).split()
  return " ".join(words)


def _is_number(word: str) -> bool:
  """Returns whether Python reads the word as a number, as in DROP's script.

  So "nan" is a number, too.
  """
  try:
    float(word)
  except ValueError:
    return False
  return True


def _bag_f1(words: list[str], right: list[str]) -> float:
  common = (collections.Counter(words) & collections.Counter(right)).total()
  return _f1(common, len(words), len(right))


def _f1(common: int, predicted: int, right: int) -> float:
  """Returns F1 for numbers of words: common, in the prediction, and right."""
  if not common:
    return 0.0
  precision, recall = common / predicted, common / right
  return 2 * precision * recall / (precision + recall)


def _unnumbered_lines(text: str) -> list[str]:
  lines = (_LIST_NUMBER.sub("", line).strip() for line in text.splitlines())
  return [line for line in lines if line]
