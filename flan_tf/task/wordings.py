"""Wordings of tasks: the templates, or the prompts of an ablation instead.

    instructions    the ten templates of the task
    options_hidden  the templates without the list of options
    no_template     the texts of a row, one on each line
    dataset_name    the texts of a row after "[nli: rte]"
    baseline        a prompt in the style of GPT-3, for untuned models

(sections 4.3 and B of the paper). A wording is a task with other templates, so
that training and evaluation need no code for it.

Markers are texts around prompts and answers, with or without exemplars:

    plain      IN1 <blank line> TGT1 <two blank lines> IN
    baseline   IN1 TGT1 <blank line> IN
    flan       0 IN1 X 1 TGT1 X 0 IN X 1 FLAN

"flan" is the published prompt format, which comes from a dialog model.
"""

import dataclasses
import re
from collections.abc import Sequence

from flan_tf import name_lists
from flan_tf.task import schema

INSTRUCTIONS, OPTIONS_HIDDEN = "instructions", "options_hidden"
NO_TEMPLATE, DATASET_NAME = "no_template", "dataset_name"
BASELINE = "baseline"
WORDINGS = (INSTRUCTIONS, OPTIONS_HIDDEN, NO_TEMPLATE, DATASET_NAME, BASELINE)


@dataclasses.dataclass(frozen=True)
class Markers:
  """Texts around prompts and answers.

  Attributes:
    prompt: text before every prompt.
    answer: text between a prompt and its answer.
    example: text between an exemplar and the prompt or exemplar after it.
    cue: text at the very end, after the `answer` marker of the last prompt.
  """

  prompt: str
  answer: str
  example: str
  cue: str = ""

  def join(self, prompt: str, exemplars: Sequence[tuple[str, str]] = ()) -> str:
    """Returns a prompt with its exemplars before it.

    White space at the end is removed: with the markers "plain", a prompt
    without exemplars does not change.

    Args:
      prompt: the prompt to answer.
      exemplars: (prompt, answer) of each exemplar.
    """
    parts = [
      f"{self.prompt}{exemplar_prompt}{self.answer}{exemplar_answer}"
      for exemplar_prompt, exemplar_answer in exemplars
    ]
    last = f"{self.prompt}{prompt}{self.answer}{self.cue}".rstrip()
    return self.example.join([*parts, last])


MARKERS = {
  "plain": Markers(prompt="", answer="\n\n", example="\n\n\n"),
  "baseline": Markers(prompt="", answer=" ", example="\n\n"),
  "flan": Markers(prompt="0 ", answer=" X 1 ", example=" X ", cue="FLAN"),
}


def markers(name: str) -> Markers:
  """Returns markers by name, or reads markers that are spelled out.

  >>> markers("Q: |\\nA: |\\n\\n|")
  Markers(prompt='Q: ', answer='\\nA: ', example='\\n\\n', cue='')

  Args:
    name: a name in MARKERS, or "prompt|answer|example|cue" with \\n for a
      newline.

  Raises:
    ValueError: an unknown name, or not four parts.
  """
  if "|" in name:
    parts = name.replace("\\n", "\n").split("|")
    if len(parts) != 4:
      raise ValueError(
        f"Markers {name!r}: expected prompt|answer|example|cue, which is four"
        f" parts, got {len(parts)}."
      )
    return Markers(*parts)
  if name not in MARKERS:
    raise ValueError(name_lists.unknown_name("markers", name, MARKERS))
  return MARKERS[name]


def reword(
  task: schema.Task,
  wording: str = INSTRUCTIONS,
  templates: int = 0,
  around: Markers | None = None,
) -> schema.Task:
  """Returns a task in another wording.

  Args:
    task: a task with its ten templates.
    wording: one of WORDINGS.
    templates: number of templates to keep, the first ones; 0 for all.
    around: markers that become part of every prompt.

  Returns:
    The task with other templates. With the wording "baseline", its options may
    have other names, too.

  Raises:
    ValueError: an unknown wording, or a task without a baseline prompt.
  """
  if wording not in WORDINGS:
    raise ValueError(name_lists.unknown_name("wording", wording, WORDINGS))
  chosen, options = task.templates, task.options
  if wording == OPTIONS_HIDDEN:
    chosen = tuple(map(_without_options, chosen))
  elif wording == NO_TEMPLATE:
    chosen = (schema.Template(plain_slots(task)),)
  elif wording == DATASET_NAME:
    name = f"[{task.cluster.replace('_', ' ')}: {task.name}]"
    chosen = (schema.Template(f"{name} {plain_slots(task)}"),)
  elif wording == BASELINE:
    if task.baseline is None:
      raise ValueError(
        f"Task {task.name!r} has no baseline prompt: none was published for"
        " its data set."
      )
    chosen = (schema.Template(task.baseline.inputs),)
    options = task.baseline.options or options
  if templates:
    chosen = chosen[:templates]
  if around is not None:
    chosen = tuple(
      dataclasses.replace(template, inputs=around.join(template.inputs))
      for template in chosen
    )
  if chosen == task.templates:
    return task
  return dataclasses.replace(task, templates=chosen, options=options)


def plain_slots(task: schema.Task) -> str:
  """Returns a template without an instruction: "{premise}\\n{hypothesis}".

  It has the slots that occur in more than half of the task's templates;
  templates that turn the task around do not count.
  """
  forward = [task.templates[index] for index in task.forward_templates]
  frequent = [
    slot
    for slot in task.slots
    if 2 * sum(slot in template.slots for template in forward) > len(forward)
  ]
  return "\n".join(f"{{{slot}}}" for slot in frequent)


def _without_options(template: schema.Template) -> schema.Template:
  inputs = template.inputs.replace("{%s}" % schema.OPTIONS_SLOT, "")
  inputs = re.sub(r"\n{2,}", "\n\n", inputs).strip()
  return dataclasses.replace(template, inputs=inputs)
