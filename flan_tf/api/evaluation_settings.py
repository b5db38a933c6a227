"""Settings of an evaluation as keyword arguments, without TensorFlow."""

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

from flan_tf import name_lists
from flan_tf.api.task_table import tasks as task_table
from flan_tf.eval.evaluation_config import EvaluationConfig
from flan_tf.task import holdout, schema

# As `base_wording`: the untuned model is evaluated twice, with the baseline
# prompts and in the wording of the tuned model.
BOTH = "both"


class EvaluationSettings(TypedDict, total=False):
  """The settings of `EvaluationConfig` as keyword arguments."""

  max_examples: int
  seed: int
  templates: tuple[int, ...]
  wording: str
  shots: int
  exemplars: str
  score: str
  markers: str
  max_new: int
  chunk: int
  resamples: int


def make_config(settings: EvaluationSettings) -> EvaluationConfig:
  """Returns the settings; raises TypeError if one is unknown."""
  known = [field.name for field in dataclasses.fields(EvaluationConfig)]
  for name in settings:
    if name not in known:
      raise TypeError(
        f"evaluate: {name_lists.unknown_name('setting', name, known)}"
      )
  return EvaluationConfig(**settings)


def select_tasks(
  held_out: str | Sequence[str],
  names: str | Sequence[str],
  clusters: str | Sequence[str],
) -> tuple[tuple[str, ...], tuple[schema.Task, ...]]:
  """Returns (expanded held-out names, tasks to evaluate).

  Raises:
    ValueError: nothing is named, or an unknown name.
  """
  known = task_table.registry()
  named = _names(names), _names(clusters)
  expanded = holdout.expand(known, _names(held_out))
  if not (expanded or any(named)):
    raise ValueError(
      "There is nothing to evaluate: give held_out, tasks or clusters, e.g."
      " held_out=nli."
    )
  chosen = holdout.held_out_tasks(known, expanded)
  if any(named):
    selected = known.select(*named)
    chosen = tuple(t for t in known if t in chosen or t in selected)
  return expanded, chosen


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
  return (
    name_lists.split_names(names) if isinstance(names, str) else tuple(names)
  )
