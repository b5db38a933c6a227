"""Scores as CSV, read back with the csv module of Python."""

import csv
import io
import json
import math

from absl.testing import absltest

from flan_tf.eval import results, task_result
from flan_tf.report import csv_file
from flan_tf.report.comparison import Comparison
from flan_tf.task import schema

_RTE = task_result.TaskResult(
  task="rte",
  dataset="rte",
  cluster="nli",
  kind=schema.TaskKind.CLASSIFICATION,
  metric="macro_f1",
  templates=(
    task_result.TemplateScore(0, 50.0, 40.0, {"accuracy": 61.0}, (45.0, 55.0)),
    task_result.TemplateScore(3, 1 / 3, 70.0, {"accuracy": 59.0}),
  ),
  examples=100,
  dev_examples=20,
  majority=50.0,
  interval=(20.0, 30.0),
)
_STSB = task_result.TaskResult(
  task="stsb",
  dataset="stsb",
  cluster="paraphrase",
  kind=schema.TaskKind.GENERATION,
  metric="pearson",
  templates=(task_result.TemplateScore(0, math.nan),),
  examples=4,
)


def rows_of(*evaluations) -> list[dict[str, str]]:
  text = csv_file.text(Comparison.load(evaluations))
  return list(csv.DictReader(io.StringIO(text)))


class CsvFileTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.evaluation = results.EvaluationResults(
      "runs/a", "tuned", (_RTE, _STSB), settings={"score": "sum"}, seed=7
    )
    self.rows = rows_of(self.evaluation)

  def cell(self, template, column, task="rte", metric="macro_f1") -> str:
    (row,) = (
      row
      for row in self.rows
      if (row["task"], row["template"]) == (task, template)
      and row["metric"] == metric
    )
    return row[column]

  def test_every_score_is_written_unrounded(self):
    self.assertEqual(self.cell("0", "test"), "50.0")
    self.assertEqual(self.cell("0", "low"), "45.0")
    self.assertEqual(float(self.cell("3", "test")), 1 / 3)
    self.assertEqual(self.cell("3", "low"), "")
    self.assertEqual(self.cell("3", "dev"), "70.0")
    self.assertEqual(self.cell("3", "test", metric="accuracy"), "59.0")
    self.assertEqual(self.cell("mean", "test", metric="accuracy"), "60.0")
    self.assertEqual(float(self.cell("mean", "test")), _RTE.mean)
    self.assertEqual(self.cell("mean", "high"), "30.0")
    self.assertEqual(float(self.cell("std", "test")), _RTE.std)
    self.assertEqual(float(self.cell("best_dev", "test")), 1 / 3)
    majority = float(self.cell("majority", "high", metric="accuracy"))
    self.assertAlmostEqual(majority, 59.8, places=2)

  def test_every_row_names_label_and_settings(self):
    for row in self.rows:
      self.assertEqual(tuple(row), csv_file.COLUMNS)
      self.assertEqual(row["label"], "tuned")
      self.assertEqual(json.loads(row["settings"]), {"score": "sum", "seed": 7})
    self.assertEqual(self.cell("mean", "cluster"), "nli")
    self.assertEqual(self.cell("mean", "examples"), "100")

  def test_a_number_that_does_not_exist_is_empty(self):
    for template in ("0", "mean", "std", "best_dev"):
      for column in ("test", "low", "high", "dev"):
        self.assertEqual(self.cell(template, column, "stsb", "pearson"), "")

  def test_several_models_have_different_labels(self):
    rows = rows_of(self.evaluation, self.evaluation)
    self.assertEqual({row["label"] for row in rows}, {"tuned 1", "tuned 2"})

  def test_write(self):
    path = self.create_tempdir().full_path + "/scores.csv"
    compared = Comparison.load([self.evaluation])
    csv_file.write(path, compared)
    with open(path, newline="") as file:
      self.assertEqual(file.read(), csv_file.text(compared))


if __name__ == "__main__":
  absltest.main()
