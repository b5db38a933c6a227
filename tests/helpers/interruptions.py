"""Interrupts tiny trainings at random, and compares what comes of them.

  python -m tests.helpers.interruptions --workdir=DIR --count=100 --seed=0

For each kind of run (`RUNS`), one is trained that is never interrupted. Others
are killed, stopped by signals, or find their disk full, up to four times in a
row, and are started again until they finish. Their weights must then be equal
bit for bit, and their metrics apart from the speed. The moments follow from the
seed; processes are not that exact.

DIR/results.jsonl has a line for each run that finished, DIR/runs those that
differ. A script that was stopped resumes with the same command. A full disk
needs the right to mount file systems; without it, SIGKILL takes its place.
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from flan_tf import json_lines
from tests.helpers import tiny

STEPS = 90
SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP")
FULL_DISK = "full disk"
KINDS = (*SIGNALS, FULL_DISK)
# After the process began; after a step; while a checkpoint is written.
MOMENTS = ("start", "step", "checkpoint")

# Intervals are no multiples of one another, so that sums are left at each stop.
_EVERY = {"train__save_every": 7, "train__log_every": 5}
RUNS = {
  "plain": _EVERY,
  "microbatches": {**_EVERY, "train__microbatches": 2},
  "lora": {**_EVERY, "adapter__lora_rank": 2},
  "groups": {
    "train__steps_per_loop": 2,
    "train__save_every": 8,
    "train__log_every": 6,
  },
  "mesh": {**_EVERY, "mesh__shape": "data:2;model:2"},
}
_START_SECONDS = 10  # Imports and the first step.
_TIMEOUT = 300  # Seconds until a process counts as hanging.
_DISK_BYTES = 4 * 2**20
_FREE_BYTES = 500_000  # At most, on a disk that is to become full.
_PAGE = 4096


@dataclasses.dataclass(frozen=True)
class Interruption:
  """One interruption of a run.

  Attributes:
    kind: one of KINDS.
    moment: one of MOMENTS.
    share: from 0 to 1: of the steps, seconds or bytes that are left.
    delay: seconds from the moment until the signal.
  """

  kind: str
  moment: str
  share: float
  delay: float

  @classmethod
  def draw(cls, generator: random.Random, kinds: tuple[str, ...]):
    moment = generator.choices(MOMENTS, (1, 3, 3))[0]
    delay = generator.random() * (0.005 if moment == "checkpoint" else 0.05)
    return cls(generator.choice(kinds), moment, generator.random(), delay)


class Training:
  """A training in processes that may be interrupted.

  Args:
    run_file: the run.
    workdir: its workdir.
    steps: its number of steps.
  """

  def __init__(self, run_file: str, workdir: pathlib.Path, steps: int):
    self.workdir, self._steps = workdir, steps
    self._flags = [f"--config={run_file}", f"--workdir={workdir}"]
    self._metrics = workdir / "metrics.jsonl"

  def run(self, interruption: Interruption | None = None) -> tuple[int, str]:
    """Starts the training; returns its exit status and its output."""
    before = self._file_number()
    process = tiny.start("-m", "launch.train", *self._flags)
    try:
      if interruption:
        self._interrupt(process, interruption, before)
      out, err = process.communicate(timeout=_TIMEOUT)
    finally:
      process.kill()
    return process.returncode, out + err

  def _interrupt(
    self, process: subprocess.Popen, interruption: Interruption, before: int
  ) -> None:
    """Sends the signal of an interruption, unless the process ends before."""
    saved = ([0, *self.saved()])[-1]
    step = saved + 1 + int(interruption.share * (self._steps - saved - 1))
    end = time.monotonic() + interruption.share * _START_SECONDS
    # The process has its own file of metrics once it has opened the run.
    is_time: dict[str, Callable[[], bool]] = {
      "start": lambda: time.monotonic() >= end,
      "step": lambda: self._file_number() != before and self._logged() >= step,
      "checkpoint": lambda: (
        self._file_number() != before and self._writes_checkpoint(after=step)
      ),
    }
    while not is_time[interruption.moment]():
      if process.poll() is not None:
        return
      time.sleep(0.001)
    time.sleep(interruption.delay)
    process.send_signal(getattr(signal, interruption.kind))

  def saved(self) -> list[int]:
    """Returns the steps of the complete checkpoints."""
    from flan_tf.checkpoints import checkpoint_dirs

    return checkpoint_dirs.completed_steps(str(self.workdir))

  def _file_number(self) -> int:
    return self._metrics.stat().st_ino if self._metrics.exists() else 0

  def _logged(self) -> int:
    """Returns the step of the last line of the metrics."""
    lines = json_lines.read_jsonl(str(self._metrics))
    return lines[-1]["step"] if lines else 0

  def _writes_checkpoint(self, after: int) -> bool:
    """Returns whether a checkpoint of a later step is being written."""
    for folder in self.workdir.glob("checkpoints/step_*"):
      is_later = int(folder.name.removeprefix("step_")) > after
      if is_later and not (folder / "COMPLETE").exists():
        return True
    return False


def differences(workdir: pathlib.Path, reference: pathlib.Path) -> list[str]:
  """Returns in what two finished runs differ, apart from their speed."""
  found = []
  if metrics(workdir) != metrics(reference):
    found.append("metrics.jsonl differs")
  got, want = tensors(workdir), tensors(reference)
  if set(got) != set(want):
    return [*found, "names of tensors differ"]
  return found + [
    f"{name} differs"
    for name in want
    if not np.array_equal(got[name], want[name])
  ]


def metrics(workdir: pathlib.Path) -> list[dict]:
  """Returns the metrics of a workdir, except the speed."""
  lines = json_lines.read_jsonl(str(workdir / "metrics.jsonl"))
  for line in lines:
    del line["tokens_per_second"]
  return lines


def tensors(workdir: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns the tensors of the newest checkpoint: weights and slots."""
  import tensorflow as tf

  from flan_tf.checkpoints import checkpoint_dirs

  path = os.path.join(checkpoint_dirs.find(str(workdir)), "state")
  reader = tf.train.load_checkpoint(path)
  names = reader.get_variable_to_shape_map()
  return {name: reader.get_tensor(name) for name in names}


def problems_of_end(
  interruption: Interruption, status: int, output: str
) -> list[str]:
  """Returns what is wrong with how an interrupted process ended."""
  expected = {0}  # It had finished before.
  if interruption.kind == FULL_DISK:
    expected.add(1)
  else:
    expected.add(-getattr(signal, interruption.kind))
    if interruption.kind != "SIGKILL":
      expected.add(os.EX_TEMPFAIL)
  found = []
  if status not in expected:
    found.append(f"status {status} after {interruption.kind}: {output[-500:]}")
  if "Traceback" in output:
    found.append(f"traceback after {interruption.kind}: {output[-2000:]}")
  return found


@contextlib.contextmanager
def small_disk(folder: pathlib.Path) -> Iterator[None]:
  """A context in which a folder is a disk of `_DISK_BYTES`."""
  folder.mkdir(parents=True, exist_ok=True)
  if os.path.ismount(folder):  # Of a script that was killed.
    subprocess.run(["umount", str(folder)], check=True)
  size = f"size={_DISK_BYTES}"
  command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
  subprocess.run(command, check=True, capture_output=True)
  try:
    yield
  finally:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def can_mount(folder: pathlib.Path) -> bool:
  try:
    with small_disk(folder):
      return True
  except (subprocess.CalledProcessError, FileNotFoundError):
    return False


@contextlib.contextmanager
def filled(folder: pathlib.Path, share: float) -> Iterator[None]:
  """A context in which a disk has little space left."""
  filler = folder / "filler"
  # Mostly little: some runs need only some 100 kB.
  room = shutil.disk_usage(folder).free - int(share**3 * _FREE_BYTES)
  filler.write_bytes(bytes(max(0, room // _PAGE * _PAGE)))
  try:
    yield
  finally:
    filler.unlink()


def interrupt_and_finish(
  training: Training, interruptions: list[Interruption]
) -> tuple[list[dict], list[str]]:
  """Trains until the run finishes.

  Returns:
    The interruptions with the exit statuses, and what was wrong with them.
  """
  done, problems = [], []
  for interruption in interruptions:
    if interruption.kind == FULL_DISK:
      with filled(training.workdir.parent, interruption.share):
        status, output = training.run()
    else:
      status, output = training.run(interruption)
    done.append({**dataclasses.asdict(interruption), "status": status})
    problems += problems_of_end(interruption, status, output)
    if not status:
      return done, problems
  status, output = training.run()
  if status or "Traceback" in output:
    problems.append(f"status {status} at the end: {output[-2000:]}")
  return done, problems


class Script:
  """All runs of one folder.

  Args:
    folder: folder for runs and results.
    seed: of the interruptions.
    made: prepared rows.
  """

  def __init__(self, folder: pathlib.Path, seed: int, made: tiny.Tiny):
    self._folder, self._seed, self._made = folder, seed, made
    self._results = folder / "results.jsonl"
    # A script that was killed may have left half a line.
    lines = [json.dumps(result) + "\n" for result in self.results()]
    self._results.write_text("".join(lines))
    self._kinds = KINDS if can_mount(folder / "disk") else SIGNALS
    if FULL_DISK not in self._kinds:
      print("No file system can be mounted here: no disk becomes full.")

  def results(self) -> list[dict]:
    return json_lines.read_jsonl(str(self._results))

  def run(self, count: int) -> None:
    """Interrupts runs until there are `count` interruptions."""
    while (done := len(self._interruptions())) < count:
      number = len(self.results())
      result = self._run_case(number, count - done)
      with self._results.open("a") as file:
        file.write(json.dumps(result) + "\n")
      ends = [f"{i['kind']} {i['status']}" for i in result["interruptions"]]
      print(
        number, result["run"], ends, result["problems"] or "equal", flush=True
      )

  def _interruptions(self) -> list[tuple[str, str]]:
    """Returns (run, kind) of all interruptions before the end of a run."""
    return [
      (result["run"], one["kind"])
      for result in self.results()
      for one in result["interruptions"]
      if one["status"]
    ]

  def _run_case(self, number: int, most: int) -> dict:
    generator = random.Random(f"{self._seed}/{number}")
    name = list(RUNS)[number % len(RUNS)]
    drawn = [
      Interruption.draw(generator, self._kinds)
      for _ in range(min(most, generator.randint(2, 4)))
    ]
    needs_disk = any(one.kind == FULL_DISK for one in drawn)
    parent = self._folder / ("disk" if needs_disk else "runs")
    workdir = parent / f"{number:04d}-{name}"
    reference = self._reference(name)
    with small_disk(parent) if needs_disk else contextlib.nullcontext():
      shutil.rmtree(workdir, ignore_errors=True)
      training = self._training(name, workdir)
      done, problems = interrupt_and_finish(training, drawn)
      if STEPS in training.saved():
        problems += differences(workdir, reference)
      if not problems:
        shutil.rmtree(workdir)
      elif needs_disk:
        kept = self._folder / "runs" / workdir.name
        shutil.copytree(workdir, kept, dirs_exist_ok=True)
    return {
      "run": name,
      "seed": self._seed,
      "interruptions": done,
      "problems": problems,
    }

  def _reference(self, name: str) -> pathlib.Path:
    """Trains a run without a stop, once."""
    workdir = self._folder / "references" / name
    training = self._training(name, workdir)
    if STEPS not in training.saved():
      shutil.rmtree(workdir, ignore_errors=True)
      status, output = training.run()
      if status:
        raise RuntimeError(f"The run {name!r} fails: {output}")
    return workdir

  def _training(self, name: str, workdir: pathlib.Path) -> Training:
    changes = dict(RUNS[name])
    if name == "lora":
      changes["train__init_from"] = str(self._reference("plain"))
    run_file = self._made.run_file(train__steps=STEPS, **changes)
    return Training(run_file, workdir, STEPS)

  def print_summary(self) -> None:
    """Prints how many interruptions of each kind each run had."""
    results = self.results()
    counts = collections.Counter(self._interruptions())
    runs = collections.Counter(result["run"] for result in results)
    wrong = collections.Counter(r["run"] for r in results if r["problems"])
    print(f"{'run':<14}", *(f"{kind:>10}" for kind in KINDS), "  runs  wrong")
    for name in RUNS:
      cells = [f"{counts[name, kind]:>10}" for kind in KINDS]
      print(f"{name:<14}", *cells, f"{runs[name]:>6} {wrong[name]:>6}")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--workdir", required=True, type=pathlib.Path)
  parser.add_argument("--count", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  given = parser.parse_args()
  # Ignored under nohup, and then also by the runs that it is sent to.
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
  made = tiny.Tiny()
  made.open()
  try:
    given.workdir.mkdir(parents=True, exist_ok=True)
    script = Script(given.workdir.absolute(), given.seed, made)
    script.run(given.count)
    script.print_summary()
    sys.exit(any(result["problems"] for result in script.results()))
  finally:
    made.close()


if __name__ == "__main__":
  main()
