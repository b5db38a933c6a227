"""Chooses the data-set rows that train, choose templates (dev) and test.

    Splits(dev="train", test="validation"), train 67,349 rows, validation 872

      train       [0:30000]        [67149:67349]
                   train cap         dev
      validation  [0:872]
                   test

The rules are the published ones if the splits are as large as published. Real
directories may have smaller splits or lack some. So ranges are computed from
the numbers of rows that are really there, and notes report every difference. No
row is in two of the three ranges.
"""

import dataclasses
from collections.abc import Mapping

from flan_tf.task import schema

TRAIN_CAP = 30_000
# A smaller test split is replaced by a larger one, if there is any.
_FEW_TEST_ROWS = 50
# Splits that may replace a missing test split. A split called "test" is not
# among them: if a task does not name it, its labels are hidden.
_HELD_BACK = ("validation", "dev")


@dataclasses.dataclass(frozen=True)
class RowRange:
  """The rows [start, stop) of a TFDS split."""

  split: str
  start: int
  stop: int

  def __len__(self) -> int:
    return self.stop - self.start

  def __str__(self) -> str:
    return f"{self.split}[{self.start}:{self.stop}]"


@dataclasses.dataclass(frozen=True)
class RowRanges:
  """Three disjoint ranges of a data set's rows.

  Attributes:
    train: rows to train on and to draw exemplars from.
    dev: rows that the best template is chosen with.
    test: rows whose scores are reported.
    notes: differences from the published rules.
  """

  train: RowRange
  dev: RowRange
  test: RowRange
  notes: tuple[str, ...] = ()


def choose_row_ranges(
  splits: schema.Splits,
  counts: Mapping[str, int],
  train_cap: int = TRAIN_CAP,
) -> RowRanges:
  """Turns the splits that a task names into row ranges.

  Dev is the last `dev_rows` of the training split (a fifth of it at most), or
  the first `dev_rows` of another split (half of it at most, if test comes from
  the same split). If the dev split is missing, dev is the end of the training
  split. If the test split is missing or nearly empty, test is validation, or
  else the end of the training split.

  If tasks share a training split, each has a stretch of its own, with as many
  rows as the cap and its dev rows at most, so that no row trains two tasks:

    train  [0:30000][30000:30200] [30200:60200][60200:60400] ... [-3000:]
            task 0   task 0's dev    task 1      task 1's dev     test of all

  Args:
    splits: the splits that the task names.
    counts: the number of rows of each split that is really there.
    train_cap: the maximum number of training rows.

  Raises:
    ValueError: `train_cap` is not positive.
  """
  if train_cap < 1:
    raise ValueError(f"train_cap is {train_cap}; it must be 1 or more.")
  rows = {name: count for name, count in counts.items() if count > 0}
  total = rows.get(splits.train, 0)
  dev_split, notes = _dev_split(splits, counts)
  test_split = _test_split(splits, rows, dev_split)
  test_from_train = test_split == splits.train

  # Test takes the end of the training split, and dev the rows before it.
  fifth = total // 5
  test_rows = min(splits.test_rows, fifth) if test_from_train else 0
  begin, end = _stretch(splits, total - test_rows)
  dev_start = end
  if dev_split == splits.train:
    dev_start = end - min(splits.dev_rows, fifth // splits.parts)
    dev = RowRange(dev_split, dev_start, end)
  else:
    available = rows[dev_split]
    if dev_split == test_split:
      available //= 2
    dev = RowRange(dev_split, 0, min(splits.dev_rows, available))
  train = RowRange(splits.train, begin, min(dev_start, begin + train_cap))
  if test_from_train:
    test = RowRange(test_split, total - test_rows, total)
  else:
    start = len(dev) if dev_split == test_split else 0
    test = RowRange(test_split, start, rows[test_split])

  if test_split != splits.test:
    reason = _why_not(counts, splits.test, rows.get(splits.test, 0))
    notes.append(f"test rows are {test}, because {splits.test} {reason}")
  return RowRanges(train, dev, test, tuple(notes))


def _dev_split(
  splits: schema.Splits, counts: Mapping[str, int]
) -> tuple[str, list[str]]:
  """Returns the split that dev rows come from, and notes on missing splits."""
  notes = []
  if splits.train and not counts.get(splits.train):
    reason = _why_not(counts, splits.train)
    notes.append(f"no training rows: split {splits.train!r} {reason}")
  if splits.dev == splits.train or counts.get(splits.dev):
    return splits.dev, notes
  reason = _why_not(counts, splits.dev)
  notes.append(
    f"dev rows are the tail of {splits.train}, because split"
    f" {splits.dev!r} {reason}"
  )
  return splits.train, notes


def _stretch(splits: schema.Splits, total: int) -> tuple[int, int]:
  """Returns [begin, end) of the training rows that one task may use."""
  if splits.parts == 1:
    return 0, total
  size = min(total // splits.parts, TRAIN_CAP + splits.dev_rows)
  return splits.part * size, (splits.part + 1) * size


def _test_split(
  splits: schema.Splits, rows: Mapping[str, int], dev_split: str
) -> str:
  """Returns the split that test rows come from."""
  if splits.test == splits.train:
    return splits.test

  def rows_left(split: str) -> int:
    """Counts the rows of a split that dev does not take."""
    count = rows.get(split, 0)
    if split == dev_split:
      count -= min(splits.dev_rows, count // 2)
    return count

  named = rows_left(splits.test)
  if named >= _FEW_TEST_ROWS:
    return splits.test
  candidates = [
    split
    for split in dict.fromkeys((splits.dev, *_HELD_BACK))
    if split not in (splits.train, splits.test)
  ]
  best = max(candidates, key=rows_left, default="")
  if best and rows_left(best) > named:
    return best
  return splits.test if named else splits.train


def _why_not(counts: Mapping[str, int], split: str, rows: int = 0) -> str:
  """Says why a split cannot be used as it is."""
  if rows:
    return f"has {rows} rows" if rows > 1 else "has 1 row"
  return "is empty" if split in counts else "is not there"
