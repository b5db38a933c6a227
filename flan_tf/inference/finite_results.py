"""Refuses results of a model that are NaN or infinite.

Results are checked where they come from the cores, which costs nothing. Only
where one is not finite are all weights checked, to name the cause.
"""

from collections.abc import Sequence

import numpy as np

from flan_tf.inference.loaded_model import LoadedModel
from flan_tf.inference.stop_strings import Continuation
from flan_tf.mesh.finite import NotFiniteError, check_state


def check_scores(model: LoadedModel, scores: Sequence[np.ndarray]) -> None:
  """Checks log-probabilities.

  Args:
    model: the model that they are from.
    scores: for each prompt, the log-probability of each option.

  Raises:
    NotFiniteError: one is NaN or infinite.
  """
  if np.isfinite(np.concatenate([np.zeros(0), *scores])).all():
    return
  prompt, option = next(
    (prompt, option)
    for prompt, of_prompt in enumerate(scores)
    for option, log_prob in enumerate(of_prompt)
    if not np.isfinite(log_prob)
  )
  raise _error(
    model,
    f"The log-probability of option {option} of prompt {prompt} is"
    f" {scores[prompt][option]}",
  )


def check_candidates(model: LoadedModel, log_probs: np.ndarray) -> None:
  """Raises NotFiniteError if log-probabilities of new tokens are not finite."""
  if not np.isfinite(log_probs).all():
    raise _error(model, "The log-probability of a new token is not finite")


def check_tokens(
  model: LoadedModel, text: Continuation, ids: np.ndarray, pieces: int
) -> None:
  """Checks tokens that are about to be added to a text.

  Args:
    model: the model that chose them.
    text: the text so far.
    ids: the new tokens, int32 [n].
    pieces: number of tokens to choose from.

  Raises:
    NotFiniteError: a token is none of these, since all logits were NaN.
  """
  wrong = (ids < 0) | (ids >= pieces)
  if wrong.any() and not text.ends_within(ids[: np.argmax(wrong)]):
    raise _error(model, "The logits of a new token are NaN")


def check_output_table(model: LoadedModel) -> None:
  """Checks the table that turns hidden states into logits.

  A row that is not finite spoils the logits of one token, which the choice of
  a token would not show. Any other weight that is not finite spoils all logits.

  Raises:
    NotFiniteError: the table has values that are not finite.
  """
  table = "embedding" if model.run.model.shared_embedding else "unembedding"
  check_state(model.origin, model.weights, [table])


def _error(model: LoadedModel, result: str) -> NotFiniteError:
  """Returns the error for a result; it names the weights that are the cause."""
  try:
    for weights in (model.adapters, model.weights):
      check_state(model.origin, weights)
  except NotFiniteError as error:
    return error
  return NotFiniteError(
    f"{result}, although all weights of {model.origin} are finite: numbers"
    " become too large on the way. The weights are hardly usable, or the"
    " model's settings (run.json) are not those that they were trained with."
  )
