"""Reports name what was evaluated and what is missing, and are well formed."""

import dataclasses
import re
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.eval import paired, task_result
from flan_tf.report import (
  mismatches,
  page,
  plot,
  sentences,
  table_format,
  tables,
  tensorboard_summaries,
  terminal,
  writer,
)
from flan_tf.report.comparison import Comparison
from flan_tf.report.markdown import markdown
from flan_tf.task import schema
from tests.helpers import fake_results


def _markdown_tables(text):
  """Returns every Markdown table of a text as a list of lists of cells."""
  all_tables, table = [], []
  for line in [*text.splitlines(), ""]:
    if line.startswith("|"):
      table.append(re.split(r"(?<!\\)\|", line.strip())[1:-1])
    elif table:
      all_tables.append(table)
      table = []
  return all_tables


def _size(png):
  """Returns (height, width) of a PNG in pixels."""
  return tuple(tf.io.decode_png(png).shape[:2])


def _compare(*evaluations):
  return Comparison.load(evaluations)


BASE = fake_results.fake_evaluation("base", 1)
TUNED = fake_results.fake_evaluation("tuned", 2)
PAIR = (BASE, TUNED)
EMPTY = fake_results.fake_evaluation("tuned", 3, tasks=())


class MarkdownTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("one", (TUNED,)),
    ("two", PAIR),
    ("four", PAIR * 2),
    ("nan", (fake_results.remove_values(BASE, "stsb", range(9)), TUNED)),
    ("nothing", (EMPTY,)),
    ("nothing_and_something", (EMPTY, TUNED)),
  )
  def test_tables_are_well_formed(self, evaluations):
    all_tables = _markdown_tables(markdown(_compare(*evaluations), "plot.png"))
    self.assertNotEmpty(all_tables)
    for table in all_tables:
      self.assertLen({len(line) for line in table}, 1, table)
      for mark in table[1]:
        self.assertRegex(mark, "^ ---:? $")
      for cell in (cell for line in table for cell in line):
        self.assertNotEmpty(cell.strip())
    self.assertNotIn("nan", " ".join(sum(sum(all_tables, []), [])).split())

  def test_a_task_in_full(self):
    base = task_result.TaskResult(
      task="multirc",
      dataset="multirc",
      cluster="reading_comprehension",
      kind=schema.TaskKind.CLASSIFICATION,
      metric="accuracy",
      templates=(
        task_result.TemplateScore(0, test=40.0, dev=1.0),
        task_result.TemplateScore(2, test=50.0, dev=2.0),
      ),
      examples=1000,
      majority=50.0,
    )
    scores = tuple(dataclasses.replace(s, test=70.0) for s in base.templates)
    tuned = dataclasses.replace(base, templates=scores)
    table = tables.scores(
      _compare(
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
    text = markdown(_compare(*PAIR), "templates.png")
    for task, *_ in fake_results.TASKS:
      self.assertIn(f"| {task} |", text)
    self.assertIn("base", text)
    self.assertIn("tuned", text)
    self.assertIn("](templates.png)", text)
    self.assertNotIn("](", markdown(_compare(*PAIR)))

  def test_summary_counts_gains(self):
    lower = dataclasses.replace(BASE, tasks=BASE.tasks[:2])
    again = dataclasses.replace(lower, label="again")
    text = markdown(_compare(lower, again))
    self.assertIn(
      "2 tasks in 1 cluster were evaluated. 1 task could not be evaluated."
      " again scores higher than base on 0 of 2 tasks and lower on 0. On"
      " average over these tasks, ",
      text,
    )
    self.assertRegex(
      text,
      r"again has (\d+\.\d) and base \1, a difference of \+0\.0 points\.",
    )

  def test_missing_data_is_named(self):
    text = markdown(_compare(*PAIR))
    self.assertIn("not prepared: no folder snli \\| 1.1.0", text)
    self.assertIn("hidden label: 3", text)
    self.assertIn("validation[125:250], because test has 3 rows", text)

  def test_a_task_that_one_model_could_not_be_evaluated_on(self):
    other = dataclasses.replace(TUNED, not_read={"qnli": "manual download"})
    table = tables.not_evaluated(_compare(BASE, other))
    self.assertIn(["qnli", "manual download (tuned only)"], table)
    self.assertIn(
      ["snli", "not prepared: no folder snli | 1.1.0 (base only)"], table
    )

  def test_undefined_scores_are_named(self):
    base = fake_results.remove_values(BASE, "stsb", (0, 1))
    text = markdown(_compare(base, TUNED))
    self.assertIn("stsb, base: pearson is undefined for 2 of 9", text)
    base = fake_results.remove_values(BASE, "stsb", range(9))
    scores = tables.scores(_compare(base, TUNED))
    row = next(r for r in scores if r[0] == "stsb")
    self.assertEqual(row[2], "undef.")
    self.assertEqual(row[4], "–")

  def test_differences_of_the_setup_are_named(self):
    other = fake_results.change_task(TUNED, "rte", examples=100)
    other = fake_results.change_task(other, "cb", metric="accuracy")
    other = dataclasses.replace(other, seed=5, tasks=other.tasks[:-1])
    compared = _compare(BASE, other)
    text = markdown(compared)
    for expected in (
      "The seed differs: base 0, tuned 5",
      "rte has different numbers of test rows: base 277, tuned 100",
      "cb has different metrics: base macro_f1, tuned accuracy",
      "tuned has no result for wmt14_enfr",
    ):
      self.assertIn(f"> **Not directly comparable:** {expected}.", text)
    row = next(r for r in tables.scores(compared) if r[0] == "cb")
    self.assertEqual(row[4], "–")
    self.assertEmpty(mismatches.find_mismatches(_compare(*PAIR)))

  def test_settings_that_differ_are_named_one_by_one(self):
    one = dataclasses.replace(
      TUNED, held_out="", settings={"shots": 5, "markers": "", "same": 1}
    )
    other = dataclasses.replace(
      TUNED, settings={"shots": 0, "wording": "baseline", "same": 1}
    )
    self.assertEqual(
      mismatches.find_mismatches(_compare(one, other)),
      [
        "The held-out tasks differ: tuned 1 nothing, tuned 2 nli",
        "The setting shots differs: tuned 1 5, tuned 2 0",
        'The setting markers differs: tuned 1 "", tuned 2 not set',
        "The setting wording differs: tuned 1 not set, tuned 2 baseline",
      ],
    )

  def test_no_evaluations_or_five_are_refused(self):
    for evaluations in ((), (BASE, TUNED) * 2 + (BASE,)):
      with self.assertRaisesRegex(
        ValueError, f"one to 4 evaluations.*got {len(evaluations)}"
      ):
        _compare(*evaluations)

  def test_a_third_evaluation_is_compared_with_the_second(self):
    asked = dataclasses.replace(BASE, label="base (baseline prompts)")
    lower = fake_results.change_task(
      asked, "rte", templates=(task_result.TemplateScore(0, test=10.0),)
    )
    two, three = (
      {row[0]: row for row in tables.scores(_compare(*evaluations))}
      for evaluations in (PAIR, (lower, *PAIR))
    )
    self.assertEqual(three["task"][2], "base (baseline prompts)")
    self.assertEqual(three["rte"][2], "10.0 (0.0)")
    self.assertEqual(three["rte"][3:6], two["rte"][2:5])
    self.assertEqual(three["rte"][6], f"– → {two['rte'][5]}")

  def test_named_averages_stand_below_the_cluster_means(self):
    text = markdown(_compare(*PAIR))
    self.assertNotIn("Winogrande", text)  # Not evaluated: no such mean.
    winogrande = dataclasses.replace(
      TUNED.get("rte"), task="winogrande", cluster="coreference"
    )
    more = dataclasses.replace(TUNED, tasks=(*TUNED.tasks, winogrande))
    mean = (winogrande.mean + TUNED.get("definite_pronoun_resolution").mean) / 2
    self.assertIn(
      f"| DPR, Winogrande (Figure 9) | {mean:.1f} | – | – | 63.8 | 67.4 |",
      markdown(_compare(more)),
    )

  def test_intervals_and_small_samples_are_shown(self):
    result = dataclasses.replace(
      TUNED.tasks[0], interval=(30.04, 41.96), examples=99
    )
    compared = _compare(
      dataclasses.replace(TUNED, tasks=(result, TUNED.tasks[1]))
    )
    headings, row, other = tables.scores(compared)
    column = headings.index("95 % interval")
    self.assertEqual(row[column], "30.0 to 42.0")
    self.assertEqual(other[column], "–")
    self.assertIn("1 of them has fewer than 100 test rows", markdown(compared))

  def test_significant_differences_are_counted(self):
    clear = paired.Difference("rte", "accuracy", 5.0, (1.0, 9.0), 277, 30, 20)
    unclear = dataclasses.replace(clear, task="cb", interval=(-1.0, 9.0))
    pair = [
      dataclasses.replace(e, tasks=tuple(map(e.get, ("cb", "rte"))))
      for e in PAIR
    ]
    for task in ("rte", "cb"):
      pair[0] = fake_results.change_task(
        pair[0], task, templates=(task_result.TemplateScore(0, test=0.0),)
      )

    def compare(**differences):
      return dataclasses.replace(_compare(*pair), differences=differences)

    both = compare(rte=clear, cb=unclear)
    self.assertIn(
      "scores higher than base on 2 of 2 tasks (1 significant) and lower on 0.",
      sentences.verdict(both),
    )
    self.assertIn("| +1.0\u00a0to\u00a0+9.0 | 30 | 20 |", markdown(both))
    with self.subTest("four rows may all go one way by chance"):
      few = dataclasses.replace(clear, rows=4)
      self.assertIn(
        "on 2 of 2 tasks (0 significant)",
        sentences.verdict(compare(rte=few, cb=unclear)),
      )
    with self.subTest("no count unless all tasks have an interval"):
      self.assertIn(
        "on 2 of 2 tasks and lower", sentences.verdict(compare(rte=clear))
      )

  def test_one_evaluation_has_a_mean(self):
    self.assertRegex(
      sentences.verdict(_compare(TUNED)),
      r"^tuned scores \d+\.\d on average over 16 tasks",
    )
    self.assertEqual(sentences.verdict(_compare(EMPTY)), "No task has a score.")
    self.assertEqual(
      sentences.verdict(_compare(EMPTY, TUNED)),
      "No task has a score of both models that can be compared.",
    )

  def test_text_cannot_break_a_table(self):
    self.assertEqual(
      table_format.escape_markdown("a|b\n*c* <i> _d_ e_f"),
      r"a\|b \*c\* \<i\> \_d\_ e_f",
    )

  def test_equal_labels_are_numbered(self):
    self.assertEqual(_compare(TUNED, TUNED).labels, ("tuned 1", "tuned 2"))


class HeldOutTest(absltest.TestCase):
  def test_tasks_that_training_may_have_seen_are_counted(self):
    nli = dataclasses.replace(TUNED, held_out="nli")
    compared = _compare(BASE, nli)
    caveat = sentences.not_held_out(compared)
    outside = [r for r in TUNED.tasks if r.cluster not in ("nli", "paraphrase")]
    self.assertNotEmpty(outside)
    self.assertIn(
      f"{len(outside)} of {len(TUNED.tasks)} tasks are neither held out", caveat
    )
    self.assertIn("not zero-shot", caveat)
    for text in (markdown(compared), terminal.text(compared)):
      self.assertRegex(text, "Not all tasks are held out:")

  def test_no_caveat_if_all_tasks_are_held_out_or_none_should_be(self):
    every = ",".join(sorted({r.cluster for r in TUNED.tasks}))
    for held_out in ("", every):
      evaluation = dataclasses.replace(TUNED, held_out=held_out)
      self.assertEqual(sentences.not_held_out(_compare(evaluation)), "")


class TerminalTest(absltest.TestCase):
  def test_columns_line_up_within_80_columns(self):
    text = terminal.text(_compare(*PAIR))
    lines = text.splitlines()
    self.assertLessEqual(max(map(len, lines)), 80)
    first = next(i for i, line in enumerate(lines) if line.startswith("task"))
    table = lines[first : lines.index("", first)]
    rows = [line for line in table if not line.startswith(" ")]
    self.assertLen(rows, len(fake_results.TASKS) + 2)
    self.assertLen({len(line) for line in rows}, 1)
    (index,) = (i for i, x in enumerate(table) if x.startswith("opinion_"))
    names = table[index].split()[0] + table[index + 1].strip()
    self.assertEqual(names, "opinion_abstracts_rotten_tomatoes")
    self.assertIn("Not evaluated: snli: not prepared", text)

  def test_a_wide_table_wraps_headings_and_names(self):
    table = [["task", "base (baseline prompts)", "tuned"]]
    table += [["a_name-of_many_words", "1.0", "22.0"], ["short", "–", "3.0"]]
    self.assertEqual(
      table_format.to_text(table).splitlines(),
      [
        "task                  base (baseline prompts)  tuned",
        "--------------------  -----------------------  -----",
        "a_name-of_many_words                      1.0   22.0",
        "short                                       –    3.0",
      ],
    )
    with mock.patch.object(table_format, "_MIN_NAME_WIDTH", 8):
      self.assertEqual(
        table_format.to_text(table, max_width=33).splitlines(),
        [
          "                      base",
          "                 (baseline",
          "task              prompts)  tuned",
          "---------------  ---------  -----",
          "a_name-of_many_        1.0   22.0",
          "  words",
          "short                    –    3.0",
        ],
      )

  def test_nothing_evaluated(self):
    self.assertIn("Not evaluated: snli", terminal.text(_compare(EMPTY)))


class PlotTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("one_small", (dataclasses.replace(TUNED, tasks=TUNED.tasks[:1]),)),
    ("two", PAIR),
    ("four", PAIR * 2),
    ("nan", (fake_results.remove_values(BASE, "stsb", range(9)), TUNED)),
    ("absent", (dataclasses.replace(BASE, tasks=BASE.tasks[:3]), TUNED)),
  )
  def test_is_a_png_that_grows_with_the_tasks(self, evaluations):
    compared = _compare(*evaluations)
    png = plot.templates_png(compared)
    self.assertStartsWith(png, b"\x89PNG")
    height, width = _size(png)
    self.assertBetween(width, 800, 1600)
    rows = len(compared.tasks)
    self.assertBetween(height, 100 + 40 * rows, 400 + 120 * rows)

  def test_has_ink_in_both_colors(self):
    png = plot.templates_png(_compare(*PAIR))
    pixels = tf.io.decode_png(png, 3).numpy().astype(int)
    for color in ((0xD9, 0x82, 0x2B), (0x1F, 0x5F, 0xA8)):
      ink = np.abs(pixels - np.array(color)).max(axis=-1) < 8
      self.assertGreater(ink.sum(), 200)

  def test_negative_correlations_stay_in_sight(self):
    scores = (task_result.TemplateScore(0, test=-60.0),)
    evaluation = fake_results.change_task(TUNED, "stsb", templates=scores)
    png = plot.templates_png(_compare(evaluation))
    self.assertStartsWith(png, b"\x89PNG")

  def test_nothing_to_draw(self):
    with self.assertRaisesRegex(ValueError, "nothing to draw: no eval"):
      plot.templates_png(_compare(EMPTY))


class FilesTest(absltest.TestCase):
  def test_report_plot_and_summaries(self):
    folder = self.create_tempdir().full_path + "/new"
    compared = _compare(*PAIR)
    path = writer.write(folder, compared, step=300)
    with open(path, encoding="utf-8") as file:
      self.assertEqual(file.read(), markdown(compared, "templates.png"))
    with open(f"{folder}/report.html", encoding="utf-8") as file:
      self.assertEqual(file.read(), page.html(compared))
    with open(f"{folder}/templates.png", "rb") as file:
      self.assertEqual(file.read(), plot.templates_png(compared))
    base = _events(f"{folder}/tensorboard/base")
    tuned = _events(f"{folder}/tensorboard/tuned")
    self.assertEqual(base.keys(), tensorboard_summaries.scalars(BASE).keys())
    self.assertEqual(tuned.keys() - base.keys(), {"report", "templates"})
    self.assertEqual({step for step, _ in tuned.values()}, {300})
    rte = tf.make_ndarray(tuned["eval/rte/accuracy"][1].tensor)
    self.assertAlmostEqual(float(rte), TUNED.get("rte").mean, places=3)

  def test_nothing_evaluated_is_reported_too(self):
    folder = self.create_tempdir().full_path
    path = writer.write(folder, _compare(EMPTY))
    with open(path, encoding="utf-8") as file:
      self.assertIn("not prepared", file.read())
    self.assertFalse(tf.io.gfile.exists(f"{folder}/templates.png"))

  def test_scalars_leave_out_what_is_undefined(self):
    values = tensorboard_summaries.scalars(
      fake_results.remove_values(TUNED, "stsb", range(9))
    )
    self.assertNotIn("eval/stsb/pearson", values)
    self.assertIn("eval/rte/accuracy_std", values)
    self.assertIn("clusters/nli", values)


def _events(folder):
  """Returns tag -> (step, value) from the event files in a folder."""
  events = {}
  for path in tf.io.gfile.glob(f"{folder}/*"):
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
      event = tf.compat.v1.Event.FromString(record)
      for value in event.summary.value:
        events[value.tag] = (event.step, value)
  return events


if __name__ == "__main__":
  absltest.main()
