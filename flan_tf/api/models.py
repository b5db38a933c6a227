"""A loaded model for Python: generates text and scores options."""

import shutil
import weakref
from collections.abc import Sequence
from typing import overload

from flan_tf import config
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.inference import answer_file, prompt_answers
from flan_tf.inference.conversation import Conversation
from flan_tf.inference.language_model import LanguageModel
from flan_tf.inference.prompt_answers import PromptAnswer
from flan_tf.sampling import GREEDY, Sampling
from flan_tf.vocab.base import Vocabulary


class Model:
  """A language model, loaded on the devices of this machine.

  Args:
    language_model: weights and programs.
    bundle: the checkpoint that the weights were loaded from.
    temporary_folder: folder that is removed together with this object; "" for
      none.

  Attributes:
    language_model: weights and programs, for work with token ids.
    bundle: the checkpoint.
  """

  def __init__(
    self,
    language_model: LanguageModel,
    bundle: Bundle,
    temporary_folder: str = "",
  ):
    self.language_model, self.bundle = language_model, bundle
    if temporary_folder:
      weakref.finalize(self, shutil.rmtree, temporary_folder, True)

  @property
  def checkpoint(self) -> str:
    """The folder of the checkpoint that the weights were loaded from."""
    return self.bundle.path

  @property
  def run(self) -> config.RunConfig:
    """The configuration: model, lengths, separator, mesh and precision."""
    return self.language_model.run

  @property
  def vocabulary(self) -> Vocabulary:
    return self.language_model.vocabulary

  @property
  def prompt_format(self) -> PromptFormat:
    """Lengths, truncation and separator of prompts and answers."""
    return self.language_model.prompt_format

  @property
  def parameters(self) -> int:
    """Number of weights, padding of the vocabulary included."""
    return self.language_model.weights.parameters

  def __repr__(self) -> str:
    mesh = self.run.mesh
    return (
      f"<Model {self.checkpoint}: {self.parameters / 1e6:.1f}M parameters,"
      f" separator {self.run.data.separator}, {mesh.precision},"
      f" mesh {mesh.shape or 'one core'}>"
    )

  @overload
  def generate(
    self,
    prompts: str,
    *,
    max_new: int = ...,
    sampling: Sampling = ...,
    stops: Sequence[str] = ...,
    markers: str = ...,
  ) -> PromptAnswer: ...

  @overload
  def generate(
    self,
    prompts: Sequence[str],
    *,
    max_new: int = ...,
    sampling: Sampling = ...,
    stops: Sequence[str] = ...,
    markers: str = ...,
  ) -> list[PromptAnswer]: ...

  def generate(
    self,
    prompts: str | Sequence[str],
    *,
    max_new: int = 0,
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
    markers: str = "",
  ) -> PromptAnswer | list[PromptAnswer]:
    """Continues one prompt, or several in batches.

    Args:
      prompts: a text, or a list of texts.
      max_new: maximum number of new tokens; 0 for the target length of the
        model's run.
      sampling: how tokens are chosen; by default the most likely ones.
      stops: texts that end an answer; they are no part of it.
      markers: texts around a prompt, see `flan_tf.task.wordings.markers`; ""
        for those that the model was trained with.

    Returns:
      The answer to a text, with `text`, `log_prob`, `ended` and more; a list of
      answers for a list of texts.

    Raises:
      ValueError: the markers are unknown, or a stop string is empty.
    """
    one = isinstance(prompts, str)
    answers = prompt_answers.answer_prompts(
      self.language_model,
      [prompts] if one else list(prompts),
      max_new,
      markers,
      sampling=sampling,
      stops=tuple(stops),
    )
    return answers[0] if one else answers

  @overload
  def score(
    self, prompts: str, options: Sequence[str], *, markers: str = ...
  ) -> dict[str, float]: ...

  @overload
  def score(
    self, prompts: Sequence[str], options: Sequence[str], *, markers: str = ...
  ) -> list[dict[str, float]]: ...

  def score(
    self,
    prompts: str | Sequence[str],
    options: Sequence[str],
    *,
    markers: str = "",
  ) -> dict[str, float] | list[dict[str, float]]:
    """Returns the log-probability of each option as the answer to a prompt.

    Args:
      prompts: a text, or a list of texts.
      options: the possible answers, the same for all prompts.
      markers: see `generate`.

    Returns:
      option -> natural logarithm of its probability, the sum over its tokens
      and those that end an answer. A list of these for a list of texts.

    Raises:
      ValueError: no options, equal ones, or one without tokens.
    """
    _check_options(options)
    one = isinstance(prompts, str)
    texts = [prompts] if one else list(prompts)
    answers = prompt_answers.answer_prompts(
      self.language_model,
      texts,
      markers=markers,
      options=[tuple(options)] * len(texts),
    )
    scores = [dict(answer.option_log_probs) for answer in answers]
    return scores[0] if one else scores

  def conversation(
    self,
    *,
    max_new: int = 0,
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
    markers: str = "",
  ) -> Conversation:
    """Starts a conversation; the arguments are those of `generate`.

    With the separator "chat", earlier turns are part of each prompt. Otherwise,
    each prompt is answered alone.
    """
    return Conversation(
      self.language_model, max_new, markers, sampling, tuple(stops)
    )

  def answer_file(
    self,
    source: str,
    target: str,
    *,
    max_new: int = 0,
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
    markers: str = "",
    by: str = "",
  ) -> answer_file.AnswerCounts:
    """Answers a file of prompts; a stopped run resumes after its last line.

    Args:
      source: JSON lines with "prompt" and, to rank them, "options".
      target: the same lines with their answers.
      max_new: see `generate`, as for the next three.
      sampling: how tokens are chosen.
      stops: texts that end an answer.
      markers: texts around a prompt.
      by: description of the model, written into each line; by default its
        checkpoint.

    Raises:
      FileNotFoundError: there is no source.
      ValueError: a line cannot be used, or the target has other answers.
    """

    def answer_batch(prompts, options, first):
      return prompt_answers.answer_prompts(
        self.language_model,
        prompts,
        max_new,
        markers,
        options,
        sampling,
        tuple(stops),
        first,
      )

    return answer_file.answer_file(
      answer_batch,
      source,
      target,
      self.language_model.batch,
      by or self.checkpoint,
    )


def separator_advice(run: config.RunConfig) -> str:
  """Returns advice on a separator that hardly suits a model, or ""."""
  if run.data.separator != "plain":
    return ""
  if run.chat.is_set:
    return (
      "The model has a chat template, but prompts are written without it"
      " (separator plain). --separator=chat asks the model as it was tuned."
    )
  return (
    "Nothing stands between prompt and answer (separator plain). A model that"
    " continues texts may do better with --separator=newline or blank."
  )


def _check_options(options: Sequence[str]) -> None:
  if isinstance(options, str) or not options:
    raise ValueError(
      "options: expected a list of one or more texts, as ['yes', 'no'], got"
      f" {options!r}."
    )
  if len(set(options)) < len(options):
    raise ValueError(f"options: two of them are equal: {list(options)}.")
