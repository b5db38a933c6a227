"""Reports the training mixture of a run: each task's rows, tokens and rate."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from flan_tf.data import example_table, opened_tasks
from flan_tf.task import mixing


@dataclasses.dataclass(frozen=True)
class TaskReport:
  """The contribution of a task to a training mixture.

  Attributes:
    name: of the task.
    dataset: the data set as the paper counts it.
    cluster: the task's cluster.
    source: name and version of the data set that was read.
    train: range of the training rows, e.g. "train[0:30000]".
    dev: range of the dev rows.
    test: range of the test rows.
    rows: number of training rows.
    examples: number of examples made from them.
    tokens: tokens of all examples.
    rate: mixing rate, see `flan_tf.task.mixing`.
    probability: the share of the draws that take an example of this task.
    counts: `example_table.RowCounts` as a dict.
    notes: differences from the published data set.
  """

  name: str
  dataset: str
  cluster: str
  source: str
  train: str
  dev: str
  test: str
  rows: int
  examples: int
  tokens: int
  rate: int
  probability: float
  counts: dict[str, int]
  notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class MixtureReport:
  """The training mixture of a run.

  Attributes:
    data_dir: the TFDS directory that was read.
    objective: see `config.DataConfig`.
    vocabulary: fingerprint of the vocabulary.
    tasks: the tasks of the mixture.
    left_out: {name of a task that does not train: reason}.
  """

  data_dir: str
  objective: str
  vocabulary: str
  tasks: tuple[TaskReport, ...]
  left_out: dict[str, str]

  @property
  def rates(self) -> dict[str, int]:
    """The mixing rate of each task."""
    return {task.name: task.rate for task in self.tasks}

  def to_json(self) -> dict[str, Any]:
    """Returns plain dicts and lists, for json.dumps."""
    value = dataclasses.asdict(self)
    value["tasks"] = [
      {**task, "notes": list(task["notes"])} for task in value["tasks"]
    ]
    return {**value, "total_rate": sum(self.rates.values())}

  def __str__(self) -> str:
    tokens = sum(task.tokens for task in self.tasks)
    lines = [f"{len(self.tasks)} tasks, {tokens:,} tokens from {self.data_dir}"]
    for task in self.tasks:
      lines.append(
        f"  {task.name}: {task.train}, {task.examples} examples,"
        f" {task.tokens:,} tokens, p = {task.probability:.4f}"
      )
      lines += [f"    {note}" for note in task.notes]
      losses = [
        f"{count} {name.replace('_', ' ')}"
        for name, count in task.counts.items()
        if count and name not in ("rows", "examples", "tokens")
      ]
      if losses:
        lines.append(f"    {', '.join(losses)}")
    for name, reason in self.left_out.items():
      lines.append(f"  left out: {name} ({reason.splitlines()[0]})")
    return "\n".join(lines)


def build_report(
  tasks: Sequence[tuple[opened_tasks.OpenedTask, example_table.RowCounts]],
  left_out: dict[str, str],
  *,
  data_dir: str,
  objective: str,
  vocabulary: str,
  mixing_cap: int,
) -> MixtureReport:
  """Computes mixing rates and collects what is known of each task.

  Args:
    tasks: the tasks of the mixture with the counts of their training rows.
    left_out: {name of a task that does not train: reason}.
    data_dir: the TFDS directory that was read.
    objective: see `config.DataConfig`.
    vocabulary: fingerprint of the vocabulary.
    mixing_cap: a task's rate is its number of training rows, but this at most.
  """
  sizes = {item.task.name: len(item.ranges.train) for item, _ in tasks}
  rates = mixing.rates(sizes, mixing_cap)
  shares = mixing.probabilities(rates)
  return MixtureReport(
    data_dir=data_dir,
    objective=objective,
    vocabulary=vocabulary,
    tasks=tuple(
      TaskReport(
        name=item.task.name,
        dataset=item.task.dataset,
        cluster=item.task.cluster,
        source=f"{item.task.source.name}:{item.dataset.version}",
        train=str(item.ranges.train),
        dev=str(item.ranges.dev),
        test=str(item.ranges.test),
        rows=len(item.ranges.train),
        examples=counts.examples,
        tokens=counts.tokens,
        rate=rates[item.task.name],
        probability=shares[item.task.name],
        counts=counts.as_dict(),
        notes=item.notes,
      )
      for item, counts in tasks
    ),
    left_out=left_out,
  )
