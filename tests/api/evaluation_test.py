"""`evaluate`: results by task, reports, and comparisons, on tiny models."""

import contextlib
import gc
import io
import json
import math
import pathlib
from unittest import mock

from absl.testing import absltest

import flan_tf as flan
from flan_tf.eval import results
from tests.helpers import tiny

TINY = tiny.Tiny()
SETTINGS = {"tasks": "rte,sst2", "max_examples": 3, "templates": (0, 1)}


def setUpModule():
  global BASE, TUNED
  TINY.open()
  TINY.train(TINY.run(train__steps=1), TINY.folder / "base")
  TINY.train(TINY.run(train__steps=3, seed=1), TINY.folder / "tuned")
  BASE = flan.load(TINY.folder / "base", batch=8)
  TUNED = flan.load(TINY.folder / "tuned", batch=8)


tearDownModule = TINY.close


def evaluate(model=None, **changes) -> flan.Evaluation:
  return flan.evaluate(model or TUNED, **{**SETTINGS, **changes})


class ResultTest(absltest.TestCase):
  def test_results_by_task(self):
    result = evaluate()
    self.assertEqual(list(result), ["rte", "sst2"])
    rte = result["rte"]
    self.assertLen(rte.by_template, 2)
    self.assertAlmostEqual(rte.mean, sum(rte.by_template) / 2)
    low, high = rte.interval
    self.assertTrue(low <= rte.mean <= high)
    self.assertEqual(result.clusters["nli"], rte.mean)
    self.assertIsNone(result.base)
    self.assertRegex(
      repr(result), r"^<Evaluation of model: 2 tasks; nli [\d.]+, sentiment"
    )
    self.assertRegex(str(result), r"rte +accuracy")
    with self.assertRaisesRegex(KeyError, "Unknown evaluated task 'snli'"):
      _ = result["snli"]

  def test_a_loaded_model_and_its_path_give_the_same(self):
    loaded, named = evaluate(), evaluate(TUNED.checkpoint, batch=8)
    self.assertEqual(loaded.results.tasks, named.results.tasks)
    self.assertEqual(loaded.results.settings, named.results.settings)

  def test_a_task_without_result_says_why(self):
    empty = self.create_tempdir().full_path
    result = evaluate(data_dir=empty)
    self.assertEmpty(result)
    self.assertIn("is not prepared", result.not_evaluated["rte"])
    with self.assertRaisesRegex(KeyError, "'rte' was not evaluated: .*not pre"):
      _ = result["rte"]

  def test_nothing_is_printed(self):
    out = io.StringIO()
    with mock.patch.object(out, "isatty", lambda: True):
      with contextlib.redirect_stdout(out):
        evaluate().report(self.create_tempdir().full_path)
    self.assertEmpty(out.getvalue())


class ReportTest(absltest.TestCase):
  def folder(self) -> pathlib.Path:
    return pathlib.Path(self.create_tempdir().full_path)

  def test_a_report_has_all_files_and_can_be_read_again(self):
    folder = self.folder() / "report"
    result = evaluate(base=BASE)
    path = result.report(folder)
    self.assertEqual(path, str(folder / "report.md"))
    names = {file.name for file in folder.iterdir()}
    self.assertContainsSubset(
      {
        "base.json",
        "results.json",
        "scores.csv",
        "report.md",
        "report.html",
        "predictions",
      },
      names,
    )
    self.assertContainsSubset(
      {"base/rte.jsonl", "tuned/rte.jsonl"},
      {
        file.relative_to(folder / "predictions").as_posix()
        for file in (folder / "predictions").rglob("*.jsonl")
      },
    )
    again = flan.read_evaluation(folder)
    self.assertEqual(again.results, result.results)
    self.assertEqual(again.base, result.base)
    # The predictions came along, so that the paired differences are there.
    self.assertEqual(str(again), str(result))
    self.assertIn("tuned minus base", str(again))

  def test_temporary_predictions_are_removed_with_the_result(self):
    result = evaluate()
    (folder,) = {pathlib.Path(path) for path in result._folders}
    self.assertTrue((folder / "predictions").is_dir())
    del result
    gc.collect()
    self.assertFalse(folder.exists())

  def test_predictions_in_a_folder_are_not_made_again(self):
    output = str(self.folder())
    first = evaluate(output=output)
    with mock.patch(
      "flan_tf.inference.predictions.predict", side_effect=AssertionError
    ):
      again = evaluate(output=output)
    self.assertEqual(again.results.tasks, first.results.tasks)

  def test_two_evaluations_are_compared(self):
    folder = self.folder()
    one, other = str(folder / "one"), str(folder / "other")
    evaluate(BASE, output=one, label="one").report(one)
    evaluate(TUNED, output=other, label="other").report(other)
    compared = flan.compare(one, f"{other}/results.json")
    self.assertEqual([e.label for e in compared.evaluations], ["one", "other"])
    self.assertIn("other minus one", str(compared))
    compared.report(folder / "both")
    written = json.loads((folder / "both/base.json").read_text())
    self.assertEqual(written["label"], "one")
    for path in (one, other):
      with self.assertRaisesRegex(ValueError, "would replace its results.json"):
        compared.report(path)
    with self.assertRaisesRegex(FileNotFoundError, "No results at .*none"):
      flan.compare(one, folder / "none")


class SettingsTest(absltest.TestCase):
  def test_names_as_text_or_tuple(self):
    for tasks in ("rte, sst2", ("rte", "sst2"), ["sst2", "rte"]):
      self.assertEqual(list(evaluate(tasks=tasks)), ["rte", "sst2"])

  def test_held_out(self):
    result = flan.evaluate(
      TUNED, held_out="coreference", max_examples=1, templates=(0,)
    )
    self.assertEqual(result.results.held_out, "coreference")
    self.assertIn("winogrande", result)
    self.assertFalse(math.isnan(result["winogrande"].mean))
    with self.assertRaisesRegex(ValueError, "has seen rte"):
      flan.evaluate(TUNED, held_out="nli")
    with self.assertRaisesRegex(ValueError, "has seen rte"):
      flan.evaluate(TUNED.checkpoint, base=BASE, held_out="rte")

  def test_the_untuned_model_gets_its_own_wording(self):
    result = evaluate(tasks="rte", base=BASE, base_wording="both")
    self.assertEqual(
      [(one.label, one.settings["wording"]) for one in result.evaluations],
      [
        ("base (baseline prompts)", "baseline"),
        ("base", "instructions"),
        ("tuned", "instructions"),
      ],
    )

  def test_refused(self):
    with self.assertRaisesRegex(ValueError, "nothing to evaluate: give held_o"):
      flan.evaluate(TUNED)
    with self.assertRaisesRegex(
      TypeError, "Unknown setting 'max_example'. Did you mean 'max_examples'"
    ):
      evaluate(max_example=1)
    with self.assertRaisesRegex(ValueError, "Did you mean 'rte'"):
      evaluate(tasks="rtee")
    with self.assertRaisesRegex(ValueError, "Load it with data= or separator="):
      evaluate(separator="newline")

  def test_a_named_model_gets_the_separator(self):
    result = evaluate(TUNED.checkpoint, separator="newline", tasks="rte")
    self.assertEqual(result.results.settings["separator"], "newline")
    self.assertIsInstance(result["rte"], results.TaskResult)


if __name__ == "__main__":
  absltest.main()
