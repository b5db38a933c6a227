"""Refuses settings that conflict with the checkpoint of a run.

Model and vocabulary always come from the checkpoint. A configuration that asks
for something else is refused.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flan_tf import config, name_lists
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.data.mixture_report import MixtureReport
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.load import load_vocabulary

_log = logging.getLogger(__name__)

# Settings, or whole sections, that may differ when a run resumes. They change
# neither the batches nor the meaning of the checkpoint's tensors.
_MAY_CHANGE = (
  "name",
  "mesh",
  "train.steps",
  "train.save_every",
  "train.save_minutes",
  "train.keep",
  "train.log_every",
  "train.steps_per_loop",
  "train.profile_steps",
  "train.recompute",
  "train.learning_rate",
  "train.schedule",
  "train.warmup",
  "train.clip_norm",
  "train.init_from",
  "data.vocabulary",
  "data.tfds_data_dir",
)


class SettingDifference(NamedTuple):
  """A setting that differs between a run and a checkpoint."""

  name: str
  in_run: Any
  in_checkpoint: Any

  @property
  def may_change(self) -> bool:
    """True if a run may resume in spite of this difference."""
    return any(
      self.name == name or self.name.startswith(f"{name}.")
      for name in _MAY_CHANGE
    )


def check_resume(run: config.RunConfig, checkpoint: Bundle) -> None:
  """Checks that a run can resume from a checkpoint of its workdir.

  Raises:
    ValueError: settings differ that may not change.
  """
  check_model(run.model, checkpoint)
  refused = [
    difference
    for difference in _differences(run, checkpoint.run)
    if not difference.name.startswith("model.") and not difference.may_change
  ]
  if refused:
    raise ValueError(
      f"The workdir has a run with other settings, at {checkpoint.path}:\n"
      f"{_table(refused)}\nUse a new --workdir, or the same settings."
    )


def check_model(model: config.ModelConfig, checkpoint: Bundle) -> None:
  """Checks that the model settings of a run agree with the checkpoint.

  Settings that have their default values are not compared.

  Raises:
    ValueError: a setting of the model differs from the checkpoint's.
  """
  default = config.ModelConfig()
  set_by_user = {d.name for d in _differences(model, default, "model.")}
  refused = [
    difference
    for difference in _differences(model, checkpoint.run.model, "model.")
    if difference.name in set_by_user
  ]
  if refused:
    raise ValueError(
      "The configuration conflicts with the checkpoint"
      f" {checkpoint.path}:\n{_table(refused)}\nThe model comes from the"
      " checkpoint: remove these settings, or start from new weights."
    )


def check_vocabulary(path: str, checkpoint: Bundle) -> Vocabulary:
  """Checks that a vocabulary file is the checkpoint's vocabulary.

  Args:
    path: the setting `data.vocabulary`; if empty, there is nothing to check.
    checkpoint: the checkpoint.

  Returns:
    The vocabulary of the checkpoint.

  Raises:
    ValueError: the file holds another vocabulary.
  """
  saved = checkpoint.vocabulary
  if path:
    given = load_vocabulary(path)
    if given.fingerprint != saved.fingerprint:
      raise ValueError(
        f"data.vocabulary {path} ({given.size} pieces,"
        f" {given.fingerprint}) is not the vocabulary of the checkpoint"
        f" {checkpoint.path} ({saved.size} pieces, {saved.fingerprint}). Leave"
        " data.vocabulary empty to take the checkpoint's."
      )
  return saved


def check_same_data(
  report: MixtureReport, digests: Mapping[str, str], checkpoint: Bundle
) -> None:
  """Checks that the data has not changed since a checkpoint was written.

  The position in the data that the checkpoint holds is valid only then. Old
  checkpoints have no digests; for them only the numbers of examples are
  compared, which is logged.

  Args:
    report: the training mixture as it is now.
    digests: the digest of each task, see `data_digest.data_digests`.
    checkpoint: the checkpoint to resume from.

  Raises:
    ValueError: a task has other examples, or the tasks have another order.
  """
  counts_before = checkpoint.data["examples"]
  counts = {task.name: task.examples for task in report.tasks}
  other_counts = [
    f"{name} {counts_before.get(name, 0)} and {counts.get(name, 0)}"
    for name in sorted({**counts_before, **counts})
    if counts_before.get(name) != counts.get(name)
  ]
  digests_before = checkpoint.data.get("data_digests")
  if digests_before is None:
    digests_before = digests
    _log.warning(
      "%s has no digests of its training data. Only the numbers of examples"
      " are compared: the run does not notice if their content has changed.",
      checkpoint.path,
    )
  other_content = [
    f"{name} ({count} examples)"
    for name, count in counts.items()
    if counts_before.get(name) == count
    and digests_before.get(name) != digests[name]
  ]
  changes = []
  if other_counts:
    changes.append(f"Examples then and now: {', '.join(other_counts)}.")
  if other_content:
    changes.append(
      "As many examples as then, but with other content or another mixing"
      f" rate: {', '.join(other_content)}."
    )
  if not changes and list(digests_before) != list(digests):
    changes.append("The tasks have another order.")
  if changes:
    raise ValueError(
      f"The data changed since {checkpoint.path} was written, so the run cannot"
      f" continue with the same batches. {' '.join(changes)}"
      f"{_where_from(report, checkpoint)} Restore the rows, and the templates"
      " of the tasks, or start a new workdir with"
      f" --config.train.init_from={checkpoint.path}."
    )


def _where_from(report: MixtureReport, checkpoint: Bundle) -> str:
  """Says where the rows came from then and now, if that differs."""
  before = checkpoint.data.get("mixture", {}).get("data_dir", "")
  if before in ("", report.data_dir):
    return ""
  return f" They were read from {before} then, and from {report.data_dir} now."


def _differences(
  run: Any, saved: Any, prefix: str = ""
) -> list[SettingDifference]:
  """Compares two configurations, field by field.

  Args:
    run: a configuration dataclass.
    saved: another one of the same type.
    prefix: prepended to the names of the fields.
  """
  differences = []
  for field in dataclasses.fields(run):
    name = prefix + field.name
    in_run, in_saved = getattr(run, field.name), getattr(saved, field.name)
    if dataclasses.is_dataclass(in_run):
      differences += _differences(in_run, in_saved, f"{name}.")
    elif in_run != in_saved:
      differences.append(SettingDifference(name, in_run, in_saved))
  return differences


def _table(differences: Sequence[SettingDifference]) -> str:
  """Formats differences, one line for each."""
  return "\n".join(
    f"  {d.name}: {_as_flag(d.in_run)} asked for,"
    f" {_as_flag(d.in_checkpoint)} in the checkpoint"
    for d in differences
  )


def _as_flag(value: Any) -> str:
  """Formats a value; lists of names look as a flag takes them."""
  return repr(
    name_lists.join_names(value) if isinstance(value, tuple) else value
  )
