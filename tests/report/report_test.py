"""The report names what there is, what is missing, and stays well formed."""

import dataclasses
import re

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.eval import paired, results
from flan_tf.report import (
  comparison,
  page,
  plot,
  sentences,
  tables,
  tensorboard_summaries,
  writer,
)
from flan_tf.task import schema
from tests.helpers import made_up


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


def _size(png):
  """(height, width) of a PNG."""
  return tuple(tf.io.decode_png(png).shape[:2])


BASE, TUNED = made_up.evaluation("base", 1), made_up.evaluation("tuned", 2)
PAIR = (BASE, TUNED)
NOTHING = made_up.evaluation("tuned", 3, tasks=())


class MarkdownTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("one", (TUNED,)),
    ("two", PAIR),
    ("four", PAIR * 2),
    ("nan", (made_up.undefined(BASE, "stsb", range(9)), TUNED)),
    ("nothing", (NOTHING,)),
    ("nothing_and_something", (NOTHING, TUNED)),
  )
  def test_tables_are_well_formed(self, evaluations):
    found = _markdown_tables(writer.markdown(evaluations, "plot.png"))
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
      kind=schema.TaskKind.CLASSIFICATION,
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
    text = writer.markdown(PAIR, "templates.png")
    for task, *_ in made_up.TASKS:
      self.assertIn(f"| {task} |", text)
    self.assertIn("base", text)
    self.assertIn("tuned", text)
    self.assertIn("](templates.png)", text)
    self.assertNotIn("](", writer.markdown(PAIR))

  def test_summary_counts_gains(self):
    lower = dataclasses.replace(BASE, tasks=BASE.tasks[:2])
    self.assertIn(
      "2 tasks in 1 cluster, 1 not read. again is above base on 0 of 2 tasks"
      " and below on 0, by +0.0 points on average over tasks (",
      writer.markdown((lower, dataclasses.replace(lower, label="again"))),
    )

  def test_missing_data_is_named(self):
    text = writer.markdown(PAIR)
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
    base = made_up.undefined(BASE, "stsb", (0, 1))
    text = writer.markdown((base, TUNED))
    self.assertIn("stsb, base: pearson is undefined for 2 of 9", text)
    base = made_up.undefined(BASE, "stsb", range(9))
    row = next(r for r in tables.tasks((base, TUNED)) if r[0] == "stsb")
    self.assertEqual(row[2], "undef.")
    self.assertEqual(row[4], "–")

  def test_unlike_comparisons_are_named(self):
    other = made_up.with_task(TUNED, "rte", examples=100)
    other = made_up.with_task(other, "cb", metric="accuracy")
    other = dataclasses.replace(other, seed=5, tasks=other.tasks[:-1])
    text = writer.markdown((BASE, other))
    for expected in (
      "seed differs: base 0, tuned 5",
      "rte has different numbers of test rows: base 277, tuned 100",
      r"cb has different metrics: base macro_f1, tuned accuracy",
      "wmt14_enfr has no tuned result",
    ):
      self.assertIn(f"> **Not like with like:** {expected}.", text)
    row = next(r for r in tables.tasks((BASE, other)) if r[0] == "cb")
    self.assertEqual(row[4], "–")
    self.assertEmpty(comparison.differences(PAIR))

  def test_no_result_sets_or_five(self):
    for evaluations in ((), (BASE, TUNED) * 2 + (BASE,)):
      with self.assertRaisesRegex(
        ValueError, f"one to 4 result sets.*got {len(evaluations)}"
      ):
        writer.markdown(evaluations)

  def test_a_third_result_set_differs_from_the_second(self):
    asked = dataclasses.replace(BASE, label="base (baseline prompts)")
    lower = made_up.with_task(
      asked, "rte", templates=(results.TemplateScore(0, test=10.0),)
    )
    two, three = (
      {row[0]: row for row in tables.tasks(evaluations)}
      for evaluations in (PAIR, (lower, *PAIR))
    )
    self.assertEqual(three["task"][2], "base (baseline prompts)")
    self.assertEqual(three["rte"][2], "10.0 (0.0)")
    self.assertEqual(three["rte"][3:6], two["rte"][2:5])
    self.assertEqual(three["rte"][6], f"– → {two['rte'][5]}")

  def test_named_averages_stand_below_the_cluster_means(self):
    text = writer.markdown(PAIR)
    self.assertNotIn("Winogrande", text)  # Not evaluated: no such mean.
    winogrande = dataclasses.replace(
      TUNED.get("rte"), task="winogrande", cluster="coreference"
    )
    more = dataclasses.replace(TUNED, tasks=(*TUNED.tasks, winogrande))
    mean = (winogrande.mean + TUNED.get("definite_pronoun_resolution").mean) / 2
    self.assertIn(
      f"| DPR, Winogrande (Figure 9) | {mean:.1f} | – | – | 63.8 | 67.4 |",
      writer.markdown((more,)),
    )

  def test_intervals_and_small_samples_are_shown(self):
    result = dataclasses.replace(
      TUNED.tasks[0], interval=(30.04, 41.96), examples=99
    )
    found = dataclasses.replace(TUNED, tasks=(result, TUNED.tasks[1]))
    heads, line, other = tables.tasks((found,))
    self.assertEqual(line[heads.index("95 %")], "30.0 to 42.0")
    self.assertEqual(other[heads.index("95 %")], "–")
    self.assertIn(
      "1 of them has fewer than 100 test rows", writer.markdown((found,))
    )

  def test_how_sure_a_difference_is(self):
    sure = paired.Difference("rte", "accuracy", 5.0, (1.0, 9.0), 277, 30, 20)
    unsure = dataclasses.replace(sure, task="cb", interval=(-1.0, 9.0))
    pair = [
      dataclasses.replace(e, tasks=tuple(map(e.get, ("cb", "rte"))))
      for e in PAIR
    ]
    pair[0] = made_up.with_task(
      pair[0],
      "rte",
      templates=(results.TemplateScore(0, test=0.0),),
    )
    pair[0] = made_up.with_task(
      pair[0],
      "cb",
      templates=(results.TemplateScore(0, test=0.0),),
    )
    found = {"rte": sure, "cb": unsure}
    self.assertIn(
      "is above base on 2 (1 beyond chance) of 2 tasks and below on 0",
      sentences.verdict(pair, found),
    )
    self.assertIn(
      "| +1.0\u00a0to\u00a0+9.0 | 30 | 20 |", writer.markdown(pair, "", found)
    )
    # Four rows may all go one way by chance.
    few = {"rte": dataclasses.replace(sure, rows=4), "cb": unsure}
    self.assertIn("on 2 (0 beyond chance) of", sentences.verdict(pair, few))
    # Not all have an interval: nothing is said of chance.
    self.assertIn(
      "is above base on 2 of 2 tasks", sentences.verdict(pair, {"rte": sure})
    )

  def test_one_result_set_has_a_mean(self):
    self.assertRegex(
      sentences.verdict((TUNED,)),
      r"^tuned has \d+\.\d on average over 16 tasks",
    )
    self.assertEqual(sentences.verdict((NOTHING,)), "No task has a score.")
    self.assertEqual(
      sentences.verdict((NOTHING, TUNED)), "No task has a score of both."
    )

  def test_text_cannot_break_a_table(self):
    self.assertEqual(
      tables.escape("a|b\n*c* <i> _d_ e_f"), r"a\|b \*c\* \<i\> \_d\_ e_f"
    )

  def test_same_labels_are_told_apart(self):
    self.assertEqual(comparison.labels((TUNED, TUNED)), ("tuned 1", "tuned 2"))


class HeldOutTest(absltest.TestCase):
  def test_tasks_that_training_may_have_seen_are_said_not_to_be_zero_shot(self):
    part = dataclasses.replace(TUNED, held_out="nli")
    said = sentences.not_held_out([BASE, part])
    outside = [r for r in TUNED.tasks if r.cluster not in ("nli", "paraphrase")]
    self.assertNotEmpty(outside)
    self.assertIn(f"{len(outside)} of {len(TUNED.tasks)} tasks are not", said)
    for text in (writer.markdown([BASE, part]), writer.text([BASE, part])):
      self.assertRegex(text, "(?i)not all held out")

  def test_nothing_is_said_where_all_are_held_out_or_none_was_to_be(self):
    every = ",".join(sorted({r.cluster for r in TUNED.tasks}))
    for held_out in ("", every):
      part = dataclasses.replace(TUNED, held_out=held_out)
      self.assertEqual(sentences.not_held_out([part]), "")


class TerminalTest(absltest.TestCase):
  def test_columns_line_up(self):
    text = writer.text(PAIR)
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("task"))
    body = lines[first : first + len(made_up.TASKS) + 2]
    self.assertLen({len(line) for line in body}, 1)
    self.assertIn("not read: snli: not prepared", text)

  def test_nothing_evaluated(self):
    self.assertIn("not read: snli", writer.text((NOTHING,)))


class PlotTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("one_small", (dataclasses.replace(TUNED, tasks=TUNED.tasks[:1]),)),
    ("two", PAIR),
    ("four", PAIR * 2),
    ("nan", (made_up.undefined(BASE, "stsb", range(9)), TUNED)),
    ("absent", (dataclasses.replace(BASE, tasks=BASE.tasks[:3]), TUNED)),
  )
  def test_is_a_png_that_grows_with_the_tasks(self, evaluations):
    png = plot.templates_png(evaluations)
    self.assertStartsWith(png, b"\x89PNG")
    height, width = _size(png)
    self.assertBetween(width, 800, 1600)
    rows = len(comparison.rows(evaluations))
    self.assertBetween(height, 100 + 40 * rows, 400 + 120 * rows)

  def test_has_ink_in_both_colours(self):
    pixels = tf.io.decode_png(plot.templates_png(PAIR), 3).numpy().astype(int)
    for colour in ((0xD9, 0x82, 0x2B), (0x1F, 0x5F, 0xA8)):
      ink = np.abs(pixels - np.array(colour)).max(axis=-1) < 8
      self.assertGreater(ink.sum(), 200)

  def test_negative_correlations_stay_in_sight(self):
    scores = (results.TemplateScore(0, test=-60.0),)
    evaluation = made_up.with_task(TUNED, "stsb", templates=scores)
    self.assertStartsWith(plot.templates_png((evaluation,)), b"\x89PNG")

  def test_nothing_to_draw(self):
    with self.assertRaisesRegex(ValueError, "Nothing to draw"):
      plot.templates_png((NOTHING,))


class FilesTest(absltest.TestCase):
  def test_report_plot_and_summaries(self):
    folder = self.create_tempdir().full_path + "/new"
    path = writer.write(folder, PAIR, step=300)
    with open(path, encoding="utf-8") as file:
      self.assertEqual(file.read(), writer.markdown(PAIR, "templates.png"))
    with open(f"{folder}/report.html", encoding="utf-8") as file:
      self.assertEqual(file.read(), page.html(PAIR))
    with open(f"{folder}/templates.png", "rb") as file:
      self.assertEqual(file.read(), plot.templates_png(PAIR))
    base = _events(f"{folder}/tensorboard/base")
    tuned = _events(f"{folder}/tensorboard/tuned")
    self.assertEqual(base.keys(), tensorboard_summaries.scalars(BASE).keys())
    self.assertEqual(tuned.keys() - base.keys(), {"report", "templates"})
    self.assertEqual({step for step, _ in tuned.values()}, {300})
    rte = tf.make_ndarray(tuned["eval/rte/accuracy"][1].tensor)
    self.assertAlmostEqual(float(rte), TUNED.get("rte").mean, places=3)

  def test_nothing_evaluated_is_reported_too(self):
    folder = self.create_tempdir().full_path
    path = writer.write(folder, (NOTHING,))
    with open(path, encoding="utf-8") as file:
      self.assertIn("not prepared", file.read())
    self.assertFalse(tf.io.gfile.exists(f"{folder}/templates.png"))

  def test_scalars_leave_out_what_is_undefined(self):
    values = tensorboard_summaries.scalars(
      made_up.undefined(TUNED, "stsb", range(9))
    )
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
