"""The task table: correct templates, and helpful errors."""

import collections
import dataclasses
import functools
import pathlib
import re
import subprocess
import sys

from absl.testing import absltest, parameterized

import tasks
from flan_tf.eval import metrics
from flan_tf.task import registry, schema

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Tasks of one data set that share their templates.
SHARED = (
  {"anli_r1", "anli_r2", "anli_r3"},
  {"mnli_matched", "mnli_mismatched"},
  {"arc_challenge", "arc_easy"},
)
REGISTRY = registry.TaskRegistry(tasks.ALL)

SLOT = re.compile(r"\{(\w*)\}")


def key(text: str) -> str:
  """Returns a template in lower case, without punctuation and blanks.

  >>> key("Is it so that {hypothesis}?\\n{options_}")
  'is it so that hypothesis options_'
  """
  return " ".join(re.findall(r"\w+", text.lower()))


def for_every_task(test):
  """Runs a test for each task, and names the task where it fails."""

  @parameterized.named_parameters(*((t.name, t.name) for t in tasks.ALL))
  @functools.wraps(test)
  def run(self, name):
    test(self, REGISTRY.get(name))

  return run


class LintTest(parameterized.TestCase):
  """Checks of all templates."""

  @for_every_task
  def test_ten_wordings_at_most_three_turned_around(self, task):
    self.assertLen(task.templates, 10)
    self.assertLessEqual(sum(t.inverse for t in task.templates), 3)
    self.assertGreaterEqual(len(task.forward_templates), 7)

  @for_every_task
  def test_no_twins(self, task):
    seen = collections.Counter(key(t.inputs) for t in task.templates)
    self.assertEqual({k: n for k, n in seen.items() if n > 1}, {})

  def test_no_wording_in_two_data_sets(self):
    homes = collections.defaultdict(set)
    for task in tasks.ALL:
      for template in task.templates:
        homes[key(template.inputs)].add(task.name)
    for wording, names in homes.items():
      if len(names) > 1:
        self.assertTrue(
          any(names <= shared for shared in SHARED),
          f"{sorted(names)} share the wording {wording!r}",
        )

  @for_every_task
  def test_no_stray_characters(self, task):
    for template in task.templates:
      for pattern in (template.inputs, template.target):
        with self.subTest(pattern):
          self.assertNotRegex(pattern, r"[^\x20-\x7e\n]")  # tabs, curly quotes
          self.assertNotRegex(pattern, r"\}n\b")  # a lost backslash
          self.assertNotRegex(pattern, r"(?m)^ | $|  ")  # blanks at line ends
          self.assertNotRegex(pattern, r"\n{3}| [.,;?!]|,,|\.\.|[?!]{2}")
          self.assertEqual(pattern.count('"') % 2, 0, "an unpaired quote")
          listed = re.sub(r"(?m)^\w\) ", "", pattern)  # "1) first"
          for left, right in ("()", "[]", "{}"):
            self.assertEqual(listed.count(left), listed.count(right))
          self.assertNotIn("{}", pattern)

  @for_every_task
  def test_lines_begin_and_end_as_sentences_do(self, task):
    for template in task.templates:
      for line in filter(None, template.inputs.split("\n")):
        with self.subTest(line):
          self.assertRegex(line, r"""^([*>]+ )?[A-Z0-9"'(\[{]""")
          self.assertRegex(line, r"""[.?!:"')\]}]$""")

  @for_every_task
  def test_every_slot_is_used_and_no_answer_given_away(self, task):
    used = set().union(*(t.slots for t in task.templates))
    self.assertContainsSubset(task.slots, used)
    for template in task.templates:
      with self.subTest(template.inputs):
        given = set(SLOT.findall(template.inputs))
        asked = set(SLOT.findall(template.target))
        self.assertNotEmpty(given, "the prompt says nothing about the row")
        self.assertNotEmpty(asked, "the target says nothing about the row")
        self.assertEmpty(given & asked, "the prompt holds its own target")

  @for_every_task
  def test_classifications_show_their_options(self, task):
    forward = [task.templates[i] for i in task.forward_templates]
    shown = sum(template.shows_options for template in forward)
    if task.kind is schema.TaskKind.CLASSIFICATION:
      self.assertGreaterEqual(shown, 0.8 * len(forward))
    else:
      self.assertEqual(shown, 0)
    for template in task.templates:
      if template.inverse:
        self.assertFalse(template.shows_options, template.inputs)

  @for_every_task
  def test_options_stand_on_lines_of_their_own(self, task):
    for template in task.templates:
      if template.shows_options:
        self.assertRegex(template.inputs, r"(^|\n)\{options_\}(\n|$)")

  @for_every_task
  def test_metrics_and_options_are_known(self, task):
    self.assertNotEmpty(task.metrics)
    self.assertContainsSubset(task.metrics, list(metrics.METRICS))
    self.assertLen(set(task.options), len(task.options))
    if task.kind is schema.TaskKind.GENERATION:
      self.assertEmpty(task.options)


class SchemaErrorTest(absltest.TestCase):
  """Errors of invalid tasks."""

  def task(self, **changes) -> schema.Task:
    return dataclasses.replace(tasks.ALL[0], **changes)

  def test_misspelt_slot(self):
    known = tasks.ALL[0].slots[0]
    wrong = known[:-2] + known[-1]
    template = schema.Template("{%s} Is it so?\n{options_}" % wrong)
    with self.assertRaisesRegex(
      ValueError,
      rf"(?s)template 0: field {{{wrong}}} is not produced by its field"
      rf" function\. Did you mean {{{known}}}\?.*Available: .*template: ",
    ):
      self.task(templates=(template,))

  def test_misspelt_cluster(self):
    with self.assertRaisesRegex(
      ValueError,
      r"unknown cluster 'sentimant'\. Did you mean 'sentiment'\? Clusters: nli",
    ):
      self.task(cluster="sentimant")

  def test_equal_templates(self):
    template = tasks.ALL[0].templates[0]
    with self.assertRaisesRegex(
      ValueError, "two of its templates are equal, 0 and 1"
    ):
      self.task(templates=(template, template))

  def test_lost_backslash(self):
    slot = tasks.ALL[0].slots[0]
    template = schema.Template("{%s}n\nIs it so?\n{options_}" % slot)
    with self.assertRaisesRegex(ValueError, "template 0: stray '}n' in"):
      self.task(templates=(template,))

  def test_blanks_at_an_end(self):
    template = schema.Template("Is it so?\n{options_} ")
    with self.assertRaisesRegex(
      ValueError, "template 0: the pattern begins or ends with white"
    ):
      self.task(templates=(template,))

  def test_empty_target(self):
    template = schema.Template("Is it so?\n{options_}", "")
    with self.assertRaisesRegex(ValueError, "template 0: the target is empty"):
      self.task(templates=(template,))

  def test_documents_that_are_no_slots(self):
    with self.assertRaisesRegex(
      ValueError, r"documents \['essay'\] are not among its slots"
    ):
      self.task(documents=("essay",))

  def test_a_generation_has_no_options(self):
    for task in tasks.ALL:
      if task.kind is schema.TaskKind.GENERATION:
        self.assertNotIn(schema.OPTIONS_SLOT, task.available_slots)


class RegistryTest(parameterized.TestCase):
  def test_holds_every_task_in_order(self):
    self.assertEqual(tuple(REGISTRY), tasks.ALL)
    for task in tasks.ALL:
      self.assertIs(REGISTRY.get(task.name), task)

  def test_clusters_partition_the_tasks(self):
    by_cluster = [REGISTRY.cluster(name) for name in schema.CLUSTERS]
    self.assertCountEqual(sum(by_cluster, ()), tasks.ALL)

  def test_select(self):
    task = tasks.ALL[-1]
    self.assertEqual(REGISTRY.select(), tasks.ALL)
    self.assertEqual(REGISTRY.select(tasks=[task.name]), (task,))
    both = REGISTRY.select(tasks=[task.name], clusters=["nli"])
    self.assertEqual(both, (*REGISTRY.cluster("nli"), task))

  def test_misspelt_task(self):
    name = tasks.ALL[-1].name
    with self.assertRaisesRegex(
      ValueError, f"Unknown task '{name}x'. Did you mean '{name}'. Known: "
    ):
      REGISTRY.get(name + "x")

  def test_misspelt_cluster(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'paraphrase'"):
      REGISTRY.cluster("paraphrases")

  def test_two_tasks_of_one_name(self):
    with self.assertRaisesRegex(ValueError, "Two tasks are named"):
      registry.TaskRegistry((tasks.ALL[0], tasks.ALL[0]))


class ImportTest(absltest.TestCase):
  def test_reading_the_table_imports_no_tensorflow(self):
    program = (
      "import sys, tasks, flan_tf.task.ablations, flan_tf.task.catalog\n"
      "import flan_tf.task.wordings, launch.inspect_tasks\n"
      "print([m for m in sys.modules if m.split('.')[0] in"
      " ('tensorflow', 'tensorflow_datasets', 'numpy')])"
    )
    done = subprocess.run(
      [sys.executable, "-c", program],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertEqual(done.stdout.strip(), "[]")


if __name__ == "__main__":
  absltest.main()
