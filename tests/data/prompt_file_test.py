"""A file of prompts and answers as a task: read, checked, and trained on."""

import dataclasses
import json
import pathlib

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import config, json_lines, name_lists
from flan_tf.data import file_tasks, prompt_file, row_ranges
from flan_tf.task import holdout, registry, schema
from tests.helpers import tiny

TINY = tiny.Tiny()


def setUpModule():
  global KNOWN
  TINY.open()
  import tasks

  KNOWN = registry.TaskRegistry(tasks.ALL)


tearDownModule = TINY.close


def lines(count: int, **more):
  """Yields lines whose prompt names the answer."""
  for i in range(count):
    answer = ("yes", "no", "it is")[i % 3]
    yield {"prompt": f"Question {i}: say {answer}.", "answer": answer, **more}


class FileTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def write(self, name: str, *values) -> str:
    """Writes values as JSON lines, and texts unchanged; returns the path."""
    path = self.folder / name
    path.parent.mkdir(exist_ok=True)
    texts = [v if isinstance(v, str) else json.dumps(v) for v in values]
    path.write_text("".join(text + "\n" for text in texts), "utf-8")
    return str(path)

  def open_task(self, path: str, held_out: str = "") -> schema.Task:
    names = holdout.expand(KNOWN, name_lists.split_names(held_out))
    (task,), _ = file_tasks.open_file_tasks([path], KNOWN, names)
    return task


class TaskTest(FileTestCase):
  @parameterized.parameters(
    ("runs/answers.jsonl", "answers"),
    ("Yes or No (2).jsonl", "yes_or_no_2"),
    ("gs://bucket/a.b", "a"),
  )
  def test_names(self, path, name):
    self.assertEqual(file_tasks.task_name(path), name)

  def test_file_names_that_cannot_be_task_names(self):
    with self.assertRaisesRegex(ValueError, "'-.jsonl' names no task"):
      file_tasks.task_name("-.jsonl")
    with self.assertRaisesRegex(
      ValueError, "would be the task 'rte', .*Rename the file"
    ):
      self.open_task(self.write("RTE.jsonl", *lines(1)))
    first = self.write("a/x.jsonl", *lines(1))
    second = self.write("b/x.jsonl", *lines(1))
    with self.assertRaisesRegex(
      ValueError, "a/x.jsonl and .*b/x.jsonl would both be the task 'x'. Ren"
    ):
      file_tasks.open_file_tasks([first, second], KNOWN)

  @parameterized.parameters((1, 0), (9, 0), (57, 5), (3_000, 200))
  def test_the_last_rows_are_held_back(self, count, dev):
    from flan_tf.data import opened_tasks

    task = self.open_task(self.write("a.jsonl", *lines(count)))
    ((item,), missing) = opened_tasks.open_tasks([task], "")
    self.assertEqual(missing, {})
    self.assertEqual(str(item.ranges.train), f"train[0:{count - dev}]")
    self.assertEqual(str(item.ranges.dev), f"train[{count - dev}:{count}]")
    self.assertEmpty(item.ranges.test)

  def test_each_file_is_a_task(self):
    first = self.write("a.jsonl", *lines(3))
    second = self.write("b.jsonl", *lines(4))
    tasks, names = file_tasks.open_file_tasks([first, second], KNOWN)
    self.assertEqual([task.name for task in tasks], ["a", "b"])
    self.assertEqual({task.cluster for task in tasks}, {"files"})
    again, same = file_tasks.open_file_tasks(names, KNOWN)
    self.assertEqual((again, same), (tasks, names))

  def test_a_changed_file_is_refused(self):
    from flan_tf.data import prepared_dataset

    path = self.write("a.jsonl", *lines(3))
    (task,), (name,) = file_tasks.open_file_tasks([path], KNOWN)
    self.assertRegex(name, r"a\.jsonl@[0-9a-f]{8}$")
    self.write("a.jsonl", *lines(4))
    with self.assertRaisesRegex(
      ValueError, "not .{8}: it has changed. Restore"
    ):
      file_tasks.open_file_tasks([name], KNOWN)
    with self.assertRaisesRegex(ValueError, "it has changed"):
      prepared_dataset.open_dataset(task.source, "")


class HeldOutTest(FileTestCase):
  @parameterized.parameters(
    ({"cluster": "nli"}, "nli"),
    ({"cluster": "paraphrase"}, "nli"),
    ({"task": "rte"}, "nli"),
    ({"task": "rte", "cluster": "sentiment"}, "nli"),
    ({"task": "rte"}, "rte"),
    ({"task": "anli_r2"}, "anli_r1"),
    ({"cluster": "NLI"}, "nli"),
    ({"cluster": " Reading Comprehension "}, "reading_comprehension"),
    ({"task": "RTE"}, "nli"),
    ({"task": " Rte"}, "rte"),
  )
  def test_lines_of_held_out_tasks_are_refused(self, origin, held_out):
    path = self.write("a.jsonl", *lines(2), *lines(3, **origin))
    with self.assertRaisesRegex(
      ValueError,
      r"a.jsonl, line 3 \(3 such lines\) was made from .*, which must not"
      " train with .* held out. Take such lines out",
    ):
      self.open_task(path, held_out)

  @parameterized.parameters(
    ({"cluster": "sentiment"}, "nli"),
    ({"task": "cb"}, "rte"),
    ({"task": "summarize", "cluster": "of my own"}, "nli"),
    ({"cluster": "nli"}, ""),
  )
  def test_lines_of_other_tasks_train(self, origin, held_out):
    self.open_task(self.write("a.jsonl", *lines(3, **origin)), held_out)

  def test_a_file_of_one_cluster_belongs_to_it(self):
    nli = list(lines(2, cluster="nli"))
    for others, cluster in (
      ([], "nli"),
      (lines(1), "files"),
      (lines(1, cluster="misc"), "files"),
      (lines(1, cluster="mine"), "files"),
    ):
      task = self.open_task(self.write("a.jsonl", *nli, *others))
      self.assertEqual(task.cluster, cluster)

  def test_a_checkpoint_remembers_what_the_lines_were_made_from(self):
    task = self.open_task(
      self.write(
        "mine.jsonl",
        *lines(1),
        *lines(1, task="rte"),
        *lines(1, cluster="misc"),
        *lines(1, task="cb", cluster="nli"),
        *lines(1, task="CB", cluster="NLI"),
        *lines(1, task="Mine"),
      )
    )
    self.assertEqual(
      dict(task.source.made_from),
      {"rte": "nli", "mine: misc": "misc", "cb": "nli", "Mine": ""},
    )

  def test_lines_of_unknown_origin_have_a_note(self):
    path = self.write("a.jsonl", *lines(2), *lines(1, cluster="nli"))
    where, unknown = prompt_file.read_prompt_file(path).notes
    self.assertRegex(where, r"from .*a\.jsonl, fingerprint [0-9a-f]{8}$")
    self.assertRegex(
      unknown, "^2 of 3 lines do not name the cluster .* held-out tasks may"
    )
    path = self.write("b.jsonl", *lines(3, cluster="nli"))
    self.assertLen(prompt_file.read_prompt_file(path).notes, 1)


class TableTest(FileTestCase):
  """Compares the ids of a file with those of a data set with equal rows."""

  def table(self, task: schema.Task, stop: int, data_dir: str = "", **lengths):
    from flan_tf.data import example_table, prepared_dataset
    from flan_tf.data.prompt_format import PromptFormat

    return example_table.build_table(
      task,
      prepared_dataset.open_dataset(task.source, data_dir),
      row_ranges.RowRange("train", 0, stop),
      PromptFormat(self.vocabulary, **lengths),
      seed=3,
    )

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    from flan_tf.vocab.load import load_vocabulary

    cls.vocabulary = load_vocabulary(TINY.vocabulary)

  def texts(self, task: schema.Task, stop: int) -> list[tuple[str, str]]:
    table, _ = self.table(task, stop)
    found = []
    for i in range(len(table)):
      ids, split = table.example(i), table.prompt_lengths[i]
      self.assertEqual([ids[split - 1], ids[-1]], [self.vocabulary.eos_id] * 2)
      parts = ids[: split - 1], ids[split:-1]
      found.append(tuple(map(self.vocabulary.decode, parts)))
    return found

  def test_texts_are_not_changed(self):
    pairs = [
      (" {prompt}\n\n\t", " yes"),
      ("é 漢 \x00", "no\n"),
      ("{", "{answer}"),
      ("\\n", '"'),
    ]
    path = self.write(
      "a.jsonl", *({"prompt": p, "answer": a} for p, a in pairs)
    )
    self.assertEqual(self.texts(self.open_task(path), 4), pairs)

  def test_markers_are_added_once(self):
    from flan_tf.task import wordings

    path = self.write("a.jsonl", *lines(2))
    task = self.open_task(path)
    around = wordings.markers("Q: |\nA:||")
    for wording in ("instructions", "options_hidden", "no_template"):
      worded = wordings.reword(task, wording, around=around)
      self.assertEqual(
        self.texts(worded, 1), [("Q: Question 0: say yes.\nA:", "yes")]
      )

  def test_rows_of_a_data_set_as_a_file_give_the_same_examples(self):
    from flan_tf.data import prepared_dataset, prompts, rows

    task = dataclasses.replace(
      KNOWN.get("rte"), templates=KNOWN.get("rte").templates[:1]
    )
    dataset = prepared_dataset.open_dataset(task.source, TINY.data_dir)
    part = row_ranges.RowRange("train", 0, 9)
    pairs = [
      prompts.render_row(task, row)[0]
      for row in rows.read_rows(dataset, part).as_numpy_iterator()
    ]
    path = self.write(
      "a.jsonl", *({"prompt": p, "answer": a} for p, a in pairs)
    )
    expected, counts = self.table(task, 9, TINY.data_dir)
    table, found = self.table(self.open_task(path), 9)
    self.assertEqual(found, counts)
    for field in dataclasses.fields(table):
      np.testing.assert_array_equal(
        getattr(table, field.name), getattr(expected, field.name)
      )

  def test_reading_a_range_of_rows(self):
    from flan_tf.data import prepared_dataset, rows

    task = self.open_task(self.write("a.jsonl", *lines(9)))
    dataset = prepared_dataset.open_dataset(task.source, "")
    for start, stop in ((0, 9), (3, 5), (4, 4)):
      part = row_ranges.RowRange("train", start, stop)
      read = list(rows.read_rows(dataset, part).as_numpy_iterator())
      self.assertEqual(
        [row["prompt"] for row in read],
        [line["prompt"].encode() for line in list(lines(9))[start:stop]],
      )
      self.assertEqual(
        [row["row_index"] for row in read], list(range(start, stop))
      )
    with self.assertRaisesRegex(ValueError, "Unknown split 'test'"):
      rows.read_rows(dataset, row_ranges.RowRange("test", 0, 1))

  def test_what_is_skipped_is_counted(self):
    from flan_tf.data.prompt_format import Overflow

    path = self.write(
      "a.jsonl",
      *lines(2),
      {"prompt": "a", "answer": ""},
      {"prompt": "a b c d " * 9, "answer": "yes"},
      {"prompt": "a", "answer": "a b c d " * 9},
    )
    lengths = {"input_length": 30, "target_length": 20, "row_length": 50}
    _, counts = self.table(self.open_task(path), 5, **lengths)
    self.assertEqual((counts.rows, counts.examples), (5, 4))
    self.assertEqual(counts.empty_target, 1)
    self.assertEqual((counts.trimmed_inputs, counts.trimmed_targets), (1, 1))
    skip = Overflow.SKIP
    _, counts = self.table(self.open_task(path), 5, overflow=skip, **lengths)
    self.assertEqual((counts.examples, counts.too_long), (2, 2))

  def test_the_plain_text_of_lines(self):
    from flan_tf.data import language_model, prepared_dataset

    task = self.open_task(self.write("a.jsonl", *lines(2)))
    dataset = prepared_dataset.open_dataset(task.source, "")
    part = row_ranges.RowRange("train", 0, 2)
    self.assertEqual(
      list(language_model.read_texts(task, dataset, part)),
      ["Question 0: say yes.\n\nyes", "Question 1: say no.\n\nno"],
    )


class ChoiceTest(FileTestCase):
  def chosen(self, **data) -> list[str]:
    from flan_tf.api.training_tasks import select_training_tasks

    run = config.replace(config.RunConfig(held_out="nli"), "data", **data)
    resolved, tasks = select_training_tasks(run)
    self.assertEqual(resolved.held_out, ("nli",))
    return [task.name for task in tasks]

  def test_which_tasks_train(self):
    a = self.write("a.jsonl", *lines(2))
    b = self.write("b.jsonl", *lines(2))
    every = [task.name for task in holdout.training_tasks(KNOWN, ("nli",))]
    for data, expected in (
      ({"files": a}, ["a"]),
      ({"files": f"{b}, {a}"}, ["b", "a"]),
      ({"files": a, "tasks": "sst2"}, ["sst2", "a"]),
      ({"files": a, "tasks": "sst2", "clusters": "coreference"}, None),
      ({"files": a, "tasks": "all"}, [*every, "a"]),
      ({"tasks": "all"}, every),
      ({}, every),
    ):
      found = self.chosen(**data)
      if expected is None:
        self.assertContainsSubset({"sst2", "wsc", "a"}, found)
      else:
        self.assertEqual(found, expected)

  def test_the_run_names_the_fingerprint(self):
    from flan_tf.api.training_tasks import select_training_tasks

    path = self.write("a.jsonl", *lines(2))
    run = config.replace(config.RunConfig(), "data", files=path)
    resolved, _ = select_training_tasks(run)
    fingerprint = prompt_file.read_prompt_file(path).fingerprint
    self.assertEqual(resolved.data.files, (f"{path}@{fingerprint}",))
    self.assertEqual(select_training_tasks(resolved)[0], resolved)


class TrainingTest(FileTestCase):
  def run_on(self, path: str, **changes) -> config.RunConfig:
    return TINY.run(data__tasks="", data__files=path, **changes)

  def losses(self, workdir: str) -> list[float]:
    path = str(pathlib.Path(workdir) / "metrics.jsonl")
    return [line["loss"] for line in json_lines.read_jsonl(path)]

  def test_a_small_model_learns_the_answers_of_a_tuned_one(self):
    from flan_tf.api.training import train

    teacher = str(TINY.folder / "teacher")
    TINY.train(TINY.run(train__steps=2), teacher)
    asked = (
      {"prompt": f"Row {i}. Is it so?", **more}
      for i in range(20)
      for more in ({"options": ["yes", "no"]}, {})
    )
    answers = str(self.folder / "Answers.jsonl")
    process = tiny.start(
      "-m",
      "launch.generate",
      f"--checkpoint={teacher}",
      "--max_new=4",
      f"--input={self.write('prompts.jsonl', *asked)}",
      f"--output={answers}",
    )
    out, err = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 0, err)
    self.assertIn("40 prompts answered, 0 were answered before.", out)
    labelled = json_lines.read_jsonl(answers)
    self.assertContainsSubset(
      {line["answer"] for line in labelled[::2]}, {"yes", "no"}
    )
    # Whatever the teacher said freely, there is something to learn.
    with open(answers, "a", encoding="utf-8") as file:
      file.writelines(json.dumps(line) + "\n" for line in lines(20))

    workdir = str(self.folder / "student")
    run = self.run_on(answers, train__steps=30)
    self.assertTrue(train(run, workdir).finished)
    losses = self.losses(workdir)
    self.assertLess(np.mean(losses[-3:]), 0.3 * losses[0])
    with self.subTest("the checkpoint says what it saw"):
      from flan_tf.checkpoints import checkpoint_dirs

      saved = json.loads(
        checkpoint_dirs.read_file(checkpoint_dirs.find(workdir), "data.json")
      )
      self.assertEqual(saved["seen"], {"answers": "files"})
      (mixed,) = saved["mixture"]["tasks"]
      self.assertEqual((mixed["train"], mixed["rows"]), ("train[0:54]", 54))
      self.assertRegex(mixed["source"], r"^Answers\.jsonl:[0-9a-f]{8}$")
      self.assertIn("held-out tasks may be among", mixed["notes"][1])

  def test_plain_text_trains(self):
    from flan_tf.api.training import train

    path = self.write("a.jsonl", *lines(20))
    run = self.run_on(path, data__objective="language_model", train__steps=8)
    workdir = str(self.folder / "run")
    train(run, workdir)
    losses = self.losses(workdir)
    self.assertLess(losses[-1], 0.8 * losses[0])

  def test_a_run_resumes_with_the_same_file_only(self):
    from flan_tf.api.training import train

    path = self.write("a.jsonl", *lines(20))
    workdir = str(self.folder / "run")
    train(self.run_on(path, train__steps=2), workdir)
    more = self.run_on(path, train__steps=4)
    train(more, workdir)
    self.assertLen(self.losses(workdir), 4)
    whole = str(self.folder / "whole")
    train(more, whole)
    np.testing.assert_allclose(
      self.losses(workdir), self.losses(whole), rtol=1e-5
    )
    changed = [*lines(19), {"prompt": "another", "answer": "row"}]
    self.write("a.jsonl", *changed)
    with self.assertRaisesRegex(
      ValueError, r"other settings.*\n.*data\.files: '.*@.*' asked for, '.*@"
    ):
      train(self.run_on(path, train__steps=6), workdir)

  def test_a_dry_run_shows_the_file(self):
    process = tiny.start(
      "-m",
      "launch.train",
      f"--workdir={self.folder}/run",
      "--dry_run",
      f"--config={TINY.run_file()}",
      f"--config.data.files={self.write('my file.jsonl', *lines(20))}",
    )
    out, err = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 0, err)
    self.assertIn("3 tasks, ", out)
    self.assertRegex(out, r"  my_file: train\[0:18\], 18 examples, \d+ tokens")
    self.assertIn(
      "20 of 20 lines do not name the cluster that they were made from", out
    )
    self.assertRegex(out, r"=== my_file ===\nQuestion \d+: say .*\n>>> ")

  def test_a_mixture_shows_the_file(self):
    process = tiny.start(
      "-m",
      "launch.inspect_tasks",
      "--mixture",
      "--json",
      f"--config={TINY.run_file(data__tasks='rte', train__steps=7)}",
      f"--config.data.files={self.write('a.jsonl', *lines(20))}",
    )
    out, err = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 0, err)
    tasks = json.loads(out)["tasks"]
    self.assertEqual([task["name"] for task in tasks], ["rte", "a"])
    self.assertEqual((tasks[1]["cluster"], tasks[1]["rows"]), ("files", 18))

  def test_a_file_with_held_out_lines_does_not_train(self):
    from flan_tf.api.training import preview_training, train

    path = self.write("a.jsonl", *lines(20, cluster="nli"))
    run = self.run_on(path, held_out="nli")
    for work in (train, preview_training):
      with self.assertRaisesRegex(ValueError, "was made from nli, which must"):
        work(run, str(self.folder / "run"))


if __name__ == "__main__":
  absltest.main()
