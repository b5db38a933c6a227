"""A run resumes on the data that it was trained on, and on no other."""

import logging
import pathlib
import shutil

import tensorflow as tf
from absl.testing import absltest

from flan_tf import config
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.data import example_table, mixture_report, opened_tasks
from flan_tf.task import registry, table
from flan_tf.training import resume_policy
from tests.helpers import tiny

TINY = tiny.Tiny()
setUpModule, tearDownModule = TINY.open, TINY.close


class PolicyTest(absltest.TestCase):
  """`check_same_data` on numbers and digests."""

  def report(self, data_dir="here", **counts):
    tasks = registry.TaskRegistry(table.shipped_tasks()).select(tuple(counts))
    opened, _ = opened_tasks.open_tasks(tasks, TINY.data_dir)
    return mixture_report.build_report(
      [
        (item, example_table.RowCounts(examples=counts[item.task.name]))
        for item in opened
      ],
      {},
      data_dir=data_dir,
      objective="instructions",
      vocabulary="",
      mixing_cap=3,
    )

  def check(self, before, digests_before, digests, data_dir="here", **counts):
    data = {"examples": before, "mixture": {"data_dir": "here"}}
    if digests_before is not None:
      data["data_digests"] = digests_before
    resume_policy.check_same_data(
      self.report(data_dir, **counts),
      digests,
      Bundle("RUN/step_3", config.RunConfig(), data),
    )

  COUNTS = {"rte": 5, "sst2": 7}
  DIGESTS = {"rte": "a", "sst2": "b"}

  def test_equal_data(self):
    with self.assertNoLogs(level=logging.WARNING):
      self.check(
        self.COUNTS, self.DIGESTS, self.DIGESTS, "moved", **self.COUNTS
      )

  def test_another_content(self):
    with self.assertRaisesRegex(
      ValueError,
      "data changed since RUN/step_3 was written, so the run cannot continue"
      " with the same batches. As many examples as then, but with other content"
      r" or another mixing rate: sst2 \(7 examples\). Restore the rows, .* or"
      " start a new workdir with --config.train.init_from=RUN/step_3.$",
    ):
      self.check(
        self.COUNTS, self.DIGESTS, {"rte": "a", "sst2": "c"}, **self.COUNTS
      )

  def test_another_number(self):
    with self.assertRaisesRegex(
      ValueError,
      "batches. Examples then and now: rte 5 and 4, trec 2 and 0. Restore",
    ):
      self.check(
        {**self.COUNTS, "trec": 2},
        {**self.DIGESTS, "trec": "d"},
        {"rte": "c", "sst2": "b"},
        rte=4,
        sst2=7,
      )

  def test_both_and_another_folder(self):
    with self.assertRaisesRegex(
      ValueError,
      r"Examples then and now: rte 5 and 4. As many .*: sst2 \(7 examples\)."
      " They were read from here then, and from there now. Restore",
    ):
      self.check(
        self.COUNTS,
        self.DIGESTS,
        {"rte": "c", "sst2": "d"},
        "there",
        rte=4,
        sst2=7,
      )

  def test_another_order(self):
    with self.assertRaisesRegex(ValueError, "The tasks have another order"):
      self.check(
        self.COUNTS, {"sst2": "b", "rte": "a"}, self.DIGESTS, **self.COUNTS
      )

  def test_a_checkpoint_without_digests(self):
    with self.assertLogs("flan_tf", logging.WARNING) as logs:
      self.check(self.COUNTS, None, self.DIGESTS, **self.COUNTS)
    self.assertRegex(
      logs.output[0],
      "RUN/step_3 has no digests .* Only the numbers of examples",
    )
    with self.assertRaisesRegex(
      ValueError, "then and now: rte 5 and 4. Restor"
    ):
      with self.assertLogs("flan_tf", logging.WARNING):
        self.check(self.COUNTS, None, self.DIGESTS, rte=4, sst2=7)


class RunTest(absltest.TestCase):
  """A run whose rows are rewritten with other words, as many as before."""

  def rewrite(self, old: bytes, new: bytes) -> None:
    """Replaces bytes in every training row of sst2."""
    (path,) = self.data.glob("glue/sst2/*/*-train.tfrecord*")
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    self.assertTrue(any(old in record for record in records))
    with tf.io.TFRecordWriter(str(path)) as writer:
      for record in records:
        writer.write(record.replace(old, new))

  def open(self, steps: int):
    chosen = registry.TaskRegistry(table.shipped_tasks()).select(tiny.TASKS)
    from flan_tf.training import session

    return session.open_session(
      TINY.run(train__steps=steps), self.workdir, chosen, str(self.data)
    )

  def test_rows_that_were_changed_are_noticed(self):
    from flan_tf.training import loop

    folder = pathlib.Path(self.create_tempdir().full_path)
    self.workdir, self.data = str(folder / "run"), folder / "data"
    shutil.copytree(TINY.data_dir, self.data)
    first = self.open(steps=3)
    loop.train(first, self.workdir)
    digests = Bundle.open(self.workdir).data["data_digests"]
    self.assertEqual(list(digests), list(tiny.TASKS))
    for value in digests.values():
      self.assertRegex(value, "^[0-9a-f]{16}$")

    self.rewrite(b" the ", b" thy ")
    with self.assertRaisesRegex(
      ValueError, r"or another mixing rate: sst2 \(\d+ examples\). Restore the"
    ):
      self.open(steps=6)
    self.rewrite(b" thy ", b" the ")
    self.assertEqual(self.open(steps=6).step, 3)


if __name__ == "__main__":
  absltest.main()
