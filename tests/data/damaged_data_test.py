"""Damaged data sets are noticed, and the message names the damaged file."""

import json
import pathlib
import random
import re
import shutil
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import absltest, parameterized

from flan_tf.data import (
  availability,
  opened_tasks,
  prepared_dataset,
  record_files,
  row_ranges,
  rows,
  shipped_rows,
)
from flan_tf.task import registry, table

# coqa has lists, arc_easy lists of options, and trec two labels.
TASKS = ("rte", "trec", "arc_easy", "coqa")
_FLIPS = 15  # In each kind of file.


def setUpModule():
  global PREPARED, _TEMPORARY
  _TEMPORARY = tempfile.TemporaryDirectory()
  PREPARED = pathlib.Path(_TEMPORARY.name, "data")
  shipped_rows.prepare_shipped_rows(
    chosen_tasks(), table.shipped_rows_folder(), PREPARED
  )
  # As if another program had prepared the data sets.
  for stamp in PREPARED.rglob(prepared_dataset.SHIPPED_STAMP):
    stamp.unlink()


def tearDownModule():
  _TEMPORARY.cleanup()


def chosen_tasks(names=TASKS):
  return registry.TaskRegistry(table.shipped_tasks()).select(names)


def as_text(row):
  """Returns all values of a row, also those in lists."""
  return repr(
    tf.nest.map_structure(lambda value: np.asarray(value).tolist(), row)
  )


class DamagedDataTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.data = pathlib.Path(self.create_tempdir().full_path, "data")
    self.data_dir = str(self.data)
    shutil.copytree(PREPARED, self.data)
    self.trec = self.data / "trec" / "1.0.0"
    self.info = self.trec / "dataset_info.json"

  def open(self, name="trec"):
    (item,), _ = opened_tasks.open_tasks(chosen_tasks((name,)), self.data_dir)
    return item.dataset

  def read(self, split="train", start=0, stop=None, name="trec"):
    dataset = self.open(name)
    stop = dataset.counts[split] if stop is None else stop
    part = row_ranges.RowRange(split, start, stop)
    with rows.naming_corrupt_files(dataset, split):
      return list(rows.read_rows(dataset, part).as_numpy_iterator())

  def read_everything(self, name):
    """Reads all rows of all splits: {split: texts}."""
    splits = sorted(self.open(name).counts)
    return {
      split: [as_text(row) for row in self.read(split, name=name)]
      for split in splits
    }

  def edit_info(self, edit):
    """Changes the JSON value of dataset_info.json."""
    value = json.loads(self.info.read_text())
    edit({split["name"]: split for split in value["splits"]})
    self.info.write_text(json.dumps(value))


class FlippedBitsTest(DamagedDataTestCase):
  @parameterized.parameters(
    ("dataset_info.json", _FLIPS // 2),
    ("features.json", _FLIPS // 2),
    ("tfrecord", _FLIPS),
    (".txt", 0),  # The names of labels are not read.
  )
  def test_a_flipped_bit_is_noticed_or_changes_nothing(self, kind, at_least):
    expected = {name: self.read_everything(name) for name in TASKS}
    draws, noticed = random.Random(0), 0
    folders = [self.open(name).path for name in TASKS]
    paths = {
      (name, path)
      for name, folder in zip(TASKS, folders, strict=True)
      for path in pathlib.Path(folder).iterdir()
      if kind in path.name
    }
    for _ in range(_FLIPS):
      name, path = draws.choice(sorted(paths))
      content = path.read_bytes()
      damaged = bytearray(content)
      place = draws.randrange(len(content))
      damaged[place] ^= 1 << draws.randrange(8)
      path.write_bytes(damaged)
      with self.subTest(path=path.name, place=place, byte=damaged[place]):
        try:
          self.assertEqual(self.read_everything(name), expected[name])
        except (
          prepared_dataset.DamagedDatasetError,
          rows.DataCorruptionError,
        ) as error:
          self.assertIn(path.name, str(error))
          self.assertIn(str(path.parent), str(error))
          noticed += 1
      path.write_bytes(content)
    self.assertGreaterEqual(noticed, at_least)


class MetadataTest(DamagedDataTestCase):
  @parameterized.product(
    name=("dataset_info.json", "features.json"),
    content=("", "{", "\xff", "null", "[1]", '{"splits": 3}', "[" * 100_000),
  )
  def test_metadata_of_another_shape(self, name, content):
    path = self.trec / name
    path.write_text(content, "latin-1")
    with self.assertRaises(prepared_dataset.DamagedDatasetError) as caught:
      self.open()
    text = str(caught.exception)
    self.assertIsInstance(caught.exception, ValueError)
    self.assertIn("Data set 'trec'", text)
    self.assertIn(str(self.trec), text)
    self.assertIn(name, text)
    self.assertIn(f"remove {self.trec} and run\n  python -m launch.prep", text)
    self.assertLess(len(text), 1_000)

  @parameterized.parameters("{}", '{"splits": []}')
  def test_metadata_without_splits(self, content):
    self.info.write_text(content)
    with self.assertRaisesRegex(
      prepared_dataset.DamagedDatasetError, "dataset_info.json.* is damaged"
    ):
      self.open()

  def test_a_damaged_name_of_a_split(self):
    self.edit_info(lambda splits: splits["train"].update(name="trail"))
    with self.assertRaisesRegex(
      prepared_dataset.DamagedDatasetError,
      "dataset_info.json.*no split has the file trec-train.tfrecord-00000-of",
    ):
      self.open()

  def test_a_split_that_is_not_there_may_stay_away(self):
    for path in self.trec.glob("trec-test*"):
      path.unlink()
    self.assertNotEmpty(self.read("train"))

  def test_a_damaged_number_below_zero(self):
    self.edit_info(lambda splits: splits["train"].update(shardLengths=["-3"]))
    with self.assertRaisesRegex(
      prepared_dataset.DamagedDatasetError, "split 'train' has fewer than 0"
    ):
      self.open()

  def test_a_damaged_name_of_a_feature(self):
    path = self.trec / "features.json"
    path.write_text(path.read_text().replace('"label-fine"', '"label-fina"'))
    with self.assertRaisesRegex(
      rows.DataCorruptionError, "features.json does not name 'label-fine', wh"
    ):
      self.read()

  def test_a_damaged_name_of_a_list_is_no_empty_list(self):
    path = self.data / "coqa" / "1.0.0" / "features.json"
    path.write_text(path.read_text().replace('"answers"', '"qnswers"'))
    dataset = self.open("coqa")
    with self.assertRaisesRegex(
      rows.DataCorruptionError, "features.json does not name 'answers/"
    ):
      rows.check_split(dataset, "train")

  def test_the_folder_of_shipped_rows_is_written_again(self):
    (self.trec / prepared_dataset.SHIPPED_STAMP).write_text("0")
    self.info.write_text("")
    with self.assertRaisesRegex(
      prepared_dataset.DamagedDatasetError,
      f"Remove {re.escape(str(self.trec))}: the next run writes these shipped",
    ):
      self.open()


class WrongCountTest(DamagedDataTestCase):
  @parameterized.parameters(3, 29, 31, 3_000)
  def test_another_number_of_rows_is_refused(self, count):
    self.assertEqual(self.open().counts["train"], 30)
    self.edit_info(
      lambda splits: splits["train"].update(shardLengths=[str(count)])
    )
    for stop in (2, count):  # A part of the rows, and all that are recorded.
      with self.assertRaisesRegex(
        rows.DataCorruptionError,
        "(?s)trec-train.tfrecord-00000-of-00001 holds 30 records where"
        f" {count} are expected, according to dataset_info.json beside it"
        ".*Prepare it again",
      ):
        self.read(stop=stop)

  def test_rows_that_were_added_or_removed(self):
    (path,) = self.trec.glob("trec-train*")
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    for changed in (records[:-1], [*records, records[0]]):
      with tf.io.TFRecordWriter(str(path)) as writer:
        for record in changed:
          writer.write(record)
      with self.assertRaisesRegex(
        rows.DataCorruptionError, f"holds {len(changed)} records where 30 are"
      ):
        self.read(stop=2)

  @parameterized.parameters("", "0", "17")
  def test_bytes_that_were_not_recorded_count_the_rows(self, size):
    self.edit_info(lambda splits: splits["train"].update(numBytes=size or "0"))
    self.assertLen(self.read(), 30)

  def test_no_row_is_counted_if_the_sizes_are_as_recorded(self):
    def refuse(path):
      raise AssertionError(path)

    count = record_files._count_records
    self.addCleanup(setattr, record_files, "_count_records", count)
    record_files._count_records = refuse
    self.assertLen(self.read(), 30)

  def test_rows_that_moved_between_files(self):
    # The sums agree, so that only reading a file to its end can tell.
    (whole,) = self.trec.glob("trec-train*")
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(whole))]
    whole.unlink()
    for shard, part in enumerate((records[:8], records[8:])):
      path = self.trec / f"trec-train.tfrecord-{shard:05}-of-00002"
      with tf.io.TFRecordWriter(str(path)) as writer:
        for record in part:
          writer.write(record)

    def lengths(*counts):
      texts = [str(count) for count in counts]
      self.edit_info(lambda splits: splits["train"].update(shardLengths=texts))

    lengths(8, 22)
    self.assertLen(self.read(start=5, stop=12), 7)
    lengths(7, 23)
    with self.assertRaisesRegex(
      rows.DataCorruptionError, "00000-of-00002 holds 8 records where 7"
    ):
      self.read(start=5, stop=12)

  def test_a_large_split_is_not_counted(self):
    self.addCleanup(
      setattr,
      record_files,
      "_MOST_BYTES_COUNTED",
      record_files._MOST_BYTES_COUNTED,
    )
    record_files._MOST_BYTES_COUNTED = 100
    self.edit_info(lambda splits: splits["train"].update(numBytes="0"))
    with self.assertLogs("absl", "WARNING") as logs:
      self.assertLen(self.read(stop=2), 2)
    self.assertRegex(logs.output[0], "'train' has .* Its rows are not counted")


class CheckTest(DamagedDataTestCase):
  def test_one_damaged_data_set_among_others(self):
    self.info.write_text("")
    path = self.data / "super_glue" / "rte" / "1.0.2" / "dataset_info.json"
    text = path.read_text()
    path.write_text(re.sub(r'(shardLengths": \[\s*)"\d+"', r'\1"2"', text))
    found = availability.check_tasks(chosen_tasks(), self.data_dir)
    statuses = {task["name"]: task["status"] for task in found["tasks"]}
    self.assertEqual(
      statuses,
      {
        "rte": "damaged",
        "trec": "damaged",
        "arc_easy": "prepared",
        "coqa": "prepared",
      },
    )
    self.assertEqual(found["datasets"]["damaged"], 2)
    text = availability.format_availability(found)
    self.assertRegex(text, r"(?s)Damaged:\n.*  trec\n.*dataset_info.json")
    self.assertIn("4 data sets: 2 prepared, 2 damaged", text)


class GenuineDirectoryTest(absltest.TestCase):
  def test_tfds_records_the_sizes_of_its_files(self):
    """The directory that TFDS itself writes has the sizes expected here."""
    folder = self.create_tempdir().full_path
    builder = tfds.testing.DummyDataset(data_dir=folder)
    builder.download_and_prepare()
    for split in builder.info.splits:
      self.assertEqual(record_files.wrong_count(builder.info, split), "")
      found = builder.info.splits[split]
      size = sum(path.stat().length for path in found.filepaths)
      self.assertEqual(size, found.num_bytes + 16 * found.num_examples)


if __name__ == "__main__":
  absltest.main()
