"""A checkpoint as one value: its tensors and the small files beside them.

  CHECKPOINT/
    state.index, state.data-*   the tensors
    run.json                    configuration of the run that wrote it
    data.json                   what the weights were trained on, see `Bundle`
    vocabulary.model            the vocabulary: SentencePiece or byte pairs

No other module knows these names. Opening a bundle reads the two JSON files;
the vocabulary and the tensors are read when they are asked for.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

from flan_tf import config, name_lists
from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.checkpoints.restore import restore_states
from flan_tf.mesh.state import State
from flan_tf.task import holdout
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.load import vocabulary_from_bytes

_RUN, _DATA, _VOCABULARY = "run.json", "data.json", "vocabulary.model"


@dataclasses.dataclass(frozen=True)
class Bundle:
  """A complete checkpoint.

  Attributes:
    path: folder of the checkpoint.
    run: configuration of the run that wrote it.
    data: content of data.json, JSON values by these keys, some of which may be
      missing:
        step        number of training steps
        seen        every task that the weights were trained on, by this run or
                    by a run that it started from -> the task's cluster
        base        for adapters: checkpoint of the model that they adapt
        next_batch  position in the training data
        examples    task -> number of its examples
        mixture     the training mixture, for people
        source      where converted weights come from
        note        a remark on converted weights
        results     scores to show in a model card
  """

  path: str
  run: config.RunConfig
  data: Mapping[str, Any]

  @classmethod
  def open(cls, path: str) -> Self:
    """Opens a checkpoint, or the newest one of a workdir.

    Raises:
      CheckpointError: there is none, or one of its files is missing or has
        another size than when it was written.
    """
    path = checkpoint_dirs.find(path)
    run = checkpoint_dirs.read_file(path, _RUN).decode()
    data = json.loads(checkpoint_dirs.read_file(path, _DATA))
    return cls(path, config.from_json(run), data)

  @property
  def step(self) -> int:
    return self.data["step"]

  @property
  def tasks_seen(self) -> dict[str, str]:
    """Every task that the weights were trained on -> its cluster."""
    return self.data["seen"]

  @property
  def base(self) -> str:
    """Path of the model below adapters; empty if the checkpoint has none."""
    return self.data.get("base", "")

  @functools.cached_property
  def vocabulary(self) -> Vocabulary:
    """The vocabulary, read at the first access.

    Raises:
      CheckpointError: its file is missing.
      VocabularyError: its file is not a vocabulary.
    """
    model = checkpoint_dirs.read_file(self.path, _VOCABULARY)
    return vocabulary_from_bytes(model, source=self.path)

  @property
  def tensor_prefix(self) -> str:
    """Prefix of the tensor files, as TensorFlow's functions take it."""
    return checkpoint_dirs.tensor_prefix(self.path)

  def open_base(self) -> "Bundle":
    """Opens the checkpoint of the whole model: itself, or that below adapters.

    Raises:
      CheckpointError: the checkpoint below the adapters cannot be opened.
    """
    return Bundle.open(self.base) if self.base else self

  def restore(self, states: Sequence[State]) -> None:
    """Sets states from the tensors; see `restore_states`."""
    restore_states(self.path, states)

  def identity_files(self) -> list[bytes]:
    """Reads the files that decide what the checkpoint itself computes.

    Returns:
      The contents of the tensors' index, which has a checksum of every tensor,
      of run.json, and of the vocabulary. Those of `base` are not among them.
    """
    return [
      checkpoint_dirs.read_file(self.path, name)
      for name in (checkpoint_dirs.INDEX, _RUN, _VOCABULARY)
    ]

  def check_not_seen(self, held_out: Sequence[str], advice: str) -> None:
    """Checks that the weights were not trained on held-out tasks.

    Args:
      held_out: names of tasks and clusters, as `holdout.expand` returns them.
      advice: what a user can do about it: the end of the error message.

    Raises:
      ValueError: the weights have seen a task that must be held out.
    """
    seen = [
      name
      for name, cluster in self.tasks_seen.items()
      if holdout.forbids(tuple(held_out), name, cluster)
    ]
    if seen:
      raise ValueError(
        f"{name_lists.join_names(held_out)!r} is held out, but the checkpoint"
        f" {self.path}, or one that it was trained from, has seen"
        f" {', '.join(seen)} in training. {advice}"
      )


def bundle_files(
  run: config.RunConfig, data: Mapping[str, Any], vocabulary: Vocabulary
) -> dict[str, bytes]:
  """Returns the content of the small files of a new checkpoint, by name.

  Args:
    run: configuration of the run that writes it.
    data: content of data.json; see `Bundle`.
    vocabulary: the vocabulary of the weights.
  """
  return {
    _RUN: config.to_json(run).encode(),
    _DATA: json.dumps(data, indent=2).encode(),
    _VOCABULARY: vocabulary.serialized,
  }
