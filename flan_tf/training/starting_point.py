"""Decides where the weights of a run come from, and loads them.

1. The newest checkpoint of the run's own workdir: the run resumes.
2. The checkpoint that `train.init_from` names: a warm start.
3. New weights.
"""

import dataclasses

from flan_tf import config
from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.checkpoints.base_model import BaseModel
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.model import adapters, dims
from flan_tf.training import resume_policy
from flan_tf.training.step import TrainStep
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.load import load_vocabulary


@dataclasses.dataclass(frozen=True)
class ResolvedRun:
  """A configuration with everything that its checkpoint decides filled in.

  It is made before any device is opened.

  Attributes:
    config: the configuration, with the model and its vocabulary size.
    vocabulary: the vocabulary of the model.
    checkpoint: the checkpoint that the weights come from; None for new weights.
    resumes: True if that is a checkpoint of the run itself, False if it is that
      of another run.
  """

  config: config.RunConfig
  vocabulary: Vocabulary
  checkpoint: Bundle | None
  resumes: bool

  @property
  def started_from(self) -> str:
    """A description of where the weights come from."""
    if self.checkpoint:
      return self.checkpoint.path
    return f"new weights, seed {self.config.seed}"


def resolve_run(
  run: config.RunConfig, workdir: str, adapter_base: str = ""
) -> ResolvedRun:
  """Finds the checkpoint to start from and takes the model from it.

  Args:
    run: the configuration as the user gives it.
    workdir: workdir of the run, which need not exist.
    adapter_base: to resume a run that trains adapters, where the model that
      they adapt lies now; by default where it was.

  Raises:
    CheckpointError: the checkpoint cannot be opened.
    ValueError: the configuration conflicts with the checkpoint, the checkpoint
      has seen held-out tasks, or the run names no vocabulary.
  """
  if checkpoint_dirs.completed_steps(workdir):
    checkpoint = Bundle.open(workdir, adapter_base)
    run = _with_chat_template(run, checkpoint)
    resume_policy.check_resume(run, checkpoint)
    return _resolve_from(checkpoint, run, resumes=True)
  checkpoint_dirs.warn_of_incomplete(workdir)
  if run.train.init_from:
    checkpoint = Bundle.open(run.train.init_from)
    if checkpoint.run.adapter.trains:
      path = checkpoint.path
      raise ValueError(
        f"{path} holds adapters only. Merge them into their model first:\n "
        f" python -m launch.convert --source=native:{path} --target=native:DIR"
      )
    resume_policy.check_model(run.model, checkpoint)
    checkpoint.check_not_seen(
      run.held_out,
      advice="Start from weights that were trained with the same held_out, or"
      " from new weights.",
    )
    run = _with_chat_template(run, checkpoint)
    return _resolve_from(checkpoint, run, resumes=False)
  return _resolve_new(run)


def with_stored_model(run: config.RunConfig, workdir: str) -> config.RunConfig:
  """Returns a run with the model of the checkpoint that it starts from, if any.

  Reads only the checkpoint's small files, so that no device is needed.

  Raises:
    CheckpointError: the checkpoint cannot be opened.
  """
  resumes = checkpoint_dirs.completed_steps(workdir)
  path = workdir if resumes else run.train.init_from
  if not path:
    return run
  return dataclasses.replace(run, model=Bundle.open(path).run.model)


def load_weights(step: TrainStep, resolved: ResolvedRun) -> BaseModel | None:
  """Sets all states of a training step: weights, slots and frozen weights.

  Args:
    step: the training step of the resolved run.
    resolved: the run.

  Returns:
    For adapters, the model that they adapt; else None.
  """
  checkpoint, seed = resolved.checkpoint, resolved.config.seed
  if resolved.resumes:
    assert checkpoint
    checkpoint.restore([step.weights, step.slots])
    if not step.frozen:
      return None
    base = checkpoint.open_base()
    base.restore([step.frozen])
    return base.as_base()
  step.slots.initialize(seed)
  if step.frozen:
    assert checkpoint, "`resolve_run` refuses adapters without a checkpoint."
    step.weights.initialize(seed)
    checkpoint.restore([step.frozen])
    adapters.initialize_soft_prompt(
      step.weights, step.frozen, resolved.vocabulary.size, seed
    )
    return checkpoint.as_base()
  if checkpoint:
    checkpoint.restore([step.weights])
  else:
    step.weights.initialize(seed)
  return None


def _resolve_from(
  checkpoint: Bundle, run: config.RunConfig, resumes: bool
) -> ResolvedRun:
  """Takes model and vocabulary from a checkpoint."""
  vocabulary = resume_policy.check_vocabulary(run.data.vocabulary, checkpoint)
  run = dataclasses.replace(run, model=checkpoint.run.model)
  return ResolvedRun(run, vocabulary, checkpoint, resumes)


def _resolve_new(run: config.RunConfig) -> ResolvedRun:
  """Resolves a run that starts from new weights."""
  if run.adapter.trains:
    raise ValueError(
      "The run trains adapters, but there are no weights to adapt. Set"
      " train.init_from to a checkpoint."
    )
  if not run.data.vocabulary:
    raise ValueError(
      "The run names no vocabulary. Train one with `python -m"
      " launch.train_vocabulary --output=FILE`, or take any SentencePiece"
      " model or byte-pair vocabulary, and set data.vocabulary=FILE."
    )
  vocabulary = load_vocabulary(run.data.vocabulary)
  padded = dims.padded_vocab(vocabulary.size)
  size = run.model.vocab or padded
  if size < vocabulary.size:
    raise ValueError(
      f"model.vocab is {size}, but the vocabulary {run.data.vocabulary} has"
      f" {vocabulary.size} pieces. Set model.vocab to 0, or to {padded}."
    )
  pieces = run.model.pieces
  if pieces and not vocabulary.size <= pieces <= size:
    raise ValueError(
      f"model.pieces is {pieces}, but the vocabulary {run.data.vocabulary} has"
      f" {vocabulary.size} pieces, and the embedding {size} rows. Set"
      f" model.pieces to 0, or to {vocabulary.size}."
    )
  run = config.replace(run, "model", vocab=size)
  return ResolvedRun(run, vocabulary, None, False)


def _with_chat_template(
  run: config.RunConfig, checkpoint: Bundle
) -> config.RunConfig:
  """Takes the chat template of a checkpoint, unless the run has its own."""
  if run.chat.is_set:
    return run
  return dataclasses.replace(run, chat=checkpoint.run.chat)
