"""Flips single bits in saved files and checks that no result changes silently.

  python -m tests.helpers.flips --output=DIR --places=200 --seed=0

A tiny model is trained and evaluated. Then, one after another, one bit is
flipped in a file of its checkpoint, of the prepared TFDS directory, or of its
predictions, and everything that reads the file is run:

    checkpoint     generate, score, evaluate, resume
    rows           evaluate, resume
    predictions    compare, report, evaluate again (which resumes)

A flip is "noticed" if an error names the damaged file, "repaired" if the result
is the right one after a warning that names it, and "harmless" if the results
are those of the undamaged files. Anything else is "silent", or an error that
does not name the file, and the script ends with status 1.

Each place gives one line in DIR/flips.jsonl. A script that was stopped goes on
behind the last line.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags
from absl import logging as absl_logging

import flan_tf as flan
from flan_tf.checkpoints.checkpoint_dirs import find
from tests.helpers import tiny

GOOD = ("noticed", "repaired", "harmless")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for results.")
_PLACES = flags.DEFINE_integer("places", 200, "Number of flipped bits.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the places.")
_STEPS = 4
# Where the rows of the tasks rte and sst2 lie in a prepared TFDS directory.
_DATA_SETS = ("super_glue/rte", "glue/sst2")


@dataclasses.dataclass(frozen=True)
class Place:
  """A bit of a file.

  Attributes:
    kind: "checkpoint", "rows" or "predictions".
    file: path of the file, relative to the folder of its kind.
    bit: number of the bit.
  """

  kind: str
  file: str
  bit: int


@dataclasses.dataclass(frozen=True)
class Verdict:
  """The effect of a flipped bit.

  Attributes:
    place: the bit.
    verdict: one of GOOD, "silent", or "unclear" for an error without the name
      of the file.
    detail: the error, or the results that changed.
  """

  place: Place
  verdict: str
  detail: str = ""

  def to_json(self) -> str:
    values = dataclasses.asdict(self)
    return json.dumps({**values.pop("place"), **values})


class Material:
  """A tiny run with its rows and predictions, and readers of all of them.

  Args:
    folder: folder for everything, which must not exist.
    rows: a prepared TFDS directory with the tasks of the tiny run.
    run: configuration of the tiny run.
  """

  def __init__(self, folder: pathlib.Path, rows: str, run: flan.RunConfig):
    self.folder, self._run = folder, run
    for data_set in _DATA_SETS:
      shutil.copytree(pathlib.Path(rows, data_set), folder / "rows" / data_set)
    workdir = folder / "run"
    flan.train(self._with_rows(folder), workdir)
    self._checkpoint = os.path.relpath(find(str(workdir)), folder)
    self._evaluate(folder, folder / "evaluation")
    self._expected: dict[str, dict[str, str]] = {}

  def places(self, kind: str, count: int, seed: int) -> list[Place]:
    """Draws bits evenly over the files of a kind, each file at least once."""
    generator = random.Random(f"{kind}-{seed}")
    root = self.root(kind)
    files = sorted(
      str(path.relative_to(root))
      for path in root.rglob("*")
      if path.is_file() and path.stat().st_size
    )
    chosen = files + generator.choices(files, k=max(count - len(files), 0))
    return [
      Place(kind, name, generator.randrange(8 * (root / name).stat().st_size))
      for name in sorted(chosen[:count])
    ]

  def root(self, kind: str) -> pathlib.Path:
    """Returns the folder that holds the files of a kind."""
    names = {
      "checkpoint": self._checkpoint,
      "rows": "rows",
      "predictions": "evaluation/predictions",
    }
    return self.folder / names[kind]

  def judge(self, place: Place, scratch: pathlib.Path) -> Verdict:
    """Flips a bit in a copy of all files and runs what reads the file."""
    expected = self._expected.get(place.kind)
    if expected is None:
      expected = self._results(place.kind, scratch, None)[0]
      self._expected[place.kind] = expected
    results, warnings = self._results(place.kind, scratch, place)
    changed = [name for name in results if results[name] != expected[name]]
    errors = [results[n] for n in changed if results[n].startswith("ERROR")]
    name = os.path.basename(place.file)
    if len(errors) < len(changed):
      wrong = [name for name in changed if results[name] not in errors]
      return Verdict(place, "silent", f"{wrong[0]}: {results[wrong[0]][:300]}")
    if errors:
      # A shard of tensors or rows is named by its prefix.
      stem = name.partition("-")[0] if place.kind == "rows" else name
      stem = stem.partition(".data-")[0]
      clear = all(stem in error for error in errors)
      return Verdict(place, "noticed" if clear else "unclear", errors[0][:300])
    if any(name in line for line in warnings):
      return Verdict(place, "repaired", warnings[0][:300])
    return Verdict(place, "harmless")

  def _results(
    self, kind: str, scratch: pathlib.Path, place: Place | None
  ) -> tuple[dict[str, str], list[str]]:
    """Returns the results of all readers of a kind, and the warnings."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(self.folder, scratch)
    if place is not None:
      path = scratch / self.root(kind).relative_to(self.folder) / place.file
      content = bytearray(path.read_bytes())
      content[place.bit // 8] ^= 1 << place.bit % 8
      path.write_bytes(content)
    results = {}
    with _collected_warnings() as warnings:
      for name, reader in self._readers(kind).items():
        try:
          results[name] = reader(scratch)
        except Exception as error:
          is_ours = isinstance(error, (ValueError, FileNotFoundError))
          text = str(error) if is_ours else traceback.format_exc()
          results[name] = f"ERROR {type(error).__name__}: {text}"
    return results, warnings

  def _readers(self, kind: str) -> dict[str, Callable[[pathlib.Path], str]]:
    if kind == "checkpoint":
      return {
        "generate and score": self._generate_and_score,
        "evaluate": lambda at: self._evaluate(at, at / "again"),
        "resume": self._resume,
      }
    if kind == "rows":
      return {
        "evaluate": lambda at: self._evaluate(at, at / "again"),
        "resume": self._resume,
      }
    return {
      "compare": lambda at: str(
        flan.compare(at / "evaluation", at / "evaluation")
      ),
      "report": self._report,
      "evaluate": lambda at: self._evaluate(at, at / "evaluation"),
      "report again": self._report,
    }

  def _with_rows(self, at: pathlib.Path, steps: int = _STEPS) -> flan.RunConfig:
    return flan.read_run(
      self._run,
      {"data.tfds_data_dir": str(at / "rows"), "train.steps": steps},
    )

  def _generate_and_score(self, at: pathlib.Path) -> str:
    model = flan.load(at / self._checkpoint, batch=2)
    text = model.generate("Is it so?", max_new=6).text
    return json.dumps([text, model.score("Is it so?", ["yes", "no"])])

  def _evaluate(self, at: pathlib.Path, output: pathlib.Path) -> str:
    result = flan.evaluate(
      at / self._checkpoint,
      tasks="rte,sst2",
      data_dir=str(at / "rows"),
      output=str(output),
      max_examples=4,
      templates=(0, 1),
      chunk=4,
      batch=4,
    )
    return json.dumps(
      [dataclasses.asdict(task) for task in result.results.tasks], default=str
    )

  def _report(self, at: pathlib.Path) -> str:
    evaluated = flan.read_evaluation(at / "evaluation")
    return pathlib.Path(evaluated.report(at / "report")).read_text()

  def _resume(self, at: pathlib.Path) -> str:
    workdir = at / "run"
    shutil.rmtree(workdir / "tensorboard", ignore_errors=True)
    flan.train(self._with_rows(at, _STEPS + 1), workdir)
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(find(str(workdir))).glob("state.data-*")):
      digest.update(path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _collected_warnings() -> Iterator[list[str]]:
  """Collects the warnings that flan_tf logs."""
  lines: list[str] = []

  class Collector(logging.Handler):
    def emit(self, record):
      lines.append(record.getMessage())

  handler = Collector(logging.WARNING)
  log = logging.getLogger("flan_tf")
  level = log.level
  log.setLevel(logging.WARNING)
  log.addHandler(handler)
  try:
    yield lines
  finally:
    log.removeHandler(handler)
    log.setLevel(level)


def all_places(material: Material, count: int, seed: int) -> list[Place]:
  """Draws half of the places in the checkpoint, the others in equal parts."""
  quarter = count // 4
  return [
    *material.places("checkpoint", count - 2 * quarter, seed),
    *material.places("rows", quarter, seed),
    *material.places("predictions", quarter, seed),
  ]


def main(argv: Sequence[str]) -> None:
  del argv
  absl_logging.set_verbosity(absl_logging.ERROR)
  output = pathlib.Path(_OUTPUT.value).absolute()
  output.mkdir(parents=True, exist_ok=True)
  log = output / "flips.jsonl"
  done = log.read_text().splitlines() if log.exists() else []
  shutil.rmtree(output / "material", ignore_errors=True)
  files = tiny.Tiny()
  files.open()
  run = files.run(train__steps=_STEPS, train__save_every=2)
  material = Material(output / "material", files.data_dir, run)
  places = all_places(material, _PLACES.value, _SEED.value)
  with open(log, "a", encoding="utf-8") as lines:
    for place in places[len(done) :]:
      verdict = material.judge(place, output / "scratch")
      lines.write(verdict.to_json() + "\n")
      lines.flush()
  files.close()
  verdicts = [json.loads(line) for line in log.read_text().splitlines()]
  counts = collections.Counter(
    (one["kind"], one["verdict"]) for one in verdicts
  )
  for (kind, verdict), number in sorted(counts.items()):
    print(f"{kind:12} {verdict:9} {number}")
  bad = [one for one in verdicts if one["verdict"] not in GOOD]
  for one in bad:
    print(json.dumps(one))
  sys.exit(bool(bad))


if __name__ == "__main__":
  flags.mark_flag_as_required("output")
  app.run(main)
