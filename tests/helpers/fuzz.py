"""Runs random command lines of all binaries, and records what goes wrong.

  python -m tests.helpers.fuzz --seed=0 --processes=200 --in_process=800 \
      --output=DIR

A command goes wrong if it does not end within a minute, needs more than 2 GB,
ends by a signal or with an unknown status, or shows a traceback. DIR/runs.jsonl
has a line for each command, and a call with the same DIR resumes after it. The
commands in processes are started as a shell does; the others run in forks of
this process, which has TensorFlow imported already.
"""

import argparse
import dataclasses
import importlib
import json
import os
import pathlib
import pkgutil
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

from tests.helpers import fuzz_commands, fuzz_files, tiny
from tests.helpers.fuzz_commands import Command, Flag
from tests.helpers.fuzz_processes import Run, Started, call_in_fork

_FILES_LIMIT = 1 << 30
_ADDRESSES_LIMIT = 32 << 30


class Fuzz:
  """Runs command lines in copies of a folder of files.

  Args:
    folder: an empty folder for the files, or that of an earlier `Fuzz`.
  """

  def __init__(self, folder: str):
    _preload()
    self._files = os.path.join(folder, "files")
    if not os.path.isdir(self._files):
      made = os.path.join(folder, "files.new")
      shutil.rmtree(made, ignore_errors=True)
      os.makedirs(made)
      call_in_fork(lambda: fuzz_files.build(made), "files")
      os.rename(made, self._files)
    self._environment = {
      "FLAN_CACHE": os.path.join(self._files, "cache"),
      # A real compiler would be downloaded.
      "FLAN_TPU_PYTHON": "/bin/false",
      "TF_NUM_INTRAOP_THREADS": "1",
      "OMP_NUM_THREADS": "1",
      "TF_CPP_MIN_LOG_LEVEL": "2",
      "CUDA_VISIBLE_DEVICES": "",
    }
    self._flags = {name: _flags(name) for name in fuzz_commands.BINARIES}

  def run(
    self, seeds: Iterable[str], in_process: bool, jobs: int = 2
  ) -> Iterator[Run]:
    """Runs random command lines, and yields each when it has ended.

    Args:
      seeds: each gives a command line.
      in_process: whether they run in forks of this process.
      jobs: number of commands at a time.
    """
    waiting, running = iter(seeds), []
    while True:
      while len(running) < jobs:
        seed = next(waiting, None)
        if seed is None:
          break
        command = fuzz_commands.random_command(seed, self._flags)
        work = self._start(seed, in_process)
        running.append(Started(seed, command, work))
      if not running:
        return
      for one in list(running):
        done = one.poll()
        if done:
          running.remove(one)
          yield done
      time.sleep(0.02)

  def _start(
    self, seed: str, in_process: bool
  ) -> Callable[[Command, str], None]:
    """Returns a function for a new process, which it ends."""

    def work(command: Command, folder: str) -> None:
      resource.setrlimit(resource.RLIMIT_FSIZE, (_FILES_LIMIT,) * 2)
      resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES_LIMIT,) * 2)
      resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
      here = os.path.join(folder, "files")
      shutil.copytree(
        self._files,
        here,
        symlinks=True,
        ignore=lambda _, names: [name for name in names if name == "cache"],
      )
      if command.damage:
        damaged = fuzz_files.damage(
          here, command.damage, seed, command.arguments
        )
        print(f"Damaged: {damaged}, {command.damage[:20]!r}", flush=True)
      os.chdir(here)
      os.environ.update(self._environment, TMPDIR=folder)
      arguments = ["-m", f"launch.{command.binary}", *command.arguments]
      if not in_process:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(tiny.ROOT), *sys.path])
        os.execv(sys.executable, [sys.executable, *arguments])
      sys.orig_argv = ["python", *arguments]
      sys.argv = [f"launch/{command.binary}.py", *command.arguments]
      _forget_flags()
      importlib.import_module(f"launch.{command.binary}").run()

    return work


def _flags(binary: str) -> list[Flag]:
  """Returns the flags of a binary, which only one process imports.

  Two binaries define flags with the same name.
  """
  with tempfile.NamedTemporaryFile() as file:

    def write() -> None:
      _forget_flags()
      found = fuzz_commands.flags_of(binary)
      text = json.dumps([dataclasses.asdict(flag) for flag in found])
      pathlib.Path(file.name).write_text(text)

    call_in_fork(write, binary)
    values = json.loads(pathlib.Path(file.name).read_text())
  return [
    Flag(value["name"], value["kind"], tuple(value["choices"]))
    for value in values
  ]


def _forget_flags() -> None:
  from absl import flags

  flags.FLAGS.unparse_flags()


def _preload() -> None:
  """Imports everything that does not start a thread."""
  import flan_tf

  for name in ("tensorflow", "tensorflow_datasets", "keras_hub"):
    importlib.import_module(name)
  for module in pkgutil.walk_packages(flan_tf.__path__, "flan_tf."):
    # The compiler's half runs in another environment.
    if "tpu_plan.compiler" not in module.name:
      importlib.import_module(module.name)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--seed", default="0")
  parser.add_argument("--processes", type=int, default=200)
  parser.add_argument("--in_process", type=int, default=800)
  parser.add_argument("--jobs", type=int, default=2)
  parser.add_argument("--output", required=True)
  options = parser.parse_args()
  output = os.path.abspath(options.output)
  os.makedirs(output, exist_ok=True)
  path = pathlib.Path(output, "runs.jsonl")
  path.touch()
  runs = [Run(**json.loads(line)) for line in path.read_text().splitlines()]
  done = {run.seed for run in runs}
  fuzz = Fuzz(output)
  for kind, count in (
    ("fork", options.in_process),
    ("process", options.processes),
  ):
    seeds = [f"{kind}-{options.seed}-{i}" for i in range(count)]
    left = [seed for seed in seeds if seed not in done]
    for run in fuzz.run(left, kind == "fork", options.jobs):
      runs.append(run)
      with path.open("a") as file:
        file.write(json.dumps(dataclasses.asdict(run)) + "\n")
      if run.problem:
        print(f"{run.problem}: {run.command}", flush=True)
  bad = sum(bool(run.problem) for run in runs)
  print(f"{len(runs)} commands, {bad} went wrong: {path}")
  sys.exit(1 if bad else 0)


if __name__ == "__main__":
  main()
