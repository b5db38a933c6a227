"""Plans the downloads of data sets, before anything is downloaded."""

import dataclasses
import os
from collections.abc import Iterable

from flan_tf.data import prepared_dataset
from flan_tf.prepare import worker
from flan_tf.task import schema


@dataclasses.dataclass(frozen=True)
class PlannedDownload:
  """A data set to prepare.

  Attributes:
    source: the data set.
    status: "prepared" (nothing to do), "manual" (a person has to fetch files),
      "downloadable", or "broken" (the download is known to fail; it is tried
      nevertheless).
    detail: a note for people: another version than requested, the files to
      fetch, or the known failure.
    dataset: the prepared data set; None if it is not prepared.
  """

  source: schema.Source
  status: str
  detail: str = ""
  dataset: prepared_dataset.PreparedDataset | None = None


def plan_downloads(
  sources: Iterable[schema.Source], data_dir: str, manual_dir: str = ""
) -> list[PlannedDownload]:
  """Plans each data set once; downloads nothing.

  Args:
    sources: data sets; of several with one name, the first one counts.
    data_dir: the TFDS directory.
    manual_dir: folder of files that a person fetched; see `manual_folder`.
  """
  data_dir = normalize_folder(data_dir)
  manual_dir = manual_folder(manual_dir, data_dir)
  distinct: dict[str, schema.Source] = {}
  for source in sources:
    distinct.setdefault(source.name, source)
  return [_plan(s, data_dir, manual_dir) for s in distinct.values()]


def manual_folder(manual_dir: str, data_dir: str) -> str:
  """Returns the folder of manually fetched files; TFDS's own by default."""
  return normalize_folder(manual_dir) or os.path.join(
    data_dir, "downloads", "manual"
  )


def normalize_folder(path: str | os.PathLike) -> str:
  """Expands the home folder and removes slashes at the end of a path."""
  return os.path.expanduser(os.fspath(path)).rstrip("/")


def manual_instructions(instructions: str, manual_dir: str) -> str:
  """Returns instructions for a person, with the folder filled in.

  Args:
    instructions: the task's or TFDS's text, perhaps with "<manual_dir>".
    manual_dir: folder of manually fetched files.
  """
  text = instructions.replace("<manual_dir>", manual_dir)
  if manual_dir in text:
    return f"{text}\nThen start again."
  return f"{text}\nPut it into {manual_dir} and start again."


def _plan(
  source: schema.Source, data_dir: str, manual_dir: str
) -> PlannedDownload:
  try:
    dataset = prepared_dataset.open_dataset(source, data_dir)
  except prepared_dataset.NotPreparedError:
    pass
  except Exception as error:  # TFDS raises many types for damaged metadata.
    detail = f"The data set cannot be read: {worker.short_error(error)}"
    return PlannedDownload(source, "broken", detail)
  else:
    notes = "; ".join(dataset.notes)
    return PlannedDownload(source, "prepared", notes, dataset)
  if source.manual and not source.hub and not worker.has_files(manual_dir):
    detail = manual_instructions(source.manual, manual_dir)
    return PlannedDownload(source, "manual", detail)
  if source.broken:
    detail = source.broken.replace("<manual_dir>", manual_dir)
    return PlannedDownload(source, "broken", detail)
  return PlannedDownload(source, "downloadable")
