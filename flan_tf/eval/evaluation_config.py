"""The settings of an evaluation; importing them does not import TensorFlow."""

import dataclasses

from flan_tf import name_lists
from flan_tf.config import EXEMPLARS, SCORES, checks
from flan_tf.task import wordings

_MOST_RESAMPLES = 1_000_000


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """Settings of an evaluation.

  Attributes:
    max_examples: maximum number of test rows and of dev rows of a task, drawn
      at random; 0 for all.
    seed: seed of this draw, of the exemplars and of the bootstrap.
    templates: indices of the templates to evaluate; empty for all that ask for
      the answer.
    wording: name of a wording, see `flan_tf.task.wordings`.
    shots: number of exemplars before each query, drawn from training rows.
    exemplars: "per_query" draws exemplars for each query, as in the paper;
      "fixed" uses the same exemplars for all queries of a template, so that
      the model reads them once.
    score: name of the score that options are ranked by, see
      `flan_tf.inference.predictions`.
    markers: texts around prompts and answers, see `wordings.markers`; empty for
      those that the model was trained with.
    max_new: maximum number of new tokens of a generation; 0 for the target
      length of the run.
    chunk: number of requests that are answered and written together. For
      generations, which take longer, it is a quarter of this.
    resamples: number of draws of the bootstrap.

  Raises:
    ValueError: a name is unknown, or a number is out of its range.
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

  def __post_init__(self):
    for setting, known in (
      ("wording", wordings.WORDINGS),
      ("exemplars", EXEMPLARS),
      ("score", SCORES),
    ):
      name = getattr(self, setting)
      if name not in known:
        raise ValueError(name_lists.unknown_name(setting, name, known))
    for setting in ("max_examples", "shots"):
      checks.not_negative(setting, getattr(self, setting))
    for index in self.templates:
      checks.not_negative("templates", index)
    checks.not_negative(
      "max_new", self.max_new, checks.LONGEST_ROW, checks.ROW_IN_MEMORY
    )
    checks.positive("chunk", self.chunk)
    checks.positive(
      "resamples", self.resamples, _MOST_RESAMPLES, "each draws all rows again"
    )
    checks.seed("seed", self.seed)
