"""Clean and dirty rows: scores, report, and launch.contamination."""

import json
import math
import pathlib

from absl.testing import absltest, parameterized

import tasks
from flan_tf.task import registry
from tests.helpers import tiny
from tests.helpers.fake_predictions import changed, scored

TINY = tiny.Tiny()
TASKS = registry.TaskRegistry(tasks.ALL)
RTE, SST2 = TASKS.get("rte"), TASKS.get("sst2")


def setUpModule():
  TINY.open()
  TINY.workdir = TINY.folder / "trained"
  TINY.train(TINY.run(train__steps=1), TINY.workdir)


tearDownModule = TINY.close


def plan(task):
  from flan_tf.data import opened_tasks

  ((item,), _) = opened_tasks.open_tasks([task], TINY.data_dir)
  return item


def test_rows(task):
  from flan_tf.data import requests

  item = plan(task)
  return requests.read_evaluation_rows(
    task, item.dataset, item.ranges.test
  ).rows


test_rows.__test__ = False  # type: ignore[attr-defined]


def line(row, template=0, right=True, part="test"):
  """Returns a prediction for a row of a classification."""
  wrong = (row.answer_index + 1) % len(row.options)
  choice = row.answer_index if right else wrong
  return scored(
    part=part,
    template=template,
    row=row.row_index,
    answer=row.options[choice],
    references=row.references,
    group=row.group,
    right=right,
    score=100.0 * right,
    options=row.options,
    answer_index=row.answer_index,
    choice=choice,
  )


def write_evaluation(folder, by_task, label="tuned", name="results.json"):
  """Writes results and prediction logs of one model into a folder."""
  from flan_tf.eval import prediction_log, results, task_result

  for task, lines in by_task.items():
    where = prediction_log.folder_of(str(folder), label)
    kept = prediction_log.PredictionLogWriter(
      where, task.name, {}, len(lines), 100
    )
    for number in range(len(kept)):
      chunk = kept.requests_of(number)
      kept.write(number, lines[chunk.start : chunk.stop])
    kept.finish()
  found = [
    task_result.TaskResult(
      task=task.name,
      dataset=task.dataset,
      cluster=task.cluster,
      kind=task.kind,
      metric=task.metrics[0],
      templates=(task_result.TemplateScore(0, 50.0),),
      examples=len(lines),
    )
    for task, lines in by_task.items()
  ]
  results.EvaluationResults(str(TINY.workdir), label, tuple(found)).write_json(
    str(pathlib.Path(folder, name))
  )


def read(folder, task, slots=()):
  from flan_tf.contamination import scored_rows

  return scored_rows.read_scored_task(str(folder), "tuned", plan(task), slots)


def an_overlap(**changes):
  from flan_tf.contamination import measure

  values = {
    "task": "rte",
    "metric": "accuracy",
    "size": 13,
    "rows": 100,
    "short": 0,
    "dirty": tuple(range(40)),
    "all_score": 50.0,
    "clean_score": 60.0,
    "dirty_score": 35.0,
  }
  return measure.TaskOverlap(**(values | changes))


class RowsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.rows = test_rows(RTE)

  def test_the_words_of_a_row_are_those_of_its_texts(self):
    write_evaluation(self.folder, {RTE: [line(row) for row in self.rows[3:9]]})
    found = read(self.folder, RTE)
    self.assertEqual(found.rows, tuple(row.row_index for row in self.rows[3:9]))
    from flan_tf.contamination.words import split_words

    row = self.rows[3]
    text = f"{row.slots['premise']} {row.slots['hypothesis']}"
    self.assertEqual(found.words[0], split_words(text))
    alone = read(self.folder, RTE, ["hypothesis"])
    words = split_words(row.slots["hypothesis"])
    self.assertEqual(alone.words[0], words)

  def test_a_text_in_another_text_counts_once(self):
    task = TASKS.get("squad_v1")  # `page` is the passage with a title above it
    rows = test_rows(task)[:2]
    lines = [line_of_text(row) for row in rows]
    write_evaluation(self.folder, {task: lines})
    from flan_tf.contamination.words import split_words

    slots = rows[0].slots
    words = split_words(f"{slots['page']} {slots['question']}")
    self.assertEqual(read(self.folder, task).words[0], words)

  def test_dev_rows_are_not_looked_at(self):
    lines = [line(self.rows[0]), line(self.rows[1], part="dev")]
    write_evaluation(self.folder, {RTE: lines})
    self.assertLen(read(self.folder, RTE).rows, 1)
    other = self.create_tempdir().full_path
    write_evaluation(other, {RTE: lines[1:]})
    self.assert_left_out("it has no predictions of test rows", other, RTE)

  def test_a_task_without_the_slots_is_left_out(self):
    write_evaluation(self.folder, {RTE: [line(self.rows[0])]})
    reason = "it has none of the slots question"
    self.assert_left_out(reason, self.folder, RTE, ["question"])

  def assert_left_out(self, reason, *args):
    from flan_tf.contamination import scored_rows

    with self.assertRaises(scored_rows.TaskLeftOutError) as caught:
      read(*args)
    self.assertEqual(str(caught.exception), reason)

  def test_no_predictions(self):
    with self.assertRaisesRegex(FileNotFoundError, "no predictions at"):
      read(self.folder, RTE)

  def test_predictions_of_other_rows_are_refused(self):
    right = line(self.rows[0])
    for changes in ({"references": ("perhaps",)}, {"row": 99_999}):
      folder = self.create_tempdir().full_path
      other = changed(right, **changes)
      write_evaluation(folder, {RTE: [other, line(self.rows[1])]})
      with self.assertRaisesRegex(ValueError, "of 2 predictions are not of"):
        read(folder, RTE)

  def test_the_score_is_the_mean_over_templates(self):
    rows = self.rows[:4]
    hits = {0: (1, 1, 0, 0), 2: (1, 0, 0, 0)}
    lines = [
      line(row, template, bool(hit))
      for template, some in hits.items()
      for row, hit in zip(rows, some, strict=True)
    ]
    write_evaluation(self.folder, {RTE: lines})
    found = read(self.folder, RTE)
    numbers = [row.row_index for row in rows]
    self.assertAlmostEqual(found.mean_score(frozenset(numbers)), 37.5)
    self.assertAlmostEqual(found.mean_score(frozenset(numbers[:2])), 75)
    self.assertAlmostEqual(found.mean_score(frozenset(numbers[1:3])), 25)
    self.assertIsNone(found.mean_score(frozenset()))


def line_of_text(row):
  """Returns a right prediction for a row of a generation."""
  return scored(
    row=row.row_index,
    answer=row.references[0],
    references=row.references,
    right=True,
    score=100.0,
  )


class SettingsTest(parameterized.TestCase):
  @parameterized.parameters("size", "most")
  def test_runs_that_may_fall_between_two_parts_are_refused(self, name):
    from flan_tf.contamination import measure

    measure.ContaminationConfig(**{name: 32})
    with self.assertRaisesRegex(ValueError, f"{name} is 33; expected 32 words"):
      measure.ContaminationConfig(**{name: 33})


class MeasureTest(parameterized.TestCase):
  def measure(self, documents, **settings):
    """Measures six rows of RTE: three right answers, three wrong ones."""
    from flan_tf.contamination import measure
    from flan_tf.data import corpus

    folder = self.create_tempdir().full_path
    rows = test_rows(RTE)[:6]
    lines = [line(row, 0, n < 3) for n, row in enumerate(rows)]
    write_evaluation(folder, {RTE: lines})
    found, chosen = (
      [read(folder, RTE)],
      measure.ContaminationConfig(**settings),
    )
    index = measure.build_index(found, chosen)
    index.read(corpus.Document(f"d{n}", t) for n, t in documents(rows))
    (verdict,) = measure.measure_overlap(found, index, chosen)
    return verdict, list(measure.sample_matches(found, index, chosen))

  def test_clean_and_dirty_rows_have_scores_of_their_own(self):
    verdict, examples = self.measure(
      lambda rows: (
        (n, "Before. " + row.slots["premise"].upper() + " After.")
        for n, row in enumerate(rows[:3])
      )
    )
    rows = test_rows(RTE)[:6]
    self.assertEqual(verdict.dirty, tuple(row.row_index for row in rows[:3]))
    self.assertEqual((verdict.rows, verdict.clean), (6, 3))
    self.assertAlmostEqual(verdict.all_score, 50)
    self.assertAlmostEqual(verdict.clean_score, 0)
    self.assertAlmostEqual(verdict.dirty_score, 100)
    self.assertAlmostEqual(verdict.relative, -100)
    self.assertEqual(verdict.note, "only 3 clean and 3 dirty rows")
    self.assertEqual({e["row"] for e in examples}, set(verdict.dirty))
    self.assertLessEqual(len(examples), 9)
    self.assertEqual(examples[0]["where"], "d0")
    self.assertLen(examples[0]["ngram"].split(), verdict.size)

  def test_all_rows_clean(self):
    verdict, examples = self.measure(lambda rows: [(0, "Nothing of it.")])
    self.assertEqual(verdict.dirty, ())
    self.assertIsNone(verdict.dirty_score)
    self.assertAlmostEqual(verdict.relative, 0)
    self.assertEmpty(examples)

  def test_frequent_ngrams_and_a_size_of_ones_own(self):
    def often(rows):
      return ((n, rows[0].slots["hypothesis"]) for n in range(3))

    settings = {"size": 3, "slots": ("hypothesis",)}
    verdict, _ = self.measure(often, **settings)
    self.assertEqual((verdict.size, len(verdict.dirty)), (3, 1))
    verdict, _ = self.measure(often, frequent=2, **settings)
    self.assertEmpty(verdict.dirty)
    verdict, _ = self.measure(often, frequent=0, **settings)
    self.assertLen(verdict.dirty, 1)
    verdict, _ = self.measure(often, shortest=99, **settings)
    self.assertEmpty(verdict.dirty)

  def test_an_empty_corpus_is_refused(self):
    with self.assertRaisesRegex(
      ValueError, "corpus is empty: its 1 documents have no"
    ):
      self.measure(lambda rows: [(0, "...")])

  # Brown et al. (2020), Table C.1: all, clean, and the printed difference.
  @parameterized.parameters(
    (69.8, 68.4, -2),
    (86.0, 87.1, 1),
    (89.5, 88.2, -1),
    (82.3, 79.3, -4),
    (43.0, 40.8, -5),
    (80.4, 78.8, -2),
    (65.4, 65.9, 1),
    (77.7, 77.7, 0),
  )
  def test_the_difference_is_that_of_gpt_3(self, whole, clean, printed):
    found = an_overlap(all_score=whole, clean_score=clean)
    self.assertEqual(round(found.relative), printed)

  def test_what_cannot_be_compared_is_not(self):
    self.assertIsNone(an_overlap(all_score=0.0).relative)
    self.assertIsNone(an_overlap(clean_score=None).relative)
    self.assertIsNone(an_overlap(clean_score=math.nan).relative)

  def test_few_rows_are_said_to_be_few(self):
    self.assertEqual(an_overlap().note, "")
    self.assertEqual(an_overlap(dirty=()).note, "")
    self.assertEqual(an_overlap(dirty=(1, 2)).note, "only 2 dirty rows")
    few = an_overlap(dirty=tuple(range(80)))
    self.assertEqual(few.note, "only 20 clean rows")


class ReportTest(absltest.TestCase):
  def test_the_files(self):
    from flan_tf.contamination import report

    folder = pathlib.Path(self.create_tempdir().full_path, "new")
    found = [
      an_overlap(),
      an_overlap(
        task="cb", rows=20, dirty=tuple(range(19)), clean_score=None, short=2
      ),
    ]
    about = {"corpus": "books/*.txt", "words": 12}
    example = {"task": "cb", "row": 3, "ngram": "caf\u00e9 noir", "where": "a"}
    where = report.write(
      str(folder), found, {"qnli": "it is gone"}, about, [example]
    )
    self.assertEqual(where, str(folder / "contamination.md"))
    value = json.loads((folder / "contamination.json").read_text())
    self.assertContainsSubset(about, value)
    self.assertEqual(value["left_out"], {"qnli": "it is gone"})
    self.assertEqual(value["tasks"][0], found[0].to_json())
    self.assertIsNone(value["tasks"][1]["clean"])
    lines = (folder / "contamination.jsonl").read_text().splitlines()
    self.assertEqual([json.loads(text) for text in lines], [example])
    page = pathlib.Path(where).read_text()
    self.assertIn("books/\\*.txt", page)
    self.assertIn("fewer than 30 clean or dirty rows", page)
    self.assertIn("searched for as a whole: cb 2", page)
    self.assertIn("Left out: qnli: it is gone", page)
    rows = [text for text in page.splitlines() if text.startswith("| ")]
    self.assertLess(rows[2].find("cb\u2020"), 4)  # the dirtiest first
    self.assertIn("+20.0", rows[3])

  def test_no_collision_leaves_an_empty_file(self):
    from flan_tf.contamination import report

    folder = self.create_tempdir().full_path
    report.write(folder, [an_overlap(dirty=())], {}, {}, [])
    self.assertEmpty(pathlib.Path(folder, "contamination.jsonl").read_text())


class BinaryTest(absltest.TestCase):
  def start(self, folder, *more):
    command = ["-m", "launch.contamination", f"--evaluation={folder}", *more]
    cache = str(TINY.folder / "cache")
    return tiny.start(*command, FLAN_CACHE=cache)

  def test_tasks_files_and_refusals(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    rows = {task: test_rows(task) for task in (RTE, SST2)}
    by_task = {task: [line(row) for row in some] for task, some in rows.items()}
    write_evaluation(folder, by_task)
    text = rows[RTE][0].slots["premise"]
    (folder / "c.jsonl").write_text(json.dumps({"body": f"So: {text}"}) + "\n")
    of_files = f"--corpus={folder}/c.jsonl"
    runs = [
      self.start(folder),
      self.start(folder, of_files, "--field=body", f"--output={folder}/files"),
      self.start(folder, "--label=base", f"--output={folder}/never"),
    ]
    ended = [run.communicate() for run in runs]
    self.assertEqual([run.returncode for run in runs], [0, 0, 1], ended)
    self.assertIn("rte", ended[0][0])
    self.assertIn("training rows of 2 tasks that the weights saw", ended[0][0])
    self.assertIn("Unknown label 'base'", ended[2][1])
    self.assertFalse((folder / "never").exists())
    value = json.loads((folder / "contamination.json").read_text())
    self.assertEqual(value["documents"], sum(map(train_rows, (RTE, SST2))))
    value = json.loads((folder / "files/contamination.json").read_text())
    rte, sst2 = value["tasks"]
    self.assertIn(rows[RTE][0].row_index, rte["dirty_row_numbers"])
    self.assertEqual(sst2["dirty_rows"], 0)
    self.assertEqual((rte["all"], rte["clean"], rte["dirty"]), (100,) * 3)


def train_rows(task) -> int:
  return len(plan(task).ranges.train)


if __name__ == "__main__":
  absltest.main()
