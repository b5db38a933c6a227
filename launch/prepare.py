"""Prepares the data sets of tasks: downloads them, checks them, writes it down.

  python -m launch.prepare --tfds_data_dir=DIR
  python -m launch.prepare --tfds_data_dir=DIR --clusters=nli,sentiment --jobs=4
  python -m launch.prepare --tfds_data_dir=DIR --verify

What DIR holds already is skipped, so a run that was stopped, or in which some
data sets failed, goes on when it is started again. A few data sets need a
person: their licence wants a signature, or a crawler has to run. What to fetch
is said at the end; put it into --manual_dir and start again. Of xsum, the
Hugging Face hub has a copy, which is read if the package `datasets` is
installed.

DIR/flan_manifest.json tells the version, rows and SHA-256 of each data set,
DIR/logs/ what TFDS said. DIR/downloads may be removed once all is prepared.

The exit status is 1 if a data set failed, or with --verify if a file differs.
It is 0 if data sets only wait for a person: training leaves them out.
"""

import dataclasses
import json
import os
import sys

from absl import flags

from flan_tf import name_lists
from launch import cli

_DATA_DIR = flags.DEFINE_string(
  "tfds_data_dir",
  None,
  "The TFDS directory to fill; may be gs://.",
  required=True,
)
_TASKS = flags.DEFINE_string(
  "tasks", "", "Tasks, comma-separated; all if no clusters are named either."
)
_CLUSTERS = flags.DEFINE_string("clusters", "", "Clusters, comma-separated.")
_SOURCES = flags.DEFINE_string(
  "sources", "", "Of those, only these TFDS names, e.g. glue/qnli,snli."
)
_JOBS = flags.DEFINE_integer("jobs", 2, "Data sets prepared at a time.", 1)
_MANUAL_DIR = flags.DEFINE_string(
  "manual_dir",
  "",
  "Where files lie that a person fetched; by default"
  " TFDS_DATA_DIR/downloads/manual.",
)
_IMPORTS = flags.DEFINE_string(
  "imports",
  "",
  "Modules to import first, comma-separated: those of your own data sets.",
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Say what there is to do, and stop."
)
_VERIFY = flags.DEFINE_bool(
  "verify",
  False,
  "Only compare the files with the manifest's checksums; prepares nothing.",
)
_JSON = flags.DEFINE_bool(
  "json", False, "Print one JSON object; progress goes to stderr."
)


def main() -> None:
  import tasks
  from flan_tf.task import registry

  data_dir = os.path.expanduser(_DATA_DIR.value).rstrip("/")
  chosen = registry.TaskRegistry(tasks.ALL).select(
    name_lists.split_names(_TASKS.value),
    name_lists.split_names(_CLUSTERS.value),
  )
  sources = _named([task.source for task in chosen])
  if _DRY_RUN.value:
    _dry_run(sources, data_dir)
  elif _VERIFY.value:
    _verify(sources, data_dir)
  else:
    try:
      _prepare(sources, data_dir)
    except KeyboardInterrupt:
      sys.exit("Stopped. Start again to go on.")


def _named(sources):
  """The sources that --sources names; all without it."""
  names = name_lists.split_names(_SOURCES.value)
  known = {source.name for source in sources}
  for name in names:
    if name not in known:
      raise ValueError(name_lists.unknown_name("data set", name, known))
  return [source for source in sources if not names or source.name in names]


def _dry_run(sources, data_dir: str) -> None:
  from flan_tf.prepare import work_list

  planned = work_list.plan(sources, data_dir, _MANUAL_DIR.value)
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


def _verify(sources, data_dir: str) -> None:
  from flan_tf.prepare import runner

  names = [source.name for source in sources]
  found = runner.verify(data_dir, names, _JOBS.value)
  lines = [line for group in found.values() for line in group]
  if _JSON.value:
    print(json.dumps({"data_dir": data_dir, "verified": found}, indent=1))
  else:
    print("\n".join(lines + [f"{len(found)} data sets compared."]))
    if lines:
      print(
        f"{len(lines)} files differ. Remove the folder of such a data set and"
        " prepare it again."
      )
  if lines:
    sys.exit(1)


def _prepare(sources, data_dir: str) -> None:
  from flan_tf.prepare import manifest, runner

  print(
    f"{len({source.name for source in sources})} data sets go to {data_dir}."
    f" What TFDS says goes to {os.path.join(data_dir, 'logs')}.",
    file=sys.stderr if _JSON.value else sys.stdout,
    flush=True,
  )
  outcomes = runner.prepare(
    sources,
    data_dir,
    manual_dir=_MANUAL_DIR.value,
    jobs=_JOBS.value,
    imports=name_lists.split_names(_IMPORTS.value),
    on_done=_progress(),
  )
  path = manifest.path_of(data_dir)
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


def _progress():
  """A bar on a terminal; elsewhere a line for each data set."""
  bars = []

  def advance_bar(outcome, done: int, total: int) -> None:
    import keras

    if not bars:
      bars.append(keras.utils.Progbar(total, unit_name="data set"))
    bars[0].update(done)

  def print_line(outcome, done: int, total: int) -> None:
    print(
      f"[{done}/{total}] {_line(outcome)}",
      file=sys.stderr if _JSON.value else sys.stdout,
      flush=True,
    )

  bar = sys.stdout.isatty() and not _JSON.value
  return advance_bar if bar else print_line


def _line(outcome) -> str:
  from flan_tf.prepare import manifest

  entry = outcome.entry
  if entry.status is manifest.Status.MANUAL:
    return f"{entry.source}: needs a person"
  if entry.status is manifest.Status.FAILED:
    return f"{entry.source}: FAILED after {outcome.seconds:.0f} s"
  how = "was there" if outcome.skipped else f"took {outcome.seconds:.0f} s"
  return (
    f"{entry.source} {entry.version}: {how}, {entry.rows:,} rows,"
    f" {entry.bytes / 1e6:,.1f} MB"
  )


def _summary(outcomes, data_dir: str) -> str:
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
    f"{len(outcomes)} data sets: {prepared} prepared, {skipped} were there,"
    f" {len(manual)} need a person, {len(failed)} failed."
  ]
  for entry in by_status[manifest.Status.PREPARED]:
    pinned = f" (FLAN read {entry.pinned})" if entry.pinned else ""
    if entry.detail or pinned:
      detail = entry.detail or f"version {entry.version}"
      lines.append(f"Note: {entry.source}: {detail}{pinned}.")
  for entry in manual:
    lines += [f"Needs a person: {entry.source}", _indented(entry.detail)]
  for entry in failed:
    lines += [f"Failed: {entry.source}", _indented(entry.detail)]
    if entry.log:
      lines.append(f"  log: {os.path.join(data_dir, entry.log)}")
  if failed:
    lines.append("Start again to try those that failed once more.")
  return "\n".join([*lines, f"Manifest: {manifest.path_of(data_dir)}"])


def _indented(text: str, width: int = 2) -> str:
  return "\n".join(" " * width + line for line in text.splitlines())


def run() -> None:
  """Entry point of `flan-prepare`."""
  cli.run(main)


if __name__ == "__main__":
  run()
