"""The page shows the results, is valid and safe, and needs no other file."""

import collections
import dataclasses
import html.parser
import re

from absl.testing import absltest, parameterized

import tasks
from flan_tf.eval import paired, prediction_log, task_result
from flan_tf.report import answer_samples, dot_positions, page
from flan_tf.report.comparison import Comparison
from tests.helpers import fake_results
from tests.helpers.fake_results import fake_choice, fake_text

BASE = fake_results.fake_evaluation("base", 1)
TUNED = fake_results.fake_evaluation("tuned", 2)
PAIR = (BASE, TUNED)
EMPTY = fake_results.fake_evaluation("tuned", 3, tasks=())
# Elements without an end tag.
_VOID = {"meta", "br", "wbr"}


def _html(evaluations, templates=None):
  compared = Comparison.load(evaluations, template_inputs=templates)
  return page.html(compared)


class _Reader(html.parser.HTMLParser):
  """Checks that every element is closed, and keeps links, ids and texts."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.ids, self.links, self.texts = [], [], [], []
    self.rows = []
    self._open = []
    self.feed(text)
    self.close()
    assert not self._open, f"Never closed: {self._open}"

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    attributes = dict(attrs)
    self.ids += [attributes["id"]] if "id" in attributes else []
    self.links += [attributes[x] for x in ("href", "src") if x in attributes]
    if tag == "tr":
      self.rows.append([])
    if tag in ("td", "th"):
      self.rows[-1].append("")
    if tag == "small" and {"td", "th"}.intersection(self._open):
      self.rows[-1][-1] += " "  # <small> is displayed as a line of its own.
    if tag not in _VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)

  def handle_endtag(self, tag):
    last = self._open.pop()
    assert last == tag, f"</{tag}> ends <{last}> in {self.getpos()}"

  def handle_data(self, data):
    self.texts.append(data)
    if {"td", "th"}.intersection(self._open):
      self.rows[-1][-1] += data

  @property
  def text(self):
    return " ".join("".join(self.texts).split())

  def row(self, start):
    """Returns the first table row whose first cell begins with `start`."""
    return next(row for row in self.rows if row and row[0].startswith(start))


class WholePageTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("one", (TUNED,)),
    ("two", PAIR),
    ("four", PAIR * 2),
    ("one_cluster", (dataclasses.replace(TUNED, tasks=TUNED.tasks[:5]),)),
    ("nan", (fake_results.remove_values(BASE, "stsb", range(9)), TUNED)),
    ("some_nan", (BASE, fake_results.remove_values(TUNED, "stsb", (0, 3)))),
    ("nothing", (EMPTY,)),
    ("nothing_and_something", (EMPTY, TUNED)),
  )
  def test_is_valid_and_needs_no_other_file(self, evaluations):
    text = _html(evaluations)
    read = _Reader(text)
    self.assertStartsWith(text, "<!doctype html>")
    self.assertNotIn("script", read.tags)
    self.assertNotIn("link", read.tags)
    self.assertNotIn("url(", text)
    self.assertLen(read.ids, len(set(read.ids)))
    for link in read.links:  # Every link leads to a part of the page.
      self.assertIn(link.removeprefix("#"), read.ids)
      self.assertStartsWith(link, "#")
    self.assertNotRegex(read.text, r"\bnan\b|\bNone\b")
    self.assertIn("snli", read.text)  # It was not evaluated.

  def test_all_rows_of_a_table_are_equally_wide(self):
    for body in re.findall("(?s)<table.*?</table>", _html(PAIR)):
      widths = collections.Counter()
      for row in re.findall("(?s)<tr.*?</tr>", body):
        cells = re.findall("<t[dh]([^>]*)>", row)
        spans = [re.search(r'colspan="(\d+)"', cell) for cell in cells]
        widths[sum(int(span[1]) if span else 1 for span in spans)] += 1
      self.assertLen(widths, 1, body)

  def test_no_evaluations_or_five_are_refused(self):
    for evaluations in ((), PAIR * 2 + (BASE,)):
      with self.assertRaisesRegex(ValueError, "one to 4 evaluations"):
        _html(evaluations)

  def test_texts_are_escaped(self):
    bad = '<script>alert("1")</script> & <b>'
    tuned = fake_results.change_task(TUNED, "rte", test_rows_from=bad)
    tuned = dataclasses.replace(
      tuned, label=bad, checkpoint=bad, settings={bad: bad}
    )
    text = _html((BASE, tuned), templates={"rte": [bad] * 9})
    self.assertNotIn("<script", text)
    self.assertNotIn("<b> ", text)
    self.assertIn(bad, _Reader(text).text)

  def test_seventy_tasks_make_a_small_page(self):
    every = [(t.name, t.cluster, t.metrics[0], 50.0) for t in tasks.ALL]
    pair = [
      fake_results.fake_evaluation(label, 0, every)
      for label in ("base", "tuned")
    ]
    templates = {t.name: [w.inputs for w in t.templates] for t in tasks.ALL}
    text = _html(pair, templates)
    self.assertLess(len(text.encode()), 1_200_000)
    for task in tasks.ALL:
      self.assertIn(f'<details class="task" id="task-{task.name}">', text)


class TableTest(absltest.TestCase):
  def test_a_task_in_full(self):
    tuned = fake_results.change_task(
      TUNED,
      "rte",
      templates=(
        task_result.TemplateScore(0, test=60.0, dev=1.0),
        task_result.TemplateScore(2, test=70.0, dev=2.0),
      ),
      interval=(61.0, 69.0),
    )
    base = fake_results.change_task(
      BASE, "rte", templates=(task_result.TemplateScore(0, test=50.0),)
    )
    difference = paired.Difference(
      "rte", "accuracy", 15.0, (5.0, 25.0), 270, 9, 8, 7
    )
    compared = dataclasses.replace(
      Comparison.load((base, tuned)), differences={"rte": difference}
    )
    text = page.html(compared)
    self.assertEqual(
      _Reader(text).row("rte"),
      [
        "rte accuracy, 277 rows",
        "50.0",
        "65.0 61.0 to 69.0 std 5.0",
        "▲ +15.0 +5.0 to +25.0 significant, 270 shared rows",
        "–",
        "70.0",
        "52.7 ± 5.9",
        "63.5",
        "72.9",
        "78.3",
        "79.9 best dev 84.5",
      ],
    )

  def test_means_of_all_tasks_and_of_the_paper_s_stand_apart(self):
    names = ("anli_r1", "anli_r2", "cb", "mnli_mismatched", "rte")
    third = dataclasses.replace(TUNED.get("rte"), task="anli_r3")
    tuned = dataclasses.replace(TUNED, tasks=(*TUNED.tasks, third))
    read = _Reader(_html((tuned,)))
    mean = f"{tuned.clusters['nli']:.1f}"
    self.assertEqual(read.row("mean of all 6 tasks")[1], mean)
    own_mean = [tuned.get(n).mean for n in (*names[:2], "anli_r3", "rte")]
    own_mean = (sum(own_mean) + 50.0) / 5  # CB counts with its accuracy.
    row = read.row("ANLI R1 to R3, CB, RTE (Figure 1)")
    self.assertEqual(row[1], f"{own_mean:.1f}")
    self.assertEqual(row[-4:], ["42.9", "53.2", "56.2", "–"])
    row = read.row("all ten NLI tasks (Figure 9)")
    self.assertIn("missing: mnli_matched, qnli, snli, wnli", row[0])
    self.assertEqual(row[1], "–")

  def test_clusters_without_a_published_score_have_no_empty_columns(self):
    text = _html(PAIR)
    clusters = re.findall('(?s)<section id="(\\w+)">(.*?)</section>', text)
    texts = {name: _Reader(body).text for name, body in clusters}
    self.assertIn("GPT-3 175B", texts["nli"])
    self.assertNotIn("GPT-3 175B", texts["coreference"])
    self.assertIn("FLAN 137B", texts["coreference"])
    self.assertNotIn("FLAN 137B", texts["sentiment"])
    self.assertIn("no verified published figure", texts["sentiment"])

  def test_templates_with_text_and_the_best_and_the_worst(self):
    scores = [(0, 40.0, 9.0), (1, 60.0, 1.0), (3, 20.0, 2.0)]
    tuned = fake_results.change_task(
      TUNED,
      "rte",
      templates=tuple(task_result.TemplateScore(*score) for score in scores),
    )
    tuned = dataclasses.replace(tuned, tasks=(tuned.get("rte"),))
    texts = {"rte": ["zero {premise}", "one", "two", "three\n\n{options_}"]}
    rows = _Reader(_html((tuned,), templates=texts)).rows
    rows = [row for row in rows if row and row[0] in ("0", "1", "2", "3")]
    self.assertEqual(
      [[" ".join(cell.split()) for cell in row] for row in rows],
      [
        ["0", "40.0", "best dev zero {premise}"],
        ["1", "60.0", "best one"],
        ["3", "20.0", "worst three {options_}"],
      ],
    )

  def test_equal_templates_are_neither_best_nor_worst(self):
    scores = tuple(task_result.TemplateScore(i, test=50.0) for i in range(3))
    tuned = dataclasses.replace(TUNED, tasks=TUNED.tasks[:1])
    tuned = fake_results.change_task(tuned, "anli_r1", templates=scores)
    self.assertNotIn("<mark", _html((tuned,)))

  def test_texts_of_templates_of_another_wording_are_not_shown(self):
    texts = {"rte": [f"words {i}" for i in range(10)]}
    self.assertIn("words 3", _html((TUNED,), templates=texts))
    baseline = dataclasses.replace(TUNED, settings={"wording": "baseline"})
    self.assertNotIn("words 3", _html((baseline,), templates=texts))

  def test_settings_software_and_time_are_shown(self):
    tuned = dataclasses.replace(
      TUNED,
      settings={"wording": "instructions", "markers": ""},
      run={"packages": {"tensorflow": "2.21.0"}, "cores": 2},
      time={"seconds": 1.5},
    )
    rows = _Reader(_html((tuned,))).rows
    for expected in (
      ["wording", "instructions"],
      ["markers", "–"],
      ["packages: tensorflow", "2.21.0"],
      ["cores", "2"],
      ["seconds", "1.5"],
    ):
      self.assertIn(expected, rows)

  def test_differences_of_the_setup_are_named(self):
    other = dataclasses.replace(TUNED, settings={"max_rows": 10}, seed=5)
    text = _Reader(_html((BASE, other))).text
    self.assertIn("Not directly comparable", text)
    self.assertIn("The seed differs: base 0, tuned 5.", text)


class AnswerSamplesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.folders = [f"{self.folder}/{e.label}" for e in PAIR]

  def _write_logs(self, base, tuned, task="rte", header=()):
    for folder, predictions in zip(self.folders, (base, tuned), strict=True):
      fake_results.write_log(folder, task, predictions, dict(header))

  def _samples(self, evaluations, folders, task="rte"):
    return Comparison.load(evaluations, folders).samples[task]

  def _draw(self, **options):
    """Draws from the logs of both models with other options."""
    logs = {
      e.label: prediction_log.read_log(folder, "rte")
      for e, folder in zip(PAIR, self.folders, strict=True)
    }
    return answer_samples.draw(logs, **options)

  def test_won_and_lost(self):
    """Four rows in two templates; in the second one, tuned loses a row."""
    base = [fake_choice(t, r, r == 3) for t in (0, 1) for r in range(4)]
    tuned = [fake_choice(0, r, True) for r in range(4)]
    tuned += [fake_choice(1, r, False) for r in range(4)]
    tuned.append(fake_choice(0, 9, True, part=prediction_log.DEV))
    self._write_logs(base, tuned)
    compared = Comparison.load(PAIR, self.folders)
    samples = compared.samples["rte"]
    won, lost = samples.groups
    self.assertEqual(
      (samples.answers, won.name, won.count, lost.count), (8, "won", 3, 1)
    )
    self.assertCountEqual([x.row for x in won.samples], [0, 1, 2])
    self.assertEqual([(x.template, x.row) for x in lost.samples], [(1, 3)])
    before, after = lost.samples[0].answers
    self.assertEqual(
      (before.label, before.right, after.label, after.right),
      ("base", True, "tuned", False),
    )
    # The log-probabilities are -2 and -1 for a right answer: the shares are
    # 1 / (1 + e) and e / (1 + e).
    self.assertEqual(
      [round(x.share, 3) for x in before.options], [0.269, 0.731]
    )
    self.assertEqual([x.right for x in before.options], [False, True])
    self.assertEqual([x.chosen for x in after.options], [True, False])
    text = _Reader(page.html(compared)).text
    self.assertIn(
      "Won: 3 of 8 answers tuned is right, base is wrong; 3 drawn", text
    )
    self.assertIn("question 3, asked as 1", text)
    self.assertIn("base: right ✓", text)

  def test_the_draw_takes_different_rows_and_depends_on_its_seed_only(self):
    base = [fake_choice(t, r, False) for t in range(9) for r in range(3)]
    tuned = [fake_choice(t, r, True) for t in range(9) for r in range(3)]
    self._write_logs(base, tuned)
    for seed in range(5):
      first, second = (self._draw(seed=seed) for _ in range(2))
      self.assertEqual(first, second)
      won = first.groups[0]
      self.assertCountEqual([sample.row for sample in won.samples], range(3))
    self.assertEqual(self._draw(), self._samples(PAIR, self.folders))
    more = self._draw(samples=5).groups[0].samples
    self.assertLen({(x.template, x.row) for x in more}, 5)

  def test_one_model_is_right_and_wrong(self):
    predictions = [fake_choice(0, r, r < 3) for r in range(5)]
    self._write_logs(predictions, predictions)
    samples = self._samples((TUNED,), self.folders[1:])
    self.assertEqual(
      [(group.name, group.count) for group in samples.groups],
      [("right", 3), ("wrong", 2)],
    )

  @parameterized.parameters((PAIR, "won", "lost"), (PAIR[1:], "above", "below"))
  def test_texts_without_right_and_wrong_have_scores(self, evaluations, *names):
    base, tuned = (
      [
        fake_text(0, row, 10.0 * row * factor, answer=f"text {row}")
        for row in range(4)
      ]
      for factor in (0, 1)
    )
    header = {"line_score": "sentence rouge1"}
    self._write_logs(base, tuned, task="gigaword", header=header)
    folders = self.folders[-len(evaluations) :]
    compared = Comparison.load(evaluations, folders)
    groups = compared.samples["gigaword"].groups
    self.assertEqual([group.name for group in groups], list(names))
    self.assertEqual(
      [group.count for group in groups],
      [3, 0] if evaluations is PAIR else [2, 2],
    )
    for group in groups:
      self.assertEndsWith(group.definition, " (sentence rouge1)")
    text = _Reader(page.html(compared)).text
    self.assertIn("tuned: 30.0", text)
    self.assertIn("expected yes", text)

  def test_the_reason_why_there_are_none(self):
    (task, *_) = Comparison.load(PAIR).tasks
    self.assertEqual(
      task.samples.unavailable, "The predictions were not saved."
    )
    predictions = [fake_choice(0, 0, True)]
    self._write_logs(predictions, predictions, "cb")
    for folders in (self.folders, ("", self.folders[1])):
      samples = self._samples(PAIR, folders)
      self.assertEqual(
        samples.unavailable, "The predictions of base were not saved."
      )
    self.assertIn(
      "No answers to show: The predictions of base were not saved.",
      _Reader(page.html(Comparison.load(PAIR, self.folders))).text,
    )
    baseline = dataclasses.replace(BASE, settings={"wording": "baseline"})
    self.assertEqual(
      self._samples((baseline, TUNED), self.folders, "cb").unavailable,
      "The two models were evaluated with different wordings.",
    )

  def test_another_number_of_folders(self):
    with self.assertRaisesRegex(ValueError, "or none; got 1 for 2"):
      Comparison.load(PAIR, self.folders[:1])

  def test_long_texts_are_cut_in_the_middle(self):
    changes = {
      "prompt": "begin " + "y" * 200_000 + " end",
      "options": tuple(f"option {i} " + "x" * 5_000 for i in range(40)),
      "values": tuple(-float(i) for i in range(40)),
    }
    base, tuned = (
      [fake_choice(0, row, right, **changes) for row in range(20)]
      for right in (False, True)
    )
    self._write_logs(base, tuned)
    text = page.html(Comparison.load(PAIR, self.folders))
    without_samples = _html(PAIR)
    self.assertLess(len(text) - len(without_samples), 80_000)
    read = _Reader(text).text
    self.assertRegex(
      read, r"row \d+, template 0, shortened from 200,010 characters begin y"
    )
    self.assertIn("[... 198,010 characters ...]", read)
    self.assertIn("y end", read)
    self.assertIn("and 28 more options", read)


class DotPositionsTest(parameterized.TestCase):
  def test_positions_are_percentages_of_the_width(self):
    scale = dot_positions.Scale(20.0, 60.0)
    self.assertEqual(
      [scale.position(x) for x in (20, 30, 60)],
      [
        "0.0%",
        "25.0%",
        "100.0%",
      ],
    )
    self.assertEqual(scale.ticks, [20, 25, 30, 35, 40, 45, 50, 55, 60])

  @parameterized.parameters(
    ((33.0, 47.0), 30, 50),
    ((0.0, 100.0), 0, 100),
    ((50.0,), 40, 60),
    ((-12.0, 60.0), -20, 70),
    ((-100.0, 99.5), -100, 100),
    ((float("nan"),), 0, 10),
    ((), 0, 10),
  )
  def test_the_scale_contains_all_scores(self, values, low, high):
    scale = dot_positions.round_scale(values)
    self.assertEqual((scale.low, scale.high), (low, high))
    self.assertBetween(len(scale.ticks), 2, 9)

  def test_every_template_has_a_dot(self):
    tuned = dataclasses.replace(TUNED, tasks=TUNED.tasks[:2])
    tuned = fake_results.remove_values(tuned, "anli_r1", (4,))
    text = _html((tuned,))
    self.assertEqual(text.count("<circle"), 9 + 8)
    self.assertEqual(text.count('class="mean" x1'), 2)
    # Each model has a line of its own, also if the results are equal.
    heights = re.findall('cy="([0-9.]+)"', _html((tuned, tuned, tuned)))
    self.assertEqual(set(heights), {"10.5", "25.5", "40.5"})
    scale = dot_positions.scale_of_tasks(Comparison.load([tuned]).tasks)
    for score in tuned.tasks[1].templates:
      self.assertIn(f'<circle cx="{scale.position(score.test)}"', text)


if __name__ == "__main__":
  absltest.main()
