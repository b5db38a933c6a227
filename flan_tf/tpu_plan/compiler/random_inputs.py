"""Made-up weights, rows and prompts for programs that are executed.

Nothing is at its start: biases are not zero and scales not one, so that no
weight's part in a result is lost.
"""

from collections.abc import Iterator

import numpy as np

from flan_tf import config
from flan_tf.mesh import state

# Prompts that begin alike share so many tokens, and end in others.
_SHARED, _TAIL = 70, 20
_SPREAD = state.normal(0.1)


def assign(weights: state.State, seed: int) -> None:
  """Gives weights their start, and something on top; on any mesh the same."""
  for name, spec in weights.specs.items():
    at = tuple((0, dim.size) for dim in spec.shape)
    value = spec.initializer(name, seed, spec.shape, at)
    value = value + _SPREAD(name, seed + 1, spec.shape, at)
    weights.assign(name, value)


def batch(run: config.RunConfig, seed: int) -> dict[str, np.ndarray]:
  """Packed rows: examples of several lengths, padding behind them.

  Returns:
    [batch, length] arrays by the names of `flan_tf.training.step.FEATURES`.
  """
  rng = np.random.default_rng(seed)
  rows, length = run.train.batch, run.data.length
  made: dict[str, np.ndarray] = {
    name: np.zeros([rows, length], np.int32)
    for name in ("inputs", "targets", "segment_ids", "positions")
  }
  made["loss_weights"] = np.zeros([rows, length], np.float32)
  for row in range(rows):
    begin, segment = 0, 0
    while begin < length - 2:
      segment += 1
      end = min(length - row % 3, begin + int(rng.integers(2, length)))
      ids = _ids(rng, run.model, end - begin)
      made["inputs"][row, begin + 1 : end] = ids[:-1]
      made["targets"][row, begin:end] = ids
      made["segment_ids"][row, begin:end] = segment
      made["positions"][row, begin:end] = np.arange(end - begin)
      made["loss_weights"][row, (begin + end) // 2 : end] = 1
      begin = end
  return made


def options(
  run: config.RunConfig, number: int, seed: int
) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
  """Prompts, and two options of each.

  Every second prompt begins like the others of them where rows are long enough.
  Four of those need more than a row of 128: what they share is kept before it.
  """
  rng = np.random.default_rng(seed)
  longest = run.data.input_length - run.adapter.soft_prompt
  shared = _ids(rng, run.model, _SHARED)
  prompts, found = [], []
  for index in range(number):
    if index % 2 and _SHARED + _TAIL <= longest:
      tail = _ids(rng, run.model, int(rng.integers(_TAIL - 5, _TAIL)))
      prompts.append(np.concatenate([shared, tail]))
    else:
      most = min(longest, _SHARED // 2)
      prompts.append(_ids(rng, run.model, int(rng.integers(1, most))))
    found.append([_ids(rng, run.model, n) for n in (1, 3)])
  return prompts, found


def prompts(
  run: config.RunConfig, number: int, seed: int, longest: int
) -> Iterator[np.ndarray]:
  """Of several lengths."""
  rng = np.random.default_rng(seed)
  longest = min(longest, run.data.input_length)
  for _ in range(number):
    yield _ids(rng, run.model, int(rng.integers(1, longest)))


def _ids(rng, model: config.ModelConfig, number: int) -> np.ndarray:
  return rng.integers(2, model.pieces or model.vocab, number).astype(np.int32)
