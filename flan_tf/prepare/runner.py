"""Prepares the data sets of tasks: downloads them and writes TFDS directories.

Each data set has a process of its own (`flan_tf.prepare.worker`), so that one
that fails, or that is killed because memory is short, does not end the others.
Prepared data sets are skipped. TFDS writes into a temporary folder, renames it
at the end and keeps its downloads, so that a stopped run can be started again.

    sources --plan_downloads--> prepared | manual | downloadable | broken
            --prepare_datasets--> one process each --> manifest, logs/NAME.log
"""

import concurrent.futures
import contextlib
import importlib.util
import os
import re
from collections.abc import Callable, Generator, Iterable, Sequence

import tensorflow as tf

from flan_tf import write_lock
from flan_tf.prepare import download_plan, manifest
from flan_tf.prepare.dataset_preparer import (
  LOGS,
  DatasetPreparer,
  PreparationOutcome,
)
from flan_tf.prepare.download_plan import PlannedDownload
from flan_tf.task import schema

# Called with each outcome, the number of outcomes so far, and their total.
OnDone = Callable[[PreparationOutcome, int, int], None]


def prepare_datasets(
  sources: Iterable[schema.Source],
  data_dir: str,
  *,
  manual_dir: str = "",
  jobs: int = 2,
  imports: Sequence[str] = (),
  on_done: OnDone | None = None,
) -> list[PreparationOutcome]:
  """Prepares data sets and writes the manifest.

  A data set that fails does not end the run.

  Args:
    sources: data sets; of several with one name, the first one is prepared.
    data_dir: the TFDS directory to fill, local or gs://.
    manual_dir: folder of files that a person fetched; by default
      `data_dir`/downloads/manual.
    jobs: number of processes at a time. The configs of one data set share
      downloads, so that they are prepared one after another.
    imports: modules that each process imports first, e.g. one that defines
      your own TFDS data sets.
    on_done: called after each data set.

  Returns:
    The outcome of each data set, in the order in which they ended. A failure
    is an outcome, too, and not raised.

  Raises:
    ValueError: an argument is invalid, or the manifest cannot be read.
    LockedError: another run prepares data in `data_dir`.
  """
  if jobs < 1:
    raise ValueError(f"jobs is {jobs}; expected 1 or more.")
  for module in imports:
    if importlib.util.find_spec(module.partition(".")[0]) is None:
      raise ValueError(
        f"There is no module {module!r} to import. Is its folder on PYTHONPATH?"
      )
  data_dir = download_plan.normalize_folder(data_dir)
  manual_dir = download_plan.manual_folder(manual_dir, data_dir)
  tf.io.gfile.makedirs(os.path.join(data_dir, LOGS))
  with write_lock.hold(data_dir, "preparing data sets"):
    entries = manifest.read_manifest(data_dir)
    planned = download_plan.plan_downloads(sources, data_dir, manual_dir)
    preparer = DatasetPreparer(
      data_dir, manual_dir, tuple(imports), dict(entries)
    )
    outcomes: list[PreparationOutcome] = []
    with contextlib.closing(_in_parallel(preparer, planned, jobs)) as ended:
      for outcome in ended:
        outcomes.append(outcome)
        entries[outcome.entry.source] = outcome.entry
        manifest.write_manifest(data_dir, entries.values())
        if on_done:
          on_done(outcome, len(outcomes), len(planned))
  return outcomes


def verify_datasets(
  data_dir: str, names: Iterable[str] = (), jobs: int = 2
) -> dict[str, list[str]]:
  """Compares the files of prepared data sets with the manifest.

  Args:
    data_dir: a directory with a manifest.
    names: data sets to compare; all if empty. Those that are not prepared are
      left out.
    jobs: number of data sets that are read at a time.

  Returns:
    For each compared data set, a sentence for each file that differs.

  Raises:
    FileNotFoundError: there is no manifest.
    ValueError: the manifest cannot be read.
  """
  data_dir = download_plan.normalize_folder(data_dir)
  path = manifest.manifest_path(data_dir)
  if not tf.io.gfile.exists(path):
    raise FileNotFoundError(
      f"There is no {path}, so that there is nothing to compare with. `python"
      f" -m launch.prepare --tfds_data_dir={data_dir}` writes it, also for data"
      " sets that are prepared already."
    )
  chosen = set(names)
  entries = [
    entry
    for entry in manifest.read_manifest(data_dir).values()
    if entry.status is manifest.Status.PREPARED
    and (not chosen or entry.source in chosen)
  ]
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    changes = pool.map(lambda e: manifest.changed_files(data_dir, e), entries)
    return dict(zip([e.source for e in entries], changes, strict=True))


def _in_parallel(
  preparer: DatasetPreparer, planned: Sequence[PlannedDownload], jobs: int
) -> Generator[PreparationOutcome, None, None]:
  """Yields outcomes as they end; data sets of a group run one by one."""
  groups: dict[str, list[PlannedDownload]] = {}
  for download in reversed(planned):
    groups.setdefault(_group(download.source.name), []).append(download)
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:

    def start_next(
      group: list[PlannedDownload],
    ) -> concurrent.futures.Future[PreparationOutcome]:
      return pool.submit(preparer.prepare, group.pop())

    pending = {start_next(group): group for group in reversed(groups.values())}
    try:
      while pending:
        ended, _ = concurrent.futures.wait(
          pending, return_when=concurrent.futures.FIRST_COMPLETED
        )
        for future in ended:
          group = pending.pop(future)
          if group:
            pending[start_next(group)] = group
          yield future.result()
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      preparer.stop()
      raise


def _group(name: str) -> str:
  """Returns the group of data sets that share downloads.

  It is the name without the config. The yearly WMT translation data sets share
  downloads with each other, too.
  """
  return re.sub(r"^wmt\d+_", "wmt_", name.partition("/")[0])
