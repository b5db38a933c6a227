"""Evaluation on the shipped rows, with a tiny model and with fake scores."""

import contextlib
import dataclasses
import io
import json
import math
import pathlib
import statistics
from unittest import mock

import numpy as np
from absl.testing import absltest

import tasks
from flan_tf import config
from flan_tf.eval import results
from flan_tf.task import registry
from flan_tf.task.schema import Source, Splits, TaskKind
from tests.helpers import tiny
from tests.helpers.fake_predictions import changed

TINY = tiny.Tiny()
TASKS = registry.TaskRegistry(tasks.ALL)
RTE, SNLI = TASKS.get("rte"), TASKS.get("snli")
GIGAWORD, WMT = TASKS.get("gigaword"), TASKS.get("wmt16_translate_deen")
LONG = config.DataConfig(input_length=2000, length=2200)
LOST = dataclasses.replace(
  TASKS.get("sst2"), name="lost", source=Source("nobody/has_this", "1.0.0")
)


def setUpModule():
  global MODEL
  TINY.open()
  from flan_tf.inference.language_model import LanguageModel

  held_out = {"held_out": "nli", "data__tasks": "sst2"}
  TINY.base, TINY.tuned = TINY.folder / "base", TINY.folder / "tuned"
  TINY.train(TINY.run(train__steps=1, **held_out), TINY.base, ("sst2",))
  run = TINY.run(train__steps=3, train__init_from=str(TINY.base), **held_out)
  TINY.train(run, TINY.tuned, ("sst2",))
  MODEL = LanguageModel.load(str(TINY.tuned), batch=8)


tearDownModule = TINY.close


def evaluate(
  *chosen, output="", restart=False, **settings
) -> results.EvaluationResults:
  from flan_tf.checkpoints import checkpoint_dirs
  from flan_tf.eval import evaluation_config, protocol

  return protocol.evaluate(
    MODEL,
    "tuned",
    checkpoint_dirs.find(str(TINY.tuned)) if output else "somewhere",
    chosen,
    TINY.data_dir,
    evaluation_config.EvaluationConfig(**settings),
    output,
    restart,
  )


def lasting(found: results.EvaluationResults) -> dict:
  """Returns the results as JSON values, without the duration."""
  value = found.to_json()
  del value["time"]
  return value


def answers_of(task) -> list[int]:
  """Returns the right option of each test row of a task, in order."""
  from flan_tf.data import opened_tasks, requests

  (item,), _ = opened_tasks.open_tasks([task], TINY.data_dir)
  found = requests.read_evaluation_rows(task, item.dataset, item.ranges.test)
  return [row.answer_index for row in found.rows]


def fake_score(scores_of, test_rows=None):
  """Replaces the model's scores on RTE.

  Args:
    scores_of: takes a block number and a number of requests, and returns the
      scores [requests, 2]. Block 0 has the test rows of the first template,
      block 1 its dev rows, block 2 the test rows of the second template, ...
    test_rows: maximum number of test rows.
  """

  def score(prompts, options):
    del options
    templates = len(RTE.forward_templates)
    both = len(prompts) // templates
    test = min(test_rows or both, len(answers_of(RTE)))
    counts = [test, both - test] * templates
    scores = [scores_of(call, count) for call, count in enumerate(counts)]
    return list(np.concatenate(scores))

  return mock.patch.object(MODEL, "score_options", score)


class ClassificationTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.found = evaluate(RTE, LOST)

  def test_every_template_that_asks_for_the_answer(self):
    (result,) = self.found.tasks
    numbers = [score.template for score in result.templates]
    self.assertEqual(numbers, list(RTE.forward_templates))
    self.assertLess(len(numbers), len(RTE.templates))
    self.assertEqual(result.examples, len(answers_of(RTE)))
    self.assertGreater(result.dev_examples, 0)
    for score in result.templates:
      self.assertBetween(score.test, 0, 100)
      self.assertBetween(score.dev, 0, 100)

  def test_what_sums_it_up(self):
    (result,) = self.found.tasks
    by_template = [score.test for score in result.templates]
    self.assertAlmostEqual(result.mean, statistics.fmean(by_template))
    self.assertAlmostEqual(result.std, statistics.pstdev(by_template))
    best = max(result.templates, key=lambda s: (s.dev, -s.template))
    self.assertEqual(result.best_dev_template, best.template)
    self.assertEqual(result.best_dev_test, best.test)
    answers = answers_of(RTE)
    majority = 100 * max(np.bincount(answers)) / len(answers)
    self.assertAlmostEqual(result.majority, majority)

  def test_a_task_without_data_is_named(self):
    self.assertEqual(set(self.found.not_read), {"lost"})
    self.assertIn("nobody/has_this", self.found.not_read["lost"])

  def test_the_file(self):
    path = pathlib.Path(self.create_tempdir().full_path, "new", "results.json")
    self.found.write_json(str(path))
    value = json.loads(path.read_text())
    self.assertEqual(
      set(value),
      {"checkpoint", "label", "held_out", "seed", "settings", "tuned_start"}
      | {"schema", "clusters", "tasks", "not_read", "run", "time"},
    )
    self.assertEqual(value["held_out"], "nli")
    (task,) = value["tasks"]
    self.assertContainsSubset(
      {"task", "cluster", "kind", "metric", "by_template", "mean", "std"}
      | {"best_dev_template", "best_dev_test", "examples", "dev_examples"}
      | {"left_out", "test_rows_from", "majority", "templates"},
      task,
    )
    self.assertEqual(value["clusters"], {"nli": task["mean"]})
    self.assertEqual(results.EvaluationResults.read(str(path)), self.found)

  def test_rows_left_out_by_the_task_are_counted(self):
    # One row of SNLI's train split has no gold label.
    splits = Splits(train="validation", dev="validation", test="train")
    source = dataclasses.replace(SNLI.source, splits=splits)
    task = dataclasses.replace(SNLI, source=source)
    (result,) = evaluate(task, templates=(SNLI.forward_templates[0],)).tasks
    self.assertEqual(result.left_out, {"left out by the task": 1})
    self.assertLen(answers_of(task), result.examples)

  def test_hidden_labels_are_counted(self):
    import tensorflow as tf

    def fields(row):
      slots = RTE.fields(row)
      index = tf.cast(slots["answer_index"], tf.int64)
      hidden = tf.cast(row["idx"], tf.int64) % 2 == 0
      index = tf.where(hidden, -tf.ones_like(index), index)
      return {**slots, "answer_index": index}

    task = dataclasses.replace(RTE, fields=fields)
    rows = len(answers_of(RTE))
    (result,) = evaluate(task, templates=(RTE.forward_templates[0],)).tasks
    self.assertEqual(result.left_out, {"hidden label": (rows + 1) // 2})
    self.assertEqual(result.examples, rows // 2)

  def test_a_task_that_has_none_of_the_templates(self):
    found = evaluate(RTE, templates=(0, 1), wording="baseline")
    self.assertLen(found.tasks[0].templates, 1)
    found = evaluate(RTE, templates=(7,), wording="baseline")
    self.assertRegex(found.not_read["rte"], r"none .* \[7\] .* do: \[0\]")

  def test_a_task_whose_labels_are_all_hidden(self):
    from flan_tf.data import requests

    hidden = requests.EvaluationRows((), hidden=7)
    with mock.patch.object(
      requests, "read_evaluation_rows", return_value=hidden
    ):
      found = evaluate(RTE)
    self.assertEmpty(found.tasks)
    self.assertRegex(found.not_read["rte"], "can be scored: .*hidden label.: 7")


class RankingTest(absltest.TestCase):
  """Known option scores give known results."""

  def test_known_scores_give_known_accuracies(self):
    answers = answers_of(RTE)
    wrong = 2

    def scores_of(call, count):
      scores = np.full([count, 2], -9.0)
      if call % 2 == 0:  # Test rows: all but the first two are right.
        chosen = np.array(answers)
        chosen[:wrong] = 1 - chosen[:wrong]
        scores[np.arange(count), chosen] = -3.5
      return scores

    with fake_score(scores_of):
      (result,) = evaluate(RTE).tasks
    accuracy = 100 * (len(answers) - wrong) / len(answers)
    for score in result.templates:
      self.assertAlmostEqual(score.test, accuracy)
    self.assertAlmostEqual(result.mean, accuracy)
    self.assertAlmostEqual(result.std, 0)

  def test_the_template_that_is_best_on_dev_rows(self):
    answers = answers_of(RTE)

    def scores_of(call, count):
      # The third template does best on dev rows, and badly on test rows.
      template, is_dev = divmod(call, 2)
      right = (template == 2) == bool(is_dev)
      scores = np.zeros([count, 2])
      if is_dev:
        scores[:, 0] = 1 if right else -1
      else:
        right_options = np.array(answers)
        chosen = right_options if right else 1 - right_options
        scores[np.arange(count), chosen] = 1
      return scores

    with fake_score(scores_of):
      (result,) = evaluate(RTE).tasks
    self.assertEqual(
      [score.test for score in result.templates[:4]], [100, 100, 0, 100]
    )
    dev = [score.dev for score in result.templates]
    best = max(range(len(dev)), key=lambda i: (dev[i], -i))
    self.assertEqual(result.best_dev_template, result.templates[best].template)
    self.assertEqual(result.best_dev_test, 0 if best == 2 else 100)

  def test_of_equal_options_the_first(self):
    with fake_score(lambda call, count: np.zeros([count, 2])):
      (result,) = evaluate(RTE).tasks
    answers = answers_of(RTE)
    share = 100 * answers.count(0) / len(answers)
    for score in result.templates:
      self.assertAlmostEqual(score.test, share)

  def test_max_examples(self):
    seen = []

    def scores_of(call, count):
      del call
      seen.append(count)
      return np.zeros([count, 2])

    with fake_score(scores_of, test_rows=2):
      (result,) = evaluate(RTE, max_examples=2).tasks
    self.assertEqual(result.examples, 2)
    self.assertEqual(set(seen), {2, result.dev_examples})

  def test_again_gives_the_same(self):
    template = RTE.forward_templates[:1]
    first, again = (evaluate(RTE, templates=template) for _ in range(2))
    self.assertEqual(lasting(first), lasting(again))


class PredictionsTest(absltest.TestCase):
  """The prediction log has every request, and gives the same numbers."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    from flan_tf.eval import prediction_log

    cls.output = cls.create_tempdir(cls()).full_path
    chosen = dict(templates=(0, 1, 2), chunk=7)
    cls.found = evaluate(RTE, output=cls.output, **chosen)
    folder = prediction_log.folder_of(cls.output, "tuned")
    cls.lines = prediction_log.read_log(folder, "rte").predictions

  def test_every_request_has_a_line_in_order(self):
    (result,) = self.found.tasks
    rows = result.examples + result.dev_examples
    self.assertLen(self.lines, 3 * rows)
    parts = ["test"] * result.examples + ["dev"] * result.dev_examples
    self.assertEqual([line.request.part for line in self.lines], 3 * parts)
    self.assertEqual(
      [line.request.template for line in self.lines],
      [0] * rows + [1] * rows + [2] * rows,
    )
    self.assertEqual(
      [line.example.answer_index for line in self.lines[: result.examples]],
      answers_of(RTE),
    )

  def test_a_line_says_what_was_asked_and_answered(self):
    for line in self.lines:
      example, found = line.example, line.prediction
      self.assertIn("OPTIONS:", line.request.prompt)
      self.assertEqual(example.options, RTE.options)
      self.assertLen(found.log_probs, 2)
      self.assertEqual(found.option_scores, found.log_probs)
      self.assertEqual(found.choice, int(np.argmax(found.log_probs)))
      self.assertEqual(found.answer, example.options[found.choice])
      self.assertEqual(
        example.references, (example.options[example.answer_index],)
      )
      self.assertEqual(line.right, found.choice == example.answer_index)
      self.assertEqual(line.score, 100.0 * line.right)

  def test_the_numbers_are_those_of_the_lines(self):
    (result,) = self.found.tasks
    for score in result.templates:
      of_template = [
        x for x in self.lines if x.request.template == score.template
      ]
      for part, value in (("test", score.test), ("dev", score.dev)):
        right = [x.right for x in of_template if x.request.part == part]
        self.assertAlmostEqual(value, 100 * statistics.fmean(right))
      low, high = score.interval
      self.assertBetween(score.test, low, high)
    self.assertBetween(result.mean, *result.interval)

  def test_again_nothing_is_asked(self):
    from flan_tf.inference import predictions

    chosen = dict(templates=(0, 1, 2), chunk=7)
    with mock.patch.object(predictions, "predict", side_effect=AssertionError):
      again = evaluate(RTE, output=self.output, **chosen)
    self.assertEqual(lasting(again), lasting(self.found))
    self.assertEqual(again.time["read_back"], len(self.lines))
    self.assertEqual(again.time["answered"], 0)
    self.assertEqual(self.found.time["answered"], len(self.lines))

  def test_the_size_of_chunks_changes_no_answer(self):
    from flan_tf.eval import prediction_log

    output = self.create_tempdir().full_path
    evaluate(RTE, output=output, templates=(0, 1, 2), chunk=50)
    folder = prediction_log.folder_of(output, "tuned")
    log = prediction_log.read_log(folder, "rte")
    for one, other in zip(log.predictions, self.lines, strict=True):
      np.testing.assert_allclose(
        one.prediction.log_probs, other.prediction.log_probs, atol=1e-4
      )
      self.assertEqual(
        changed(one, scores=(), values=()),
        changed(other, scores=(), values=()),
      )

  def test_others_are_refused_unless_begun_anew(self):
    from flan_tf.eval import prediction_log

    output = self.create_tempdir().full_path
    first = evaluate(RTE, output=output, templates=(0,))
    refused = dict(output=output, templates=(0,), seed=1)
    with self.assertRaisesRegex(
      prediction_log.PredictionLogError, "seed is 1 now, was 0"
    ):
      evaluate(RTE, **refused)
    with self.assertRaisesRegex(ValueError, "asked is .*; requests is"):
      evaluate(RTE, output=output, templates=(0, 1))
    reworded = dataclasses.replace(
      RTE,
      templates=(
        dataclasses.replace(RTE.templates[0], inputs="{premise} {options_}"),
        *RTE.templates[1:],
      ),
    )
    with self.assertRaisesRegex(ValueError, "asked is .* now, was"):
      evaluate(reworded, output=output, templates=(0,))
    again = evaluate(RTE, restart=True, **refused)
    self.assertEqual(again.time["read_back"], 0)
    self.assertEqual(again.tasks[0].by_template, first.tasks[0].by_template)

  def test_what_ran_it(self):
    run = self.found.run
    self.assertLen(run["weights"], 16)
    self.assertEqual(
      (run["platform"], run["cores"], run["batch"]), ("cpu", 1, 8)
    )
    self.assertEqual(run["chunk"], 7)
    self.assertRegex(run["packages"]["tensorflow"], r"\d+\.\d+")

  def test_weights_have_a_fingerprint(self):
    from flan_tf.checkpoints import checkpoint_dirs
    from flan_tf.eval import fingerprint

    base, tuned = (
      fingerprint.fingerprint_checkpoint(checkpoint_dirs.find(str(path)))
      for path in (TINY.base, TINY.tuned)
    )
    self.assertNotEqual(base, tuned)
    self.assertEqual(tuned, self.found.run["weights"])
    self.assertNotEqual(
      fingerprint.fingerprint_texts(["ab", "c"]),
      fingerprint.fingerprint_texts(["a", "bc"]),
    )


class GenerationTest(absltest.TestCase):
  def test_new_tokens_have_a_bound(self):
    bounds = []

    def generate(prompts, max_new, ends, stops):
      del ends
      bounds.append(max_new)
      return [np.zeros([0], np.int32)] * len(prompts)

    first = dict(max_examples=1, templates=(WMT.forward_templates[0],))
    with mock.patch.object(MODEL, "generate", generate):
      for most in (0, 3, 1_000):
        found = evaluate(WMT, max_new=most, **first)
    self.assertEqual(bounds, [16, 3, 16])
    self.assertEqual(found.settings["max_new"], 16)
    self.assertRegex(found.tasks[0].signature, "tok:13a.*version:2")

  def test_metrics(self):
    found = []
    for task in (GIGAWORD, WMT):
      templates = (task.forward_templates[0],)
      found += evaluate(task, max_examples=2, templates=templates).tasks
    for task, result in zip((GIGAWORD, WMT), found, strict=True):
      self.assertIs(result.kind, TaskKind.GENERATION)
      self.assertEqual(result.metric, task.metrics[0])
      (score,) = result.templates
      self.assertEqual(set(score.others), set(task.metrics[1:]))
      for value in (score.test, score.dev, *score.others.values()):
        self.assertBetween(value, 0, 100)
      self.assertIsNone(result.majority)
    self.assertEqual(found[1].metric, "bleu")

  def test_the_references_score_best(self):
    """Generated ids are detokenized and compared with the references."""
    from flan_tf.data import opened_tasks, requests

    (item,), _ = opened_tasks.open_tasks([WMT], TINY.data_dir)
    replies = []
    for part in (item.ranges.test, item.ranges.dev):
      read = requests.read_evaluation_rows(WMT, item.dataset, part)
      texts = [row.references[0] for row in read.rows]
      replies += MODEL.vocabulary.encode(texts)
    with mock.patch.object(MODEL, "generate", return_value=replies):
      (result,) = evaluate(WMT, templates=(WMT.forward_templates[0],)).tasks
    self.assertAlmostEqual(result.templates[0].test, 100, places=3)
    self.assertAlmostEqual(result.templates[0].dev, 100, places=3)


class OtherPromptsTest(absltest.TestCase):
  """Few-shot prompts, other wordings, several right options, stops."""

  def prompts(self, *chosen, **settings) -> list[str]:
    """Returns the prompts that the model must score, options included."""
    seen = []

    def score(prompts, options):
      for prompt, of_prompt in zip(prompts, options, strict=True):
        both = [np.concatenate([prompt, option]) for option in of_prompt]
        seen.extend(map(MODEL.vocabulary.decode, both))
      return [np.zeros(len(of_prompt)) for of_prompt in options]

    with mock.patch.object(MODEL, "score_options", score):
      found = evaluate(*chosen, max_examples=1, **settings)
    self.settings, self.not_read = found.settings, found.not_read
    return seen

  def test_exemplars_stand_before_the_query(self):
    first = (RTE.forward_templates[0],)
    plain = self.prompts(RTE, templates=first)
    with mock.patch.object(
      MODEL, "run", dataclasses.replace(MODEL.run, data=LONG)
    ):
      shown = self.prompts(RTE, templates=first, shots=2)
    for few, zero in zip(shown, plain, strict=True):
      self.assertEqual(few.count("OPTIONS:"), 3)
      self.assertEqual(zero.count("OPTIONS:"), 1)
    self.assertEqual(self.settings["shots"], 2)
    self.assertEqual(self.settings["markers"], "plain")

  def test_the_published_wrapper(self):
    for prompt in self.prompts(
      RTE, templates=(RTE.forward_templates[0],), markers="flan"
    ):
      self.assertRegex(prompt, "FLAN *(yes|no)$")

  def test_baseline_prompts(self):
    shown = self.prompts(RTE, TASKS.get("sst2"), wording="baseline")
    self.assertNotEmpty(shown)
    for prompt in shown:
      self.assertRegex(prompt, "(true|false)$")
    self.assertIn("no baseline prompt", self.not_read["sst2"])

  def test_a_generation_ends_where_a_stop_begins(self):
    from flan_tf.data import requests
    from flan_tf.inference import predictions

    task = TASKS.get("natural_questions")
    reply = MODEL.vocabulary.encode([" Oslo\nQ: And now?"])[0]

    def generate(prompts, max_new, ends, stops):
      del max_new, ends, stops
      return [reply] * len(prompts)

    example = requests.Example(0, ("Oslo",))
    asked = [requests.Request(example, "Q: Where? A:")]
    with mock.patch.object(MODEL, "generate", generate):
      (answer,) = predictions.predict(
        MODEL, task, asked, MODEL.prompt_format, task.baseline.stops
      )
    self.assertEqual(answer.answer, "Oslo")

  def test_every_right_option_counts(self):
    """A row of ReCoRD may have several right entities."""
    from flan_tf.data import requests
    from flan_tf.eval import scoring
    from flan_tf.inference import predictions

    example = requests.Example(
      0, ("Ann", "Ann Lee"), ("Ann", "Bob", "Ann Lee"), 0
    )
    request = requests.Request(example, "Who?")
    answers = [
      predictions.Prediction(request, text, False, choice)
      for choice, text in enumerate(example.options)
    ]
    task = dataclasses.replace(
      RTE, metrics=("accuracy", "squad_em", "squad_f1")
    )
    for answer, right in zip(answers, (100, 0, 100), strict=True):
      lines = scoring.score_predictions(task, [answer])
      values = scoring.compute_metrics(task.metrics, lines)
      self.assertEqual(values["accuracy"], right)
      self.assertEqual(values["squad_em"], right)


def launched(*arguments: str) -> str:
  """Returns the output of launch.evaluate."""
  from absl import flags
  from absl.testing import flagsaver

  from launch import evaluate as launch_evaluate

  with flagsaver.flagsaver(), contextlib.redirect_stdout(io.StringIO()) as out:
    flags.FLAGS(["evaluate", *arguments])
    launch_evaluate.main()
  return out.getvalue()


class LaunchTest(absltest.TestCase):
  def test_base_and_tuned(self):
    output = pathlib.Path(self.create_tempdir().full_path, "evaluation")
    text = launched(
      f"--checkpoint={TINY.tuned}",
      f"--base={TINY.base}",
      f"--output={output}",
      "--held_out=nli",
      "--batch=8",
      "--max_examples=1",
    )
    expected = [task.name for task in TASKS.cluster("nli")]
    for label, name in (("base", "base.json"), ("tuned", "results.json")):
      found = results.EvaluationResults.read(str(output / name))
      self.assertEqual(found.label, label)
      self.assertIn("step_0000000", found.checkpoint)
      self.assertEqual([r.task for r in found.tasks], expected)
      self.assertFalse(math.isnan(found.clusters["nli"]))
    report = (output / "report.md").read_text()
    self.assertIn("# Evaluation with nli held out", report)
    for name in expected:
      self.assertIn(name, report)
      self.assertIn(name, text)
    png = (output / "templates.png").read_bytes()
    self.assertStartsWith(png, b"\x89PNG")
    events = [path.parent.name for path in output.rglob("events.out.*")]
    self.assertCountEqual(events, ["base", "tuned"])
    self.assertIn(f"Report: {output / 'report.md'}", text)

  def test_the_untuned_model_with_both_prompts(self):
    from flan_tf.api import evaluation

    output = pathlib.Path(self.create_tempdir().full_path)
    result = evaluation.evaluate(
      TINY.tuned,
      base=TINY.base,
      output=str(output),
      tasks=("rte", "snli"),
      batch=8,
      max_examples=3,
      templates=(0, 1),
      base_wording=evaluation.BOTH,
    )
    result.report(output)
    text = str(result)
    baseline, base, tuned = found = [
      results.EvaluationResults.read(str(output / name))
      for name in ("base_baseline.json", "base.json", "results.json")
    ]
    self.assertEqual(
      [one.label for one in found], ["base (baseline prompts)", "base", "tuned"]
    )
    self.assertEqual(baseline.settings["wording"], "baseline")
    self.assertEqual(base.settings, tuned.settings)
    self.assertEqual([result.task for result in baseline.tasks], ["rte"])
    self.assertIn("no baseline prompt", baseline.not_read["snli"])
    self.assertRegex(
      text, "Not directly comparable: The setting wording differs"
    )
    self.assertNotIn("different templates", text)
    self.assertRegex(text, r"tuned minus base, on the test rows that\s+both")
    folders = [path.name for path in (output / "predictions").iterdir()]
    self.assertCountEqual(folders, ["base", "base_baseline_prompts", "tuned"])
    self.assertIn(
      "base (baseline prompts)", (output / "scores.csv").read_text()
    )

    # A comparison of these two evaluations.
    compared = pathlib.Path(self.create_tempdir().full_path, "new")
    text = launched(
      f"--compare={output}/base.json",
      f"--compare={output}",
      f"--output={compared}",
    )
    self.assertRegex(text, "tuned minus base")
    self.assertTrue((compared / "report.md").exists())
    again = results.EvaluationResults.read(str(compared / "base.json"))
    self.assertEqual(again, base)
    for arguments, message in (
      (("--compare=a,b", f"--checkpoint={TINY.base}"), "no --checkpoint"),
      (("--compare=a,b",), "needs --output"),
      (("--compare=a",), "two evaluations, got 1"),
      (("--compare=a,b,", "--output=c"), "two evaluations, got 3"),
      (
        (f"--compare={output},{output}/base.json", f"--output={output}"),
        "would replace",
      ),
      ((f"--compare={output},none", "--output=c"), "No results at none/resu"),
      ((), "--checkpoint=DIR, or --compare"),
    ):
      with self.subTest(str(arguments)):
        with self.assertRaisesRegex((ValueError, FileNotFoundError), message):
          launched(*arguments)

  def test_the_untuned_model_can_be_asked_otherwise(self):
    from flan_tf.api import evaluation

    def wordings_of(labels, wording):
      *others, evaluated = (
        evaluation._OpenedModel(label, mock.Mock(), None) for label in labels
      )
      made = evaluation._evaluations(others, evaluated, "baseline", wording)
      return [(one.label, one.model.label, one.wording) for one in made]

    self.assertEqual(
      wordings_of(["base", "tuned"], "instructions"),
      [("base", "base", "baseline"), ("tuned", "tuned", "instructions")],
    )
    self.assertEqual(
      wordings_of(["model"], "no_template"),
      [("model", "model", "no_template")],
    )

  def assertStartsWith(self, value: bytes, start: bytes):
    self.assertEqual(value[: len(start)], start)

  def test_refused(self):
    from flan_tf.api import evaluation

    output = self.create_tempdir().full_path
    for arguments, message in (
      ({}, "nothing to evaluate: give held_out, tasks or"),
      (
        {"held_out": "sentiment"},
        "has seen sst2 in training. So its evaluation would not be zero-shot",
      ),
      ({"tasks": ("rtee",)}, r"task 'rtee'\. Did you mean 'rte'\?"),
      ({"clusters": ("nil",)}, r"cluster 'nil'\. Did you mean 'nli'\?"),
    ):
      with self.subTest(str(arguments)):
        with self.assertRaisesRegex(ValueError, message):
          evaluation.evaluate(TINY.tuned, output=output, **arguments)
    with self.assertRaisesRegex(ValueError, "No complete checkpoint at 'none'"):
      evaluation.evaluate("none", output=output, tasks="rte")
    self.assertEmpty(list(pathlib.Path(output).iterdir()))


if __name__ == "__main__":
  absltest.main()
