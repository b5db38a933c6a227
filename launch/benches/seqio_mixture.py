"""The mixture of SeqIO, from the same rows, templates and vocabulary.

    TfdsDataSource -> fields and templates of flan_tf -> tokenize -> append EOS,
    trim -> mixture by number of examples, at most 3,000 -> pack prompt, target

SeqIO does less work than flan_tf: it draws no rows at random, and it chooses
among ten templates with flan_tf's gather, instead of the ten tasks per data set
of the published code. So both systems write the same texts. Rows are read,
decoded and tokenized in parallel: with tf.data's AUTOTUNE, or with the number
of calls that SeqIO sets. Builders are kept between passes.
"""

import functools
import importlib.util
import itertools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from flan_tf import config
from flan_tf.data import opened_tasks, prompts, random_draws
from flan_tf.task import mixing

# The registry of SeqIO needs a new name each time.
_NUMBER = itertools.count()


def check_installed() -> None:
  """Raises ValueError if SeqIO is not installed."""
  if importlib.util.find_spec("seqio") is None:
    raise ValueError(
      "The peer seqio is not installed: `pip install -e .[bench]`."
    )


def open_mixture(
  opened: Sequence[opened_tasks.OpenedTask],
  vocabulary_path: str,
  data: config.DataConfig,
  seed: int,
  epochs: int | None = 1,
) -> tf.data.Dataset:
  """Returns a dataset of packed rows.

  Args:
    opened: the tasks to mix.
    vocabulary_path: path of a SentencePiece model.
    data: its lengths are used.
    seed: seed of the choice of templates.
    epochs: passes over the rows; None repeats them without end.
  """
  import seqio

  vocabulary = seqio.SentencePieceVocabulary(vocabulary_path)
  features = {
    name: seqio.Feature(vocabulary, add_eos=True)
    for name in ("inputs", "targets")
  }
  number, names = next(_NUMBER), []
  for item in opened:
    rows = item.ranges.train
    names.append(f"flan_{number}_{item.task.name}")
    seqio.TaskRegistry.add(
      names[-1],
      source=seqio.TfdsDataSource(
        tfds_data_dir=item.dataset.path,
        splits={"train": str(rows)},
        read_only=True,
      ),
      preprocessors=[
        functools.partial(_apply_templates, item=item, seed=seed),
        functools.partial(
          seqio.preprocessors.tokenize, copy_pretokenized=False
        ),
        seqio.preprocessors.append_eos_after_trim,
      ],
      output_features=features,
    )
  name = f"flan_{number}"
  seqio.MixtureRegistry.add(
    name,
    names,
    default_rate=functools.partial(
      seqio.mixing_rate_num_examples, maximum=mixing.MIXING_CAP
    ),
    # Do not stop when the first task has no more rows.
    sample_fn=functools.partial(
      tf.data.Dataset.sample_from_datasets, stop_on_empty_dataset=False
    ),
  )
  return seqio.get_dataset(
    name,
    {"inputs": data.length - data.target_length}
    | {"targets": data.target_length},
    seqio.PrefixLMFeatureConverter(pack=True),
    num_epochs=epochs,
    shuffle=False,
    verbose=False,
  )


def _apply_templates(
  dataset: tf.data.Dataset, item: opened_tasks.OpenedTask, seed: int
) -> tf.data.Dataset:
  """Turns rows into {inputs, targets}; unusable rows are left out."""
  task = item.task

  def render_row(
    number: tf.Tensor, row: dict[str, Any]
  ) -> dict[str, tf.Tensor]:
    slots = prompts.fill_slots(task, row)
    index = random_draws.draw_index(
      seed, task.name, number, len(task.templates)
    )
    inputs, targets = prompts.render(task, slots, index)
    usable = tf.logical_not(slots[prompts.HIDDEN]) & (targets != "")
    return {
      "inputs": inputs,
      "targets": targets,
      "usable": slots[prompts.KEEP] & usable,
    }

  numbered = dataset.enumerate(item.ranges.train.start)
  return numbered.map(render_row, num_parallel_calls=tf.data.AUTOTUNE).filter(
    lambda texts: texts["usable"]
  )
