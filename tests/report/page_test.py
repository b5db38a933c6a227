"""The page holds what the results hold, alone and safe, and finds its way."""

import collections
import dataclasses
import html.parser
import re

from absl.testing import absltest, parameterized

import tasks
from flan_tf.eval import paired, prediction_log, results
from flan_tf.report import comparison, dot_positions, examples, page
from tests.helpers import made_up

BASE, TUNED = made_up.evaluation("base", 1), made_up.evaluation("tuned", 2)
PAIR = (BASE, TUNED)
NOTHING = made_up.evaluation("tuned", 3, tasks=())
# Elements that have no end.
_VOID = {"meta", "br", "wbr"}


class _Reader(html.parser.HTMLParser):
  """Checks that what begins ends, and keeps what a browser would look at."""

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
    found = dict(attrs)
    self.ids += [found["id"]] if "id" in found else []
    self.links += [found[x] for x in ("href", "src") if x in found]
    if tag == "tr":
      self.rows.append([])
    if tag in ("td", "th"):
      self.rows[-1].append("")
    if tag == "small" and {"td", "th"}.intersection(self._open):
      self.rows[-1][-1] += " "  # It is a line of its own.
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
    """The cells of the first row whose first cell begins so."""
    return next(row for row in self.rows if row and row[0].startswith(start))


class WholePageTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("one", (TUNED,)),
    ("two", PAIR),
    ("four", PAIR * 2),
    ("one_cluster", (dataclasses.replace(TUNED, tasks=TUNED.tasks[:5]),)),
    ("nan", (made_up.undefined(BASE, "stsb", range(9)), TUNED)),
    ("some_nan", (BASE, made_up.undefined(TUNED, "stsb", (0, 3)))),
    ("nothing", (NOTHING,)),
    ("nothing_and_something", (NOTHING, TUNED)),
  )
  def test_is_well_formed_and_needs_nothing_else(self, evaluations):
    text = page.html(evaluations)
    found = _Reader(text)
    self.assertStartsWith(text, "<!doctype html>")
    self.assertNotIn("script", found.tags)
    self.assertNotIn("link", found.tags)
    self.assertNotIn("url(", text)
    self.assertLen(found.ids, len(set(found.ids)))
    for link in found.links:  # Nothing but places on the page.
      self.assertIn(link.removeprefix("#"), found.ids)
      self.assertStartsWith(link, "#")
    self.assertNotRegex(found.text, r"\bnan\b|\bNone\b")
    self.assertIn("snli", found.text)  # Not read.

  def test_all_rows_of_a_table_are_equally_wide(self):
    for body in re.findall("(?s)<table.*?</table>", page.html(PAIR)):
      widths = collections.Counter()
      for row in re.findall("(?s)<tr.*?</tr>", body):
        cells = re.findall("<t[dh]([^>]*)>", row)
        spans = [re.search(r'colspan="(\d+)"', cell) for cell in cells]
        widths[sum(int(span[1]) if span else 1 for span in spans)] += 1
      self.assertLen(widths, 1, body)

  def test_no_result_sets_or_five(self):
    for evaluations in ((), PAIR * 2 + (BASE,)):
      with self.assertRaisesRegex(ValueError, "one to 4 result sets"):
        page.html(evaluations)

  def test_what_is_shown_is_text(self):
    bad = '<script>alert("1")</script> & <b>'
    found = made_up.with_task(TUNED, "rte", test_rows_from=bad)
    found = dataclasses.replace(
      found, label=bad, checkpoint=bad, settings={bad: bad}
    )
    text = page.html((BASE, found), templates={"rte": [bad] * 9})
    self.assertNotIn("<script", text)
    self.assertNotIn("<b> ", text)
    self.assertIn(bad, _Reader(text).text)

  def test_seventy_tasks_make_a_small_page(self):
    every = [(t.name, t.cluster, t.metrics[0], 50.0) for t in tasks.ALL]
    pair = [made_up.evaluation(label, 0, every) for label in ("base", "tuned")]
    templates = {t.name: [w.inputs for w in t.templates] for t in tasks.ALL}
    text = page.html(pair, templates=templates)
    self.assertLess(len(text.encode()), 1_200_000)
    for task in tasks.ALL:
      self.assertIn(f'<details class="task" id="task-{task.name}">', text)


class TableTest(absltest.TestCase):
  def test_a_task_in_full(self):
    found = made_up.with_task(
      TUNED,
      "rte",
      templates=(
        results.TemplateScore(0, test=60.0, dev=1.0),
        results.TemplateScore(2, test=70.0, dev=2.0),
      ),
      interval=(61.0, 69.0),
    )
    base = made_up.with_task(
      BASE, "rte", templates=(results.TemplateScore(0, test=50.0),)
    )
    sure = paired.Difference("rte", "accuracy", 15.0, (5.0, 25.0), 270, 9, 8, 7)
    text = page.html((base, found), differences={"rte": sure})
    self.assertEqual(
      _Reader(text).row("rte"),
      [
        "rte accuracy, 277 rows",
        "50.0",
        "65.0 61.0 to 69.0 std 5.0",
        "▲ +15.0 +5.0 to +25.0 beyond chance, on 270 rows of both",
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
    found = dataclasses.replace(TUNED, tasks=(*TUNED.tasks, third))
    read = _Reader(page.html((found,)))
    mean = f"{found.clusters['nli']:.1f}"
    self.assertEqual(read.row("mean of all 6 tasks")[1], mean)
    ours = [found.get(n).mean for n in (*names[:2], "anli_r3", "rte")]
    ours = (sum(ours) + 50.0) / 5  # Of CB the accuracy, as in the paper.
    row = read.row("ANLI R1 to R3, CB, RTE (Figure 1)")
    self.assertEqual(row[1], f"{ours:.1f}")
    self.assertEqual(row[-4:], ["42.9", "53.2", "56.2", "–"])
    row = read.row("all ten of NLI (Figure 9)")
    self.assertIn("ours lacks mnli_matched, qnli, snli, wnli", row[0])
    self.assertEqual(row[1], "–")

  def test_clusters_without_a_sure_figure_have_no_empty_columns(self):
    text = page.html(PAIR)
    clusters = re.findall('(?s)<section id="(\\w+)">(.*?)</section>', text)
    found = {name: _Reader(body).text for name, body in clusters}
    self.assertIn("GPT-3 175B", found["nli"])
    self.assertNotIn("GPT-3 175B", found["coreference"])
    self.assertIn("FLAN 137B", found["coreference"])
    self.assertNotIn("FLAN 137B", found["sentiment"])
    self.assertIn("No published figure of these tasks", found["sentiment"])

  def test_templates_with_text_and_the_best_and_the_worst(self):
    scores = [(0, 40.0, 9.0), (1, 60.0, 1.0), (3, 20.0, 2.0)]
    found = made_up.with_task(
      TUNED,
      "rte",
      templates=tuple(results.TemplateScore(*score) for score in scores),
    )
    found = dataclasses.replace(found, tasks=(found.get("rte"),))
    texts = {"rte": ["zero {premise}", "one", "two", "three\n\n{options_}"]}
    rows = _Reader(page.html((found,), templates=texts)).rows
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
    scores = tuple(results.TemplateScore(i, test=50.0) for i in range(3))
    found = dataclasses.replace(TUNED, tasks=TUNED.tasks[:1])
    found = made_up.with_task(found, "anli_r1", templates=scores)
    self.assertNotIn("<mark", page.html((found,)))

  def test_texts_of_templates_that_were_not_asked_are_not_shown(self):
    texts = {"rte": [f"words {i}" for i in range(10)]}
    self.assertIn("words 3", page.html((TUNED,), templates=texts))
    found = dataclasses.replace(TUNED, settings={"wording": "baseline"})
    self.assertNotIn("words 3", page.html((found,), templates=texts))

  def test_how_it_was_computed(self):
    found = dataclasses.replace(
      TUNED,
      settings={"wording": "instructions", "markers": ""},
      run={"packages": {"tensorflow": "2.21.0"}, "cores": 2},
      time={"seconds": 1.5},
    )
    rows = _Reader(page.html((found,))).rows
    for expected in (
      ["wording", "instructions"],
      ["markers", "–"],
      ["packages: tensorflow", "2.21.0"],
      ["cores", "2"],
      ["seconds", "1.5"],
    ):
      self.assertIn(expected, rows)

  def test_unlike_comparisons_are_named(self):
    other = dataclasses.replace(TUNED, settings={"max_rows": 10}, seed=5)
    text = _Reader(page.html((BASE, other))).text
    self.assertIn("Not like with like", text)
    self.assertIn("seed differs: base 0, tuned 5", text)


class ExamplesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.folders = [f"{self.folder}/{e.label}" for e in PAIR]

  def _keep(self, base, tuned, task="rte", header=()):
    for folder, lines in zip(self.folders, (base, tuned), strict=True):
      made_up.keep(folder, task, lines, dict(header))

  def test_won_and_lost(self):
    """Four rows in two wordings; in the second one, tuned loses a row."""
    base = [made_up.line(t, r, r == 3) for t in (0, 1) for r in range(4)]
    tuned = [made_up.line(0, r, True) for r in range(4)]
    tuned += [made_up.line(1, r, False) for r in range(4)]
    tuned.append(made_up.line(0, 9, True, part=prediction_log.DEV))
    self._keep(base, tuned)
    found = examples.read(PAIR, self.folders, "rte")
    won, lost = found.kinds
    self.assertEqual(
      (found.asked, won.name, won.count, lost.count), (8, "won", 3, 1)
    )
    self.assertCountEqual([x.row for x in won.drawn], [0, 1, 2])
    self.assertEqual([(x.template, x.row) for x in lost.drawn], [(1, 3)])
    before, after = lost.drawn[0].answers
    self.assertEqual(
      (before.label, before.right, after.label, after.right),
      ("base", True, "tuned", False),
    )
    # Log-probabilities -2 and -1, if right; so 1 / (1 + e) and the rest.
    self.assertEqual(
      [round(x.share, 3) for x in before.options], [0.269, 0.731]
    )
    self.assertEqual([x.right for x in before.options], [False, True])
    self.assertEqual([x.chosen for x in after.options], [True, False])
    text = _Reader(page.html(PAIR, self.folders)).text
    self.assertIn("Won: 3 of 8 tuned is right, base is wrong; 3 drawn", text)
    self.assertIn("question 3, asked as 1", text)
    self.assertIn("base: right ✓", text)

  def test_the_draw_takes_different_rows_and_keeps_to_its_seed(self):
    base = [made_up.line(t, r, False) for t in range(9) for r in range(3)]
    tuned = [made_up.line(t, r, True) for t in range(9) for r in range(3)]
    self._keep(base, tuned)
    for seed in range(5):
      one, other = (
        examples.read(PAIR, self.folders, "rte", seed=seed) for _ in range(2)
      )
      self.assertEqual(one, other)
      drawn = one.kinds[0].drawn
      self.assertCountEqual([example.row for example in drawn], range(3))
    more = examples.read(PAIR, self.folders, "rte", most=5).kinds[0].drawn
    self.assertLen({(x.template, x.row) for x in more}, 5)

  def test_one_model_is_right_and_wrong(self):
    lines = [made_up.line(0, r, r < 3) for r in range(5)]
    self._keep(lines, lines)
    found = examples.read((TUNED,), self.folders[1:], "rte")
    self.assertEqual(
      [(k.name, k.count) for k in found.kinds], [("right", 3), ("wrong", 2)]
    )

  @parameterized.parameters((PAIR, "won", "lost"), (PAIR[1:], "above", "below"))
  def test_texts_without_right_and_wrong_have_scores(self, chosen, *names):
    lines = [
      [
        made_up.line(
          0, r, None, choice=None, score=10.0 * r * sign, answer=f"text {r}"
        )
        for r in range(4)
      ]
      for sign in (0, 1)
    ]
    score = {"line_score": "sentence rouge1"}
    self._keep(*lines, task="gigaword", header=score)
    folders = self.folders[-len(chosen) :]
    found = examples.read(chosen, folders, "gigaword")
    self.assertEqual([kind.name for kind in found.kinds], list(names))
    self.assertEqual(
      [kind.count for kind in found.kinds], [3, 0] if chosen is PAIR else [2, 2]
    )
    for kind in found.kinds:
      self.assertEndsWith(kind.about, " (sentence rouge1)")
    text = _Reader(page.html(chosen, folders)).text
    self.assertIn("tuned: 30.0", text)
    self.assertIn("expected yes", text)

  def test_why_there_are_none(self):
    kept = examples.read(PAIR, (), "rte")
    self.assertEqual(kept.missing, "Predictions were not kept.")
    self._keep([made_up.line(0, 0, True)], [made_up.line(0, 0, True)], "cb")
    for folders in (self.folders, ("", self.folders[1])):
      kept = examples.read(PAIR, folders, "rte")
      self.assertEqual(kept.missing, "No predictions of base were kept.")
    self.assertIn(
      "No answers to show: No predictions of base were kept.",
      _Reader(page.html(PAIR, self.folders)).text,
    )

  def test_another_number_of_folders(self):
    with self.assertRaisesRegex(ValueError, "or none; got 1 for 2"):
      examples.read(PAIR, self.folders[:1], "rte")

  def test_long_texts_lose_their_middle(self):
    options = tuple(f"option {i} " + "x" * 5_000 for i in range(40))
    changes = {
      "prompt": "begin " + "y" * 200_000 + " end",
      "options": options,
      "values": tuple(-float(i) for i in range(40)),
    }
    base, tuned = (
      [made_up.line(0, r, right, **changes) for r in range(20)]
      for right in (False, True)
    )
    self._keep(base, tuned)
    text = page.html(PAIR, self.folders)
    less = page.html(PAIR)
    self.assertLess(len(text) - len(less), 80_000)
    read = _Reader(text).text
    self.assertRegex(read, r"row \d+, template 0, 200,010 characters begin y")
    self.assertIn("[... 198,010 characters ...]", read)
    self.assertIn("y end", read)
    self.assertIn("and 28 more", read)


class SpreadTest(parameterized.TestCase):
  def test_places_are_per_cent_of_the_width(self):
    scale = dot_positions.Scale(20.0, 60.0)
    self.assertEqual(
      [scale.at(x) for x in (20, 30, 60)],
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
  def test_the_scale_holds_all_values(self, values, low, high):
    scale = dot_positions.around(values)
    self.assertEqual((scale.low, scale.high), (low, high))
    self.assertBetween(len(scale.ticks), 2, 9)

  def test_every_template_has_a_dot(self):
    found = dataclasses.replace(TUNED, tasks=TUNED.tasks[:2])
    found = made_up.undefined(found, "anli_r1", (4,))
    text = page.html((found,))
    self.assertEqual(text.count("<circle"), 9 + 8)
    self.assertEqual(text.count('class="mean" x1'), 2)
    # Equal results have rows of their own, each in its colour.
    heights = re.findall('cy="([0-9.]+)"', page.html((found, found, found)))
    self.assertEqual(set(heights), {"10.5", "25.5", "40.5"})
    rows = comparison.rows((found,))
    scale = dot_positions.scale_of(rows)
    for score in found.tasks[1].templates:
      self.assertIn(f'<circle cx="{scale.at(score.test)}"', text)


if __name__ == "__main__":
  absltest.main()
