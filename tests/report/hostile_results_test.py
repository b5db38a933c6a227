"""Reports on results of strangers, on damaged predictions, on a full disk."""

import csv
import dataclasses
import io
import os
import pathlib
from unittest import mock

from absl.testing import absltest, parameterized

from flan_tf.api import report_files
from flan_tf.eval import prediction_log
from flan_tf.report import csv_file, terminal
from flan_tf.report.comparison import Comparison
from tests.helpers import fake_results

EVALUATION = fake_results.fake_evaluation("tuned", 1, fake_results.TASKS[:2])


class TerminalTest(absltest.TestCase):
  def test_control_characters_are_shown(self):
    one = dataclasses.replace(
      EVALUATION,
      label="\x1b[31mtuned",
      not_read={"snli": "not there\x1b]0;title\x07"},
      held_out="nli\u202e",
    )
    text = terminal.text(Comparison((one,)))
    self.assertNotRegex(text, "[\x1b\x07\u202e]")
    self.assertIn("\\u001b[31mtuned", text)
    self.assertIn("\\u001b]0;title\\u0007", text)


class FormulaTest(parameterized.TestCase):
  def rows(self, label: str) -> list[dict[str, str]]:
    one = dataclasses.replace(EVALUATION, label=label)
    text = csv_file.text(Comparison((one,)))
    return list(csv.DictReader(io.StringIO(text, newline="")))

  @parameterized.parameters("=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1")
  def test_a_text_is_no_formula(self, label):
    self.assertEqual({row["label"] for row in self.rows(label)}, {f"'{label}"})

  def test_a_carriage_return_ends_no_row(self):
    rows = self.rows("a\r=1")
    self.assertEqual({row["label"] for row in rows}, {"a\n=1"})
    self.assertLen(rows, len(self.rows("a")))

  def test_numbers_and_other_texts_stay(self):
    one = fake_results.change_task(
      EVALUATION, "anli_r1", interval=(-1.5, 2.0), metric="accuracy"
    )
    rows = csv.DictReader(io.StringIO(csv_file.text(Comparison((one,)))))
    (mean,) = (
      row
      for row in rows
      if (row["task"], row["template"]) == ("anli_r1", "mean")
    )
    self.assertEqual(mean["low"], "-1.5")
    self.assertEqual(mean["label"], "tuned")
    self.assertStartsWith(mean["settings"], "{")


class FullDiskTest(absltest.TestCase):
  def test_old_files_stay(self):
    folder = self.create_tempdir().full_path
    compared = Comparison((EVALUATION,))
    report_files.write_report(compared, folder)
    names = ("results.json", "scores.csv", "report.md", "report.html")
    paths = [pathlib.Path(folder, name) for name in names]
    before = {path: path.read_bytes() for path in paths}
    other = Comparison((fake_results.fake_evaluation("other", 2),))
    full = OSError(28, "No space left on device")
    with mock.patch("os.fsync", side_effect=full):
      with self.assertRaises(OSError):
        report_files.write_report(other, folder)
      with self.assertRaises(OSError):
        csv_file.write(str(paths[1]), other)
    self.assertEqual({path: path.read_bytes() for path in paths}, before)
    self.assertEmpty([x for x in os.listdir(folder) if x.endswith(".tmp")])


class DamagedPredictionsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folders = [self.create_tempdir().full_path for _ in range(2)]
    predictions = [
      fake_results.fake_choice(template, row, row % 2 == 0)
      for template in range(2)
      for row in range(4)
    ]
    for folder in self.folders:
      fake_results.write_log(folder, "rte", predictions, {"seed": 0})
    rte = [task for task in fake_results.TASKS if task[0] == "rte"]
    self.pair = [
      fake_results.fake_evaluation(label, 1, rte) for label in ("a", "b")
    ]

  def test_whole_predictions_are_compared(self):
    compared = Comparison.load(self.pair, self.folders)
    self.assertEqual(compared.differences["rte"].value, 0)

  def test_damaged_ones_are_refused(self):
    path = pathlib.Path(self.folders[1], "rte.jsonl")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for content in (
      whole.replace(b'"right": true', b'"right": null', 1),
      whole[:-1000],
      b"".join(lines[:5]),
      b"".join([*lines[:5], b"\xff\n", *lines[6:]]),
      b"",
    ):
      path.write_bytes(content)
      with self.assertRaisesRegex(
        prediction_log.PredictionLogError, f"{path}.*(chunk 0 |header)"
      ):
        Comparison.load(self.pair, self.folders)


if __name__ == "__main__":
  absltest.main()
