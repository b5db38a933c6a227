"""What an evaluation found, as one value: `results.json` on disk.

A task is asked in several wordings. Two numbers sum them up (paper, section
3): the mean over templates with its spread, which says what a user's own
wording may get; and the test score of the template that did best on the dev
rows, which says what a well chosen wording gets.

nan in Python and null in JSON stand for a number that does not exist: the dev
score where there are no dev rows, the correlation of a constant. Scores and
intervals are percentages, correlations times 100; an interval is [low, high].

    schema         2; a file without it is of schema 1
    checkpoint     the folder of the weights
    label          base, tuned, ...
    held_out       clusters or tasks kept out of training; "" if none
    seed           of the draws of rows, exemplars and resamples
    settings       separator, precision, max_examples, row_length (tokens),
                   wording, shots, markers, score; where there are any chat,
                   exemplars, max_new (tokens)
    tuned_start    whether others had tuned the weights on instructions
    clusters       cluster -> mean of its tasks' means
    not_read       task -> why it has no result
    run            weights (a fingerprint), mesh, layout, platform, cores, batch
                   (rows), chunk (requests), resamples, packages -> version
    time           seconds, answered and read_back (requests answered now, and
                   kept from before), examples_per_second (of those now)
    tasks          a list of:
      task, dataset, cluster, kind, metric, signature (of BLEU)
      by_template    the metric on the test rows, of each template
      mean, std, interval            over templates; 95 %, of the mean
      best_dev_template, best_dev_test
      examples, dev_examples         rows scored, of each template
      left_out       reason -> test rows not scored
      trimmed        test prompts that lost a part, of all templates
      test_rows_from where they come from
      majority, majority_interval    of always the most frequent option; half
                     its 95 % interval
      templates      a list of template (its number), test, dev, interval (of
                     test), others (metric -> value on the test rows)
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from flan_tf import name_lists
from flan_tf.eval import metrics
from flan_tf.task import schema

Json = dict[str, Any]
# Of results.json. 1 had no intervals, and neither `run` nor `time`.
SCHEMA = 2


@dataclasses.dataclass(frozen=True, eq=False)
class TemplateScore:
  """One template of one task.

  Attributes:
    template: its index among the task's templates.
    test: the headline metric on the test rows; nan where undefined.
    dev: the same on the dev rows; nan where there are none.
    others: the task's other metrics on the test rows.
    interval: of `test` the ends of its 95 % bootstrap interval; None where
      there is none.
  """

  template: int
  test: float
  dev: float = math.nan
  others: Mapping[str, float] = dataclasses.field(default_factory=dict)
  interval: tuple[float, float] | None = None

  def __eq__(self, other) -> bool:
    """By value, with nan equal to nan: a file read back is the same."""
    if not isinstance(other, TemplateScore):
      return NotImplemented
    return self.to_json() == other.to_json()

  def __hash__(self) -> int:
    return hash(self.template)

  def to_json(self) -> Json:
    return {
      "template": self.template,
      "test": _null(self.test),
      "dev": _null(self.dev),
      "others": {name: _null(value) for name, value in self.others.items()},
      "interval": _ends(self.interval),
    }

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> "TemplateScore":
    return cls(
      template=value["template"],
      test=_number(value["test"]),
      dev=_number(value["dev"]),
      others={name: _number(v) for name, v in value["others"].items()},
      interval=_interval(value.get("interval")),
    )


@dataclasses.dataclass(frozen=True)
class TaskResult:
  """One task, all its evaluated templates.

  Attributes:
    task: the task's name.
    dataset: the data set as the paper counts it.
    cluster: one of `schema.CLUSTERS`.
    kind: classification or generation.
    metric: the headline metric.
    templates: a score for each template that asks for the answer.
    examples: test rows scored.
    dev_examples: dev rows scored.
    left_out: reason -> number of test rows not scored.
    trimmed: prompts that were too long and lost a part, over all templates.
    test_rows_from: where the test rows come from, e.g. "validation[125:250],
      because test has 3 rows".
    majority: accuracy of always giving the most frequent right option, 0 to
      100 (`metrics.majority`); None for a generation.
    interval: of `mean` the ends of its 95 % bootstrap interval; None where
      there is none. Rows are drawn, each with all of its templates.
    signature: of BLEU sacrebleu's own; else empty.

  Raises:
    ValueError: no templates, one of them twice, or an unknown cluster.
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
    """The headline metric on the test rows, in the order of `templates`."""
    return tuple(score.test for score in self.templates)

  @property
  def undefined(self) -> int:
    """How many templates have no value; `mean` and `std` are of the rest."""
    return sum(math.isnan(value) for value in self.by_template)

  @property
  def mean(self) -> float:
    """Mean over templates; nan if no template has a value."""
    return mean(self.by_template)

  @property
  def std(self) -> float:
    """Population standard deviation over templates: 0 for a single one."""
    defined = [value for value in self.by_template if not math.isnan(value)]
    return statistics.pstdev(defined) if defined else math.nan

  @property
  def best_dev_template(self) -> int | None:
    """Index of the template with the best dev score, the lowest of equals.

    None where no template has a dev score.
    """
    best = self._best_dev()
    return None if best is None else best.template

  @property
  def best_dev_test(self) -> float:
    """Test score of `best_dev_template`; nan where there is none."""
    best = self._best_dev()
    return math.nan if best is None else best.test

  @property
  def majority_interval(self) -> float | None:
    """Half the 95 % interval of `majority` over the test rows, in points."""
    if self.majority is None:
      return None
    return metrics.half_interval(self.majority, self.examples)

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
      "by_template": [_null(value) for value in self.by_template],
      "mean": _null(self.mean),
      "std": _null(self.std),
      "interval": _ends(self.interval),
      "best_dev_template": self.best_dev_template,
      "best_dev_test": _null(self.best_dev_test),
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
      interval=_interval(value.get("interval")),
      signature=value.get("signature", ""),
    )


@dataclasses.dataclass(frozen=True)
class EvaluationResults:
  """One checkpoint, all its evaluated tasks.

  Attributes:
    checkpoint: where the weights came from.
    label: a short name for tables and plots, e.g. `base` or `tuned`.
    tasks: results in the order in which they are reported.
    held_out: the cluster kept out of training; empty if none.
    not_read: task -> why its data could not be read.
    seed: of the choice of rows.
    settings: what the answers depend on besides; JSON values.
    tuned_start: whether the weights that all began with were tuned on
      instructions already, by others.
    run: what computed it: devices, packages; JSON values.
    time: how long it took, and how fast; JSON values. Alone of all values, it
      differs where an evaluation was stopped and went on.

  Raises:
    ValueError: two results for one task, or values that JSON cannot hold.
  """

  checkpoint: str
  label: str
  tasks: tuple[TaskResult, ...]
  held_out: str = ""
  not_read: Mapping[str, str] = dataclasses.field(default_factory=dict)
  seed: int = 0
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  tuned_start: bool = False
  run: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  time: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    names = [result.task for result in self.tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
      raise ValueError(f"Results {self.label!r}: twice in tasks: {twice}.")
    for name in ("settings", "run", "time"):
      try:
        plain = json.loads(
          json.dumps(dict(getattr(self, name)), allow_nan=False)
        )
      except (TypeError, ValueError) as error:
        raise ValueError(
          f"Results {self.label!r}: {name} must be JSON values: {error}."
        ) from error
      # Tuples become lists here and now, so that a file read back is equal.
      object.__setattr__(self, name, plain)

  def get(self, task: str) -> TaskResult | None:
    """The result of a task, or None if it was not evaluated."""
    return next((r for r in self.tasks if r.task == task), None)

  @property
  def clusters(self) -> dict[str, float]:
    """Cluster -> mean of its tasks' means, those without a value aside."""
    return {
      cluster: mean(r.mean for r in self.tasks if r.cluster == cluster)
      for cluster in schema.CLUSTERS
      if any(r.cluster == cluster for r in self.tasks)
    }

  def to_json(self) -> Json:
    """Plain JSON values; `from_json` gives an equal value back."""
    return {
      "schema": SCHEMA,
      "checkpoint": self.checkpoint,
      "label": self.label,
      "held_out": self.held_out,
      "seed": self.seed,
      "settings": dict(self.settings),
      "tuned_start": self.tuned_start,
      "clusters": {name: _null(mean) for name, mean in self.clusters.items()},
      "tasks": [result.to_json() for result in self.tasks],
      "not_read": dict(self.not_read),
      "run": dict(self.run),
      "time": dict(self.time),
    }

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> "EvaluationResults":
    """Reads what `to_json` wrote; means are computed anew.

    Raises:
      ValueError: a key is missing, or a later version wrote it.
    """
    if value.get("schema", 1) > SCHEMA:
      raise ValueError(
        f"Results of schema {value['schema']}; this version reads 1 to"
        f" {SCHEMA}. Install the flan_tf that wrote them, or a later one."
      )
    try:
      return cls(
        checkpoint=value["checkpoint"],
        label=value["label"],
        tasks=tuple(map(TaskResult.from_json, value["tasks"])),
        held_out=value["held_out"],
        not_read=dict(value["not_read"]),
        seed=value["seed"],
        settings=value["settings"],
        tuned_start=value.get("tuned_start", False),
        run=value.get("run", {}),
        time=value.get("time", {}),
      )
    except KeyError as error:
      raise ValueError(
        f"Results: key {error} is missing or unknown. Expected what"
        " EvaluationResults.to_json wrote; evaluate again if another version"
        " wrote it."
      ) from error

  def write_json(self, path: str) -> None:
    """Writes one file, local or `gs://`, and the folder it lies in."""
    import tensorflow as tf

    folder = path.rpartition("/")[0]
    if folder:
      tf.io.gfile.makedirs(folder)
    text = json.dumps(
      self.to_json(), indent=2, ensure_ascii=False, allow_nan=False
    )
    with tf.io.gfile.GFile(path, "w") as file:
      file.write(text + "\n")

  @classmethod
  def read(cls, path: str) -> "EvaluationResults":
    """Reads a file that `write_json` wrote, local or `gs://`.

    Raises:
      FileNotFoundError: nothing is there.
      ValueError: it is not such a file.
    """
    import tensorflow as tf

    if not tf.io.gfile.exists(path):
      raise FileNotFoundError(
        f"No results at {path}. `evaluate` writes results.json into its"
        " output folder."
      )
    with tf.io.gfile.GFile(path, "r") as file:
      text = file.read()
    try:
      return cls.from_json(json.loads(text))
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from error


def mean(values: Iterable[float]) -> float:
  """Mean of the values that are not nan; nan if none is left."""
  defined = [value for value in values if not math.isnan(value)]
  return statistics.fmean(defined) if defined else math.nan


def _null(value: float) -> float | None:
  """JSON has no nan."""
  return None if math.isnan(value) else value


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
  return None if interval is None else list(interval)


def _interval(ends: list[float] | None) -> tuple[float, float] | None:
  return None if ends is None else (ends[0], ends[1])


def _number(value: float | None) -> float:
  return math.nan if value is None else value
