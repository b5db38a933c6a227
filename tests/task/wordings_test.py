"""Wordings of a task, and markers around prompts."""

import dataclasses

from absl.testing import absltest, parameterized

import tasks
from flan_tf.task import registry, wordings
from flan_tf.task.schema import Baseline, Source, Task, TaskKind, Template

REGISTRY = registry.TaskRegistry(tasks.ALL)

TOY = Task(
  name="toy",
  dataset="toy",
  cluster="nli",
  kind=TaskKind.CLASSIFICATION,
  source=Source("toy", "1.0.0"),
  fields=dict,
  slots=("premise", "hypothesis", "title"),
  options=("yes", "no"),
  templates=(
    Template("{premise}\n\nIs it so? {hypothesis}\n\n{options_}"),
    Template("{options_}\n\nPick one.\n\n{title}: {premise}\n{hypothesis}"),
    Template("{premise}\n{options_}\nSo? {hypothesis}"),
    Template("Say what is {answer}.", "{hypothesis}"),
  ),
  baseline=Baseline("{premise}\nTrue: {hypothesis}?", ("true", "false")),
)


class RewordTest(parameterized.TestCase):
  def inputs(self, *arguments, **keywords) -> list[str]:
    task = wordings.reword(TOY, *arguments, **keywords)
    return [template.inputs for template in task.templates]

  def test_instructions_change_nothing(self):
    self.assertIs(wordings.reword(TOY), TOY)

  def test_options_hidden(self):
    self.assertEqual(
      self.inputs("options_hidden"),
      [
        "{premise}\n\nIs it so? {hypothesis}",
        "Pick one.\n\n{title}: {premise}\n{hypothesis}",
        "{premise}\n\nSo? {hypothesis}",
        "Say what is {answer}.",
      ],
    )

  def test_bare_texts(self):
    """Only one of three templates uses the title, so it is left out."""
    self.assertEqual(self.inputs("no_template"), ["{premise}\n{hypothesis}"])
    self.assertEqual(
      self.inputs("dataset_name"), ["[nli: toy] {premise}\n{hypothesis}"]
    )

  def test_baseline(self):
    task = wordings.reword(TOY, "baseline")
    self.assertEqual(
      [t.inputs for t in task.templates], ["{premise}\nTrue: {hypothesis}?"]
    )
    self.assertEqual(task.options, ("true", "false"))
    with self.assertRaisesRegex(ValueError, "'toy' has no baseline prompt"):
      wordings.reword(dataclasses.replace(TOY, baseline=None), "baseline")

  def test_first_templates(self):
    self.assertEqual(self.inputs(templates=1), [TOY.templates[0].inputs])
    self.assertLen(self.inputs(templates=99), 4)

  def test_markers_become_part_of_a_prompt(self):
    around = wordings.markers("flan")
    self.assertEqual(
      self.inputs("no_template", around=around),
      ["0 {premise}\n{hypothesis} X 1 FLAN"],
    )
    self.assertIs(wordings.reword(TOY, around=wordings.markers("plain")), TOY)

  def test_misspelt(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'no_template'"):
      wordings.reword(TOY, "no_templates")

  @parameterized.parameters(*wordings.WORDINGS)
  def test_every_task_can_be_reworded(self, wording):
    for task in REGISTRY:
      if wording == wordings.BASELINE and task.baseline is None:
        continue
      for markers in wordings.MARKERS.values():
        made = wordings.reword(task, wording, around=markers)
        self.assertNotEmpty(made.templates)
        for template in made.templates:
          self.assertNotEmpty(template.slots, f"{task.name}: {template}")
        if wording in ("no_template", "dataset_name", "baseline"):
          self.assertEqual(made.forward_templates, (0,))


class MarkersTest(parameterized.TestCase):
  @parameterized.parameters(
    ("plain", "IN1\n\nTGT1\n\n\nIN2\n\nTGT2\n\n\nIN"),
    ("baseline", "IN1 TGT1\n\nIN2 TGT2\n\nIN"),
    # The published layout of few-shot prompts.
    ("flan", "0 IN1 X 1 TGT1 X 0 IN2 X 1 TGT2 X 0 IN X 1 FLAN"),
    (r"Q: |\nA: |\n|", "Q: IN1\nA: TGT1\nQ: IN2\nA: TGT2\nQ: IN\nA:"),
  )
  def test_layout(self, name, expected):
    exemplars = [("IN1", "TGT1"), ("IN2", "TGT2")]
    self.assertEqual(wordings.markers(name).join("IN", exemplars), expected)

  def test_without_exemplars(self):
    self.assertEqual(wordings.markers("plain").join("IN"), "IN")
    self.assertEqual(wordings.markers("flan").join("IN"), "0 IN X 1 FLAN")

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "Did you mean 'plain'"):
      wordings.markers("plan")
    with self.assertRaisesRegex(ValueError, "four parts, got 2"):
      wordings.markers("a|b")


if __name__ == "__main__":
  absltest.main()
