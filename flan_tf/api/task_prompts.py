"""One task of the table: writes its prompts as a model reads them."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flan_tf.api import cache
from flan_tf.task import schema, wordings

if TYPE_CHECKING:
  from flan_tf.api.models import Model
  from flan_tf.data.opened_tasks import OpenedTask
  from flan_tf.data.prompt_format import PromptFormat
  from flan_tf.data.requests import Example, Request

PARTS = ("test", "dev", "train")
# Data-set rows that are read at once, to find rows with public answers.
_ROWS_PER_READ = 64


@dataclasses.dataclass(frozen=True)
class TaskPrompt:
  """A data-set row in the words of one template.

  Attributes:
    text: the prompt, with exemplars and markers.
    target: the right answer, in the words of the template.
    options: the options of a classification, in label order; empty for a
      generation, and for a template that turns the task around.
    references: all right answers.
    task: name of the task.
    template: index of the template.
    row: split and number of the row, e.g. "validation[7]".
    shots: number of exemplars in the prompt.
  """

  text: str
  target: str
  options: tuple[str, ...]
  references: tuple[str, ...]
  task: str
  template: int
  row: str
  shots: int


@dataclasses.dataclass(frozen=True, repr=False)
class TaskEntry:
  """A task of the table.

  Attributes:
    task: the task itself: source, templates, options, metrics.
  """

  task: schema.Task

  @property
  def name(self) -> str:
    return self.task.name

  @property
  def cluster(self) -> str:
    return self.task.cluster

  @property
  def kind(self) -> schema.TaskKind:
    return self.task.kind

  @property
  def templates(self) -> tuple[schema.Template, ...]:
    return self.task.templates

  @property
  def options(self) -> tuple[str, ...]:
    """The fixed options of a classification; empty if rows have their own."""
    return self.task.options

  def __repr__(self) -> str:
    task = self.task
    return (
      f"<task {task.name}: {task.kind.name.lower()}, cluster {task.cluster},"
      f" {len(task.templates)} templates, {task.source}>"
    )

  def prompts(
    self,
    *,
    limit: int = 10,
    template: int = 0,
    shots: int = 0,
    part: str = "test",
    data_dir: str = "",
    wording: str = wordings.INSTRUCTIONS,
    markers: str = "plain",
    seed: int = 0,
    model: "Model | None" = None,
  ) -> list[TaskPrompt]:
    """Writes prompts of the first rows that have public answers.

    Args:
      limit: number of prompts; there are fewer if there are fewer rows.
      template: index of the template.
      shots: exemplars before each prompt. They are drawn as in an evaluation
        with the same seed.
      part: rows to ask about: "test", "dev" or "train".
      data_dir: a prepared TFDS directory; "" for the shipped rows.
      wording: one of `flan_tf.task.wordings.WORDINGS`.
      markers: texts around prompts and answers, see `wordings.markers`.
      seed: seed of the draw of exemplars.
      model: decides how many exemplars fit into a prompt. By default, prompts
        may have 1,024 tokens of a small vocabulary.

    Raises:
      ValueError: there is no such template or part, or the data set's files are
        damaged.
      NotPreparedError: `data_dir` does not have the task's data set.
    """
    from flan_tf.data import requests

    around = wordings.markers(markers)
    worded = wordings.reword(self.task, wording)
    if not 0 <= template < len(worded.templates):
      raise ValueError(
        f"Task {worded.name!r} has templates 0 to {len(worded.templates) - 1},"
        f" not {template}."
      )
    if part not in PARTS:
      raise ValueError(f"part is {part!r}; expected one of {', '.join(PARTS)}.")
    item = self._open(data_dir)
    examples = _first_examples(worded, item, part, limit)
    rendered = requests.render_prompts_and_targets(worded, examples, template)
    asked = [
      requests.Request(example, prompt, template)
      for example, (prompt, _) in zip(examples, rendered, strict=True)
    ]
    if shots:
      prompt_format = model.prompt_format if model else _default_format()
      asked = _with_exemplars(
        asked, worded, item, prompt_format, part, shots, around, seed
      )
    else:
      asked = [
        dataclasses.replace(request, prompt=around.join(request.prompt))
        for request in asked
      ]
    split = getattr(item.ranges, part).split
    has_options = template in worded.forward_templates
    return [
      TaskPrompt(
        text=request.prompt,
        target=target,
        options=request.example.options if has_options else (),
        references=request.example.references,
        task=worded.name,
        template=template,
        row=f"{split}[{request.example.row_index}]",
        shots=request.exemplars,
      )
      for request, (_, target) in zip(asked, rendered, strict=True)
    ]

  def preview(
    self,
    *,
    template: int = 0,
    row: int = 0,
    part: str = "test",
    shots: int = 0,
    data_dir: str = "",
    wording: str = wordings.INSTRUCTIONS,
    markers: str = "plain",
    seed: int = 0,
    vocabulary: str = "",
  ) -> dict[str, Any]:
    """Returns one row as text and as tokens; see `flan_tf.data.preview`.

    Args:
      template: index of the template.
      row: position of the row in its part, from 0.
      part: "test", "dev" or "train".
      shots: exemplars before the prompt.
      data_dir: a prepared TFDS directory; "" for the shipped rows.
      wording: one of `flan_tf.task.wordings.WORDINGS`.
      markers: texts around prompts and answers, see `wordings.markers`.
      seed: seed of the draw of exemplars.
      vocabulary: path of a vocabulary; "" for a small one.
    """
    from flan_tf.data import preview

    around = wordings.markers(markers)
    worded = wordings.reword(self.task, wording)
    return preview.preview_row(
      self._open(data_dir),
      worded,
      _default_format(vocabulary),
      template=template,
      row=row,
      part=part,
      shots=shots,
      markers=around,
      seed=seed,
    )

  def _open(self, data_dir: str) -> "OpenedTask":
    from flan_tf.data import opened_tasks, prepared_dataset

    opened, left_out = opened_tasks.open_tasks(
      [self.task], cache.data_dir(data_dir)
    )
    if left_out:
      raise prepared_dataset.NotPreparedError(left_out[self.name])
    return opened[0]


def _default_format(vocabulary: str = "") -> "PromptFormat":
  from flan_tf.data.prompt_format import PromptFormat
  from flan_tf.vocab.load import load_vocabulary

  return PromptFormat(load_vocabulary(vocabulary or cache.small_vocabulary()))


def _first_examples(
  task: schema.Task, item: "OpenedTask", part: str, limit: int
) -> "list[Example]":
  """Reads the first rows of a part that have public answers."""
  from flan_tf.data import requests

  rows = getattr(item.ranges, part)
  examples: list[Example] = []
  for start in range(rows.start, rows.stop, _ROWS_PER_READ):
    if len(examples) >= limit:
      break
    stop = min(start + _ROWS_PER_READ, rows.stop)
    stretch = dataclasses.replace(rows, start=start, stop=stop)
    examples += requests.read_evaluation_rows(task, item.dataset, stretch).rows
  return examples[:limit]


def _with_exemplars(
  asked: "Sequence[Request]",
  task: schema.Task,
  item: "OpenedTask",
  prompt_format: "PromptFormat",
  part: str,
  shots: int,
  markers: wordings.Markers,
  seed: int,
) -> "list[Request]":
  from flan_tf.data import few_shot

  train = item.ranges.train
  return few_shot.add_exemplars(
    asked,
    task,
    asked[0].template if asked else 0,
    few_shot.read_exemplar_pool(task, item.dataset, train, seed),
    prompt_format,
    shots=shots,
    markers=markers,
    seed=seed,
    same_split=getattr(item.ranges, part).split == train.split,
  )
