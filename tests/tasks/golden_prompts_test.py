"""Prompts as a model sees them, compared with files that people can read.

`golden/prompts/<cluster>.txt` shows the first shipped training row of each data
set in all ten templates and, if there is one, in the baseline prompt. A changed
template shows up as a readable difference. To accept it:

  python -m tests.tasks.golden_prompts_test --update_golden
  UPDATE_GOLDEN=1 pytest tests/tasks/golden_prompts_test.py
"""

import difflib
import json
import os
import pathlib
import tempfile

import tensorflow_datasets as tfds
from absl import flags
from absl.testing import absltest, parameterized

import tasks
from flan_tf.data import prompts
from flan_tf.task import schema, wordings

_UPDATE = flags.DEFINE_bool(
  "update_golden",
  os.environ.get("UPDATE_GOLDEN", "") not in ("", "0"),
  "Rewrite the golden files instead of comparing with them.",
)

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "prompts"
ROWS = pathlib.Path(tasks.__file__).resolve().parent / "rows"
CLUSTERS = tuple(dict.fromkeys(task.cluster for task in tasks.ALL))


def updating() -> bool:
  """Returns whether to rewrite the files; pytest does not parse flags."""
  return _UPDATE.value if flags.FLAGS.is_parsed() else _UPDATE.default


def first_row(task: schema.Task) -> dict:
  """Returns the first shipped training row, encoded as TFDS yields it.

  For a data set that is only evaluated, it is the first test row.
  """
  split = task.source.splits.train or task.source.splits.test
  path = ROWS / (task.source.name.replace("/", "_") + ".jsonl")
  for line in path.read_text(encoding="utf-8").splitlines():
    entry = json.loads(line)
    if entry["split"] == split:
      with tempfile.TemporaryDirectory() as empty:
        spec = tfds.builder(task.source.name, data_dir=empty).info.features
      return spec.encode_example(entry["row"])
  raise ValueError(f"{path.name} has no row of {split!r}.")


def render(cluster: str) -> str:
  """Returns the golden text of a cluster."""
  blocks = []
  for task in tasks.ALL:
    if task.cluster != cluster:
      continue
    rendered = prompts.render_row(task, first_row(task))
    for index, (inputs, target) in enumerate(rendered):
      blocks.append(
        f"=== {task.name} / template {index} ===\n{inputs}\n>>> {target}\n"
      )
    if task.baseline:
      plain = wordings.reword(task, wordings.BASELINE)
      ((inputs, target),) = prompts.render_row(plain, first_row(task))
      blocks.append(f"=== {task.name} / baseline ===\n{inputs}\n>>> {target}\n")
  return "\n".join(blocks)


def difference(name: str, golden: str, rendered: str) -> str:
  """Returns a unified diff and the command that accepts it; empty if equal."""
  lines = difflib.unified_diff(
    golden.splitlines(),
    rendered.splitlines(),
    f"golden/prompts/{name} (expected)",
    "rendered now",
    lineterm="",
  )
  diff = "\n".join(lines)
  return diff and (
    f"Prompts differ from golden/prompts/{name}:\n\n{diff}\n\n"
    "If the change is meant, accept it with\n"
    "  python -m tests.tasks.golden_prompts_test --update_golden\n"
    "and read the difference in the commit."
  )


def rewrite() -> None:
  """Writes all golden files, and removes the others."""
  GOLDEN.mkdir(parents=True, exist_ok=True)
  for path in GOLDEN.glob("*.txt"):
    path.unlink()
  for cluster in CLUSTERS:
    path = GOLDEN / f"{cluster}.txt"
    path.write_text(render(cluster), encoding="utf-8")


class GoldenPromptsTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if updating():
      rewrite()

  @parameterized.parameters(*CLUSTERS)
  def test_prompts_read_as_before(self, cluster):
    path = GOLDEN / f"{cluster}.txt"
    golden = path.read_text(encoding="utf-8") if path.exists() else ""
    found = difference(path.name, golden, render(cluster))
    if found:
      self.fail(found)

  def test_no_golden_file_is_left_over(self):
    names = {path.stem for path in GOLDEN.glob("*.txt")}
    self.assertEmpty(names - set(CLUSTERS))

  def test_every_template_is_shown(self):
    shown = "".join(p.read_text(encoding="utf-8") for p in GOLDEN.glob("*.txt"))
    for task in tasks.ALL:
      for index in range(len(task.templates)):
        self.assertIn(f"=== {task.name} / template {index} ===\n", shown)

  def test_a_difference_shows_the_diff_and_the_command(self):
    message = difference("nli.txt", "a\nold\n", "a\nnew\n")
    self.assertIn("\n-old\n+new\n", message)
    self.assertIn("tests.tasks.golden_prompts_test --update_golden", message)
    self.assertEqual(difference("nli.txt", "a\n", "a\n"), "")


if __name__ == "__main__":
  absltest.main()
