"""The results of an evaluation: one value, stored as `results.json`.

A task is evaluated with several templates. Two numbers summarize them (paper,
section 3). The mean over templates, with its standard deviation, is the score
that a user's own wording may get. The test score of the template that is best
on the dev rows is the score that a well-chosen wording gets.

A number that does not exist is nan in Python and null in JSON: a dev score
without dev rows, or the correlation with a constant. Scores and intervals are
percentages, correlations are multiplied by 100, and an interval is [low, high].

    schema         2; a file without this key has schema 1
    checkpoint     folder of the weights
    label          base, tuned, ...
    held_out       clusters or tasks that were not trained on; "" if none
    seed           seed of the draws of rows, exemplars and resamples
    settings       separator, precision, max_examples, row_length (tokens),
                   wording, shots, markers, score; if they are used, chat,
                   exemplars, max_new (tokens)
    tuned_start    whether others tuned the weights on instructions before
    clusters       cluster -> mean of its tasks' means
    not_read       task -> reason why it has no result
    run            weights (a fingerprint), mesh, layout, platform, cores, batch
                   (rows), chunk (requests), resamples, packages -> version
    time           seconds, answered (number of requests answered now),
                   read_back (number of requests whose answers were in a log),
                   examples_per_second (of those answered now)
    tasks          a list of:
      task, dataset, cluster, kind, metric, signature (of BLEU)
      by_template    metric on the test rows, for each template
      mean, std      mean and standard deviation over templates
      interval       95 % interval of the mean
      best_dev_template, best_dev_test
      examples, dev_examples         number of rows of each template
      left_out       reason -> number of test rows that cannot be scored
      trimmed        number of test prompts that were cut, over all templates
      test_rows_from splits and ranges of the test rows
      majority       accuracy of always choosing the most frequent option
      majority_interval              half the width of its 95 % interval
      templates      a list of template (its index), test, dev, interval (of
                     test), others (metric -> value on the test rows)
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from flan_tf import json_lines, safe_files
from flan_tf.eval.task_result import (
  Json,
  TaskResult,
  mean_or_nan,
  null_if_nan,
)
from flan_tf.task import schema

# Schema of results.json. Schema 1 had no intervals, `run` and `time`.
SCHEMA = 2
# Keys that are read -> types of their values; schema 1 lacks some others.
_TYPES = {
  "checkpoint": str,
  "label": str,
  "tasks": list,
  "held_out": str,
  "not_read": dict,
  "seed": int,
  "settings": dict,
}


@dataclasses.dataclass(frozen=True)
class EvaluationResults:
  """The scores of one model.

  Attributes:
    checkpoint: folder that the weights were loaded from.
    label: short name for tables and plots, e.g. `base` or `tuned`.
    tasks: results in the order in which they are reported.
    held_out: clusters or tasks that were not trained on; "" if none.
    not_read: task -> reason why it has no result.
    seed: seed of the draws of rows, exemplars and resamples.
    settings: other settings that the answers depend on; JSON values.
    tuned_start: True if others tuned the first weights on instructions before.
    run: devices, sizes and package versions; JSON values.
    time: duration and speed; JSON values. All other values are equal if an
      evaluation was stopped and resumed.

  Raises:
    ValueError: a task has two results, or a value is not a JSON value.
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
      raise ValueError(
        f"Results {self.label!r}: expected one result for each task; twice in"
        f" tasks: {twice}."
      )
    for name in ("settings", "run", "time"):
      try:
        plain = json.loads(
          json.dumps(dict(getattr(self, name)), allow_nan=False)
        )
      except (TypeError, ValueError) as error:
        raise ValueError(
          f"Results {self.label!r}: {name} must be JSON values: {error}."
        ) from error
      # JSON turns tuples into lists; done here, a file read back is equal.
      object.__setattr__(self, name, plain)

  def get(self, task: str) -> TaskResult | None:
    """Returns the result of a task, or None if it was not evaluated."""
    return next((r for r in self.tasks if r.task == task), None)

  @property
  def clusters(self) -> dict[str, float]:
    """Cluster -> mean of its tasks' means, ignoring tasks without a value."""
    return {
      cluster: mean_or_nan(r.mean for r in self.tasks if r.cluster == cluster)
      for cluster in schema.CLUSTERS
      if any(r.cluster == cluster for r in self.tasks)
    }

  def to_json(self) -> Json:
    """Returns JSON values; `from_json` turns them into an equal value."""
    return {
      "schema": SCHEMA,
      "checkpoint": self.checkpoint,
      "label": self.label,
      "held_out": self.held_out,
      "seed": self.seed,
      "settings": dict(self.settings),
      "tuned_start": self.tuned_start,
      "clusters": {
        name: null_if_nan(mean) for name, mean in self.clusters.items()
      },
      "tasks": [result.to_json() for result in self.tasks],
      "not_read": dict(self.not_read),
      "run": dict(self.run),
      "time": dict(self.time),
    }

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> "EvaluationResults":
    """Builds results from the value of `to_json`; computes means again.

    Raises:
      ValueError: a key is missing, or a later version wrote the value.
    """
    written_by = value.get("schema", 1)
    if not isinstance(written_by, int) or written_by > SCHEMA:
      raise ValueError(
        f"Results of schema {written_by!r}; this version reads 1 to"
        f" {SCHEMA}. Install the version of flan_tf that wrote them, or a later"
        " one."
      )
    try:
      json_lines.check_types(value, _TYPES)
      reasons = value["not_read"]
      json_lines.check_types(reasons, dict.fromkeys(reasons, str))
      return cls(
        checkpoint=value["checkpoint"],
        label=value["label"],
        tasks=tuple(map(TaskResult.from_json, value["tasks"])),
        held_out=value["held_out"],
        not_read=dict(reasons),
        seed=value["seed"],
        settings=value["settings"],
        tuned_start=value.get("tuned_start", False),
        run=value.get("run", {}),
        time=value.get("time", {}),
      )
    except (KeyError, ValueError) as error:
      what = f"{error} is unknown." if isinstance(error, KeyError) else error
      raise ValueError(
        f"These are not results of an evaluation: {what} If another version of"
        " flan_tf wrote them, evaluate again."
      ) from error

  def write_json(self, path: str) -> None:
    """Writes the results to a file, local or gs://, and creates its folder."""
    import tensorflow as tf

    folder = path.rpartition("/")[0]
    if folder:
      tf.io.gfile.makedirs(folder)
    text = json.dumps(
      self.to_json(), indent=2, ensure_ascii=False, allow_nan=False
    )
    safe_files.write_text(path, text + "\n")

  @classmethod
  def read(cls, path: str) -> "EvaluationResults":
    """Reads a file that `write_json` wrote, local or gs://.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not one of results.
    """
    import tensorflow as tf

    if not tf.io.gfile.exists(path):
      raise FileNotFoundError(
        f"No results at {path}. `launch.evaluate` writes results.json into its"
        " output folder."
      )
    with tf.io.gfile.GFile(path, "rb") as file:
      content = file.read()
    try:
      return cls.from_json(json_lines.parse_object(content))
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from error
