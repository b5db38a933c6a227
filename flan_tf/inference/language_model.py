"""A checkpoint, loaded on a mesh, that scores and generates."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_tf.inference import generator, loaded_model, scorer
from flan_tf.sampling import GREEDY, Sampling


@dataclasses.dataclass(frozen=True)
class ScoredExample:
  """Token ids whose last `scored` ones are given a probability."""

  ids: np.ndarray
  scored: int


class LanguageModel(loaded_model.LoadedModel):
  """Weights on a mesh, with programs for scoring and for decoding."""

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self._scorer = scorer.Scorer(self)
    self._decoder = generator.Generator(self)

  def score(self, examples: list[ScoredExample]) -> np.ndarray:
    """Sum of the log-probabilities of each example's scored tokens.

    Examples share rows; that changes no score.

    Args:
      examples: each at most `run.data.length` tokens long, less those of a
        soft prompt.

    Returns:
      float64 [examples].

    Raises:
      ValueError: an example is empty or does not fit into a row.
    """
    found = self.score_options(
      [e.ids[: len(e.ids) - e.scored] for e in examples],
      [[e.ids[len(e.ids) - e.scored :]] for e in examples],
    )
    return np.array([log_prob for (log_prob,) in found])

  def score_options(
    self,
    prompts: Sequence[np.ndarray],
    options: Sequence[Sequence[np.ndarray]],
  ) -> list[np.ndarray]:
    """Log-probabilities of all options of each prompt.

    The model reads a prompt once for all of its options, where they fit into
    a row together. That changes no score.

    Args:
      prompts: token ids; a prompt and one option are at most `run.data.length`
        tokens long, less those of a soft prompt.
      options: the ids of each prompt's options.

    Returns:
      For each prompt float64 [options].

    Raises:
      ValueError: prompt and option are empty or do not fit into a row.
    """
    return self._scorer.score(prompts, options)

  def generate(
    self,
    prompts: list[np.ndarray],
    max_new: int,
    ends: Sequence[int] = (),
    **how,
  ) -> list[np.ndarray]:
    """As `continuations`, without the id that ended them."""
    ends = tuple(ends) or (self.vocabulary.eos_id,)
    return [
      ids[:-1] if len(ids) and ids[-1] in ends else ids
      for ids in self.continuations(prompts, max_new, ends, **how)
    ]

  def continuations(
    self,
    prompts: list[np.ndarray],
    max_new: int,
    ends: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
    numbers: Sequence[int] = (),
    show: generator.Show | None = None,
  ) -> list[np.ndarray]:
    """Continuations of prompts, up to their end or `max_new` tokens.

    Args:
      prompts: token ids.
      max_new: most new tokens.
      ends: ids that end a continuation; by default end-of-text.
      sampling: how tokens are chosen; by default the most likely ones.
      stops: texts that end a continuation. `continuing.until` takes them, and
        what the last token has behind them, off its text.
      numbers: of the prompts, which draws depend on, and not on the batch; by
        default 0, 1, ...
      show: is told of new tokens every now and then, and of all at the end:
        the prompt's place in `prompts`, its ids, and whether they are all.

    Returns:
      The new ids of each prompt, with the one that ended them.

    Raises:
      ValueError: a stop string is empty.
    """
    ends = tuple(map(int, ends)) or (self.vocabulary.eos_id,)
    wanted = generator.GenerationRequest(
      *(max_new, ends, sampling, tuple(stops)),
      numbers=numbers or range(len(prompts)),
      show=show,
    )
    return self._decoder.continuations(prompts, wanted)
