"""A language model on a mesh: scores options and generates text."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_tf.inference.generator import GenerationRequest, Generator, Show
from flan_tf.inference.loaded_model import LoadedModel
from flan_tf.inference.scorer import Scorer
from flan_tf.sampling import GREEDY, Sampling


@dataclasses.dataclass(frozen=True)
class ScoredExample:
  """A text as token ids, whose last `scored` tokens are to be scored."""

  ids: np.ndarray
  scored: int


class LanguageModel(LoadedModel):
  """Weights on a mesh with compiled programs for scoring and generation.

  Takes the arguments of `LoadedModel`; `load` reads a checkpoint.
  """

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self._scorer = Scorer(self)
    self._generator = Generator(self)

  def score(self, examples: list[ScoredExample]) -> np.ndarray:
    """Returns the log-probability of each example's scored tokens.

    Examples share rows; that does not change a score.

    Args:
      examples: each at most `run.data.length` tokens long, a soft prompt
        included.

    Returns:
      float64 [examples], in nats, summed over tokens.

    Raises:
      NotFiniteError: a log-probability is NaN or infinite.
      ValueError: an example is empty or does not fit into a row.
    """
    scores = self.score_options(
      [e.ids[: len(e.ids) - e.scored] for e in examples],
      [[e.ids[len(e.ids) - e.scored :]] for e in examples],
    )
    return np.array([log_prob for (log_prob,) in scores])

  def score_options(
    self,
    prompts: Sequence[np.ndarray],
    options: Sequence[Sequence[np.ndarray]],
  ) -> list[np.ndarray]:
    """Returns the log-probabilities of all options of each prompt.

    The model reads a prompt once for all of its options, where these fit into
    one row. That does not change a score.

    Args:
      prompts: token ids. A prompt with one option is at most `run.data.length`
        tokens long, a soft prompt included.
      options: the token ids of each prompt's options.

    Returns:
      For each prompt float64 [options], in nats, summed over tokens.

    Raises:
      NotFiniteError: a log-probability is NaN or infinite. The message names
        the weights that are the cause.
      ValueError: an option is empty, or does not fit into a row with its
        prompt.
    """
    return self._scorer.score(prompts, options)

  def generate(
    self,
    prompts: list[np.ndarray],
    max_new: int,
    ends: Sequence[int] = (),
    **settings,
  ) -> list[np.ndarray]:
    """Returns `continuations` without the ids that end them."""
    ends = tuple(ends) or (self.vocabulary.eos_id,)
    return [
      ids[:-1] if len(ids) and ids[-1] in ends else ids
      for ids in self.continuations(prompts, max_new, ends, **settings)
    ]

  def continuations(
    self,
    prompts: list[np.ndarray],
    max_new: int,
    ends: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
    numbers: Sequence[int] = (),
    show: Show | None = None,
  ) -> list[np.ndarray]:
    """Continues prompts, up to an end or `max_new` tokens.

    Args:
      prompts: token ids.
      max_new: most new tokens of a prompt.
      ends: ids that end a text; by default end-of-text.
      sampling: how tokens are chosen; by default the most likely token.
      stops: strings that end a text. The ids returned include those of the
        stop string; `stop_strings.text_before_stop` removes it.
      numbers: a number for each prompt; random draws depend on it and on the
        seed, not on the batch. By default 0, 1, ...
      show: called with new tokens while they are generated, and once with all:
        with the number of the prompt in `prompts`, its ids so far, and whether
        these are all.

    Returns:
      The new ids of each prompt, with the id that ended the text.

    Raises:
      NotFiniteError: the model's logits are NaN or infinite. The message names
        the weights that are the cause.
      ValueError: a stop string is empty, or a number is out of its range.
    """
    request = GenerationRequest(
      max_new=max_new,
      ends=tuple(map(int, ends)) or (self.vocabulary.eos_id,),
      sampling=sampling,
      stops=tuple(stops),
      numbers=numbers or range(len(prompts)),
      show=show,
    )
    return self._generator.continuations(prompts, request)
