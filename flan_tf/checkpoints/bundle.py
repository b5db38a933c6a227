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
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

from flan_tf import config, json_lines, name_lists
from flan_tf.checkpoints import base_model, checkpoint_dirs
from flan_tf.checkpoints.checkpoint_dirs import CheckpointError
from flan_tf.checkpoints.restore import restore_states
from flan_tf.mesh.state import State
from flan_tf.task import holdout
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.load import vocabulary_from_bytes

_RUN, _DATA, _VOCABULARY = "run.json", "data.json", "vocabulary.model"
# Keys of data.json that every checkpoint has.
_NEEDED = {"step": int, "seen": dict}
# Keys that checkpoints of adapters have.
_TEXTS = ("base", "base_relative", "base_fingerprint")


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
        base, base_relative, base_fingerprint
                    for adapters: the model that they adapt, see
                    `flan_tf.checkpoints.base_model`
        next_batch  position in the training data
        meter       sums of the metrics since the last log line
        examples    task -> number of its examples
        data_digests  task -> digest of its examples, see `data_digest`
        mixture     the training mixture, for people
        source      where converted weights come from
        note        a remark on converted weights
        results     scores to show in a model card
    adapter_base: for adapters, a path to look for the model that they adapt, in
      place of the stored ones.
  """

  path: str
  run: config.RunConfig
  data: Mapping[str, Any]
  adapter_base: str = ""

  @classmethod
  def open(cls, path: str, adapter_base: str = "") -> Self:
    """Opens a checkpoint, or the newest one of a workdir.

    Args:
      path: a checkpoint, or a workdir.
      adapter_base: for adapters, where the model that they adapt lies now: a
        checkpoint or a workdir.

    Raises:
      CheckpointError: there is none, or one of its files is missing or is not
        the one that was written; or it holds no adapters that need
        `adapter_base`.
    """
    path = checkpoint_dirs.find(path)
    bundle = cls(path, _read_run(path), _read_data(path), adapter_base)
    if adapter_base and not bundle.base:
      raise CheckpointError(
        f"{path} holds a whole model, no adapters: it needs no model below"
        f" them. Leave out adapter_base={adapter_base!r}."
      )
    return bundle

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
      CheckpointError: the checkpoint below the adapters cannot be opened, or is
        not the one that they were trained on.
    """
    if not self.base:
      return self
    paths = base_model.possible_paths(self.data, self.path)
    if self.adapter_base:
      paths = [os.path.expanduser(self.adapter_base)]
    expected = self.data.get("base_fingerprint")
    problems = []
    for path in paths:
      try:
        found = Bundle.open(path)
      except CheckpointError as error:
        problems.append(str(error))
        continue
      if expected is None:
        checkpoint_dirs.warn_once(
          f"{self.path} does not say which weights its adapters were trained"
          f" on; it is used with those of {found.path}."
        )
        return found
      if found.fingerprint == expected:
        return found
      problems.append(
        f"{found.path} (step {found.step}) has other weights, with the"
        f" fingerprint {found.fingerprint}."
      )
    raise CheckpointError(
      f"{self.path} holds adapters. The model that they were trained on"
      f"{f', with the fingerprint {expected},' if expected else ''} was not"
      f" found: {' '.join(problems)} --adapter_base=PATH (adapter_base=) names"
      " the place where it lies."
    )

  def as_base(self) -> base_model.BaseModel:
    """Describes the checkpoint as the model below adapters that are trained.

    Raises:
      CheckpointError: see `fingerprint`.
    """
    return base_model.BaseModel(self.path, self.fingerprint)

  @functools.cached_property
  def fingerprint(self) -> str:
    """16 hexadecimal digits of everything that the checkpoint computes.

    For adapters they depend on the weights that they were trained on, too.

    Raises:
      CheckpointError: a file is missing or changed; see also `open_base`.
    """
    parts = self.identity_files()
    if self.base:
      parts.append(self.open_base().fingerprint.encode())
    return base_model.fingerprint(parts)

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


def _read_run(path: str) -> config.RunConfig:
  try:
    return config.from_json(checkpoint_dirs.read_file(path, _RUN).decode())
  except CheckpointError:
    raise
  except (ValueError, RecursionError) as error:
    raise CheckpointError(
      f"{os.path.join(path, _RUN)} is not the configuration of a run: {error}"
    ) from error


def _read_data(path: str) -> dict[str, Any]:
  file = os.path.join(path, _DATA)
  content = checkpoint_dirs.read_file(path, _DATA)
  try:
    data = json_lines.parse_object(content)
    texts = {key: str for key in _TEXTS if key in data}
    json_lines.check_types(data, _NEEDED | texts)
  except ValueError as error:
    raise CheckpointError(f"{file}: {error}") from error
  return data
