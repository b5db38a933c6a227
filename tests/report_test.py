"""The report names what there is, what is missing, and stays well formed."""

import dataclasses
import math
import random
import re
import statistics

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf import schema
from flan_tf.eval import results
from flan_tf.report import compare, plot, published, report, summaries, tables

_TASKS = (
  ("anli_r1", "nli", "accuracy", 34.0),
  ("anli_r2", "nli", "accuracy", 33.6),
  ("cb", "nli", "macro_f1", 48.0),
  ("mnli_mismatched", "nli", "accuracy", 35.1),
  ("rte", "nli", "accuracy", 52.7),
  ("imdb_reviews", "sentiment", "accuracy", 50.0),
  ("sst2", "sentiment", "accuracy", 51.0),
  ("yelp_polarity_reviews", "sentiment", "accuracy", 52.0),
  ("stsb", "paraphrase", "pearson", 24.0),
  ("paws_wiki", "paraphrase", "accuracy", 55.0),
  ("cosmos_qa", "reading_comprehension_commonsense", "accuracy", 25.7),
  ("definite_pronoun_resolution", "coreference", "accuracy", 50.0),
  ("opinion_abstracts_rotten_tomatoes", "summarization", "rougeL", None),
  ("gigaword", "summarization", "rouge1", None),
  ("wmt16_translate_deen", "translation", "bleu", None),
  ("wmt14_enfr", "translation", "bleu", None),
)


def _evaluation(label, seed, tasks=_TASKS, **changes):
  """Made-up scores of many tasks, the same for the same seed."""
  rng = random.Random(seed)
  found = []
  for task, cluster, metric, majority in tasks:
    centre = (majority or 20) + rng.uniform(-2, 14) * (label == "tuned")
    found.append(
      results.TaskResult(
        task=task,
        dataset=task,
        cluster=cluster,
        kind=schema.Kind.CLASSIFICATION if majority else schema.Kind.GENERATION,
        metric=metric,
        templates=tuple(
          results.TemplateScore(
            index,
            test=rng.gauss(centre, 4),
            dev=rng.gauss(centre, 5),
            others={"accuracy": 50.0} if metric == "macro_f1" else {},
          )
          for index in range(9)
        ),
        examples=277,
        dev_examples=200,
        left_out={"hidden label": 3} if task == "rte" else {},
        test_rows_from="validation[125:250], because test has 3 rows",
        majority=majority,
      )
    )
  return results.EvaluationResults(
    **{
      "checkpoint": f"runs/{label}/ckpt-300",
      "label": label,
      "tasks": tuple(found),
      "held_out": "nli",
      "not_read": {"snli": "not prepared: no folder snli | 1.1.0"},
      "settings": {"scoring": "LOGLIKELIHOOD", "max_rows": 500},
    }
    | changes
  )


def _markdown_tables(text):
  """Every Markdown table of a text, as a list of lists of cells."""
  found, table = [], []
  for line in [*text.splitlines(), ""]:
    if line.startswith("|"):
      table.append(re.split(r"(?<!\\)\|", line.strip())[1:-1])
    elif table:
      found.append(table)
      table = []
  return found


def _with(evaluation, task, **changes):
  """The same results, one task's changed."""
  return dataclasses.replace(
    evaluation,
    tasks=tuple(
      dataclasses.replace(r, **changes) if r.task == task else r
      for r in evaluation.tasks
    ),
  )


def _undefined(evaluation, task, templates):
  """The same results, without a value for some templates of a task."""
  scores = tuple(
    dataclasses.replace(s, test=math.nan if s.template in templates else s.test)
    for s in evaluation.get(task).templates
  )
  return _with(evaluation, task, templates=scores)


def _size(png):
  """(height, width) of a PNG."""
  return tuple(tf.io.decode_png(png).shape[:2])


BASE, TUNED = _evaluation("base", 1), _evaluation("tuned", 2)
PAIR = (BASE, TUNED)
NOTHING = _evaluation("tuned", 3, tasks=())


class MarkdownTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("one", (TUNED,)),
    ("two", PAIR),
    ("nan", (_undefined(BASE, "stsb", range(9)), TUNED)),
    ("nothing", (NOTHING,)),
    ("nothing_and_something", (NOTHING, TUNED)),
  )
  def test_tables_are_well_formed(self, evaluations):
    found = _markdown_tables(report.markdown(evaluations, "plot.png"))
    self.assertNotEmpty(found)
    for table in found:
      self.assertLen({len(line) for line in table}, 1, table)
      for mark in table[1]:
        self.assertRegex(mark, "^ ---:? $")
      for cell in (cell for line in table for cell in line):
        self.assertNotEmpty(cell.strip())
    self.assertNotIn("nan", " ".join(sum(sum(found, []), [])).split())

  def test_a_task_in_full(self):
    base = results.TaskResult(
      task="multirc",
      dataset="multirc",
      cluster="reading_comprehension",
      kind=schema.Kind.CLASSIFICATION,
      metric="accuracy",
      templates=(
        results.TemplateScore(0, test=40.0, dev=1.0),
        results.TemplateScore(2, test=50.0, dev=2.0),
      ),
      examples=1000,
      majority=50.0,
    )
    scores = tuple(dataclasses.replace(s, test=70.0) for s in base.templates)
    tuned = dataclasses.replace(base, templates=scores)
    table = tables.tasks(
      (
        dataclasses.replace(BASE, tasks=(base,)),
        dataclasses.replace(TUNED, tasks=(tuned,)),
      )
    )
    self.assertEqual(
      dict(zip(*table, strict=True)),
      {
        "task": "multirc",
        "metric": "accuracy",
        "base": "45.0 (5.0)",
        "tuned": "70.0 (0.0)",
        "diff.": "+25.0",
        "best dev": "50.0 → 70.0",
        "majority": "50.0 ± 3.1",
        "rows": "1,000",
        "paper": "74.5†",
      },
    )

  def test_every_task_and_both_labels_are_there(self):
    text = report.markdown(PAIR, "templates.png")
    for task, *_ in _TASKS:
      self.assertIn(f"| {task} |", text)
    self.assertIn("base", text)
    self.assertIn("tuned", text)
    self.assertIn("](templates.png)", text)
    self.assertNotIn("](", report.markdown(PAIR))

  def test_summary_counts_gains(self):
    lower = dataclasses.replace(BASE, tasks=BASE.tasks[:2])
    self.assertIn(
      "2 tasks in 1 cluster, 1 not read. again is above base on 0 of 2 tasks,"
      " by +0.0 points",
      report.markdown((lower, dataclasses.replace(lower, label="again"))),
    )

  def test_missing_data_is_named(self):
    text = report.markdown(PAIR)
    self.assertIn("not prepared: no folder snli \\| 1.1.0", text)
    self.assertIn("hidden label: 3", text)
    self.assertIn("validation[125:250], because test has 3 rows", text)

  def test_data_not_read_by_one_alone(self):
    other = dataclasses.replace(TUNED, not_read={"qnli": "manual download"})
    table = tables.not_read((BASE, other))
    self.assertIn(["qnli", "manual download (tuned only)"], table)
    self.assertIn(
      ["snli", "not prepared: no folder snli | 1.1.0 (base only)"], table
    )

  def test_undefined_scores_are_named(self):
    base = _undefined(BASE, "stsb", (0, 1))
    text = report.markdown((base, TUNED))
    self.assertIn("stsb, base: pearson is undefined for 2 of 9", text)
    base = _undefined(BASE, "stsb", range(9))
    row = next(r for r in tables.tasks((base, TUNED)) if r[0] == "stsb")
    self.assertEqual(row[2], "undef.")
    self.assertEqual(row[4], "–")

  def test_unlike_comparisons_are_named(self):
    other = _with(TUNED, "rte", examples=100)
    other = _with(other, "cb", metric="accuracy")
    other = dataclasses.replace(other, seed=5, tasks=other.tasks[:-1])
    text = report.markdown((BASE, other))
    for expected in (
      "seed differs: base 0, tuned 5",
      "rte has different numbers of test rows: base 277, tuned 100",
      r"cb has different metrics: base macro_f1, tuned accuracy",
      "wmt14_enfr has no tuned result",
    ):
      self.assertIn(f"> **Not like with like:** {expected}.", text)
    row = next(r for r in tables.tasks((BASE, other)) if r[0] == "cb")
    self.assertEqual(row[4], "–")
    self.assertEmpty(compare.differences(PAIR))

  def test_no_result_sets_or_three(self):
    for evaluations in ((), (BASE, TUNED, BASE)):
      with self.assertRaisesRegex(ValueError, "one result set, or two"):
        report.markdown(evaluations)

  def test_text_cannot_break_a_table(self):
    self.assertEqual(
      tables.escape("a|b\n*c* <i> _d_ e_f"), r"a\|b \*c\* \<i\> \_d\_ e_f"
    )

  def test_same_labels_are_told_apart(self):
    self.assertEqual(compare.labels((TUNED, TUNED)), ("tuned 1", "tuned 2"))


class TerminalTest(absltest.TestCase):
  def test_columns_line_up(self):
    text = report.text(PAIR)
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("task"))
    body = lines[first : first + len(_TASKS) + 2]
    self.assertLen({len(line) for line in body}, 1)
    self.assertIn("not read: snli: not prepared", text)

  def test_nothing_evaluated(self):
    self.assertIn("not read: snli", report.text((NOTHING,)))


class PublishedTest(parameterized.TestCase):
  """The cells reproduce the averages that the paper prints."""

  @parameterized.named_parameters(
    ("figure_1_nli", ("anli_r1", "anli_r2", "anli_r3", "cb", "rte"), 56.2),
    ("figure_1_reading", ("bool_q", "multirc", "openbookqa"), 77.4),
    (
      "figure_9_nli",
      (
        "anli_r1",
        "anli_r2",
        "anli_r3",
        "cb",
        "rte",
        "mnli_matched",
        "mnli_mismatched",
        "qnli",
        "snli",
        "wnli",
      ),
      54.7,
    ),
    (
      "figure_9_closed_book",
      ("arc_challenge", "arc_easy", "natural_questions", "trivia_qa"),
      53.7,
    ),
    (
      "figure_9_commonsense",
      ("copa", "hellaswag", "piqa", "story_cloze"),
      80.0,
    ),
    (
      "figure_9_coreference",
      ("definite_pronoun_resolution", "winogrande"),
      63.8,
    ),
  )
  def test_means(self, names, expected):
    mean = statistics.fmean(published.PUBLISHED[n].average for n in names)
    self.assertAlmostEqual(mean, expected, delta=0.051)


class PlotTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("one_small", (dataclasses.replace(TUNED, tasks=TUNED.tasks[:1]),)),
    ("two", PAIR),
    ("nan", (_undefined(BASE, "stsb", range(9)), TUNED)),
    ("absent", (dataclasses.replace(BASE, tasks=BASE.tasks[:3]), TUNED)),
  )
  def test_is_a_png_that_grows_with_the_tasks(self, evaluations):
    png = plot.templates_png(evaluations)
    self.assertStartsWith(png, b"\x89PNG")
    height, width = _size(png)
    self.assertBetween(width, 800, 1600)
    rows = len(compare.rows(evaluations))
    self.assertBetween(height, 100 + 40 * rows, 400 + 80 * rows)

  def test_has_ink_in_both_colours(self):
    pixels = tf.io.decode_png(plot.templates_png(PAIR), 3).numpy().astype(int)
    for colour in ((0xD9, 0x82, 0x2B), (0x1F, 0x5F, 0xA8)):
      ink = np.abs(pixels - np.array(colour)).max(axis=-1) < 8
      self.assertGreater(ink.sum(), 200)

  def test_negative_correlations_stay_in_sight(self):
    scores = (results.TemplateScore(0, test=-60.0),)
    evaluation = _with(TUNED, "stsb", templates=scores)
    self.assertStartsWith(plot.templates_png((evaluation,)), b"\x89PNG")

  def test_nothing_to_draw(self):
    with self.assertRaisesRegex(ValueError, "Nothing to draw"):
      plot.templates_png((NOTHING,))


class FilesTest(absltest.TestCase):
  def test_report_plot_and_summaries(self):
    folder = self.create_tempdir().full_path + "/new"
    path = report.write(folder, PAIR, step=300)
    with open(path, encoding="utf-8") as file:
      self.assertEqual(file.read(), report.markdown(PAIR, "templates.png"))
    with open(f"{folder}/templates.png", "rb") as file:
      self.assertEqual(file.read(), plot.templates_png(PAIR))
    base = _events(f"{folder}/tensorboard/base")
    tuned = _events(f"{folder}/tensorboard/tuned")
    self.assertEqual(base.keys(), summaries.scalars(BASE).keys())
    self.assertEqual(tuned.keys() - base.keys(), {"report", "templates"})
    self.assertEqual({step for step, _ in tuned.values()}, {300})
    rte = tf.make_ndarray(tuned["eval/rte/accuracy"][1].tensor)
    self.assertAlmostEqual(float(rte), TUNED.get("rte").mean, places=3)

  def test_nothing_evaluated_is_reported_too(self):
    folder = self.create_tempdir().full_path
    path = report.write(folder, (NOTHING,))
    with open(path, encoding="utf-8") as file:
      self.assertIn("not prepared", file.read())
    self.assertFalse(tf.io.gfile.exists(f"{folder}/templates.png"))

  def test_scalars_leave_out_what_is_undefined(self):
    values = summaries.scalars(_undefined(TUNED, "stsb", range(9)))
    self.assertNotIn("eval/stsb/pearson", values)
    self.assertIn("eval/rte/accuracy_std", values)
    self.assertIn("clusters/nli", values)


def _events(folder):
  """Tag -> (step, value) of the event files in a folder."""
  found = {}
  for path in tf.io.gfile.glob(f"{folder}/*"):
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
      event = tf.compat.v1.Event.FromString(record)
      for value in event.summary.value:
        found[value.tag] = (event.step, value)
  return found


if __name__ == "__main__":
  absltest.main()
