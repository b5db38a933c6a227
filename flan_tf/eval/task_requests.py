"""What a task's rows are asked: all templates of them, in one fixed order.

The requests of a task are numbered, template by template, test rows before dev
rows, so that those with the same exemplars stand together:

    template 0: test rows, dev rows; template 1: test rows, dev rows; ...

They are written when they are needed: of all templates there may be a hundred
thousand, each with exemplars of its own.
"""

import dataclasses
from collections.abc import Iterator

from flan_tf.data import few_shot, pipeline, prompt_format, requests, row_ranges
from flan_tf.eval import fingerprint, prediction_log
from flan_tf.inference.language_model import LanguageModel
from flan_tf.task import schema, wordings

HIDDEN, LEFT_OUT = "hidden label", "left out by the task"


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """How to evaluate.

  Attributes:
    max_examples: most test rows and most dev rows of a task, drawn at random;
      0 for all.
    seed: of that draw, of exemplars and of the bootstrap.
    templates: which templates; empty for all that ask for the answer.
    wording: see `flan_tf.task.wordings`.
    shots: exemplars before each query, drawn from training rows.
    exemplars: "per_query", as the paper draws them, or "fixed": the same ones
      before all queries of a template, which are read once.
    score: what options are ranked by, see `flan_tf.inference.predictions`.
    markers: around prompts and answers, as `wordings.markers` takes them;
      empty for those that the model was trained with.
    max_new: most new tokens of a generation; 0 for the run's target length.
    chunk: requests that are answered, and then kept, at once; of generations,
      which take longer, a quarter.
    resamples: draws of the bootstrap.
  """

  max_examples: int = 0
  seed: int = 0
  templates: tuple[int, ...] = ()
  wording: str = wordings.INSTRUCTIONS
  shots: int = 0
  exemplars: str = "per_query"
  score: str = "sum"
  markers: str = ""
  max_new: int = 0
  chunk: int = 512
  resamples: int = 1_000


class TaskRequests:
  """The requests of one task.

  Args:
    model: what is asked; its vocabulary cuts exemplars.
    item: the task, in the wording to ask, and its rows.
    limits: lengths and separator.
    settings: see Settings.

  Attributes:
    test: the test rows, and how many could not be scored.
    dev: the same of the dev rows.
    templates: those that are asked.
  """

  def __init__(
    self,
    model: LanguageModel,
    item: pipeline.PlannedTask,
    limits: prompt_format.Limits,
    settings: EvaluationConfig,
  ):
    self._model, self._item = model, item
    self._limits, self._settings = limits, settings
    self.test = self._read(item.plan.test)
    self.dev = self._read(item.plan.dev)
    self.templates = templates(item.task, settings)
    self._pool: tuple[requests.EvaluationRow, ...] = ()
    if settings.shots:
      self._pool = few_shot.read_pool(
        item.task, item.dataset, item.plan.train, settings.seed
      )
    self._written: tuple[object, list[requests.Request]] = None, []

  def __len__(self) -> int:
    return sum(len(rows) for *_, rows in self._stretches())

  @property
  def left_out(self) -> dict[str, int]:
    """Why test rows are not asked, and how many."""
    counts = {HIDDEN: self.test.hidden, LEFT_OUT: self.test.left_out}
    return {reason: count for reason, count in counts.items() if count}

  @property
  def fingerprint(self) -> str:
    """Of all that the requests are written from."""
    task = self._item.task
    return fingerprint.of_values(
      [
        [task.templates[template] for template in self.templates],
        *self.test.rows,
        *self.dev.rows,
        *self._pool,
        self._limits,
        task.baseline,
      ]
    )

  def ask(
    self, numbers: range
  ) -> list[tuple[tuple[str, int], requests.Request]]:
    """The requests of these numbers, each with its part and template."""
    found, begin = [], 0
    for part, template, rows in self._stretches():
      first, last = numbers.start - begin, numbers.stop - begin
      begin += len(rows)
      if first < len(rows) and last > 0:
        written = self._write(part, template, rows)[max(first, 0) : last]
        found += [((part, template), request) for request in written]
    return found

  def _stretches(self) -> Iterator[tuple[str, int, tuple]]:
    for template in self.templates:
      yield prediction_log.TEST, template, self.test.rows
      yield prediction_log.DEV, template, self.dev.rows

  def _write(self, part: str, template: int, rows) -> list[requests.Request]:
    """All requests of a stretch; those of the last one are kept."""
    if self._written[0] != (part, template):
      self._written = (part, template), self._prompts(part, template, rows)
    return self._written[1]

  def _prompts(self, part: str, template: int, rows) -> list[requests.Request]:
    task, plan, settings = self._item.task, self._item.plan, self._settings
    range_ = plan.test if part == prediction_log.TEST else plan.dev
    markers = settings.markers or self._model.run.data.markers
    return few_shot.with_exemplars(
      task,
      requests.prompts_for(task, rows, template),
      template,
      self._pool,
      settings.shots,
      wordings.markers(markers),
      self._model.vocabulary,
      self._limits,
      settings.seed,
      same_split=range_.split == plan.train.split,
      fixed=settings.exemplars == "fixed",
    )

  def _read(self, rows: row_ranges.RowRange) -> requests.EvaluationRows:
    return requests.read_evaluation_rows(
      self._item.task,
      self._item.dataset,
      rows,
      self._settings.max_examples or None,
      self._settings.seed,
    )


def templates(task: schema.Task, settings: EvaluationConfig) -> tuple[int, ...]:
  """The templates to ask: those chosen that ask for the answer."""
  chosen = settings.templates or task.forward_templates
  return tuple(t for t in chosen if t in task.forward_templates)


def most_requests(
  item: pipeline.PlannedTask, settings: EvaluationConfig
) -> int:
  """How many requests a task may have, before its rows are read."""
  limit = settings.max_examples or max(len(item.plan.test), len(item.plan.dev))
  rows = min(len(item.plan.test), limit) + min(len(item.plan.dev), limit)
  return rows * len(templates(item.task, settings))
