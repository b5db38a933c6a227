"""Prepares single data sets in worker processes, and describes the outcome."""

import dataclasses
import os
import threading
import time
from collections.abc import Mapping

from flan_tf.data import prepared_dataset
from flan_tf.prepare import download_plan, manifest, worker
from flan_tf.prepare.download_plan import PlannedDownload
from flan_tf.prepare.manifest import ManifestEntry, Status
from flan_tf.prepare.worker_processes import WorkerProcesses
from flan_tf.task import schema

# Folder of the logs in a data directory.
LOGS = "logs"


@dataclasses.dataclass(frozen=True)
class PreparationOutcome:
  """The outcome for one data set in this run.

  Attributes:
    entry: the new entry of the manifest.
    skipped: whether the data set was prepared before this run.
    seconds: duration.
  """

  entry: ManifestEntry
  skipped: bool = False
  seconds: float = 0.0


class DatasetPreparer:
  """Prepares data sets; may be called from several threads."""

  def __init__(
    self,
    data_dir: str,
    manual_dir: str,
    imports: tuple[str, ...],
    known: Mapping[str, ManifestEntry],
  ):
    """Configures the preparer.

    Args:
      data_dir: the TFDS directory to fill.
      manual_dir: folder of files that a person fetched.
      imports: modules that each worker process imports first.
      known: entries of the present manifest, by data set.
    """
    self._data_dir = data_dir
    self._manual_dir = manual_dir
    self._known = known
    self._lock = threading.Lock()
    self._processes = WorkerProcesses(data_dir, manual_dir, imports)

  def stop(self) -> None:
    """Terminates the running processes, and prevents further ones."""
    self._processes.stop()

  def prepare(self, planned: PlannedDownload) -> PreparationOutcome:
    """Prepares one data set. A failure is an outcome, too, and not raised."""
    start = time.monotonic()
    log = os.path.join(LOGS, planned.source.name.replace("/", "_") + ".log")
    try:
      entry = self._new_entry(planned, log)
    except Exception as error:  # TFDS raises many types.
      detail = (
        "The data set cannot be read. Remove its folder and start again.\n"
        f"{worker.short_error(error)}"
      )
      entry = manifest.new_entry(planned.source, Status.FAILED, detail, log=log)
    skipped = entry.status is Status.PREPARED and planned.dataset is not None
    return PreparationOutcome(entry, skipped, time.monotonic() - start)

  def _new_entry(self, planned: PlannedDownload, log: str) -> ManifestEntry:
    source = planned.source
    if planned.dataset:
      return self._known_entry(planned.dataset)
    if planned.status == Status.MANUAL:
      return manifest.new_entry(source, Status.MANUAL, planned.detail)
    result = self._processes.run(source, os.path.join(self._data_dir, log))
    status = Status(result["status"])
    if status is not Status.PREPARED:
      detail = self._failure_detail(source, status, result)
      return manifest.new_entry(source, status, detail, log=log)
    with self._lock:  # TFDS builders must be created by one thread at a time.
      dataset = prepared_dataset.open_dataset(source, self._data_dir)
    return manifest.describe_dataset(dataset, log)

  def _known_entry(
    self, dataset: prepared_dataset.PreparedDataset
  ) -> ManifestEntry:
    known = self._known.get(dataset.source.name)
    if (
      known
      and known.status is Status.PREPARED
      and known.path == manifest.relative_path(dataset)
    ):
      # It has the checksums from the time when the data set was prepared.
      # `verify` compares the present files with them.
      return known
    return manifest.describe_dataset(dataset)

  def _failure_detail(
    self, source: schema.Source, status: Status, result: Mapping[str, str]
  ) -> str:
    if status is Status.MANUAL:
      lines = [
        download_plan.manual_instructions(
          result["instructions"], self._manual_dir
        ),
        result["detail"],
      ]
    else:
      broken = source.broken.replace("<manual_dir>", self._manual_dir)
      lines = [result["detail"], broken]
    return "\n".join(filter(None, lines))
