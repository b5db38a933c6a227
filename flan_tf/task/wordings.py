"""How tasks are worded, the paper's third ingredient: tasks in, tasks out.

    instructions    the ten templates as they are
    options_hidden  the same without their OPTIONS
    no_template     the bare texts of a row, a line each
    dataset_name    the bare texts behind "[nli: rte]"
    baseline        a prompt in the manner of GPT-3, for an untuned model

(sections 4.3 and B of the paper). Everything downstream sees a task with other
templates, so training, evaluation and inspection know of no wordings.

Markers stand around prompts and answers, with or without exemplars:

    plain      IN1 <blank line> TGT1 <two blank lines> IN
    baseline   IN1 TGT1 <blank line> IN
    flan       0 IN1 X 1 TGT1 X 0 IN X 1 FLAN

(the last is the published wrapper, of a dialog model's format).
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
  """What stands around prompts and answers.

  Attributes:
    prompt: before every prompt.
    answer: between a prompt and its answer.
    example: between an exemplar and what follows.
    cue: behind `answer` of the prompt to be answered.
  """

  prompt: str
  answer: str
  example: str
  cue: str = ""

  def join(self, prompt: str, exemplars: Sequence[tuple[str, str]] = ()) -> str:
    """A prompt behind its exemplars, each (prompt, answer).

    Blanks at the very end are cut, so that with the plain markers a prompt
    without exemplars is just itself.
    """
    parts = [
      f"{self.prompt}{asked}{self.answer}{answer}"
      for asked, answer in exemplars
    ]
    last = f"{self.prompt}{prompt}{self.answer}{self.cue}".rstrip()
    return self.example.join([*parts, last])


MARKERS = {
  "plain": Markers(prompt="", answer="\n\n", example="\n\n\n"),
  "baseline": Markers(prompt="", answer=" ", example="\n\n"),
  "flan": Markers(prompt="0 ", answer=" X 1 ", example=" X ", cue="FLAN"),
}


def markers(name: str) -> Markers:
  """The markers of that name, or those that it spells out.

  >>> markers("Q: |\\nA: |\\n\\n|")
  Markers(prompt='Q: ', answer='\\nA: ', example='\\n\\n', cue='')

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
  """The task in another wording.

  Args:
    task: as the task table has it.
    wording: one of WORDINGS.
    templates: only the first so many; 0 for all.
    around: markers that become part of every prompt.

  Returns:
    The same task with other templates; with "baseline" the options may have
    other names, too.

  Raises:
    ValueError: an unknown wording, or a task that has no baseline.
  """
  if wording not in WORDINGS:
    raise ValueError(name_lists.unknown_name("wording", wording, WORDINGS))
  chosen, options = task.templates, task.options
  if wording == OPTIONS_HIDDEN:
    chosen = tuple(map(_without_options, chosen))
  elif wording == NO_TEMPLATE:
    chosen = (schema.Template(bare(task)),)
  elif wording == DATASET_NAME:
    name = f"[{task.cluster.replace('_', ' ')}: {task.name}]"
    chosen = (schema.Template(f"{name} {bare(task)}"),)
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


def bare(task: schema.Task) -> str:
  """The pattern of a row's bare texts: "{premise}\\n{hypothesis}".

  They are the slots that more than half of the forward templates name.
  """
  forward = [task.templates[index] for index in task.forward_templates]
  often = [
    slot
    for slot in task.slots
    if 2 * sum(slot in template.slots for template in forward) > len(forward)
  ]
  return "\n".join(f"{{{slot}}}" for slot in often)


def _without_options(template: schema.Template) -> schema.Template:
  inputs = template.inputs.replace("{%s}" % schema.OPTIONS_SLOT, "")
  inputs = re.sub(r"\n{2,}", "\n\n", inputs).strip()
  return dataclasses.replace(template, inputs=inputs)
