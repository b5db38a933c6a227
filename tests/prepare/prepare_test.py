"""Preparing survives failures, resumes after a kill, and writes a manifest."""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import tempfile
import time
from unittest import mock

from absl.testing import absltest

import tasks
from flan_tf import write_lock
from flan_tf.data import prepared_dataset, row_ranges, rows, shipped_rows
from flan_tf.prepare import (
  dataset_preparer,
  download_plan,
  manifest,
  runner,
  worker,
)
from flan_tf.task.registry import TaskRegistry
from flan_tf.task.schema import Source
from tests.helpers import binaries, tiny, toy_datasets

IMPORTS = ("tests.helpers.toy_datasets",)
ROWS = Source("toy_rows", "1.0.0", pinned="0.9.0")
FAILS = Source("toy_fails", "1.1.0", broken="Known. Take the mirror.")
KILLED = Source("toy_killed", "1.1.0")
MANUAL = Source("toy_manual", "1.1.0")
SLOW = Source("toy_slow", "1.1.0")
PERSON = Source(
  "toy_person", "1.0.0", manual="Put person.zip into <manual_dir>."
)
HUB = Source(
  "toy_hub", "1.0.0", manual="Run the crawler.", hub="Someone/Toy-Hub"
)
ALL = (ROWS, FAILS, KILLED, MANUAL, PERSON, HUB, ROWS)


class Folder:
  """A data directory, and the file to which toy data sets append their name."""

  def __init__(self, add_cleanup):
    stack = contextlib.ExitStack()
    self.path = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    log = self.path / "toys"
    log.touch()
    stack.enter_context(mock.patch.dict(os.environ, TOY_LOG=str(log)))
    self.data = self.path / "data"
    add_cleanup(stack.close)

  def prepare(self, *sources, **options):
    """Prepares toy data sets; returns outcomes by name."""
    done = runner.prepare_datasets(
      sources, str(self.data), imports=IMPORTS, **options
    )
    return {outcome.entry.source: outcome for outcome in done}

  def names(self):
    return [name for name, _ in toy_datasets.started()]


class PrepareTest(absltest.TestCase):
  """One run of all toy data sets, and its results."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = Folder(cls.addClassCleanup)
    cls.calls = []
    cls.outcomes = cls.folder.prepare(
      *ALL, on_done=lambda *call: cls.calls.append(call)
    )
    cls.entries = manifest.read_manifest(str(cls.folder.data))

  def entry(self, source):
    return self.entries[source.name]

  def test_every_data_set_is_done_once(self):
    self.assertCountEqual(self.outcomes, {source.name for source in ALL})
    self.assertEqual(
      [(done, total) for _, done, total in self.calls],
      [(i, 6) for i in range(1, 7)],
    )
    for outcome, _, _ in self.calls:
      self.assertEqual(outcome, self.outcomes[outcome.entry.source])
      self.assertFalse(outcome.skipped)
      self.assertEqual(outcome.entry, self.entries[outcome.entry.source])

  def test_the_manifest(self):
    text = (self.folder.data / "flan_manifest.json").read_text()
    found = json.loads(text)["data_sets"]["toy_rows"]
    folder = self.folder.data / "toy_rows/1.1.0"
    files = {
      path.name: hashlib.sha256(path.read_bytes()).hexdigest()
      for path in folder.iterdir()
    }
    self.assertIn("toy_rows-train.tfrecord-00000-of-00001", files)
    size = sum(path.stat().st_size for path in folder.iterdir())
    self.assertRegex(found.pop("when"), r"^20\d\d-\d\d-\d\dT.*\+00:00$")
    self.assertEqual(
      found,
      {
        "status": "prepared",
        "version": "1.1.0",
        "asked": "1.0.0",
        "pinned": "0.9.0",
        "path": "toy_rows/1.1.0",
        "splits": {"train": toy_datasets.ROWS},
        "files": files,
        "bytes": size,
        # TFDS can read 1.0.0, but makes only the current version.
        "detail": "version 1.1.0 is read, the task was written against 1.0.0",
        "log": "logs/toy_rows.log",
      },
    )

  def test_a_failure(self):
    entry = self.entry(FAILS)
    self.assertEqual(entry.status, manifest.Status.FAILED)
    self.assertEqual(
      entry.detail,
      "ValueError: the host is out\nand stays so\nKnown. Take the mirror.",
    )
    log = (self.folder.data / entry.log).read_text()
    self.assertIn("a line of the log", log)
    self.assertIn("Traceback", log)

  def test_a_killed_process(self):
    entry = self.entry(KILLED)
    self.assertEqual(entry.status, manifest.Status.FAILED)
    self.assertStartsWith(entry.detail, "The process was killed by SIGKILL.")
    self.assertTrue((self.folder.data / entry.log).exists())

  def test_what_needs_a_person(self):
    self.assertEqual(self.entry(PERSON).status, manifest.Status.MANUAL)
    where = f"{self.folder.data}/downloads/manual"
    self.assertEqual(
      self.entry(PERSON).detail,
      f"Put person.zip into {where}.\nThen start again.",
    )
    self.assertEqual(self.entry(MANUAL).status, manifest.Status.MANUAL)
    self.assertStartsWith(
      self.entry(MANUAL).detail,
      f"Sign the form and get toy.txt.\nPut it into {where} and start again.\n"
      f"AssertionError: Manual directory {where} does not exist or is empty",
    )

  def test_the_hub(self):
    entry = self.entry(HUB)
    self.assertEqual(entry.status, manifest.Status.PREPARED, entry.detail)
    self.assertEqual(entry.path, "someone__toy_hub/1.2.0")
    self.assertEqual(
      entry.detail,
      "it comes from the Hugging Face hub's Someone/Toy-Hub; version 1.2.0 is"
      " read, the task was written against 1.0.0",
    )
    dataset = prepared_dataset.open_dataset(HUB, str(self.folder.data))
    part = row_ranges.RowRange("train", 0, 3)
    read = rows.read_rows(dataset, part).as_numpy_iterator()
    self.assertCountEqual(
      [row["text"] for row in read], [b"row 0", b"row 1", b"row 2"]
    )

  def test_what_comes_next(self):
    """A second run prepares the rest; `verify_datasets` finds changed files."""
    left = self.folder.data / "toy_killed/incomplete.ABCDEF_1.1.0"
    self.assertLen(list(left.parent.glob("incomplete.*")), 1)
    left.mkdir()
    manual_dir = self.folder.path / "manual"
    manual_dir.mkdir()
    (manual_dir / "toy.txt").touch()
    before = len(self.folder.names())
    with mock.patch.dict(os.environ, TOY_SURVIVES="yes"):
      outcomes = self.folder.prepare(
        ROWS, KILLED, MANUAL, HUB, manual_dir=str(manual_dir)
      )
    self.assertCountEqual(
      self.folder.names()[before:], ["toy_killed", "toy_manual"]
    )
    for source in (ROWS, HUB):
      self.assertTrue(outcomes[source.name].skipped)
      self.assertEqual(outcomes[source.name].entry, self.entry(source))
    for source in (KILLED, MANUAL):
      self.assertEqual(
        outcomes[source.name].entry.status, manifest.Status.PREPARED
      )
    self.assertEqual([p.name for p in left.parent.iterdir()], ["1.1.0"])

    data = str(self.folder.data)
    entries = manifest.read_manifest(data)
    self.assertCountEqual(entries, self.entries)
    self.assertEqual(entries["toy_fails"], self.entry(FAILS))
    names = ["toy_rows", "toy_hub", "toy_killed", "toy_manual"]
    self.assertEqual(
      runner.verify_datasets(data), {name: [] for name in sorted(names)}
    )
    folder = self.folder.data / "toy_killed/1.1.0"
    shard = folder / "toy_killed-train.tfrecord-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    (folder / "features.json").unlink()
    (folder / "new").touch()
    found = runner.verify_datasets(
      data, ["toy_killed", "toy_rows", "toy_fails"]
    )
    self.assertEqual(found.pop("toy_rows"), [])
    (lines,) = found.values()
    self.assertLen(lines, 3)
    self.assertEqual(lines[0], f"{folder}/features.json is missing")
    self.assertEqual(lines[1], f"{folder}/new is not in the manifest")
    self.assertStartsWith(lines[2], f"{shard} was changed: its SHA-256 is ")


class InterruptedTest(absltest.TestCase):
  def test_a_killed_run_goes_on(self):
    folder = Folder(self.addCleanup)
    command = (
      "import sys; from tests.prepare import prepare_test as t;"
      "t.runner.prepare_datasets("
      "[t.ROWS, t.SLOW], sys.argv[1], imports=t.IMPORTS)"
    )
    run = tiny.start("-c", command, str(folder.data), TOY_SLEEP="600")
    try:
      self.wait_for(lambda: "toy_slow" in folder.names(), run)
      self.wait_for(lambda: manifest.read_manifest(str(folder.data)), run)
      with self.assertRaisesRegex(
        write_lock.LockedError, "is writing to .*preparing data sets"
      ):
        folder.prepare(ROWS)
    finally:
      run.send_signal(signal.SIGKILL)
      run.communicate()
    process = dict(toy_datasets.started())["toy_slow"]
    self.wait_for(lambda: not _is_alive(int(process)))
    self.assertCountEqual(
      manifest.read_manifest(str(folder.data)), ["toy_rows"]
    )
    outcomes = folder.prepare(ROWS, SLOW, jobs=1)
    self.assertTrue(outcomes["toy_rows"].skipped)
    self.assertEqual(outcomes["toy_slow"].entry.rows, toy_datasets.ROWS)
    self.assertCountEqual(folder.names(), ["toy_rows", *["toy_slow"] * 2])
    self.assertEqual(
      [p.name for p in (folder.data / "toy_slow").iterdir()], ["1.1.0"]
    )

  def wait_for(self, condition, run=None):
    for _ in range(600):
      if condition():
        return
      if run and run.poll() is not None:
        self.fail(f"It ended before: {run.communicate()}")
      time.sleep(0.1)
    self.fail("It took too long.")


class PartsTest(absltest.TestCase):
  """Functions that start no process."""

  def setUp(self):
    super().setUp()
    self.folder = Folder(self.addCleanup)

  def test_plan(self):
    broken = Source("toy_fails", "1.0.0", broken="The checksum is wrong.")
    planned = download_plan.plan_downloads(
      [ROWS, PERSON, broken, HUB, ROWS], str(self.folder.data)
    )
    self.assertEqual(
      [(one.source.name, one.status) for one in planned],
      [
        ("toy_rows", "downloadable"),
        ("toy_person", "manual"),
        ("toy_fails", "broken"),
        ("toy_hub", "downloadable"),
      ],
    )
    self.assertIn("Put person.zip into", planned[1].detail)
    self.assertEqual(planned[2].detail, "The checksum is wrong.")
    self.assertFalse(self.folder.data.exists())

  def test_damaged_metadata_do_not_end_the_run(self):
    folder = self.folder.data / "toy_rows/1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{")
    (planned,) = download_plan.plan_downloads([ROWS], str(self.folder.data))
    self.assertEqual(planned.status, "broken")
    self.assertStartsWith(planned.detail, "The data set cannot be read: ")
    prepared = {"status": "prepared", "detail": ""}
    with mock.patch.object(
      dataset_preparer.WorkerProcesses, "run", return_value=prepared
    ):
      outcomes = self.folder.prepare(ROWS, PERSON)
    entry = outcomes["toy_rows"].entry
    self.assertEqual(entry.status, manifest.Status.FAILED)
    self.assertStartsWith(entry.detail, "The data set cannot be read. Remove")
    self.assertEqual(outcomes["toy_person"].entry.status, "manual")

  def test_configs_of_one_data_set_do_not_run_together(self):
    at_work, groups, most = set(), set(), [0]

    class Workers:
      def prepare(self, planned):
        group = planned.source.name.split("_")[0]
        self_test.assertNotIn(group, at_work)
        at_work.add(group)
        most[0] = max(most[0], len(at_work))
        time.sleep(0.02)
        at_work.remove(group)
        groups.add(group)
        return planned.source.name

    self_test = self
    names = ["wmt14_translate/fr-en", "anli/r1", "anli/r2", "gem/a", "anli/r3"]
    names += ["wmt16_translate/de-en", "gem/b"]
    planned = [
      download_plan.PlannedDownload(Source(n, "1.0.0"), "") for n in names
    ]
    with mock.patch.object(runner, "_group", wraps=runner._group) as group:
      done = list(runner._in_parallel(Workers(), planned, jobs=3))
    self.assertEqual(group.call_count, len(names))
    self.assertCountEqual(done, names)
    self.assertEqual(done.index("anli/r1"), min(map(done.index, names[1:3])))
    self.assertGreater(most[0], 1)

  def test_versions_of_a_builder(self):
    for asked in ("1.1.0", "1.0.0", "7.0.0", ""):
      builder = worker.find_builder("toy_rows", asked, str(self.folder.data))
      self.assertEqual(str(builder.version), "1.1.0")
    builder = worker.find_builder("toy_configs/b", "", "nowhere")
    self.assertEqual(builder.builder_config.name, "b")

  def test_the_folder_of_the_hub(self):
    """A data set of the hub is found in the folder that TFDS gives it."""
    name = prepared_dataset.hub_folder("EdinburghNLP/xsum")
    self.assertEqual(name, "edinburghnlp__xsum")
    features = toy_datasets.ToyRows(data_dir="nowhere").info.features
    for version in ("1.2.0", "1.10.0"):
      folder = self.folder.data / name / version
      folder.mkdir(parents=True)
      texts = [{"text": version}]
      shipped_rows.write_dataset(
        folder, name, features, version, {"train": texts}
      )
    source = Source("xsum", "1.1.0", hub="EdinburghNLP/xsum")
    dataset = prepared_dataset.open_dataset(source, str(self.folder.data))
    self.assertEqual(dataset.version, "1.10.0")
    self.assertEqual(dataset.counts, {"train": 1})
    self.assertLen(dataset.notes, 2)
    part = row_ranges.RowRange("train", 0, 1)
    (row,) = rows.read_rows(dataset, part).as_numpy_iterator()
    self.assertEqual(row["text"], b"1.10.0")
    with self.assertRaises(prepared_dataset.NotPreparedError):
      prepared_dataset.open_dataset(
        Source("xsum", "1.1.0"), str(self.folder.data)
      )

  def test_refusals(self):
    with self.assertRaisesRegex(ValueError, "jobs is 0"):
      self.folder.prepare(ROWS, jobs=0)
    with self.assertRaisesRegex(ValueError, "no module 'toy_datsets' to"):
      runner.prepare_datasets(
        [ROWS], str(self.folder.data), imports=["toy_datsets"]
      )
    with self.assertRaisesRegex(
      FileNotFoundError, "there is nothing to compare with"
    ):
      runner.verify_datasets(str(self.folder.data))
    self.folder.data.mkdir()
    for text in ("{", "[]", '{"data_sets": {"a": {"status": "odd"}}}'):
      (self.folder.data / manifest.FILE).write_text(text)
      with self.assertRaisesRegex(ValueError, "is not a manifest that"):
        manifest.read_manifest(str(self.folder.data))


class BinaryTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = Folder(self.addCleanup)
    task = TaskRegistry(tasks.ALL).get("rte")
    shipped = pathlib.Path(tasks.__file__).parent / "rows"
    shipped_rows.prepare_shipped_rows([task], shipped, self.folder.data)

  def call(self, *arguments):
    """Runs launch.prepare in this process: (status, stdout, stderr)."""
    from launch import prepare as binary

    data_dir = f"--tfds_data_dir={self.folder.data}/"
    return binaries.call(binary, data_dir, *arguments)

  def test_what_was_there(self):
    status, out, _ = self.call("--tasks=rte")
    self.assertEqual(status, 0)
    self.assertStartsWith(
      out, f"1 data sets to prepare in {self.folder.data}. T"
    )
    self.assertRegex(
      out, r"\n\[1/1\] super_glue/rte 1.0.2: already prepared, \d+ rows"
    )
    self.assertIn(
      "1 data sets: 0 prepared now, 1 already prepared, 0 need manual", out
    )
    self.assertEndsWith(out, f"Manifest: {self.folder.data}/{manifest.FILE}\n")
    status, out, err = self.call("--tasks=rte", "--json")
    (entry,) = json.loads(out)["data_sets"]
    self.assertEqual(entry["source"], "super_glue/rte")
    self.assertEqual(entry["status"], "prepared")
    self.assertTrue(entry["skipped"])
    self.assertIn("[1/1] super_glue/rte", err)

  def test_verify(self):
    status, _, err = self.call("--verify")
    self.assertEqual(status, 1)
    self.assertIn("so that there is nothing to compare with", err)
    self.call("--tasks=rte")
    self.assertEqual(self.call("--verify")[:2], (0, "1 data sets compared.\n"))
    path = self.folder.data / "super_glue/rte/1.0.2/dataset_info.json"
    path.write_text(path.read_text() + " ")
    self.call("--tasks=rte")  # It does not take the change for right.
    status, out, _ = self.call("--verify")
    self.assertEqual(status, 1)
    self.assertRegex(out, f"^{path} was changed: its SHA-256 is")
    status, out, _ = self.call("--verify", "--json", "--tasks=rte,cb")
    self.assertEqual(status, 1)
    self.assertLen(json.loads(out)["verified"]["super_glue/rte"], 1)

  def test_dry_run(self):
    status, out, _ = self.call("--tasks=rte,cb", "--dry_run")
    self.assertEqual(status, 0)
    self.assertRegex(out, "prepared +super_glue/rte 1.0.2\n")
    self.assertRegex(out, "downloadable +super_glue/cb 1.0.2\n")
    _, out, _ = self.call("--tasks=rte,cb", "--dry_run", "--json")
    found = {d["source"]: d["status"] for d in json.loads(out)["data_sets"]}
    self.assertEqual(
      found, {"super_glue/rte": "prepared", "super_glue/cb": "downloadable"}
    )
    self.assertFalse((self.folder.data / "logs").exists())

  def test_the_end_of_a_run_lists_what_is_left(self):
    from launch import prepare as binary

    outcomes = [
      dataset_preparer.PreparationOutcome(
        manifest.new_entry(source, status, detail, **values)
      )
      for source, status, detail, values in (
        (ROWS, manifest.Status.PREPARED, "", {"version": "1.1.0"}),
        (FAILS, manifest.Status.FAILED, "why\nso", {"log": "logs/f.log"}),
        (PERSON, manifest.Status.MANUAL, "Get it.", {}),
      )
    ]
    self.assertEqual(
      binary._summary(outcomes, "DIR"),
      "3 data sets: 1 prepared now, 0 already prepared, 1 need manual steps, 1"
      " failed.\n"
      "Note: toy_rows: version 1.1.0 (FLAN read 0.9.0).\n"
      "Needs manual steps: toy_person\n  Get it.\n"
      "Failed: toy_fails\n  why\n  so\n  log: DIR/logs/f.log\n"
      "Start the same command again to retry those that failed.\n"
      "Manifest: DIR/flan_manifest.json",
    )


def _is_alive(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  return True


if __name__ == "__main__":
  absltest.main()
