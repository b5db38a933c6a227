"""The requests of a task: all its templates, in one fixed order.

Requests are numbered template by template, test rows before dev rows. So
requests with the same exemplars are neighbors:

    template 0: test rows, dev rows; template 1: test rows, dev rows; ...

The prompts of a template are written when they are needed. A task may have a
hundred thousand requests, each with its own exemplars.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flan_tf.data import (
  few_shot,
  opened_tasks,
  requests,
  row_ranges,
)
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.eval.evaluation_config import EvaluationConfig
from flan_tf.eval.fingerprint import fingerprint_requests
from flan_tf.eval.prediction_log import DEV, TEST
from flan_tf.inference.language_model import LanguageModel
from flan_tf.task import schema, wordings

HIDDEN, LEFT_OUT = "hidden label", "left out by the task"


class _Block(NamedTuple):
  """The requests of one template on the rows of one part."""

  template: int
  part: str
  examples: Sequence[requests.Example]


class TaskRequests:
  """The requests of one task.

  Args:
    model: the model; its run has the default markers.
    item: the task, in the wording to evaluate, with its data set.
    prompt_format: decides how many exemplars fit into a prompt.
    config: settings of the evaluation.

  Attributes:
    test: the test examples, and how many test rows cannot be scored.
    dev: the dev examples, and how many dev rows cannot be scored.
    templates: indices of the templates to evaluate.
  """

  def __init__(
    self,
    model: LanguageModel,
    item: opened_tasks.OpenedTask,
    prompt_format: PromptFormat,
    config: EvaluationConfig,
  ):
    self._model, self._item = model, item
    self._prompt_format, self._config = prompt_format, config
    self.test = self._read_examples(item.ranges.test)
    self.dev = self._read_examples(item.ranges.dev)
    self.templates = evaluated_templates(item.task, config)
    self._pool: tuple[requests.Example, ...] = ()
    if config.shots:
      self._pool = few_shot.read_exemplar_pool(
        item.task, item.dataset, item.ranges.train, config.seed
      )
    # The requests of the last block, since chunks are smaller than blocks.
    self._written_key: tuple[int, str] | None = None
    self._written: list[requests.Request] = []

  def __len__(self) -> int:
    """Returns the number of requests."""
    return sum(len(block.examples) for block in self._blocks())

  @property
  def left_out(self) -> dict[str, int]:
    """Number of test rows that cannot be scored, by reason."""
    counts = {HIDDEN: self.test.hidden, LEFT_OUT: self.test.left_out}
    return {reason: count for reason, count in counts.items() if count}

  @property
  def fingerprint(self) -> str:
    """Fingerprint of everything that the requests are written from."""
    task = self._item.task
    return fingerprint_requests(
      [task.templates[template] for template in self.templates],
      [*self.test.rows, *self.dev.rows, *self._pool],
      self._prompt_format,
      task.baseline,
    )

  def write(self, numbers: range) -> list[requests.Request]:
    """Returns the requests with these numbers."""
    found, begin = [], 0
    for block in self._blocks():
      size = len(block.examples)
      first, last = numbers.start - begin, numbers.stop - begin
      if first < size and last > 0:
        found += self._write_block(block)[max(first, 0) : last]
      begin += size
    return found

  def _blocks(self) -> Iterator[_Block]:
    for template in self.templates:
      yield _Block(template, TEST, self.test.rows)
      yield _Block(template, DEV, self.dev.rows)

  def _write_block(self, block: _Block) -> list[requests.Request]:
    key = block.template, block.part
    if self._written_key != key:
      self._written_key, self._written = key, self._with_exemplars(block)
    return self._written

  def _with_exemplars(self, block: _Block) -> list[requests.Request]:
    task, ranges, config = self._item.task, self._item.ranges, self._config
    rows = ranges.test if block.part == TEST else ranges.dev
    markers = config.markers or self._model.run.data.markers
    return few_shot.add_exemplars(
      requests.render_requests(
        task, block.examples, block.template, block.part
      ),
      task,
      block.template,
      self._pool,
      self._prompt_format,
      shots=config.shots,
      markers=wordings.markers(markers),
      seed=config.seed,
      same_split=rows.split == ranges.train.split,
      fixed=config.exemplars == "fixed",
    )

  def _read_examples(
    self, rows: row_ranges.RowRange
  ) -> requests.EvaluationRows:
    return requests.read_evaluation_rows(
      self._item.task,
      self._item.dataset,
      rows,
      self._config.max_examples or None,
      self._config.seed,
    )


def evaluated_templates(
  task: schema.Task, config: EvaluationConfig
) -> tuple[int, ...]:
  """Returns the chosen templates that ask for the answer, by index."""
  chosen = config.templates or task.forward_templates
  return tuple(t for t in chosen if t in task.forward_templates)


def max_requests(
  item: opened_tasks.OpenedTask, config: EvaluationConfig
) -> int:
  """Returns an upper bound of a task's requests, before its rows are read."""
  sizes = len(item.ranges.test), len(item.ranges.dev)
  limit = config.max_examples or max(sizes)
  rows = sum(min(size, limit) for size in sizes)
  return rows * len(evaluated_templates(item.task, config))
