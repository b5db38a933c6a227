"""Checks which tasks can be read from a TFDS directory.

status         meaning                                   detail
prepared       the data set is there                     differences from
                                                         the published one
downloadable   one command downloads and prepares it     that command
manual         a person has to download files first      where and how
broken         its download is known to fail             a way around that
damaged        files are not as they were written        the damaged file
"""

from collections.abc import Iterable, Sequence
from typing import Any

from flan_tf.data import opened_tasks, rows
from flan_tf.data.prepared_dataset import DamagedDatasetError
from flan_tf.task import schema

# Parts with fewer rows get a note, because scores on few rows are unreliable.
_FEW_ROWS = 50

PREPARED: str = "prepared"
DOWNLOADABLE: str = "downloadable"
MANUAL: str = "manual"
BROKEN: str = "broken"
DAMAGED: str = "damaged"
_STATUSES = (PREPARED, DOWNLOADABLE, MANUAL, BROKEN, DAMAGED)

_PARTS = ("train", "dev", "test")


def check_tasks(tasks: Iterable[schema.Task], data_dir: str) -> dict[str, Any]:
  """Opens every task's data set, and compares its files with its metadata.

  At most one row of each split is read; `launch.prepare --verify` compares
  whole files with their checksums. A damaged data set is one entry of the
  result, like the others.

  Returns:
    `data_dir`, `datasets` {status: number of the paper's 62 data sets} and
    `tasks` [{`name`, `dataset`, `cluster`, `status`, `detail`, `train`, `dev`,
    `test`}]. The last three are row ranges, or "" if nothing is prepared.
  """
  tasks = tuple(tasks)
  entries = [_entry(task, data_dir) for task in tasks]
  return {
    "data_dir": data_dir,
    "datasets": _count_datasets(tasks, entries),
    "tasks": entries,
  }


def format_availability(checked: dict[str, Any]) -> str:
  """Formats the result of `check_tasks` for a terminal."""
  lines = [f"In {checked['data_dir']}:"]
  width = max(len(entry["name"]) for entry in checked["tasks"])
  for entry in checked["tasks"]:
    if entry["status"] == PREPARED:
      ranges = [f"{part} {entry[part]}" for part in _PARTS if entry[part]]
      lines.append(f"  {entry['name']:{width}}  {', '.join(ranges)}")
      notes = filter(None, entry["detail"].split("\n"))
      lines += [f"  {'':{width}}  ! {note}" for note in notes]
  for status in _STATUSES[1:]:
    missing = [e for e in checked["tasks"] if e["status"] == status]
    if missing:
      title = "Damaged" if status == DAMAGED else f"Not prepared, {status}"
      lines += ["", f"{title}:"]
    for entry in missing:
      lines.append(f"  {entry['name']}")
      lines += [f"    {line}" for line in entry["detail"].split("\n")]
  counts = checked["datasets"]
  summary = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
  return "\n".join([*lines, "", f"{sum(counts.values())} data sets: {summary}"])


def _entry(task: schema.Task, data_dir: str) -> dict[str, str]:
  """Opens the data set of one task and describes it."""
  try:
    opened, left_out = opened_tasks.open_tasks([task], data_dir)
    for item in opened:
      for split, count in item.dataset.counts.items():
        if count:
          rows.check_split(item.dataset, split)
  except (DamagedDatasetError, rows.DataCorruptionError) as error:
    return _unusable_entry(task, DAMAGED, str(error))
  if left_out:
    return _missing_entry(task, left_out[task.name])
  return _prepared_entry(opened[0])


def _prepared_entry(item: opened_tasks.OpenedTask) -> dict[str, str]:
  splits = item.task.source.splits
  # A task may name no split for a part: wsc273 has neither train nor dev.
  ranges = {
    part: getattr(item.ranges, part) for part in _PARTS if getattr(splits, part)
  }
  expected = {"train": _FEW_ROWS, "dev": min(_FEW_ROWS, splits.dev_rows)}
  small = [
    f"{len(rows) or 'no'} {part} row{'' if len(rows) == 1 else 's'} only"
    for part, rows in ranges.items()
    if len(rows) < expected.get(part, _FEW_ROWS)
  ]
  return {
    **_names(item.task),
    "status": PREPARED,
    "detail": "\n".join([*item.notes, *small]),
    **dict.fromkeys(_PARTS, ""),
    **{part: str(rows) for part, rows in ranges.items() if len(rows)},
  }


def _missing_entry(task: schema.Task, reason: str) -> dict[str, str]:
  source = task.source
  if source.manual:
    status = MANUAL
  else:
    status = BROKEN if source.broken else DOWNLOADABLE
  return _unusable_entry(task, status, reason)


def _unusable_entry(
  task: schema.Task, status: str, detail: str
) -> dict[str, str]:
  return {
    **_names(task),
    "status": status,
    "detail": detail,
    **dict.fromkeys(_PARTS, ""),
  }


def _names(task: schema.Task) -> dict[str, str]:
  return {"name": task.name, "dataset": task.dataset, "cluster": task.cluster}


def _count_datasets(
  tasks: Sequence[schema.Task], entries: Sequence[dict[str, str]]
) -> dict[str, int]:
  """Counts the data sets of the paper by status."""
  status_of: dict[str, str] = {}
  for task, entry in zip(tasks, entries, strict=True):
    if not task.extra:
      # A data set with several configs is prepared if all configs are.
      worst = status_of.get(task.dataset, PREPARED)
      status_of[task.dataset] = entry["status"] if worst == PREPARED else worst
  counts: dict[str, int] = {status: 0 for status in _STATUSES}
  for status in status_of.values():
    counts[status] += 1
  return counts
