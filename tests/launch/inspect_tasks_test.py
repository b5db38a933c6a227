"""The output of `launch.inspect_tasks`: text for people, JSON for programs.

The actions run in this process; one is started as a shell does.
"""

import contextlib
import io
import json
import sys
import warnings
from unittest import mock

from absl import flags
from absl.testing import absltest, flagsaver, parameterized

from flan_tf.task import schema
from tests.helpers import tiny

TINY = tiny.Tiny()
tearDownModule = TINY.close

SIZES = {
  "nli": 7,
  "commonsense": 4,
  "sentiment": 4,
  "paraphrase": 4,
  "closed_book_qa": 3,
  "struct_to_text": 4,
  "reading_comprehension": 5,
  "reading_comprehension_commonsense": 2,
  "coreference": 3,
  "misc": 7,
  "summarization": 11,
  "translation": 8,
}


def setUpModule():
  TINY.open()


def call(*arguments: str) -> str:
  """Runs an action here; returns what it prints."""
  from launch import inspect_tasks

  out = io.StringIO()
  with (
    warnings.catch_warnings(),
    flagsaver.flagsaver(),
    mock.patch.object(sys, "argv", ["inspect_tasks", *arguments]),
    contextlib.redirect_stdout(out),
  ):
    # How ml_collections loads a run file.
    warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)
    flags.FLAGS.unparse_flags()
    flags.FLAGS(sys.argv)
    try:
      inspect_tasks.main()
    finally:
      flags.FLAGS.mark_as_parsed()
  return out.getvalue()


def call_json(*arguments: str):
  return json.loads(call(*arguments, "--json"))


class ListTest(absltest.TestCase):
  def test_sixty_two_data_sets_in_twelve_clusters(self):
    found = call_json("--list")
    self.assertEqual(found["datasets"], 62)
    self.assertEqual(found["clusters"], SIZES)
    self.assertEqual(tuple(found["clusters"]), schema.CLUSTERS)
    names = [task["name"] for task in found["tasks"]]
    self.assertLen(set(names), len(names))
    for task in found["tasks"]:
      self.assertGreaterEqual(task["templates"], 10, task["name"])
      self.assertLessEqual(task["inverse"], 3, task["name"])
      self.assertNotEmpty(task["metrics"])
      self.assertIn(":", task["source"])
    extra = {task["name"] for task in found["tasks"] if task["extra"]}
    self.assertEqual(extra, {"wsc", "true_case", "word_segment"})
    evaluated = {t["name"] for t in found["tasks"] if t["evaluated_only"]}
    self.assertEqual(evaluated, {"wsc273"})

  def test_baselines_of_23_sets(self):
    """As published: the wmt16 pairs are one set, and so are ANLI's rounds."""
    found = call_json("--list")["tasks"]
    datasets = {task["dataset"] for task in found if task["baseline"]}
    sets = {"wmt16" if "wmt16" in name else name for name in datasets}
    self.assertLen(sets, 23, sets)

  def test_text(self):
    text = call("--list")
    self.assertStartsWith(text, "62 data sets in 12 clusters, 70 tasks, 700")
    self.assertIn("\nreading comprehension commonsense (2 data sets)\n", text)
    self.assertRegex(text, r"wsc273 .*\(evaluated only\)")


class ControlCharactersTest(absltest.TestCase):
  def test_they_are_shown_and_json_keeps_its_value(self):
    from launch import inspect_tasks

    shown = {"prompt": "a\x1b]0;b\x07\x9b"}, "a\x1b]0;b\x07\x9b"
    with mock.patch.object(inspect_tasks, "_show", lambda: shown):
      text, value = call("--show=rte"), call("--show=rte", "--json")
    self.assertEqual(text, "a\\u001b]0;b\\u0007\\u009b\n")
    self.assertNotRegex(value, "[\x07\x1b\x9b]")
    self.assertEqual(json.loads(value), shown[0])


class MixtureTest(parameterized.TestCase):
  def test_published_counts(self):
    found = call_json("--mixture", "--published_counts")
    self.assertEqual(found["total_rate"], 188_330)
    self.assertLen(found["tasks"], 69)
    rates = {task["name"]: task["rate"] for task in found["tasks"]}
    self.assertEqual(rates["cb"], 200)
    self.assertEqual(rates["snli"], 3_000)
    found = call_json("--mixture", "--published_counts", "--held_out=nli")
    self.assertEqual(found["total_rate"], 152_240)
    self.assertLen(found["tasks"], 55)

  def test_counts_of_a_directory(self):
    found = call_json("--mixture", f"--tfds_data_dir={TINY.data_dir}")
    rows = {task["name"]: task["rows"] for task in found["tasks"]}
    self.assertEqual(rows["rte"], 12)
    self.assertEqual(found["total_rate"], sum(rows.values()))
    self.assertEqual(found["left_out"], {})
    text = call("--mixture", f"--tfds_data_dir={TINY.data_dir}")
    self.assertRegex(text, r"rte  +12 rows  rate    12  p = 0\.0")

  def test_what_is_not_there_is_named(self):
    empty = self.create_tempdir().full_path
    found = call_json("--mixture", f"--tfds_data_dir={empty}")
    self.assertEqual((found["tasks"], found["total_rate"]), ([], 0))
    self.assertLen(found["left_out"], 69)
    self.assertIn("is not prepared", found["left_out"]["rte"])

  def test_of_a_run(self):
    ablation = str(tiny.ROOT / "launch/configs/ablation.py:clusters=2")
    found = call_json("--mixture", "--published_counts", f"--config={ablation}")
    self.assertLen(found["tasks"], 19)
    with self.assertRaisesRegex(ValueError, "not both"):
      call("--mixture", "--held_out=nli", f"--config={ablation}")

  def test_misspelt(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'nli'"):
      call("--mixture", "--held_out=nlii")


class ShowTest(absltest.TestCase):
  def show(self, *arguments: str):
    return call_json(
      f"--tfds_data_dir={TINY.data_dir}",
      f"--vocabulary={TINY.vocabulary}",
      *arguments,
    )

  def test_as_the_model_sees_it(self):
    found = self.show("--show=rte", "--template=3", "--shots=2")
    self.assertEqual(found["shots"], 2)
    self.assertEqual(found["prompt"].count("follow from the text below?"), 3)
    self.assertIn(found["target"], ("yes", "no"))
    self.assertLen(found["prompt_tokens"], len(found["prompt_pieces"]))
    again = self.show("--show=rte", "--template=3", "--shots=2")
    self.assertEqual(found, again)

  def test_published_wrapper(self):
    found = self.show("--show=rte", "--markers=flan")
    self.assertRegex(found["prompt"], r"(?s)^0 .* X 1 FLAN$")

  def test_baseline(self):
    found = self.show("--show=rte", "--wording=baseline", "--markers=baseline")
    self.assertEqual(found["options"], ["true", "false"])
    self.assertNotIn("OPTIONS", found["prompt"])

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'rte'"):
      self.show("--show=rtee")
    with self.assertRaisesRegex(ValueError, "templates 0 to 9, not 10"):
      self.show("--show=rte", "--template=10")
    empty = self.create_tempdir().full_path
    with self.assertRaisesRegex(FileNotFoundError, "is not prepared"):
      call("--show=rte", f"--tfds_data_dir={empty}")


class ActionTest(absltest.TestCase):
  def test_one_action_a_call(self):
    for arguments in ((), ("--list", "--check")):
      with self.assertRaisesRegex(ValueError, "Expected one of --list, --show"):
        call(*arguments)

  def test_check(self):
    found = call_json("--check", f"--tfds_data_dir={TINY.data_dir}")
    self.assertEqual(found["datasets"]["prepared"], 62)
    self.assertLen(found["tasks"], 70)

  def test_as_a_shell_starts_it(self):
    process = tiny.start("-m", "launch.inspect_tasks", "--list", "--json")
    out, err = process.communicate(timeout=60)
    self.assertEqual((process.returncode, err), (0, ""))
    self.assertEqual(json.loads(out)["datasets"], 62)


if __name__ == "__main__":
  absltest.main()
