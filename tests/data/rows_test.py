"""Rows written as TFDS directories are read back unchanged."""

import json
import os
import pathlib
import tempfile

import numpy as np
import tensorflow_datasets as tfds
from absl.testing import absltest

from flan_tf.data import prepared_dataset, row_ranges, rows, shipped_rows
from flan_tf.task import fields
from flan_tf.task.schema import Source, Task, TaskKind, Template

SHARED = pathlib.Path(
  os.environ.get("FLAN_TFDS_DATA")
  or pathlib.Path(__file__).absolute().parents[3] / "shared" / "tfds_data"
)


def task(name, version="1.0.2"):
  return Task(
    name="toy",
    dataset="toy",
    cluster="nli",
    kind=TaskKind.CLASSIFICATION,
    source=Source(name, version),
    fields=fields.slots(premise="premise", label="label"),
    slots=("premise",),
    options=("yes", "no"),
    templates=(Template("{premise}"),),
  )


RTE = task("super_glue/rte")
LABELS = ("entailment", "not_entailment")


def rte_lines(count=20):
  for i in range(count):
    split = "validation" if i % 5 == 4 else "train"
    row = {
      "premise": f"Premise {i}.",
      "hypothesis": "é\n{x}",
      "label": LABELS[i % 2],
      "idx": i,
    }
    yield json.dumps({"split": split, "row": row})


class RowsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.rows_dir = pathlib.Path(folder.name, "rows")
    self.rows_dir.mkdir()
    self.out = pathlib.Path(folder.name, "out")
    self.write("super_glue_rte.jsonl", rte_lines())

  def write(self, name, lines):
    (self.rows_dir / name).write_text("\n".join(lines) + "\n", "utf-8")

  def prepare(self, *tasks):
    return shipped_rows.prepare_shipped_rows(
      tasks or [RTE], self.rows_dir, self.out
    )

  def shard(self, split="train"):
    (path,) = self.out.glob(f"super_glue/rte/1.0.2/*-{split}.tfrecord*")
    return path

  def test_round_trip(self):
    dataset = prepared_dataset.open_dataset(RTE.source, self.prepare())
    self.assertEqual(dataset.counts, {"train": 16, "validation": 4})
    self.assertEqual(dataset.version, "1.0.2")
    self.assertEmpty(dataset.notes)
    part = row_ranges.RowRange("train", 4, 9)
    read = list(rows.read_rows(dataset, part).as_numpy_iterator())
    self.assertEqual([r["row_index"] for r in read], [4, 5, 6, 7, 8])
    self.assertEqual([r["idx"] for r in read], [5, 6, 7, 8, 10])
    self.assertEqual([r["label"] for r in read], [1, 0, 1, 0, 0])
    self.assertEqual(read[0]["hypothesis"], "é\n{x}".encode())

  def test_rows_are_converted_in_the_graph_that_decodes_them(self):
    dataset = prepared_dataset.open_dataset(RTE.source, self.prepare())
    part = row_ranges.RowRange("train", 4, 7)
    read = rows.read_rows(
      dataset, part, lambda row: (row["row_index"], row["premise"])
    )
    made = [(int(i), text) for i, text in read.as_numpy_iterator()]
    self.assertEqual(
      made, [(4, b"Premise 5."), (5, b"Premise 6."), (6, b"Premise 7.")]
    )

  def test_tfds_reads_it_as_the_data_set(self):
    builder = tfds.builder("super_glue/rte", data_dir=self.prepare())
    self.assertTrue(builder.is_prepared())
    (row,) = builder.as_dataset(split="train[3:4]").as_numpy_iterator()
    self.assertEqual(row["premise"], b"Premise 3.")

  def test_nested_features(self):
    choices = [{"label": "A", "text": "u"}, {"label": "B", "text": "v"}]
    row = {"id": "1", "question": "?", "answerKey": "B", "choices": choices}
    line = json.dumps({"split": "train", "row": row})
    self.write("ai2_arc_ARC-Easy.jsonl", [line])
    arc = task("ai2_arc/ARC-Easy", "1.0.0")
    dataset = prepared_dataset.open_dataset(arc.source, self.prepare(arc))
    part = row_ranges.RowRange("train", 0, 1)
    (read,) = rows.read_rows(dataset, part).as_numpy_iterator()
    self.assertEqual(read["answerKey"], 1)
    self.assertEqual(read["choices"]["text"].tolist(), [b"u", b"v"])
    alone = shipped_rows.feature_row(dataset.builder.info.features, row)
    np.testing.assert_array_equal(
      alone["choices"]["label"], read["choices"]["label"]
    )

  def test_a_default_config_is_found(self):
    row = {"sentence1": "a", "sentence2": "b", "label": "paraphrase"}
    self.write("paws_wiki.jsonl", [json.dumps({"split": "train", "row": row})])
    paws = task("paws_wiki", "1.1.0")
    dataset = prepared_dataset.open_dataset(paws.source, self.prepare(paws))
    self.assertEndsWith(dataset.path, "labeled_final_tokenized/1.1.0")
    self.assertEqual(dataset.counts, {"train": 1})

  def test_written_once_and_again_when_rows_change(self):
    self.prepare()
    first = self.shard().stat().st_mtime_ns
    self.prepare()
    self.assertEqual(self.shard().stat().st_mtime_ns, first)
    self.write("super_glue_rte.jsonl", rte_lines(10))
    dataset = prepared_dataset.open_dataset(RTE.source, self.prepare())
    self.assertEqual(dataset.counts, {"train": 8, "validation": 2})

  def test_after_a_row_that_does_not_fit_no_file_remains(self):
    bad = {"split": "train", "row": {"premise": "p", "label": "maybe"}}
    self.write("super_glue_rte.jsonl", [*rte_lines(3), json.dumps(bad)])
    with self.assertRaisesRegex(
      ValueError, "(?s)super_glue_rte.jsonl.*'train', row 3 does not fit"
    ):
      self.prepare()
    self.assertEmpty([p for p in self.out.rglob("*") if p.is_file()])
    self.write("super_glue_rte.jsonl", ["{}"])
    with self.assertRaisesRegex(ValueError, 'line 1: expected {"split"'):
      self.prepare()

  def test_a_directory_of_someone_else_is_left_alone(self):
    real = self.out / "super_glue/rte/1.0.2"
    real.mkdir(parents=True)
    (real / "dataset_info.json").write_text("{}")
    self.prepare()
    self.assertEqual([p.name for p in real.iterdir()], ["dataset_info.json"])

  def test_another_version_is_read_with_a_note(self):
    self.prepare()
    dataset = prepared_dataset.open_dataset(
      Source("super_glue/rte", "1.0.9"), str(self.out)
    )
    self.assertEqual(
      dataset.notes,
      ("version 1.0.2 is read, the task was written against 1.0.9",),
    )

  def test_not_prepared(self):
    source = Source("super_glue/cb", "1.0.2", manual="Fetch cb.zip by hand.")
    with self.assertRaises(prepared_dataset.NotPreparedError) as caught:
      prepared_dataset.open_dataset(source, self.prepare())
    text = str(caught.exception)
    self.assertIn(
      f"'super_glue/cb' is not prepared: no version in {self.out}", text
    )
    self.assertIn(f"--tfds_data_dir={self.out} --sources=super_glue/cb", text)
    self.assertIn("Fetch cb.zip by hand", text)
    with self.assertRaisesRegex(
      prepared_dataset.NotPreparedError, "there is no directory"
    ):
      prepared_dataset.open_dataset(source, str(self.out / "absent"))

  def test_empty_ranges_and_unknown_splits(self):
    dataset = prepared_dataset.open_dataset(RTE.source, self.prepare())
    for split in ("train", "absent"):
      empty = rows.read_rows(dataset, row_ranges.RowRange(split, 0, 0))
      self.assertEmpty(list(empty))
      self.assertIn("premise", empty.element_spec)
    with self.assertRaisesRegex(ValueError, "Did you mean 'train'"):
      rows.read_rows(dataset, row_ranges.RowRange("trian", 0, 2))

  def read_all(self):
    dataset = prepared_dataset.open_dataset(RTE.source, str(self.out))
    with rows.naming_corrupt_files(dataset, "train"):
      list(rows.read_rows(dataset, row_ranges.RowRange("train", 0, 16)))

  def test_a_flipped_byte_names_the_file(self):
    self.prepare()
    data = bytearray(self.shard().read_bytes())
    data[len(data) // 2] ^= 255
    self.shard().write_bytes(data)
    with self.assertRaisesRegex(
      rows.DataCorruptionError,
      r"(?s)super_glue-train.tfrecord-00000-of-00001 is corrupt: \d+ of 16"
      r".*Remove .*/super_glue/rte/1.0.2: the next run writes these",
    ):
      self.read_all()

  def test_a_cut_file_names_the_file(self):
    self.prepare()
    data = self.shard().read_bytes()
    for size in (len(data) // 2, len(data) - 1, 0):
      self.shard().write_bytes(data[:size])
      with self.assertRaisesRegex(
        rows.DataCorruptionError, "train.tfrecord.*( of 16 | records where 16)"
      ):
        self.read_all()

  def test_errors_with_another_cause_name_no_file(self):
    self.prepare()
    dataset = prepared_dataset.open_dataset(RTE.source, str(self.out))
    with self.assertRaisesRegex(Exception, "ours"):
      with rows.naming_corrupt_files(dataset, "train"):
        raise rows.tf.errors.InvalidArgumentError(None, None, "ours")

  def test_many_files_are_read_in_order(self):
    # Rows of 20 shards: the order must not depend on the range.
    builder = tfds.builder("super_glue/rte")
    folder = self.out / "super_glue/rte/1.0.2"
    folder.mkdir(parents=True)
    features, size = builder.info.features, 0
    lengths = [3] * 20
    for shard in range(20):
      path = folder / f"super_glue-train.tfrecord-{shard:05}-of-00020"
      with rows.tf.io.TFRecordWriter(str(path)) as writer:
        for i in range(3):
          row = {"premise": "p", "hypothesis": "h", "label": 0}
          row["idx"] = 3 * shard + i
          record = features.serialize_example(features.encode_example(row))
          size += len(record)
          writer.write(record)
    tfds.folder_dataset.write_metadata(
      data_dir=folder,
      features=features,
      split_infos=[tfds.core.SplitInfo("train", lengths, size)],
      version="1.0.2",
      check_data=False,
    )
    dataset = prepared_dataset.open_dataset(RTE.source, str(self.out))
    for start, stop in ((0, 60), (7, 55), (31, 32)):
      part = row_ranges.RowRange("train", start, stop)
      read = list(rows.read_rows(dataset, part).as_numpy_iterator())
      self.assertEqual([r["idx"] for r in read], list(range(start, stop)))
      self.assertEqual([r["row_index"] for r in read], list(range(start, stop)))


class SharedDirectoryTest(absltest.TestCase):
  def test_genuine_rows(self):
    if not SHARED.is_dir():
      self.skipTest(f"There is no {SHARED}; set FLAN_TFDS_DATA.")
    for name in ("super_glue/rte", "paws_wiki", "ai2_arc/ARC-Easy"):
      dataset = prepared_dataset.open_dataset(
        Source(name, "1.0.2"), str(SHARED)
      )
      part = row_ranges.RowRange("train", 2, 6)
      read = list(rows.read_rows(dataset, part).as_numpy_iterator())
      self.assertEqual([r["row_index"] for r in read], [2, 3, 4, 5])


if __name__ == "__main__":
  absltest.main()
