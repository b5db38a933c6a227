"""Random weights, batches and prompts for programs that are executed.

Weights differ from their usual initial values: biases are not zero and scales
are not one. Otherwise an error in them would not change any result.
"""

from collections.abc import Iterator

import numpy as np

from flan_tf import config
from flan_tf.mesh import state

# Tokens in the prefix that prompts share, and tokens after it at most.
_SHARED_TOKENS = 70
_OWN_TOKENS = 20
_NOISE = state.normal(0.1)


def assign_random(weights: state.State, seed: int) -> None:
  """Assigns initial values plus noise; the same values on every mesh."""
  for name, spec in weights.specs.items():
    shard = tuple((0, dim.size) for dim in spec.shape)
    value = spec.initializer(name, seed, spec.shape, shard)
    value = value + _NOISE(name, seed + 1, spec.shape, shard)
    weights.assign(name, value)


def random_batch(run: config.RunConfig, seed: int) -> dict[str, np.ndarray]:
  """Makes a batch of packed rows: examples of several lengths, then padding.

  Returns:
    [batch, length] arrays by the names of `flan_tf.training.step.FEATURES`.
  """
  rng = np.random.default_rng(seed)
  rows, length = run.train.batch, run.data.length
  batch: dict[str, np.ndarray] = {
    name: np.zeros([rows, length], np.int32)
    for name in ("inputs", "targets", "segment_ids", "positions")
  }
  batch["loss_weights"] = np.zeros([rows, length], np.float32)
  for row in range(rows):
    begin, segment = 0, 0
    while begin < length - 2:
      segment += 1
      end = min(length - row % 3, begin + int(rng.integers(2, length)))
      ids = _random_ids(rng, run.model, end - begin)
      batch["inputs"][row, begin + 1 : end] = ids[:-1]
      batch["targets"][row, begin:end] = ids
      batch["segment_ids"][row, begin:end] = segment
      batch["positions"][row, begin:end] = np.arange(end - begin)
      batch["loss_weights"][row, (begin + end) // 2 : end] = 1
      begin = end
  return batch


def random_options(
  run: config.RunConfig, count: int, seed: int
) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
  """Makes prompts, and two options for each of them.

  If prompts may be long enough, every second one starts with a shared prefix.
  Four of them do not fit into a row of 128 tokens, so that scoring reads the
  prefix into a key/value cache first.

  Args:
    run: gives the length limits and the vocabulary.
    count: number of prompts.
    seed: seed of the random ids.

  Returns:
    The ids of each prompt, and the ids of its options.
  """
  rng = np.random.default_rng(seed)
  limit = run.data.input_length - run.adapter.soft_prompt
  shared = _random_ids(rng, run.model, _SHARED_TOKENS)
  prompts, options = [], []
  for index in range(count):
    if index % 2 and _SHARED_TOKENS + _OWN_TOKENS <= limit:
      length = int(rng.integers(_OWN_TOKENS - 5, _OWN_TOKENS))
      own = _random_ids(rng, run.model, length)
      prompts.append(np.concatenate([shared, own]))
    else:
      most = min(limit, _SHARED_TOKENS // 2)
      length = int(rng.integers(1, most))
      prompts.append(_random_ids(rng, run.model, length))
    options.append([_random_ids(rng, run.model, n) for n in (1, 3)])
  return prompts, options


def random_prompts(
  run: config.RunConfig, count: int, seed: int, max_length: int
) -> Iterator[np.ndarray]:
  """Yields the ids of prompts of several lengths, below `max_length`."""
  rng = np.random.default_rng(seed)
  limit = min(max_length, run.data.input_length)
  for _ in range(count):
    yield _random_ids(rng, run.model, int(rng.integers(1, limit)))


def _random_ids(rng, model: config.ModelConfig, count: int) -> np.ndarray:
  """Returns int32 ids of a vocabulary whose first two ids are special."""
  return rng.integers(2, model.pieces or model.vocab, count).astype(np.int32)
