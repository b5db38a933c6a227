"""The mixture as SeqIO makes it, from the same rows, words and vocabulary.

    TfdsDataSource -> our fields and templates -> tokenize -> append EOS, trim
    -> mixture by number of examples, 3,000 at most -> pack prompt and target

It is spared what ours does beyond that: it draws no row at random, and the ten
wordings are one gather, ours, instead of ten tasks a data set as published. So
both make the same texts. Rows are read, decoded and tokenized in parallel, as
many as tf.data finds good (AUTOTUNE) or SeqIO asks for; builders are kept from
one pass to the next.
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

_NUMBER = itertools.count()  # SeqIO's registry wants a new name every time.


def require() -> None:
  """Raises ValueError where SeqIO is not installed."""
  if importlib.util.find_spec("seqio") is None:
    raise ValueError(
      "The peer seqio is not installed. It comes with the extra `bench`:"
      " pip install -e .[bench]"
    )


def mixture(
  planned: Sequence[opened_tasks.OpenedTask],
  vocabulary_path: str,
  data: config.DataConfig,
  seed: int,
  epochs: int | None = 1,
) -> tf.data.Dataset:
  """Packed rows, one by one.

  Args:
    planned: tasks with their training rows.
    vocabulary_path: a SentencePiece file.
    data: its lengths are used. A row is as long as a prompt and a target together.
    seed: of the templates.
    epochs: passes over the rows; None goes on for ever.
  """
  import seqio

  vocabulary = seqio.SentencePieceVocabulary(vocabulary_path)
  features = {
    name: seqio.Feature(vocabulary, add_eos=True)
    for name in ("inputs", "targets")
  }
  number, names = next(_NUMBER), []
  for item in planned:
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
        functools.partial(_templated, item=item, seed=seed),
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
    # All rows of all tasks, not only until the first task has no more.
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


def _templated(
  dataset: tf.data.Dataset, item: opened_tasks.OpenedTask, seed: int
) -> tf.data.Dataset:
  """Rows become {inputs, targets}; those that cannot be used are left out."""
  task = item.task

  def words(number: tf.Tensor, row: dict[str, Any]) -> dict[str, tf.Tensor]:
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
  return numbered.map(words, num_parallel_calls=tf.data.AUTOTUNE).filter(
    lambda texts: texts["usable"]
  )
