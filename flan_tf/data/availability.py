"""What of the tasks can be read from a directory, and what it would take.

prepared      it is there; the detail says what departs from the published
downloadable  one command fetches and prepares it
manual        a person has to fetch files first
broken        the download is known to fail; the detail knows a way out
"""

from collections.abc import Iterable
from typing import Any

from flan_tf.data import pipeline
from flan_tf.task import schema

# Fewer rows are named: a score of so few says little.
_FEW = 50

PREPARED: str = "prepared"
DOWNLOADABLE: str = "downloadable"
MANUAL: str = "manual"
BROKEN: str = "broken"


def check(tasks: Iterable[schema.Task], data_dir: str) -> dict[str, Any]:
  """Opens every task's data set; reads no row.

  Returns:
    `data_dir`, `datasets` {status: data sets of the paper's 62} and `tasks`
    [{`name`, `dataset`, `cluster`, `status`, `detail`, `train`, `dev`,
    `test`}], the last three as row ranges, "" where nothing is prepared.
  """
  tasks = tuple(tasks)
  planned, missing = pipeline.plan_tasks(tasks, data_dir)
  by_name = {item.task.name: item for item in planned}
  found = []
  for task in tasks:
    if task.name in by_name:
      found.append(_prepared(by_name[task.name]))
    else:
      found.append(_missing(task, missing[task.name]))
  return {
    "data_dir": data_dir,
    "datasets": _by_dataset(tasks, found),
    "tasks": found,
  }


def text(found: dict[str, Any]) -> str:
  """A check for a terminal: what is there, and below it what is not."""
  lines = [f"In {found['data_dir']}:"]
  width = max(len(task["name"]) for task in found["tasks"])
  for task in found["tasks"]:
    if task["status"] == PREPARED:
      parts = (
        f"{part} {task[part]}"
        for part in ("train", "dev", "test")
        if task[part]
      )
      lines.append(f"  {task['name']:{width}}  {', '.join(parts)}")
      notes = filter(None, task["detail"].split("\n"))
      lines += [f"  {'':{width}}  ! {note}" for note in notes]
  for status in (DOWNLOADABLE, MANUAL, BROKEN):
    of_status = [t for t in found["tasks"] if t["status"] == status]
    if of_status:
      lines += ["", f"Not prepared, {status}:"]
    for task in of_status:
      lines.append(f"  {task['name']}")
      lines += [f"    {line}" for line in task["detail"].split("\n")]
  counts = found["datasets"]
  summary = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
  return "\n".join([*lines, "", f"{sum(counts.values())} data sets: {summary}"])


def _prepared(item: pipeline.PlannedTask) -> dict[str, str]:
  plan, named = item.plan, item.task.source.splits
  parts = {
    part: rows
    for part, split, rows in (
      ("train", named.train, plan.train),
      ("dev", named.dev, plan.dev),
      ("test", named.test, plan.test),
    )
    if split  # wsc273 names no train and no dev
  }
  small = [
    f"{len(rows) or 'no'} {part} row{'' if len(rows) == 1 else 's'} only"
    for part, rows in parts.items()
    if len(rows) < min(_FEW, named.dev_rows if part == "dev" else _FEW)
  ]
  return {
    **_names(item.task),
    "status": PREPARED,
    "detail": "\n".join([*item.notes, *small]),
    **dict.fromkeys(("train", "dev", "test"), ""),
    **{part: str(rows) for part, rows in parts.items() if len(rows)},
  }


def _missing(task: schema.Task, reason: str) -> dict[str, str]:
  source = task.source
  if source.manual:
    status = MANUAL
  else:
    status = BROKEN if source.broken else DOWNLOADABLE
  return {
    **_names(task),
    "status": status,
    "detail": reason,
    "train": "",
    "dev": "",
    "test": "",
  }


def _names(task: schema.Task) -> dict[str, str]:
  return {"name": task.name, "dataset": task.dataset, "cluster": task.cluster}


def _by_dataset(tasks, found) -> dict[str, int]:
  """How many of the data sets that the paper counts have which status."""
  status_of: dict[str, str] = {}
  for task, entry in zip(tasks, found, strict=True):
    if not task.extra:
      # A data set of several configs is there where all of them are.
      worst = status_of.get(task.dataset, PREPARED)
      status_of[task.dataset] = entry["status"] if worst == PREPARED else worst
  counts = dict.fromkeys((PREPARED, DOWNLOADABLE, MANUAL, BROKEN), 0)
  for status in status_of.values():
    counts[status] += 1
  return counts
