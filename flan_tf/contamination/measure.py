"""Scores on dirty rows, which share words with a corpus, and on clean rows.

A row is dirty if the corpus contains one of its n-grams, else clean. As in the
paper, the method is that of appendix C of Brown et al. (2020):

    words     in lower case, without punctuation, separated by whitespace
    n         the 5th percentile of a task's row lengths in words, 8 to 13
    frequent  n-grams in more than 10 documents do not count
    result    score on clean rows relative to the score on all rows, in percent

In that appendix the limit of 10 documents belongs to the filter of the training
text, which the analysis checks. A row of fewer than n words is one n-gram.

    tasks = [read_scored_task(folder, "tuned", item) for item in opened]
    index = build_index(tasks)
    index.read(corpus.read_files(["books/*.txt"]))
    overlaps = measure_overlap(tasks, index)

A passage that the corpus contains says little if the questions about it are
new. With `slots` only some slots are compared, e.g. the questions.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from flan_tf.contamination.ngram_index import NgramIndex, ngram_size
from flan_tf.contamination.scored_rows import ScoredTask
from flan_tf.data import corpus

# Scores of fewer rows say almost nothing.
FEW_ROWS = 30


@dataclasses.dataclass(frozen=True)
class ContaminationConfig:
  """Settings that decide which rows are dirty.

  Attributes:
    size: number of words of an n-gram; 0 for the percentile of each task's row
      lengths.
    percentile: the percentile, 0 to 100.
    least: smallest n that the percentile gives.
    most: largest n that the percentile gives.
    frequent: n-grams in more documents do not count; 0 for no limit.
    shortest: rows of fewer words are always clean.
    slots: names of the slots of a row that are compared; empty for all. A task
      that has none of them is left out.

  Raises:
    ValueError: n-grams are larger than the corpus reader supports.
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
      if getattr(self, name) > corpus.REPEATED_WORDS:
        raise ValueError(
          f"{name} is {getattr(self, name)}; expected"
          f" {corpus.REPEATED_WORDS} words at most, because long documents are"
          " read in parts that overlap by so many words."
        )

  @property
  def max_documents(self) -> int | None:
    """Maximum number of documents of an n-gram that counts; None for any."""
    return self.frequent or None


@dataclasses.dataclass(frozen=True)
class TaskOverlap:
  """The overlap of a task's test rows with a corpus.

  Attributes:
    task: name of the task.
    metric: the headline metric.
    size: number of words of an n-gram.
    rows: number of test rows.
    short: number of rows with fewer words than an n-gram.
    dirty: numbers of the dirty rows.
    all_score: mean over templates of the metric, on all rows.
    clean_score: the same on the clean rows; None if there are none.
    dirty_score: the same on the dirty rows; None if there are none.
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
    """Number of clean rows."""
    return self.rows - len(self.dirty)

  @property
  def relative(self) -> float | None:
    """Clean score minus all score, in percent of the all score.

    None where that is undefined.
    """
    clean, every = self.clean_score, self.all_score
    if clean is None or not every or math.isnan(clean - every):
      return None
    return 100 * (clean - every) / every

  @property
  def note(self) -> str:
    """Warning about scores of few rows; "" if there are none."""
    few = [
      f"{rows} {name}"
      for name, rows in (("clean", self.clean), ("dirty", len(self.dirty)))
      if 0 < rows < FEW_ROWS
    ]
    return f"only {' and '.join(few)} rows" if few else ""

  def to_json(self) -> dict[str, Any]:
    return {
      "task": self.task,
      "metric": self.metric,
      "ngram_words": self.size,
      "rows": self.rows,
      "short_rows": self.short,
      "clean_rows": self.clean,
      "dirty_rows": len(self.dirty),
      "all": _none_if_nan(self.all_score),
      "clean": _none_if_nan(self.clean_score),
      "dirty": _none_if_nan(self.dirty_score),
      "clean_against_all_percent": _none_if_nan(self.relative),
      "note": self.note,
      "dirty_row_numbers": list(self.dirty),
    }


_DEFAULT = ContaminationConfig()


def build_index(
  tasks: Sequence[ScoredTask], config: ContaminationConfig = _DEFAULT
) -> NgramIndex:
  """Returns an index of the n-grams of all rows of all tasks, in this order."""
  texts, sizes = [], []
  for task in tasks:
    size = _ngram_size(task, config)
    for words in task.words:
      texts.append(words if len(words) >= config.shortest else [])
      sizes.append(size)
  return NgramIndex(texts, sizes)


def measure_overlap(
  tasks: Sequence[ScoredTask],
  index: NgramIndex,
  config: ContaminationConfig = _DEFAULT,
) -> list[TaskOverlap]:
  """Returns the overlap of each task, after the corpus was read.

  Args:
    tasks: the tasks.
    index: the index that `build_index` returned for them.
    config: the settings that the index was built with.

  Raises:
    ValueError: the corpus was empty.
  """
  if not index.words:
    raise ValueError(
      f"The corpus is empty: its {index.documents} documents have no words."
    )
  is_dirty = index.dirty_texts(config.max_documents)
  overlaps = []
  for task, texts in _texts_by_task(tasks):
    rows = np.array(task.rows)[is_dirty[texts.start : texts.stop]]
    dirty = frozenset(rows.tolist())
    size = _ngram_size(task, config)
    overlaps.append(
      TaskOverlap(
        task=task.task.name,
        metric=task.task.metrics[0],
        size=size,
        rows=len(task.rows),
        short=sum(len(words) < size for words in task.words),
        dirty=tuple(sorted(dirty)),
        all_score=task.mean_score(frozenset(task.rows)),
        clean_score=task.mean_score(frozenset(task.rows) - dirty),
        dirty_score=task.mean_score(dirty),
      )
    )
  return overlaps


def sample_matches(
  tasks: Sequence[ScoredTask],
  index: NgramIndex,
  config: ContaminationConfig = _DEFAULT,
  max_rows: int = 20,
  max_ngrams: int = 3,
) -> Iterator[dict[str, Any]]:
  """Yields some matching n-grams of each task, as JSON values for people.

  Args:
    tasks: the tasks.
    index: the index that `build_index` returned for them.
    config: the settings that the index was built with.
    max_rows: maximum number of dirty rows of a task.
    max_ngrams: maximum number of n-grams of a row.
  """
  is_dirty = index.dirty_texts(config.max_documents)
  for task, texts in _texts_by_task(tasks):
    dirty = [text for text in texts if is_dirty[text]]
    for text in dirty[:max_rows]:
      matches = index.matches(text, config.max_documents)
      for match in itertools.islice(matches, max_ngrams):
        yield {
          "task": task.task.name,
          "row": task.rows[text - texts.start],
          **match._asdict(),
        }


class _TaskTexts(NamedTuple):
  """A task, and the numbers of its rows in the index."""

  task: ScoredTask
  texts: range


def _texts_by_task(tasks: Sequence[ScoredTask]) -> Iterator[_TaskTexts]:
  begin = 0
  for task in tasks:
    end = begin + len(task.rows)
    yield _TaskTexts(task, range(begin, end))
    begin = end


def _ngram_size(task: ScoredTask, config: ContaminationConfig) -> int:
  if config.size:
    return config.size
  return ngram_size(
    [len(words) for words in task.words],
    config.percentile,
    config.least,
    config.most,
  )


def _none_if_nan(value: float | None) -> float | None:
  return None if value is None or math.isnan(value) else value
