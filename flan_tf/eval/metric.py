"""A metric, as one value of the table in `flan_tf.eval.metrics`."""

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Sequence

import numpy as np

from flan_tf.eval import classification_metrics, text_metrics
from flan_tf.task.schema import TaskKind
from flan_tf.version import __version__

# The package of metrics that are computed here.
OURS = "flan_tf"


@dataclasses.dataclass(frozen=True)
class Metric:
  """A metric.

  Attributes:
    name: name in the task table, e.g. `macro_f1`.
    kind: kind of the tasks that it scores; decides what predictions are.
    package: the distribution that computes it; its version is reported.
    about: short description.
    function: computes the metric of a set: of `Choices` for a classification,
      of (predictions, references) for a generation.
    per_example: computes float64 [N], 0 to 100, of (predictions, references).
      The metric is the mean of these values, unless there is a `stand_in`.
    stand_in: description of `per_example` where only whole sets have a value of
      the metric; else "".
    equal: returns 1 if a prediction equals a reference after the metric's own
      normalization; None for a metric without normalization.
    grouped: True if the examples of a group are scored together.
  """

  name: str
  kind: TaskKind
  package: str
  about: str
  function: Callable[..., float]
  per_example: Callable[..., np.ndarray]
  stand_in: str = ""
  equal: Callable[[str, str], float] | None = None
  grouped: bool = False

  def describe(self) -> str:
    """Returns the description, with name and version of the package."""
    if self.package == OURS:
      return f"{self.about} ({OURS} {__version__})"
    version = importlib.metadata.version(self.package)
    return f"{self.about} ({self.package} {version})"


def _mean_of_examples(
  per_example: Callable[..., np.ndarray],
  predictions: Sequence[str],
  references: Sequence[Sequence[str]],
) -> float:
  return float(np.mean(per_example(predictions, references)))


def choice_metric(
  name: str,
  package: str,
  about: str,
  function: Callable[..., float],
  grouped: bool = False,
) -> Metric:
  """Returns a metric of choices; accuracy stands in for single examples."""
  return Metric(
    name=name,
    kind=TaskKind.CLASSIFICATION,
    package=package,
    about=about,
    function=function,
    per_example=classification_metrics.is_right,
    stand_in="" if name == "accuracy" else "accuracy",
    grouped=grouped,
  )


def text_metric(
  name: str,
  package: str,
  about: str,
  per_example: Callable[..., np.ndarray],
  equal: Callable[[str, str], float] | None = None,
) -> Metric:
  """Returns a metric of texts that is the mean over examples."""
  return Metric(
    name=name,
    kind=TaskKind.GENERATION,
    package=package,
    about=about,
    function=functools.partial(_mean_of_examples, per_example),
    per_example=per_example,
    equal=equal,
  )


def answer_metric(
  name: str,
  about: str,
  score: Callable[[str, str], float],
  equal: Callable[[str, str], float] | None = None,
) -> Metric:
  """Returns the mean over examples of a score of `qa_metrics`."""
  return text_metric(
    name=name,
    package=OURS,
    about=f"{about}, best of the references",
    per_example=functools.partial(text_metrics.answer_scores, score),
    equal=equal,
  )


def rouge_metric(name: str, what: str) -> Metric:
  return text_metric(
    name=name,
    package="rouge-score",
    about=f"F-measure of {what}, no stemming, best of the references",
    per_example=functools.partial(text_metrics.rouge_scores, name),
  )
