"""Prepares the data sets of tasks: downloads and checks them.

  python -m launch.prepare --tfds_data_dir=DIR
  python -m launch.prepare --tfds_data_dir=DIR --clusters=nli,sentiment --jobs=4
  python -m launch.prepare --tfds_data_dir=DIR --verify

Data sets that DIR already has are skipped, so a run that was stopped, or that
had failures, resumes when it is started again. A few data sets need manual
steps, because their license must be signed or a crawler must run. The end of
the output says which files to fetch: put them into --manual_dir and start
again. If the package `datasets` is installed, xsum is read from the copy on the
Hugging Face hub.

DIR/flan_manifest.json has the version, the number of rows and the SHA-256
checksums of each data set, and DIR/logs/ has the output of TFDS. DIR/downloads
may be removed when all data sets are prepared.

The exit status is 1 if a data set failed, or with --verify if a file differs.
It is 0 if data sets only need manual steps: training leaves them out.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

import flan_tf as flan
from flan_tf import name_lists
from flan_tf.task import schema
from launch import cli

if TYPE_CHECKING:
  from flan_tf.prepare.dataset_preparer import PreparationOutcome
  from flan_tf.prepare.runner import OnDone

_DATA_DIR = flags.DEFINE_string(
  "tfds_data_dir",
  None,
  "The TFDS directory to fill, local or gs://.",
  required=True,
)
_TASK_FILE = cli.define_task_file()
_TASKS = flags.DEFINE_string(
  "tasks",
  "",
  "Tasks whose data sets are prepared, comma-separated. By default all tasks,"
  " unless --clusters is given.",
)
_CLUSTERS = flags.DEFINE_string(
  "clusters",
  "",
  "Clusters whose data sets are prepared, comma-separated.",
)
_SOURCES = flags.DEFINE_string(
  "sources",
  "",
  "TFDS names, e.g. glue/qnli,snli: of the data sets of these tasks, only those"
  " are prepared.",
)
_JOBS = flags.DEFINE_integer(
  "jobs", 2, "Number of data sets that are prepared at the same time.", 1
)
_MANUAL_DIR = flags.DEFINE_string(
  "manual_dir",
  "",
  "Folder with files that were fetched by hand; by default"
  " TFDS_DATA_DIR/downloads/manual.",
)
_IMPORTS = flags.DEFINE_string(
  "imports",
  "",
  "Modules to import first, comma-separated, which define TFDS builders of your"
  " own.",
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print which data sets would be prepared, and stop."
)
_VERIFY = flags.DEFINE_bool(
  "verify",
  False,
  "Prepare nothing; compare the files with the checksums in the manifest.",
)
_JSON = flags.DEFINE_bool(
  "json", False, "Print one JSON object, and progress on stderr."
)


def main() -> None:
  cli.register_task_files(_TASK_FILE.value)
  data_dir = os.path.expanduser(_DATA_DIR.value).rstrip("/")
  chosen = flan.tasks.registry().select(
    name_lists.split_names(_TASKS.value),
    name_lists.split_names(_CLUSTERS.value),
  )
  sources = _select_sources([task.source for task in chosen])
  if _DRY_RUN.value:
    _dry_run(sources, data_dir)
  elif _VERIFY.value:
    _verify(sources, data_dir)
  else:
    _prepare(sources, data_dir)


def _select_sources(sources: Sequence[schema.Source]) -> list[schema.Source]:
  """Returns the sources that --sources names; without it all of them."""
  names = name_lists.split_names(_SOURCES.value)
  known = {source.name for source in sources}
  for name in names:
    if name not in known:
      raise ValueError(name_lists.unknown_name("data set", name, known))
  return [source for source in sources if not names or source.name in names]


def _dry_run(sources: Sequence[schema.Source], data_dir: str) -> None:
  """Prints the status of each data set."""
  from flan_tf.prepare import download_plan

  planned = download_plan.plan_downloads(sources, data_dir, _MANUAL_DIR.value)
  if _JSON.value:
    data_sets = [
      {
        "source": one.source.name,
        "asked": one.source.version,
        "pinned": one.source.pinned,
        "version": one.dataset.version if one.dataset else "",
        "status": one.status,
        "detail": one.detail,
      }
      for one in planned
    ]
    print(json.dumps({"data_dir": data_dir, "data_sets": data_sets}, indent=1))
    return
  for one in planned:
    version = one.dataset.version if one.dataset else one.source.version
    pinned = f" (FLAN: {one.source.pinned})" if one.source.pinned else ""
    print(f"{one.status:12} {one.source.name} {version}{pinned}")
    if one.detail:
      print(_indented(one.detail, 13))


def _verify(sources: Sequence[schema.Source], data_dir: str) -> None:
  """Prints files that differ from the manifest; exits with 1 if any does."""
  from flan_tf.prepare import runner

  names = [source.name for source in sources]
  problems = runner.verify_datasets(data_dir, names, _JOBS.value)
  lines = [line for of_dataset in problems.values() for line in of_dataset]
  if _JSON.value:
    print(json.dumps({"data_dir": data_dir, "verified": problems}, indent=1))
  else:
    print("\n".join(lines + [f"{len(problems)} data sets compared."]))
    if lines:
      print(
        f"{len(lines)} files differ. Remove the folders of their data sets and"
        " prepare these again."
      )
  if lines:
    sys.exit(1)


def _prepare(sources: Sequence[schema.Source], data_dir: str) -> None:
  """Prepares data sets; exits with 1 if one failed."""
  from flan_tf.prepare import manifest, runner

  count = len({source.name for source in sources})
  print(
    f"{count} data sets to prepare in {data_dir}. The output of TFDS goes to"
    f" {os.path.join(data_dir, 'logs')}.",
    file=sys.stderr if _JSON.value else sys.stdout,
    flush=True,
  )
  outcomes = runner.prepare_datasets(
    sources,
    data_dir,
    manual_dir=_MANUAL_DIR.value,
    jobs=_JOBS.value,
    imports=name_lists.split_names(_IMPORTS.value),
    on_done=_progress_display(),
  )
  path = manifest.manifest_path(data_dir)
  if _JSON.value:
    data_sets = [
      {
        **dataclasses.asdict(outcome.entry),
        "skipped": outcome.skipped,
        "seconds": round(outcome.seconds, 1),
      }
      for outcome in outcomes
    ]
    print(json.dumps({"manifest": path, "data_sets": data_sets}, indent=1))
  else:
    print(_summary(outcomes, data_dir))
  if any(o.entry.status is manifest.Status.FAILED for o in outcomes):
    sys.exit(1)


def _progress_display() -> "OnDone":
  """Returns a function that draws a bar on a terminal, or prints lines."""
  bars = []

  def advance_bar(outcome: "PreparationOutcome", done: int, total: int) -> None:
    import keras

    if not bars:
      bars.append(keras.utils.Progbar(total, unit_name="data set"))
    bars[0].update(done)

  def print_line(outcome: "PreparationOutcome", done: int, total: int) -> None:
    print(
      f"[{done}/{total}] {_describe(outcome)}",
      file=sys.stderr if _JSON.value else sys.stdout,
      flush=True,
    )

  has_bar = sys.stdout.isatty() and not _JSON.value
  return advance_bar if has_bar else print_line


def _describe(outcome: "PreparationOutcome") -> str:
  """Returns one line about a data set."""
  from flan_tf.prepare import manifest

  entry = outcome.entry
  if entry.status is manifest.Status.MANUAL:
    return f"{entry.source}: needs manual steps"
  if entry.status is manifest.Status.FAILED:
    return f"{entry.source}: FAILED after {outcome.seconds:.0f} s"
  time = f"took {outcome.seconds:.0f} s"
  if outcome.skipped:
    time = "already prepared"
  return (
    f"{entry.source} {entry.version}: {time}, {entry.rows:,} rows,"
    f" {entry.bytes / 1e6:,.1f} MB"
  )


def _summary(outcomes: "Sequence[PreparationOutcome]", data_dir: str) -> str:
  """Returns what was done, and what is left to do."""
  from flan_tf.prepare import manifest

  by_status = {
    status: [o.entry for o in outcomes if o.entry.status is status]
    for status in manifest.Status
  }
  manual = by_status[manifest.Status.MANUAL]
  failed = by_status[manifest.Status.FAILED]
  skipped = sum(outcome.skipped for outcome in outcomes)
  prepared = len(by_status[manifest.Status.PREPARED]) - skipped
  lines = [
    f"{len(outcomes)} data sets: {prepared} prepared now, {skipped} already"
    f" prepared, {len(manual)} need manual steps, {len(failed)} failed."
  ]
  for entry in by_status[manifest.Status.PREPARED]:
    pinned = f" (FLAN read {entry.pinned})" if entry.pinned else ""
    if entry.detail or pinned:
      detail = entry.detail or f"version {entry.version}"
      lines.append(f"Note: {entry.source}: {detail}{pinned}.")
  for entry in manual:
    lines += [f"Needs manual steps: {entry.source}", _indented(entry.detail)]
  for entry in failed:
    lines += [f"Failed: {entry.source}", _indented(entry.detail)]
    if entry.log:
      lines.append(f"  log: {os.path.join(data_dir, entry.log)}")
  if failed:
    lines.append("Start the same command again to retry those that failed.")
  return "\n".join([*lines, f"Manifest: {manifest.manifest_path(data_dir)}"])


def _indented(text: str, width: int = 2) -> str:
  return "\n".join(" " * width + line for line in text.splitlines())


def run() -> None:
  """Runs the console script `flan-prepare`."""
  cli.run(main, again="prepares the data sets that are left")


if __name__ == "__main__":
  run()
