"""Results are summarized as in the paper, and read back from JSON unchanged."""

import dataclasses
import json
import math
import statistics

from absl.testing import absltest, parameterized

from flan_tf.eval import results, task_result
from flan_tf.task import schema

# Keys that other programs may rely on.
_TOP_KEYS = ("schema", "checkpoint", "held_out", "tasks", "clusters")
_TASK_KEYS = (
  "task",
  "dataset",
  "cluster",
  "metric",
  "by_template",
  "mean",
  "std",
  "best_dev_template",
  "best_dev_test",
  "examples",
  "left_out",
)


def _scores(tests, devs=None):
  devs = devs or [math.nan] * len(tests)
  return tuple(
    task_result.TemplateScore(index, test=test, dev=dev)
    for index, (test, dev) in enumerate(zip(tests, devs, strict=True))
  )


def _result(task="rte", tests=(50.0, 60.0), devs=None, **changes):
  return task_result.TaskResult(
    **{
      "task": task,
      "dataset": task,
      "cluster": "nli",
      "kind": schema.TaskKind.CLASSIFICATION,
      "metric": "accuracy",
      "templates": _scores(tests, devs),
      "examples": 277,
    }
    | changes
  )


def _evaluation(*tasks, **changes):
  return results.EvaluationResults(
    checkpoint="runs/nli/ckpt-300", label="tuned", tasks=tasks, **changes
  )


_FULL = _evaluation(
  _result(
    tests=(50.0, 1 / 3, 60.25),
    devs=(40.0, 70.0, 10.0),
    dev_examples=200,
    left_out={"hidden label": 3},
    test_rows_from="validation[125:250], because test has 3 rows",
    majority=52.7,
    interval=(30.5, 42.0),
  ),
  _result(
    "stsb",
    cluster="paraphrase",
    metric="pearson",
    templates=(
      task_result.TemplateScore(
        4, test=math.nan, dev=math.nan, others={"spearman": math.nan}
      ),
      task_result.TemplateScore(5, test=7.5, interval=(-1.25, 1 / 3)),
    ),
  ),
  _result(
    "wmt14_enfr",
    cluster="translation",
    kind=schema.TaskKind.GENERATION,
    metric="bleu",
    signature="nrefs:1|tok:13a",
  ),
  held_out="nli",
  not_read={"snli": "not prepared"},
  seed=7,
  settings={"shots": 0, "meshes": ("data:2", "model:2"), "rows": {"max": None}},
  run={"mesh": "data:2", "packages": {"scipy": "1"}},
  time={"seconds": 1.5, "answered": 3},
)


class TaskResultTest(parameterized.TestCase):
  def test_mean_and_std_over_templates(self):
    result = _result(tests=(50.0, 60.0, 70.0))
    self.assertEqual(result.by_template, (50.0, 60.0, 70.0))
    self.assertEqual(result.mean, 60)
    self.assertAlmostEqual(result.std, math.sqrt(200 / 3))

  def test_one_template_has_no_spread(self):
    self.assertEqual(_result(tests=(50.0,)).std, 0)

  @parameterized.named_parameters(
    ("highest", (10.0, 30.0, 20.0), 1),
    ("first_of_equals", (30.0, 10.0, 30.0), 0),
    ("nan_aside", (math.nan, 5.0, math.nan), 1),
  )
  def test_best_dev(self, devs, expected):
    result = _result(tests=(1.0, 2.0, 3.0), devs=devs)
    self.assertEqual(result.best_dev_template, expected)
    self.assertEqual(result.best_dev_test, result.by_template[expected])

  def test_ties_do_not_depend_on_the_order_of_templates(self):
    scores = _scores((1.0, 2.0, 3.0), (9.0, 9.0, 8.0))
    result = _result(templates=scores[::-1])
    self.assertEqual(result.best_dev_template, 0)
    self.assertEqual(result.best_dev_test, 1.0)

  def test_best_dev_is_the_templates_own_number(self):
    """Inverse templates are not evaluated, so indices may have gaps."""
    result = _result(
      templates=(
        task_result.TemplateScore(3, test=50.0, dev=1.0),
        task_result.TemplateScore(7, test=60.0, dev=2.0),
      )
    )
    self.assertEqual(result.best_dev_template, 7)

  def test_without_dev_rows_there_is_no_best(self):
    self.assertIsNone(_result().best_dev_template)
    self.assertTrue(math.isnan(_result().best_dev_test))

  def test_undefined_templates_are_counted_and_left_aside(self):
    result = _result(tests=(math.nan, 40.0, 60.0))
    self.assertEqual(result.undefined, 1)
    self.assertEqual(result.mean, 50)
    self.assertEqual(result.std, 10)
    self.assertTrue(math.isnan(_result(tests=(math.nan,)).mean))
    self.assertTrue(math.isnan(_result(tests=(math.nan,)).std))

  def test_majority_interval(self):
    self.assertIsNone(_result().majority_interval)
    result = _result(majority=50.0, examples=100)
    self.assertAlmostEqual(result.majority_interval, 9.8, places=3)

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'nli'"):
      _result(cluster="nil")
    with self.assertRaisesRegex(ValueError, "'rte': expected one score"):
      _result(templates=())
    with self.assertRaisesRegex(ValueError, r"templates \[0, 0\]"):
      _result(templates=_scores((1.0,)) * 2)


class EvaluationResultsTest(absltest.TestCase):
  def test_cluster_means_are_means_of_task_means(self):
    evaluation = _evaluation(
      _result("wmt14_enfr", (30.0,), cluster="translation"),
      _result("rte", (50.0, 60.0)),
      _result("cb", (70.0,)),
      _result("wnli", (math.nan,)),
      _result("stsb", (math.nan,), cluster="paraphrase"),
    )
    clusters = evaluation.clusters
    self.assertEqual(list(clusters), ["nli", "paraphrase", "translation"])
    self.assertEqual(clusters["nli"], statistics.fmean([55, 70]))
    self.assertEqual(clusters["translation"], 30)
    self.assertTrue(math.isnan(clusters["paraphrase"]))

  def test_key_names(self):
    value = _FULL.to_json()
    self.assertContainsSubset(_TOP_KEYS, value)
    for task in value["tasks"]:
      self.assertContainsSubset(_TASK_KEYS, task)
    rte, stsb, _ = value["tasks"]
    self.assertEqual(rte["by_template"], [50.0, 1 / 3, 60.25])
    self.assertEqual(rte["best_dev_template"], 1)
    self.assertEqual(rte["best_dev_test"], 1 / 3)
    self.assertEqual(rte["left_out"], {"hidden label": 3})
    self.assertEqual(rte["kind"], "classification")
    self.assertEqual(stsb["by_template"], [None, 7.5])
    self.assertIsNone(stsb["templates"][0]["interval"])
    self.assertEqual(stsb["templates"][1]["interval"], [-1.25, 1 / 3])
    self.assertEqual(rte["interval"], [30.5, 42.0])
    self.assertEqual(
      list(value["clusters"]), ["nli", "paraphrase", "translation"]
    )
    self.assertEqual(value["clusters"]["paraphrase"], 7.5)

  def test_the_docstring_names_every_key(self):
    value = _FULL.to_json()
    about = results.__doc__ or ""
    keys = {*value, *value["tasks"][0], *value["tasks"][0]["templates"][0]}
    for key in keys:
      self.assertRegex(about, rf"\b{key}\b")

  def test_a_file_of_the_first_schema_is_read(self):
    """Schema 1 had no intervals and no `run`."""
    value = _FULL.to_json()
    for name in ("schema", "run", "time"):
      del value[name]
    for task in value["tasks"]:
      for part in (task, *task["templates"]):
        del part["interval"]
      del task["signature"]
    old = results.EvaluationResults.from_json(value)
    self.assertEqual(old.clusters, _FULL.clusters)
    self.assertIsNone(old.tasks[0].interval)
    self.assertEqual((old.run, old.time), ({}, {}))

  def test_a_file_of_a_later_schema_is_refused(self):
    value = {**_FULL.to_json(), "schema": 3}
    with self.assertRaisesRegex(ValueError, "schema 3; this version reads 1 t"):
      results.EvaluationResults.from_json(value)

  def test_round_trip(self):
    again = results.EvaluationResults.from_json(_FULL.to_json())
    self.assertEqual(again, _FULL)
    self.assertEqual(again.to_json(), _FULL.to_json())

  def test_round_trip_through_a_file(self):
    path = self.create_tempdir().full_path + "/new/folder/results.json"
    _FULL.write_json(path)
    self.assertEqual(results.EvaluationResults.read(path), _FULL)
    with open(path) as file:
      # Strict JSON has no NaN.
      json.load(file, parse_constant=self.fail)

  def test_a_changed_number_is_another_value(self):
    rte = _FULL.get("rte")
    changed = dataclasses.replace(rte, templates=_scores((50.0, 0.3, 60.25)))
    self.assertNotEqual(rte, changed)

  def test_get(self):
    self.assertEqual(_FULL.get("stsb").metric, "pearson")
    self.assertIsNone(_FULL.get("cb"))

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, r"twice in tasks: \['rte'\]"):
      _evaluation(_result(), _result())
    with self.assertRaisesRegex(ValueError, "settings must be JSON"):
      _evaluation(settings={"kind": schema.TaskKind.GENERATION})
    for name in ("settings", "run", "time"):
      with self.assertRaisesRegex(ValueError, f"{name} must be JSON"):
        _evaluation(**{name: {"rate": math.nan}})

  def test_reading_what_is_not_there(self):
    folder = self.create_tempdir()
    with self.assertRaisesRegex(FileNotFoundError, "No results at"):
      results.EvaluationResults.read(folder.full_path + "/results.json")

  def test_reading_what_is_something_else(self):
    folder = self.create_tempdir()
    path = folder.create_file("a.json", '{"checkpoint": "x"}').full_path
    with self.assertRaisesRegex(ValueError, "a.json: .*key 'label'"):
      results.EvaluationResults.read(path)
    path = folder.create_file("b.json", "not json").full_path
    with self.assertRaisesRegex(ValueError, "b.json: "):
      results.EvaluationResults.read(path)

  def test_reading_other_shapes(self):
    path = self.create_tempdir().full_path + "/results.json"
    _FULL.write_json(path)
    with open(path, "rb") as file:
      whole = file.read()
    for old, new, message in (
      (whole, b"[]", r"expected a JSON object, got '\[\]'"),
      (whole, b"null", "expected a JSON object, got 'null'"),
      (whole, whole[:-3], "expected a JSON object"),
      (whole, b"", "expected a JSON object, got ''"),
      (b'"nli"', b'"\xff"', "expected UTF-8, but byte .* is .xff"),
      (b'"label": "tuned"', b'"label": null', "'label' is None; expected a t"),
      (b'"seed": 7', b'"seed": "7"', "'seed' is '7'; expected a whole number"),
      (b'"schema": 2', b'"schema": "2"', "schema '2'; this version reads 1 t"),
      (b'"not prepared"', b"[]", r"'snli' is \[\]; expected a text"),
      (b'"templates": [', b'"templates": [5, ', "expected an object, got 5"),
      (b'"test": 50.0', b'"test": "x"', "'test' is 'x'; expected a whole num"),
      (b'"spearman": null', b'"spearman": "x"', "'spearman' is 'x'; expected"),
      (b'"classification"', b'"other"', "'OTHER' is unknown"),
    ):
      with open(path, "wb") as file:
        file.write(whole.replace(old, new, 1))
      with self.subTest(new):
        with self.assertRaisesRegex(ValueError, f"^{path}: .*{message}"):
          results.EvaluationResults.read(path)

  def test_intervals_are_two_numbers(self):
    for ends in ("x", [1.0], [1.0, "x"], 5):
      value = _FULL.to_json()
      value["tasks"][0]["interval"] = ends
      with self.assertRaisesRegex(ValueError, "expected two numbers"):
        results.EvaluationResults.from_json(value)


if __name__ == "__main__":
  absltest.main()
