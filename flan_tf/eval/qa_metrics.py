"""How short free answers are compared with right ones, each 0 to 1.

    squad       lower case, no punctuation, no articles
    trivia_qa   as squad, but punctuation and underscores become blanks
    drop        as squad word by word, hyphens split words, 7.0 is 7; a wrong
                number makes the answer wrong

Exact match says whether two texts are then equal; F1 compares the bags of
their words, in DROP the sets. Of several right answers the best one counts. The
rules are those of the data sets' own scripts (Rajpurkar et al. 2016 and 2018,
Joshi et al. 2017, Dua et al. 2019), to the last case that we know of; no
package offers them without a second deep-learning framework. Apart from them:

    SQuAD 2     where nobody could answer, the right answer is "unanswerable",
                as in the published tasks, and not an empty one
    DROP        TFDS keeps one span of several, so there is nothing to align;
                its dates, 2004-December-26, are read as 26 December 2004
    CoQA        TFDS keeps the answers of the first person alone
    QuAC        each person's answer is right; none is left out in turn
"""

import collections
import re
import string
from collections.abc import Callable, Sequence

_SCORE = Callable[[str, str], float]

_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
# TriviaQA's script also knows typographic quotes and the accents used as such.
_TRIVIA_PUNCTUATION = re.compile(
  f"[{re.escape(string.punctuation)}\u2018\u2019\u00b4`_]"
)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
# DROP's script writes a date as day, month, year; TFDS with hyphens instead.
_TFDS_DATE = re.compile(r"(\d{3,4})?-([^\W\d_]+)-(\d{1,2})")
_LIST_NUMBER = re.compile(r"^\s*\d+[.)]\s*")


def best(score: _SCORE, text: str, right: Sequence[str]) -> float:
  """The score against whichever right answer it is highest for."""
  return max(score(text, answer) for answer in right)


def exact(text: str, right: str) -> float:
  """Whether the texts are equal, apart from blanks at their ends."""
  return float(text.strip() == right.strip())


def squad_em(text: str, right: str) -> float:
  return float(_squad(text) == _squad(right))


def squad_f1(text: str, right: str) -> float:
  """
  >>> squad_f1("the Black Sea", "Black Sea coast")
  0.8
  """
  words, wanted = _squad(text).split(), _squad(right).split()
  if not words or not wanted:  # SQuAD 2; it was 0 before.
    return float(words == wanted)
  return _bag_f1(words, wanted)


def trivia_qa_em(text: str, right: str) -> float:
  return float(_trivia_qa(text) == _trivia_qa(right))


def trivia_qa_f1(text: str, right: str) -> float:
  return _bag_f1(_trivia_qa(text).split(), _trivia_qa(right).split())


def drop_em(text: str, right: str) -> float:
  return float(_drop(text) == _drop(right))


def drop_f1(text: str, right: str) -> float:
  """F1 of words, 0 where the right answer's numbers are missed altogether.

  DROP's script rounds it to two decimals.
  """
  words, wanted = set(_drop(text).split()), set(_drop(right).split())
  if not words or not wanted:
    return float(words == wanted)
  numbers = set(filter(_is_number, wanted))
  if numbers and not numbers & words:
    return 0.0
  return round(_f1(len(words & wanted), len(words), len(wanted)), 2)


def turn_f1(text: str, right: str) -> float:
  """Mean SQuAD F1 of numbered answers, line by line.

  Lines are matched by their place; a line that is missing, or too many, is 0:

    1. Anna          1. Anna
    2. to Rome       2. Rome, by train      (1 + 0.4 + 0) / 3
                     3. in May
  """
  given, wanted = _lines(text), _lines(right)
  longest = max(len(given), len(wanted))
  if not longest:
    return 1.0
  pairs = zip(given, wanted, strict=False)
  return sum(squad_f1(one, other) for one, other in pairs) / longest


def word_similarity(text: str, right: str) -> float:
  """1 - words to insert, delete or replace / words of the longer text."""
  from rapidfuzz.distance import Levenshtein

  return Levenshtein.normalized_similarity(text.split(), right.split())


def _squad(text: str) -> str:
  text = _PUNCTUATION.sub("", text.lower())
  return " ".join(_ARTICLES.sub(" ", text).split())


def _trivia_qa(text: str) -> str:
  text = _TRIVIA_PUNCTUATION.sub(" ", text.lower())
  return " ".join(_ARTICLES.sub(" ", text).split())


def _drop(text: str) -> str:
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
  """Whether Python reads it as one, like DROP's script: "nan" is one, too."""
  try:
    float(word)
  except ValueError:
    return False
  return True


def _bag_f1(words: list[str], wanted: list[str]) -> float:
  common = (collections.Counter(words) & collections.Counter(wanted)).total()
  return _f1(common, len(words), len(wanted))


def _f1(common: int, given: int, wanted: int) -> float:
  if not common:
    return 0.0
  precision, recall = common / given, common / wanted
  return 2 * precision * recall / (precision + recall)


def _lines(text: str) -> list[str]:
  lines = (_LIST_NUMBER.sub("", line).strip() for line in text.splitlines())
  return [line for line in lines if line]
