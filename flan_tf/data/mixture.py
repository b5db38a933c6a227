"""Examples-proportional mixing of tasks, computed without replaying anything.

A task with N training rows has the mixing rate r = min(N, cap), cap = 3,000, so
that its examples are drawn with probability p = r / sum(r) (paper, section
2.4). The endless sequence of draws is divided into blocks of about B draws.
Before block b, task t has had

    c_t(b) = floor((b * B * r_t + phase_t) / sum(r)),    0 <= phase_t < sum(r)

draws, so block b has c_t(b + 1) - c_t(b) draws of the task: the proportions are
exact over any stretch, and the state before a block is known without visiting
earlier blocks. Draw i of task t, whose table has N examples, is the example
permutation(seed, t, i // N)[i % N].
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from flan_tf.data import random_draws

BLOCK_EXAMPLES = 4_096


@dataclasses.dataclass(frozen=True)
class Mixture:
  """An endless order over the examples of several tasks.

  Attributes:
    sizes: number of examples of each task, 1 or more. The order of the tasks
      numbers them.
    rates: mixing rate of each task, 1 or more.
    seed: determines everything random.
    block_examples: B, the average number of draws of a block.

  Raises:
    ValueError: there is no task, or a number is not positive.
  """

  sizes: Mapping[str, int]
  rates: Mapping[str, int]
  seed: int
  block_examples: int = BLOCK_EXAMPLES

  def __post_init__(self):
    if not self.sizes:
      raise ValueError("A mixture needs at least one task with examples.")
    if set(self.sizes) != set(self.rates):
      raise ValueError(
        "A mixture needs the size and the rate of each task. Sizes were given"
        f" for {sorted(self.sizes)}, rates for {sorted(self.rates)}."
      )
    for name in self.sizes:
      if self.sizes[name] < 1 or self.rates[name] < 1:
        raise ValueError(
          f"Task {name!r} has size {self.sizes[name]} and rate"
          f" {self.rates[name]}; both must be 1 or more. Leave out the task."
        )
    if self.block_examples < 1:
      raise ValueError(
        f"block_examples is {self.block_examples}; it must be 1 or more."
      )

  @property
  def names(self) -> tuple[str, ...]:
    """The tasks, in the order of their numbers."""
    return tuple(self.sizes)

  def draws_before(self, block: int) -> np.ndarray:
    """Returns each task's number of draws before a block: int64 [tasks]."""
    names, total = self.names, sum(self.rates.values())
    # Python integers: exact however long a run is.
    return np.array(
      [
        (block * self.block_examples * self.rates[name] + self._phase(name))
        // total
        for name in names
      ],
      np.int64,
    )

  def draws(self, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the draws of a block, shuffled.

    Returns:
      (task numbers int32 [draws], examples int64 [draws]).
    """
    before, after = self.draws_before(block), self.draws_before(block + 1)
    tasks, examples = [], []
    for number, name in enumerate(self.names):
      draws = np.arange(before[number], after[number])
      tasks.append(np.full(len(draws), number, np.int32))
      examples.append(self._examples(name, draws))
    count = sum(map(len, examples))
    order = random_draws.random_generator(
      self.seed, "draws", block
    ).permutation(count)
    return np.concatenate(tasks)[order], np.concatenate(examples)[order]

  def _phase(self, name: str) -> int:
    key = random_draws.hash_name(f"{self.seed}/phase/{name}")
    return key % sum(self.rates.values())

  def _examples(self, name: str, draws: np.ndarray) -> np.ndarray:
    """Returns the example that each draw of a task takes."""
    size = self.sizes[name]
    examples = np.empty(len(draws), np.int64)
    epochs = draws // size
    for epoch in np.unique(epochs):
      order = _permutation(self.seed, name, int(epoch), size)
      in_epoch = epochs == epoch
      examples[in_epoch] = order[draws[in_epoch] % size]
    return examples


# A block lies in one or two epochs of a task: older permutations are dropped.
@functools.lru_cache(maxsize=128)
def _permutation(seed: int, name: str, epoch: int, size: int) -> np.ndarray:
  return random_draws.random_generator(seed, "epoch", name, epoch).permutation(
    size
  )
