"""Which rows train, which choose templates (dev) and which are reported (test).

    Splits(dev="train", test="validation"), train 67,349 rows, validation 872

      train       [0:30000]        [67149:67349]
                   train cap         dev
      validation  [0:872]
                   test

The rules are the published ones where the splits are as large as published.
Real directories are smaller or lack splits, so the plan is made from the real
counts, and says where it departs. No row is ever in two of the three.
"""

import dataclasses
from collections.abc import Mapping

from flan_tf.task import schema

TRAIN_CAP = 30_000
# A smaller test split is replaced where something larger is held back.
_FEW_TEST_ROWS = 50
# Splits that may stand in for a missing test split. Never one named "test":
# where a task does not name it, its labels are hidden.
_HELD_BACK = ("validation", "dev")


@dataclasses.dataclass(frozen=True)
class RowRange:
  """Rows [start, stop) of a split."""

  split: str
  start: int
  stop: int

  def __len__(self) -> int:
    return self.stop - self.start

  def __str__(self) -> str:
    return f"{self.split}[{self.start}:{self.stop}]"


@dataclasses.dataclass(frozen=True)
class SplitPlan:
  """Three disjoint row ranges, and what departs from the published rules."""

  train: RowRange
  dev: RowRange
  test: RowRange
  notes: tuple[str, ...] = ()


def plan_splits(
  source_splits: schema.Splits,
  counts: Mapping[str, int],
  train_cap: int = TRAIN_CAP,
) -> SplitPlan:
  """Turns the splits that a task names into row ranges.

  Args:
    source_splits: the splits that the task names.
    counts: rows of each split that is really there.
    train_cap: most training rows to keep.

  Returns:
    The plan. Dev is the last `dev_rows` of the training split (a fifth of it
    at most) or the first of another split (half of it at most where test comes
    from the same). A missing dev split gives way to the tail of train; a
    missing or nearly empty test split to validation, then to the tail of train.

    Tasks that share a training split have a stretch of it each, of the cap and
    its dev rows at most, so that no row trains two of them:

      train  [0:30000][30000:30200] [30200:60200][60200:60400] ... [-3000:]
                 0        0's dev        1           1's dev      test of all
  """
  if train_cap < 1:
    raise ValueError(f"train_cap is {train_cap}; it must be 1 or more.")
  named, notes = source_splits, []
  rows = {name: count for name, count in counts.items() if count > 0}
  total = rows.get(named.train, 0)
  if named.train and not total:
    notes.append(
      f"no training rows: split {named.train!r} {_lack(counts, named.train)}"
    )

  dev_split = named.dev
  if dev_split != named.train and dev_split not in rows:
    notes.append(
      f"dev rows are the tail of {named.train}, because split {dev_split!r}"
      f" {_lack(counts, dev_split)}"
    )
    dev_split = named.train
  test_split = _test_split(named, rows, dev_split)

  # Rows given up by train; test stands at the very end.
  fifth = total // 5
  own_test = min(named.test_rows, fifth) if test_split == named.train else 0
  begin, end = _stretch(named, total - own_test)
  own_dev = min(named.dev_rows, fifth // named.parts)
  dev_start = end - (own_dev if dev_split == named.train else 0)
  train = RowRange(named.train, begin, min(dev_start, begin + train_cap))

  if dev_split == named.train:
    dev = RowRange(dev_split, dev_start, end)
  else:
    available = rows[dev_split]
    if dev_split == test_split:
      available //= 2
    dev = RowRange(dev_split, 0, min(named.dev_rows, available))
  if test_split == named.train:
    test = RowRange(test_split, total - own_test, total)
  else:
    start = len(dev) if dev_split == test_split else 0
    test = RowRange(test_split, start, rows[test_split])

  if test_split != named.test:
    notes.append(
      f"test rows are {test}, because {named.test}"
      f" {_lack(counts, named.test, rows.get(named.test, 0))}"
    )
  return SplitPlan(train, dev, test, tuple(notes))


def _stretch(named: schema.Splits, total: int) -> tuple[int, int]:
  """[begin, end) of a training split that is one task's own."""
  if named.parts == 1:
    return 0, total
  size = min(total // named.parts, TRAIN_CAP + named.dev_rows)
  return named.part * size, (named.part + 1) * size


def _test_split(
  named: schema.Splits, rows: Mapping[str, int], dev_split: str
) -> str:
  """The split that test rows come from."""
  if named.test == named.train:
    return named.test
  own = rows.get(named.test, 0)
  if named.test == dev_split:
    own -= min(named.dev_rows, own // 2)
  if own >= _FEW_TEST_ROWS:
    return named.test

  def share(split: str) -> int:
    count = rows.get(split, 0)
    return (
      count - min(named.dev_rows, count // 2) if split == dev_split else count
    )

  candidates = [
    split
    for split in dict.fromkeys((named.dev, *_HELD_BACK))
    if split not in (named.train, named.test)
  ]
  best = max(candidates, key=share, default="")
  if best and share(best) > own:
    return best
  return named.test if own else named.train


def _lack(counts: Mapping[str, int], split: str, rows: int = 0) -> str:
  if rows:
    return f"has {rows} rows" if rows > 1 else "has 1 row"
  return "is empty" if split in counts else "is not there"
