"""Prepares the data sets of tasks: downloads them and writes TFDS directories.

Each data set has a process of its own (worker), so that one that fails,
or is killed for its memory, does not end the others. What is there already is
skipped; TFDS writes beside the place and renames at the end, and keeps what it
has downloaded, so an interrupted run goes on when it is started again.

    sources --plan--> prepared | manual | downloadable | broken
            --prepare--> a process each --> manifest, logs/NAME.log
"""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import importlib.util
import os
import re
import threading
import time
from collections.abc import (
  Callable,
  Generator,
  Iterable,
  Iterator,
  Mapping,
  Sequence,
)

import tensorflow as tf

from flan_tf.data import rows
from flan_tf.prepare import manifest, processes, work_list, worker
from flan_tf.task import schema

_LOGS = "logs"


class BusyError(RuntimeError):
  """Another run prepares data in the same directory."""


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of a data set in this run.

  Attributes:
    entry: as it stands in the manifest.
    skipped: whether it was there before.
    seconds: that it took.
  """

  entry: manifest.Entry
  skipped: bool = False
  seconds: float = 0.0


# Called with each outcome, and how many of how many there are by then.
OnDone = Callable[[Outcome, int, int], None]


def prepare(
  sources: Iterable[schema.Source],
  data_dir: str,
  *,
  manual_dir: str = "",
  jobs: int = 2,
  imports: Sequence[str] = (),
  on_done: OnDone | None = None,
) -> list[Outcome]:
  """Prepares data sets, goes on past those that fail, writes the manifest.

  Args:
    sources: those of one name are prepared once.
    data_dir: the TFDS directory to fill, local or gs://.
    manual_dir: where files lie that a person fetched; by default
      `data_dir`/downloads/manual.
    jobs: processes at a time. The configs of one data set, which share their
      downloads, come one after the other.
    imports: modules to import in each process, e.g. one that defines data sets
      of your own.
    on_done: called after each data set.

  Returns:
    An outcome for each data set, in the order in which they were done. A
    failure of one is told there, not raised.

  Raises:
    ValueError: an argument cannot be, or the manifest cannot be read.
    BusyError: another run is at work in `data_dir`.
  """
  if jobs < 1:
    raise ValueError(f"jobs is {jobs}; it takes at least one.")
  for module in imports:
    if importlib.util.find_spec(module.partition(".")[0]) is None:
      raise ValueError(
        f"There is no module {module!r} to import. Is its folder on PYTHONPATH?"
      )
  data_dir = work_list.folder(data_dir)
  manual_dir = work_list.manual_folder(manual_dir, data_dir)
  tf.io.gfile.makedirs(os.path.join(data_dir, _LOGS))
  with _alone_in(data_dir):
    known = manifest.read(data_dir)
    planned = work_list.plan(sources, data_dir, manual_dir)
    workers = _Workers(data_dir, manual_dir, tuple(imports), dict(known))
    outcomes: list[Outcome] = []
    with contextlib.closing(_in_parallel(workers, planned, jobs)) as done:
      for outcome in done:
        outcomes.append(outcome)
        known[outcome.entry.source] = outcome.entry
        manifest.write(data_dir, known.values())
        if on_done:
          on_done(outcome, len(outcomes), len(planned))
  return outcomes


def verify(
  data_dir: str, names: Iterable[str] = (), jobs: int = 2
) -> dict[str, list[str]]:
  """Compares the files of prepared data sets with the manifest.

  Args:
    data_dir: with a manifest.
    names: of the data sets, those that were not prepared are left out; all if
      empty.
    jobs: data sets read at a time.

  Returns:
    For each data set that was compared, a line for each file that differs.

  Raises:
    FileNotFoundError: there is no manifest.
    ValueError: it cannot be read.
  """
  data_dir = work_list.folder(data_dir)
  path = manifest.path_of(data_dir)
  if not tf.io.gfile.exists(path):
    raise FileNotFoundError(
      f"There is no {path}, so nothing to compare with. `python -m"
      f" launch.prepare --tfds_data_dir={data_dir}` writes it, also for data"
      " sets that are there already."
    )
  wanted = set(names)
  entries = [
    entry
    for entry in manifest.read(data_dir).values()
    if entry.status is manifest.Status.PREPARED
    and (not wanted or entry.source in wanted)
  ]
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    found = pool.map(lambda e: manifest.differences(data_dir, e), entries)
    return dict(zip([e.source for e in entries], found, strict=True))


class _Workers:
  """Prepares data sets, each in a process; called from several threads."""

  def __init__(
    self,
    data_dir: str,
    manual_dir: str,
    imports: tuple[str, ...],
    known: Mapping[str, manifest.Entry],
  ):
    self._data_dir = data_dir
    self._manual_dir = manual_dir
    self._known = known
    self._lock = threading.Lock()
    self._processes = processes.WorkerProcesses(data_dir, manual_dir, imports)
    self.stop = self._processes.stop

  def prepare(self, planned: work_list.Planned) -> Outcome:
    """Never raises: what goes wrong with one does not end the others."""
    start = time.monotonic()
    log = os.path.join(_LOGS, planned.source.name.replace("/", "_") + ".log")
    try:
      entry = self._entry(planned, log)
    except Exception as error:  # TFDS raises many kinds
      detail = (
        f"What is there cannot be read. Remove it and start again.\n"
        f"{worker.first_lines(error)}"
      )
      entry = manifest.new_entry(
        planned.source, manifest.Status.FAILED, detail, log=log
      )
    there = entry.status is manifest.Status.PREPARED and planned.dataset
    return Outcome(entry, bool(there), time.monotonic() - start)

  def _entry(self, planned: work_list.Planned, log: str) -> manifest.Entry:
    source = planned.source
    if planned.dataset:
      return self._known_or_new(planned.dataset)
    if planned.status == manifest.Status.MANUAL:
      return manifest.new_entry(source, manifest.Status.MANUAL, planned.detail)
    answer = self._processes.answer(source, os.path.join(self._data_dir, log))
    status = manifest.Status(answer["status"])
    if status is not manifest.Status.PREPARED:
      detail = self._detail(source, status, answer)
      return manifest.new_entry(source, status, detail, log=log)
    with self._lock:  # TFDS's builders are made by one thread at a time.
      dataset = rows.open_dataset(source, self._data_dir)
    return manifest.describe(dataset, log)

  def _known_or_new(self, dataset: rows.Dataset) -> manifest.Entry:
    known = self._known.get(dataset.source.name)
    if (
      known
      and known.status is manifest.Status.PREPARED
      and known.path == manifest.relative_path(dataset)
    ):
      # As they were when it was prepared: `verify` is to see what changed.
      return known
    return manifest.describe(dataset)

  def _detail(
    self,
    source: schema.Source,
    status: manifest.Status,
    answer: Mapping[str, str],
  ) -> str:
    if status is manifest.Status.MANUAL:
      what = answer["instructions"]
      lines = [work_list.for_a_person(what, self._manual_dir), answer["detail"]]
    else:
      broken = source.broken.replace("<manual_dir>", self._manual_dir)
      lines = [answer["detail"], broken]
    return "\n".join(filter(None, lines))


def _in_parallel(
  workers: _Workers, planned: Sequence[work_list.Planned], jobs: int
) -> Generator[Outcome, None, None]:
  """Yields outcomes as they come; those of one group one after the other."""
  groups: dict[str, list[work_list.Planned]] = {}
  for one in reversed(planned):
    groups.setdefault(_group(one.source.name), []).append(one)
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:

    def start(
      group: list[work_list.Planned],
    ) -> concurrent.futures.Future[Outcome]:
      return pool.submit(workers.prepare, group.pop())

    pending = {start(group): group for group in reversed(groups.values())}
    try:
      while pending:
        done, _ = concurrent.futures.wait(
          pending, return_when=concurrent.futures.FIRST_COMPLETED
        )
        for future in done:
          group = pending.pop(future)
          if group:
            pending[start(group)] = group
          yield future.result()
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      workers.stop()
      raise


def _group(name: str) -> str:
  """Data sets that share downloads: a name without its config.

  The yearly translation tasks share corpora with each other, too.
  """
  return re.sub(r"^wmt\d+_", "wmt_", name.partition("/")[0])


@contextlib.contextmanager
def _alone_in(data_dir: str) -> Iterator[None]:
  """Refuses a second run: two would write one manifest.

  The lock goes with the process, so a killed run leaves none. There is none on
  gs://.
  """
  if "://" in data_dir:
    yield
    return
  with open(os.path.join(data_dir, _LOGS, "lock"), "w") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise BusyError(
        f"Another run prepares data in {data_dir}. Wait for its end, or choose"
        " another directory."
      ) from None
    yield
