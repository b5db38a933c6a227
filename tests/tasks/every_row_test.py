"""Every template is rendered with every row: no slot is left, no text empty.

The tests use the shipped rows, and the genuine rows of a prepared directory if
there is one ($FLAN_TFDS_DATA).
"""

import functools
import os
import pathlib

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

import tasks
from flan_tf.api.cache import data_dir
from flan_tf.data import availability, opened_tasks, prompts, row_ranges, rows
from flan_tf.task import holdout, registry, schema

ROOT = pathlib.Path(__file__).resolve().parents[2]
GENUINE = os.environ.get("FLAN_TFDS_DATA") or str(
  ROOT.parent / "shared" / "tfds_data"
)
REGISTRY = registry.TaskRegistry(tasks.ALL)
_BATCH = 512


def setUpModule():
  global _OWN
  cache = absltest.get_default_test_tmpdir()
  os.environ.setdefault("FLAN_CACHE", os.path.join(cache, "every_row"))
  _OWN = data_dir()


def need_genuine(test: absltest.TestCase) -> None:
  if not os.path.isdir(GENUINE):
    test.skipTest(f"There is no {GENUINE}; set FLAN_TFDS_DATA.")


@functools.cache
def planned(data_dir: str):
  """Returns (opened task by name, reason by name of each missing task)."""
  found, missing = opened_tasks.open_tasks(REGISTRY, data_dir)
  return {item.task.name: item for item in found}, missing


class EveryRowTest(parameterized.TestCase):
  def assert_renders(self, item: opened_tasks.OpenedTask) -> int:
    """Checks all rows of all splits; returns the number of usable rows."""
    task, used = item.task, 0
    for split, count in item.dataset.counts.items():
      numbered = rows.read_rows(
        item.dataset, row_ranges.RowRange(split, 0, count)
      )
      slots = numbered.map(
        lambda row: _scalars(prompts.fill_slots(task, row)),
        num_parallel_calls=2,
      )
      for batch in slots.batch(_BATCH):
        usable = batch[prompts.KEEP] & ~batch[prompts.HIDDEN]
        batch = {k: tf.boolean_mask(v, usable) for k, v in batch.items()}
        used += int(tf.reduce_sum(tf.cast(usable, tf.int32)))
        self.assert_answers(task, batch)
        for index in range(len(task.templates)):
          self.assert_prompts(task, index, batch)
    return used

  def assert_answers(self, task, batch) -> None:
    """Asserts that the answer is the right one of the listed options."""
    answer = batch[schema.ANSWER_SLOT].numpy()
    self.assertNotIn(b"", answer, task.name)
    right = zip(answer, batch["references_"].numpy(), strict=True)
    for text, references in right:
      self.assertIn(text, references.split(b"\0"), task.name)
    if task.kind is not schema.TaskKind.CLASSIFICATION:
      return
    index = batch[prompts.ANSWER_INDEX].numpy()
    shown = batch[schema.OPTIONS_SLOT].numpy()
    for text, number, block in zip(answer, index, shown, strict=True):
      options = block.removeprefix(b"OPTIONS:\n- ").split(b"\n- ")
      self.assertEqual(options[number], text, task.name)
      self.assertLen(set(options), len(options), f"{task.name}: {options}")
      if task.options:
        self.assertEqual(text.decode(), task.options[number])

  def assert_prompts(self, task, index, batch) -> None:
    inputs, target = prompts.render(
      task, batch, tf.fill([tf.size(batch[schema.ANSWER_SLOT])], index)
    )
    where = f"{task.name}, template {index}"
    self.assertNotIn(b"", inputs.numpy(), where)
    self.assertNotIn(b"", tf.strings.strip(target).numpy(), where)
    names = "|".join(sorted(task.available_slots))
    for texts in (inputs, target):
      unfilled = tf.strings.regex_full_match(texts, rf"(?s).*\{{({names})\}}.*")
      self.assertFalse(np.any(unfilled.numpy()), where)
    if not task.templates[index].inverse:
      np.testing.assert_array_equal(
        target.numpy(), batch[schema.ANSWER_SLOT].numpy(), where
      )

  @parameterized.named_parameters(*((t.name, t.name) for t in tasks.ALL))
  def test_own_rows(self, name):
    found, missing = planned(_OWN)
    self.assertNotIn(name, missing)
    self.assertGreaterEqual(self.assert_renders(found[name]), 12)

  @parameterized.named_parameters(*((t.name, t.name) for t in tasks.ALL))
  def test_genuine_rows(self, name):
    need_genuine(self)
    found, missing = planned(GENUINE)
    if name in missing:
      self.skipTest(missing[name].splitlines()[0])
    self.assertGreater(self.assert_renders(found[name]), 0)


class NothingLeaksTest(parameterized.TestCase):
  """Evaluated rows are in no training mixture, whatever cluster is held out."""

  def assert_no_row_leaks(self, cluster: str, data_dir: str) -> None:
    held_out = (cluster,)
    found, _ = planned(data_dir)
    trained: dict[tuple[str, str], set[int]] = {}
    for task in holdout.training_tasks(REGISTRY, held_out):
      if task.name in found:
        _add(trained, found[task.name], ("train",))
    evaluated: dict[tuple[str, str], set[int]] = {}
    for task in holdout.held_out_tasks(REGISTRY, held_out):
      if task.name in found:
        _add(evaluated, found[task.name], ("train", "dev", "test"))
    self.assertNotEmpty(trained)
    self.assertNotEmpty(evaluated)
    for key, numbers in evaluated.items():
      self.assertEmpty(trained.get(key, set()) & numbers, f"{cluster}: {key}")

  @parameterized.parameters(*schema.CLUSTERS)
  def test_own_rows(self, cluster):
    self.assert_no_row_leaks(cluster, _OWN)

  @parameterized.parameters(*schema.CLUSTERS)
  def test_genuine_rows(self, cluster):
    need_genuine(self)
    self.assert_no_row_leaks(cluster, GENUINE)

  def test_no_task_trains_on_dev_or_test_rows(self):
    found, _ = planned(_OWN)
    trained: dict[tuple[str, str], set[int]] = {}
    for item in found.values():
      _add(trained, item, ("train",))
    for item in found.values():
      for part in ("dev", "test"):
        held_back: dict[tuple[str, str], set[int]] = {}
        _add(held_back, item, (part,))
        for key, numbers in held_back.items():
          self.assertEmpty(trained.get(key, set()) & numbers, item.task.name)


class CheckTest(absltest.TestCase):
  """The report of `inspect_tasks --check` on a directory."""

  def test_own_rows_are_all_there(self):
    found = availability.check_tasks(REGISTRY, _OWN)
    self.assertEqual(found["datasets"]["prepared"], 62)
    self.assertEqual({task["status"] for task in found["tasks"]}, {"prepared"})
    self.assertIn(
      "62 data sets: 62 prepared", availability.format_availability(found)
    )
    self.assertIn("test rows only", availability.format_availability(found))

  def test_an_empty_directory(self):
    empty = self.create_tempdir().full_path
    found = availability.check_tasks(REGISTRY, empty)
    by_name = {task["name"]: task for task in found["tasks"]}
    self.assertEqual(by_name["rte"]["status"], "downloadable")
    self.assertEqual(by_name["samsum"]["status"], "manual")
    self.assertEqual(by_name["aeslc"]["status"], "broken")
    for name, task in by_name.items():
      self.assertIn("Prepare it with", task["detail"], name)
      source = REGISTRY.get(name).source
      for hint in filter(None, (source.manual, source.broken)):
        self.assertIn(hint, task["detail"], name)
    self.assertEqual(sum(found["datasets"].values()), 62)
    self.assertEqual(found["datasets"]["prepared"], 0)

  def test_genuine_rows(self):
    need_genuine(self)
    found = availability.check_tasks(REGISTRY, GENUINE)
    by_name = {task["name"]: task for task in found["tasks"]}
    self.assertEqual(found["datasets"]["prepared"], 54)
    missing = {n for n, t in by_name.items() if t["status"] != "prepared"}
    self.assertEqual(
      missing,
      {
        "qnli",
        "cosmos_qa",
        "wic",
        "web_nlg_en",
        "samsum",
        "wsc273",
        "story_cloze",
        "newsroom",
      },
    )
    for name in missing:
      self.assertIn("is not prepared", by_name[name]["detail"])
    self.assertIn("test has 3 rows", by_name["anli_r1"]["detail"])
    self.assertIn("'validation' is not there", by_name["xsum"]["detail"])
    self.assertIn(
      "2 train rows only", by_name["wiki_lingua_english_en"]["detail"]
    )


def _scalars(slots):
  """Returns slots that can be batched: lists become one text."""
  joined = tf.strings.reduce_join(slots[prompts.REFERENCES], separator="\0")
  left = {k: v for k, v in slots.items() if v.shape.rank == 0}
  return {**left, "references_": joined}


def _add(numbers, item: opened_tasks.OpenedTask, parts) -> None:
  for part in parts:
    rows_of = getattr(item.ranges, part)
    key = (item.task.source.name, rows_of.split)
    numbers.setdefault(key, set()).update(range(rows_of.start, rows_of.stop))


if __name__ == "__main__":
  absltest.main()
