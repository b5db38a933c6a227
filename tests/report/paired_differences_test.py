"""Paired differences, from prediction logs to the tables of a report."""

import dataclasses
from unittest import mock

from absl.testing import absltest

from flan_tf.eval import prediction_log, results, task_result
from flan_tf.report import tables, terminal, writer
from flan_tf.report.comparison import Comparison
from flan_tf.task import schema
from tests.helpers import fake_results
from tests.helpers.fake_results import fake_choice


class PairedDifferencesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.output = self.create_tempdir().full_path
    self.folders, self.evaluations = [], []
    for label, first_right in (("base", 20), ("tuned", 8)):
      folder = prediction_log.folder_of(self.output, label)
      predictions = [
        fake_choice(0, row, row >= first_right) for row in range(30)
      ]
      fake_results.write_log(folder, "rte", predictions, {})
      score = task_result.TemplateScore(0, test=100 * (30 - first_right) / 30)
      result = task_result.TaskResult(
        task="rte",
        dataset="rte",
        cluster="nli",
        kind=schema.TaskKind.CLASSIFICATION,
        metric="accuracy",
        templates=(score,),
        examples=30,
      )
      self.folders.append(folder)
      self.evaluations.append(
        results.EvaluationResults(label, label, (result,))
      )

  def test_the_table(self):
    compared = Comparison.load(self.evaluations, self.folders)
    headings, row = tables.paired_differences(compared)
    self.assertEqual(headings[0], "task")
    self.assertEqual(row[:4], ["rte", "accuracy", "30", "+40.0"])
    self.assertRegex(row[4], r"^\+\d\d\.\d to \+\d\d\.\d$")
    self.assertEqual(row[5:], ["12", "0"])
    text = terminal.text(compared)
    self.assertIn("tuned minus base", text)
    self.assertIn("does not include 0 for: rte.", text)

  def test_without_predictions_there_is_none(self):
    for folders in ((), ("", ""), (self.folders[0], ""), ("a", "b")):
      compared = Comparison.load(self.evaluations, folders)
      self.assertEmpty(compared.differences)
      self.assertNotIn("tuned minus base", terminal.text(compared))
    alone = Comparison.load(self.evaluations[:1], self.folders[:1])
    self.assertEmpty(alone.differences)

  def test_another_wording_gives_no_won_and_lost_answers(self):
    base, tuned = self.evaluations
    base = dataclasses.replace(base, settings={"wording": "baseline"})
    compared = Comparison.load((base, tuned), self.folders)
    difference = compared.differences["rte"]
    self.assertAlmostEqual(difference.value, 40.0)
    self.assertEqual((difference.won, difference.lost), (None, None))

  def test_rows_left_out_are_counted(self):
    compared = Comparison.load(self.evaluations, self.folders)
    difference = dataclasses.replace(
      compared.differences["rte"],
      left_out=3,
      interval=None,
      won=None,
      value=float("nan"),
    )
    compared = dataclasses.replace(compared, differences={"rte": difference})
    text = terminal.text(compared)
    self.assertIn("rte: 3 rows left out", text)
    self.assertRegex(text, r"undef\. +– +– +0")
    self.assertIn("The interval includes 0 for every task.", text)

  def test_a_whole_report_reads_each_log_once(self):
    read_log = prediction_log.read_log
    with mock.patch.object(
      prediction_log, "read_log", side_effect=read_log
    ) as reads:
      compared = Comparison.load(self.evaluations, self.folders)
      writer.write(f"{self.output}/report", compared, tensorboard=False)
      terminal.text(compared)
    self.assertCountEqual(
      [call.args for call in reads.call_args_list],
      [(folder, "rte") for folder in self.folders],
    )


if __name__ == "__main__":
  absltest.main()
