"""Scores on the rows that a training corpus shares words with, and on the rest.

A row is dirty if one of its n-grams is in the corpus, else clean. The paper
does as appendix C of Brown et al. (2020), and so do we:

    words     in lower case, without punctuation, parted by blanks
    n         the 5th percentile of a task's row lengths in words, 8 to 13
    frequent  an n-gram of more than 10 documents does not count
    verdict   clean against all rows, in percent of the score on all

There the limit of 10 documents belongs to the filter of the training text, of
which the analysis is a check. A row of fewer than n words is a single n-gram.

    tasks = [evaluated.read_task(folder, "tuned", item) for item in planned]
    read = index(tasks)
    read.read(corpus.of_files(["books/*.txt"]))
    found = measure(tasks, read)

That a passage was seen says little where the questions on it are new: with
`slots` only the slots of these names are looked at, e.g. the questions.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flan_tf.contamination import ngram_index, scored_rows
from flan_tf.data import corpus

# Scores of fewer rows say next to nothing.
SMALL = 30


@dataclasses.dataclass(frozen=True)
class ContaminationConfig:
  """What counts as overlap.

  Attributes:
    size: words of an n-gram; 0 for the percentile of each task's rows.
    percentile: of the row lengths.
    least: smallest n of the percentile.
    most: largest n of the percentile.
    frequent: n-grams in more documents do not count; 0 for no limit.
    shortest: rows of fewer words are clean, whatever the corpus has.
    slots: only these slots of a row are looked at; empty for all. A task that
      has none of them is left out.
  """

  size: int = 0
  percentile: float = 5.0
  least: int = 8
  most: int = 13
  frequent: int = 10
  shortest: int = 1
  slots: tuple[str, ...] = ()

  def __post_init__(self):
    for name in ("size", "most"):
      if getattr(self, name) > corpus.CARRIED:
        raise ValueError(
          f"{name} is {getattr(self, name)}; expected {corpus.CARRIED} words at"
          " most: a longer run may fall between two parts of a long text."
        )


@dataclasses.dataclass(frozen=True)
class TaskOverlap:
  """What the corpus shares with a task.

  Attributes:
    task: its name.
    metric: the headline metric.
    size: n, in words.
    rows: how many test rows were evaluated.
    short: how many of them have fewer than n words.
    dirty: the numbers of the dirty rows.
    all_score: mean over templates of the metric, on all rows.
    clean_score: on the clean rows; None if there are none.
    dirty_score: on the dirty rows; None if there are none.
  """

  task: str
  metric: str
  size: int
  rows: int
  short: int
  dirty: tuple[int, ...]
  all_score: float | None
  clean_score: float | None
  dirty_score: float | None

  @property
  def clean(self) -> int:
    """How many rows are clean."""
    return self.rows - len(self.dirty)

  @property
  def relative(self) -> float | None:
    """100 (clean - all) / all; None where that is undefined."""
    clean, whole = self.clean_score, self.all_score
    if clean is None or not whole or math.isnan(clean - whole):
      return None
    return 100 * (clean - whole) / whole

  @property
  def note(self) -> str:
    """Says which scores are of too few rows; "" where none is."""
    small = [
      f"{rows} {name}"
      for name, rows in (("clean", self.clean), ("dirty", len(self.dirty)))
      if 0 < rows < SMALL
    ]
    return f"only {' and '.join(small)} rows" if small else ""

  def to_json(self) -> dict[str, Any]:
    return {
      "task": self.task,
      "metric": self.metric,
      "ngram_words": self.size,
      "rows": self.rows,
      "short_rows": self.short,
      "clean_rows": self.clean,
      "dirty_rows": len(self.dirty),
      "all": _null(self.all_score),
      "clean": _null(self.clean_score),
      "dirty": _null(self.dirty_score),
      "clean_against_all_percent": _null(self.relative),
      "note": self.note,
      "dirty_row_numbers": list(self.dirty),
    }


def sizes(
  tasks: Sequence[scored_rows.EvaluatedTask], settings: ContaminationConfig
) -> list[int]:
  """The n of each task."""
  return [
    settings.size
    or ngram_index.size_of(
      [len(text) for text in task.texts],
      settings.percentile,
      settings.least,
      settings.most,
    )
    for task in tasks
  ]


def index(
  tasks: Sequence[scored_rows.EvaluatedTask],
  settings: ContaminationConfig = ContaminationConfig(),
) -> ngram_index.Index:
  """The n-grams of all rows, to be looked up in a corpus."""
  found = zip(tasks, sizes(tasks, settings), strict=True)
  pairs = [
    (text if len(text) >= settings.shortest else [], size)
    for task, size in found
    for text in task.texts
  ]
  return ngram_index.Index([text for text, _ in pairs], [n for _, n in pairs])


def measure(
  tasks: Sequence[scored_rows.EvaluatedTask],
  read: ngram_index.Index,
  settings: ContaminationConfig = ContaminationConfig(),
) -> list[TaskOverlap]:
  """The verdict on each task, once the corpus was read.

  Raises:
    ValueError: the corpus was empty.
  """
  if not read.words:
    raise ValueError(
      f"The corpus is empty: {read.documents} documents without a word."
    )
  dirty = read.dirty(settings.frequent or None)
  first, found = 0, []
  for task, size in zip(tasks, sizes(tasks, settings), strict=True):
    of_task = dirty[first : first + len(task.rows)]
    first += len(task.rows)
    rows = np.array(task.rows)
    bad = frozenset(rows[of_task].tolist())
    found.append(
      TaskOverlap(
        task=task.task.name,
        metric=task.task.metrics[0],
        size=size,
        rows=len(rows),
        short=sum(len(text) < size for text in task.texts),
        dirty=tuple(sorted(bad)),
        all_score=task.score(frozenset(task.rows)),
        clean_score=task.score(frozenset(task.rows) - bad),
        dirty_score=task.score(bad),
      )
    )
  return found


def examples(
  tasks: Sequence[scored_rows.EvaluatedTask],
  read: ngram_index.Index,
  settings: ContaminationConfig = ContaminationConfig(),
  rows: int = 20,
  ngrams: int = 3,
) -> Iterator[dict[str, Any]]:
  """A few n-grams of a few dirty rows of each task, for people to look at."""
  frequent, first = settings.frequent or None, 0
  dirty = read.dirty(frequent)
  for task in tasks:
    of_task = np.flatnonzero(dirty[first : first + len(task.rows)])
    for text in of_task[:rows].tolist():
      matches = read.matches(first + text, frequent)
      for match in itertools.islice(matches, ngrams):
        yield {
          "task": task.task.name,
          "row": task.rows[text],
          **match._asdict(),
        }
    first += len(task.rows)


def _null(value: float | None) -> float | None:
  return None if value is None or math.isnan(value) else value
