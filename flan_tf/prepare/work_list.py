"""What there is to do for each data set, before anything is downloaded."""

import dataclasses
import os
from collections.abc import Iterable

from flan_tf.data import rows
from flan_tf.prepare import worker
from flan_tf.task import schema


@dataclasses.dataclass(frozen=True)
class Planned:
  """What there is to do for a data set.

  Attributes:
    source: of the tasks.
    status: `prepared` (it is there), `manual` (a person has to fetch it),
      `downloadable`, or `broken` (tried, though it is known to fail).
    detail: the version that differs, what to fetch, or how it fails.
    dataset: if it is there.
  """

  source: schema.Source
  status: str
  detail: str = ""
  dataset: rows.Dataset | None = None


def manual_folder(manual_dir: str, data_dir: str) -> str:
  """Where files lie that a person fetched; by default, where TFDS looks."""
  return folder(manual_dir) or os.path.join(data_dir, "downloads", "manual")


def plan(
  sources: Iterable[schema.Source], data_dir: str, manual_dir: str = ""
) -> list[Planned]:
  """Says what there is to do, once for each data set; downloads nothing."""
  data_dir = folder(data_dir)
  manual_dir = manual_folder(manual_dir, data_dir)
  distinct: dict[str, schema.Source] = {}
  for source in sources:
    distinct.setdefault(source.name, source)
  return [_planned(s, data_dir, manual_dir) for s in distinct.values()]


def folder(path: str | os.PathLike) -> str:
  """A path as it is compared and shown: with its home, without a last slash."""
  return os.path.expanduser(os.fspath(path)).rstrip("/")


def for_a_person(instructions: str, manual_dir: str) -> str:
  """Instructions, with the folder in the place of their "<manual_dir>"."""
  text = instructions.replace("<manual_dir>", manual_dir)
  if manual_dir in text:
    return f"{text}\nThen start again."
  return f"{text}\nPut it into {manual_dir} and start again."


def _planned(source: schema.Source, data_dir: str, manual_dir: str) -> Planned:
  try:
    dataset = rows.open_dataset(source, data_dir)
  except rows.NotPreparedError:
    pass
  except Exception as error:  # Of TFDS, where its metadata are damaged.
    detail = worker.first_lines(error)
    return Planned(source, "broken", f"What is there cannot be read: {detail}")
  else:
    notes = "; ".join(dataset.notes)
    return Planned(source, "prepared", notes, dataset)
  if source.manual and not source.hub:
    if not worker.is_filled(manual_dir):
      return Planned(source, "manual", for_a_person(source.manual, manual_dir))
  if source.broken:
    broken = source.broken.replace("<manual_dir>", manual_dir)
    return Planned(source, "broken", broken)
  return Planned(source, "downloadable")
