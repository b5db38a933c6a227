"""The scores of one task: part of the results of an evaluation.

`flan_tf.eval.results` describes all numbers.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from flan_tf import json_lines, name_lists
from flan_tf.eval.classification_metrics import half_interval
from flan_tf.task import schema

Json = dict[str, Any]
_NUMBER = (int, float)
_NUMBER_OR_NULL = (*_NUMBER, type(None))
# Keys that are read -> types of their values; schema 1 lacks some others.
_TEMPLATE_TYPES = {
  "template": int,
  "test": _NUMBER_OR_NULL,
  "dev": _NUMBER_OR_NULL,
  "others": dict,
}
_TASK_TYPES = {
  "task": str,
  "dataset": str,
  "cluster": str,
  "kind": str,
  "metric": str,
  "templates": list,
  "examples": int,
  "dev_examples": int,
  "left_out": dict,
  "trimmed": int,
  "test_rows_from": str,
  "majority": _NUMBER_OR_NULL,
}


@dataclasses.dataclass(frozen=True, eq=False)
class TemplateScore:
  """The scores of one template of a task.

  Attributes:
    template: index of the template among those of the task.
    test: the headline metric on the test rows; nan if undefined.
    dev: the headline metric on the dev rows; nan if there are none.
    others: the task's other metrics on the test rows.
    interval: (low, high) of the 95 % bootstrap interval of `test`; None if
      there is none.
  """

  template: int
  test: float
  dev: float = math.nan
  others: Mapping[str, float] = dataclasses.field(default_factory=dict)
  interval: tuple[float, float] | None = None

  def __eq__(self, other) -> bool:
    """Compares values, with nan equal to nan, as in a file read back."""
    if not isinstance(other, TemplateScore):
      return NotImplemented
    return self.to_json() == other.to_json()

  def __hash__(self) -> int:
    return hash(self.template)

  def to_json(self) -> Json:
    return {
      "template": self.template,
      "test": null_if_nan(self.test),
      "dev": null_if_nan(self.dev),
      "others": {
        name: null_if_nan(value) for name, value in self.others.items()
      },
      "interval": _interval_to_json(self.interval),
    }

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> "TemplateScore":
    json_lines.check_types(value, _TEMPLATE_TYPES)
    others = value["others"]
    json_lines.check_types(others, dict.fromkeys(others, _NUMBER_OR_NULL))
    return cls(
      template=value["template"],
      test=_nan_if_null(value["test"]),
      dev=_nan_if_null(value["dev"]),
      others={name: _nan_if_null(v) for name, v in others.items()},
      interval=_interval_from_json(value.get("interval")),
    )


@dataclasses.dataclass(frozen=True)
class TaskResult:
  """The scores of one task.

  Attributes:
    task: name of the task.
    dataset: name of the data set, as the paper counts data sets.
    cluster: one of `schema.CLUSTERS`.
    kind: classification or generation.
    metric: the headline metric.
    templates: scores of each evaluated template.
    examples: number of test rows that were scored.
    dev_examples: number of dev rows that were scored.
    left_out: reason -> number of test rows that were not scored.
    trimmed: number of test prompts that were too long and cut, over all
      templates.
    test_rows_from: splits and ranges of the test rows, e.g.
      "validation[125:250], because test has 3 rows".
    majority: accuracy of always choosing the most frequent right option, 0 to
      100; None for a generation.
    interval: (low, high) of the 95 % bootstrap interval of `mean`; None if
      there is none. A row is drawn with all of its templates.
    signature: sacrebleu's signature if the metric is BLEU; else "".

  Raises:
    ValueError: there are no templates, a template is there twice, or the
      cluster is unknown.
  """

  task: str
  dataset: str
  cluster: str
  kind: schema.TaskKind
  metric: str
  templates: tuple[TemplateScore, ...]
  examples: int
  dev_examples: int = 0
  left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
  trimmed: int = 0
  test_rows_from: str = ""
  majority: float | None = None
  interval: tuple[float, float] | None = None
  signature: str = ""

  def __post_init__(self):
    if self.cluster not in schema.CLUSTERS:
      raise ValueError(
        f"Result of task {self.task!r}: "
        + name_lists.unknown_name("cluster", self.cluster, schema.CLUSTERS)
      )
    indices = [score.template for score in self.templates]
    if not indices or len(set(indices)) != len(indices):
      raise ValueError(
        f"Result of task {self.task!r}: expected one score for each of one or"
        f" more templates, got templates {indices}."
      )

  @property
  def by_template(self) -> tuple[float, ...]:
    """The headline metric on the test rows, for each of `templates`."""
    return tuple(score.test for score in self.templates)

  @property
  def undefined(self) -> int:
    """Number of templates without a value; `mean` and `std` ignore them."""
    return sum(math.isnan(value) for value in self.by_template)

  @property
  def mean(self) -> float:
    """Mean of the test scores of all templates; nan if none has a value."""
    return mean_or_nan(self.by_template)

  @property
  def std(self) -> float:
    """Population standard deviation over templates; 0 for one template."""
    defined = [value for value in self.by_template if not math.isnan(value)]
    return statistics.pstdev(defined) if defined else math.nan

  @property
  def best_dev_template(self) -> int | None:
    """Index of the template with the best dev score; the first among equals.

    None if no template has a dev score.
    """
    best = self._best_dev()
    return None if best is None else best.template

  @property
  def best_dev_test(self) -> float:
    """Test score of `best_dev_template`; nan if there is none."""
    best = self._best_dev()
    return math.nan if best is None else best.test

  @property
  def majority_interval(self) -> float | None:
    """Half the width of the 95 % interval of `majority`, in points."""
    if self.majority is None:
      return None
    return half_interval(self.majority, self.examples)

  def _best_dev(self) -> TemplateScore | None:
    scored = [score for score in self.templates if not math.isnan(score.dev)]
    return min(scored, key=lambda s: (-s.dev, s.template), default=None)

  def to_json(self) -> Json:
    return {
      "task": self.task,
      "dataset": self.dataset,
      "cluster": self.cluster,
      "kind": self.kind.name.lower(),
      "metric": self.metric,
      "signature": self.signature,
      "by_template": [null_if_nan(value) for value in self.by_template],
      "mean": null_if_nan(self.mean),
      "std": null_if_nan(self.std),
      "interval": _interval_to_json(self.interval),
      "best_dev_template": self.best_dev_template,
      "best_dev_test": null_if_nan(self.best_dev_test),
      "examples": self.examples,
      "dev_examples": self.dev_examples,
      "left_out": dict(self.left_out),
      "trimmed": self.trimmed,
      "test_rows_from": self.test_rows_from,
      "majority": self.majority,
      "majority_interval": self.majority_interval,
      "templates": [score.to_json() for score in self.templates],
    }

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> "TaskResult":
    json_lines.check_types(value, _TASK_TYPES)
    return cls(
      task=value["task"],
      dataset=value["dataset"],
      cluster=value["cluster"],
      kind=schema.TaskKind[value["kind"].upper()],
      metric=value["metric"],
      templates=tuple(map(TemplateScore.from_json, value["templates"])),
      examples=value["examples"],
      dev_examples=value["dev_examples"],
      left_out=dict(value["left_out"]),
      trimmed=value["trimmed"],
      test_rows_from=value["test_rows_from"],
      majority=value["majority"],
      interval=_interval_from_json(value.get("interval")),
      signature=value.get("signature", ""),
    )


def mean_or_nan(values: Iterable[float]) -> float:
  """Returns the mean of the values that are not nan; nan if there are none."""
  defined = [value for value in values if not math.isnan(value)]
  return statistics.fmean(defined) if defined else math.nan


def null_if_nan(value: float) -> float | None:
  return None if math.isnan(value) else value


def _interval_to_json(
  interval: tuple[float, float] | None,
) -> list[float] | None:
  return None if interval is None else list(interval)


def _interval_from_json(ends: Any) -> tuple[float, float] | None:
  if ends is None:
    return None
  if (
    not isinstance(ends, list)
    or len(ends) != 2
    or not all(isinstance(end, _NUMBER) for end in ends)
  ):
    raise ValueError(f"key 'interval' is {ends!r:.80}; expected two numbers.")
  return ends[0], ends[1]


def _nan_if_null(value: float | None) -> float:
  return math.nan if value is None else value
