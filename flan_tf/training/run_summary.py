"""Texts that describe a run: its size, mixture and examples of its prompts."""

import numpy as np

from flan_tf import name_lists
from flan_tf.data.batches import Batch
from flan_tf.training.session import TrainingSession
from flan_tf.vocab.base import Vocabulary


def describe(session: TrainingSession) -> str:
  """Returns a description of a session for the start of a log."""
  run, weights = session.config, session.train_step.weights
  layout = weights.layout
  parameters_per_core = sum(
    np.prod(layout.shard_shape(spec.shape)) for spec in weights.specs.values()
  )
  held_out = name_lists.join_names(run.held_out)
  held_out = f", {held_out} held out" if held_out else ""
  return (
    f"{run.name}{held_out}: {len(session.report.tasks)} training tasks."
    f" {run.train.batch} rows of {run.data.length} tokens on"
    f" {layout}. {weights.parameters / 1e6:.1f}M parameters,"
    f" {parameters_per_core / 1e6:.1f}M on each core. From"
    f" {session.started_from}, step {session.step}.\n{session.report}"
  )


def sample_prompts(
  batch: Batch, vocabulary: Vocabulary, number: int = 3
) -> str:
  """Returns examples of a batch as text, as the model sees them.

  Args:
    batch: a global batch. If it has fewer examples than `number`, all of them
      are shown.
    vocabulary: decodes the token ids.
    number: how many examples to show, of different tasks if possible.
  """
  features = batch.features
  first_of_task, others, seen = [], [], set()
  for row, segments in enumerate(features["segment_ids"]):
    # Segment 0 is padding. A long row has too many segments for a mask of each.
    for segment, start in zip(
      *np.unique(segments, return_index=True), strict=True
    ):
      if segment:
        task = batch.names[features["task_ids"][row][start]]
        group = others if task in seen else first_of_task
        group.append((task, row, segment))
        seen.add(task)
  texts = []
  for task, row, segment in (first_of_task + others)[:number]:
    in_segment = features["segment_ids"][row] == segment
    is_target = features["loss_weights"][row] > 0
    ids = features["targets"][row]
    prompt = vocabulary.decode(ids[in_segment & ~is_target])
    target = vocabulary.decode(ids[in_segment & is_target])
    texts.append(f"=== {task} ===\n{prompt}\n>>> {target}")
  return "\n\n".join(texts)
