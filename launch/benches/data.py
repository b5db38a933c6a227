"""Benchmark of the data pipeline against SeqIO: read, template, tokenize, pack.

A pass goes once over the training rows of the tasks, from prepared TFDS rows to
packed rows, and includes everything: opening data sets, tracing graphs,
tokenizing, packing. Only tokens that are not padding count. flan_tf tokenizes
all rows at the start and then draws from memory. SeqIO tokenizes while it runs,
and again in every epoch.

What follows the pass is reported separately, because it is different work:
`steady_value` is flan_tf drawing further rows from memory, with the resident
memory before and after; `steady_peer_value` is SeqIO in the next epochs.
"""

import dataclasses
import importlib.util
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from flan_tf import config
from flan_tf.data import batches, opened_tasks, pipeline
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.task import schema
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.load import load_vocabulary
from launch.benches import seqio_mixture

PEER = "seqio"
ROUNDS = 3
_BATCH_ROWS = 8
_SEED = 0
# The paper trains 30,000 steps of 8,192 tokens in 60 hours (section 2.4).
_ROWS_PER_HOUR = 30_000 * 8_192 // 1_280 // 60


@dataclasses.dataclass
class Pass:
  """Counts of one pass. Times are in seconds since its start.

  Attributes:
    tokens: number of tokens without padding.
    rows: number of packed rows.
    built: time when all graphs (SeqIO) or all tables (flan_tf) were built.
    first: time of the first packed rows.
    seconds: time of the last packed rows.
  """

  tokens: int = 0
  rows: int = 0
  built: float = 0.0
  first: float = 0.0
  seconds: float = 0.0

  def add(self, segment_ids: np.ndarray, start: float) -> None:
    """Adds the tokens, the padding and the time of a batch to the totals.

    Args:
      segment_ids: [rows, length], 0 for padding.
      start: time at which the pass over the data began, in seconds.
    """
    self.tokens += int((segment_ids > 0).sum())
    self.rows += len(segment_ids)
    self.seconds = time.perf_counter() - start
    self.first = self.first or self.seconds

  @property
  def rate(self) -> float:
    """Tokens per second."""
    return self.tokens / self.seconds

  def fill(self, row_length: int) -> float:
    """Returns the share of positions that hold a token."""
    return self.tokens / (self.rows * row_length)


def compare(
  tasks: Sequence[schema.Task],
  data_dir: str,
  vocabulary_path: str,
  rounds: int,
  steady_rows: int,
  data: config.DataConfig | None = None,
) -> dict[str, Any]:
  """Measures both systems in turns.

  Args:
    tasks: tasks to mix; those that are not prepared are left out.
    data_dir: a prepared TFDS directory.
    vocabulary_path: path of a SentencePiece model.
    rounds: passes of each system; the medians are reported.
    steady_rows: rows that flan_tf draws after its first pass; 0 measures the
      passes only.
    data: its lengths are used; by default those of the paper.
  """
  seqio_mixture.check_installed()
  data = data or config.DataConfig()
  vocabulary = load_vocabulary(vocabulary_path)
  opened, _ = opened_tasks.open_tasks(tasks, data_dir)
  opened = [item for item in opened if len(item.ranges.train)]

  ours, peer, steady = [], [], {}
  for turn in range(rounds):
    our_pass, stream = _flan_pass(tasks, data_dir, vocabulary, data)
    ours.append(our_pass)
    if steady_rows and not turn:  # Before SeqIO allocates memory.
      steady = _draw_further_rows(stream, steady_rows)
    del stream
    peer.append(_seqio_pass(opened, vocabulary_path, data))
  if steady_rows:
    steady["steady_peer_value"] = _seqio_rate_in_next_epochs(
      opened, vocabulary_path, data, peer[0].rows
    )

  size = {
    "tasks": len(opened),
    "rows": sum(len(item.ranges.train) for item in opened),
    "tokens": ours[0].tokens,
    "peer_tokens": peer[0].tokens,
    "row_length": data.length,
    "vocabulary": vocabulary.size,
    "cores": os.cpu_count(),
    "rounds": rounds,
  }
  return {**_line(ours, peer, data.length), **steady, "size": size}


def mistral_vocabulary() -> str:
  """Returns the path of mistral-common's 32,000 pieces; "" if not installed."""
  package = importlib.util.find_spec("mistral_common")
  for folder in (package and package.submodule_search_locations) or ():
    path = os.path.join(folder, "data", "tokenizer.model.v1")
    if os.path.exists(path):
      return path
  return ""


def _line(
  ours: Sequence[Pass], peer: Sequence[Pass], row_length: int
) -> dict[str, Any]:
  value, peer_value = _median(ours, "rate"), _median(peer, "rate")
  return {
    "what": "data",
    "system": "flan_tf",
    "peer": "SeqIO mixture, PrefixLMFeatureConverter(pack=True)",
    "value": value,
    "unit": "tokens/s",
    "peer_value": peer_value,
    "ratio_to_peer": value / peer_value,
    "share_of_peak": None,
    "precision": None,
    "fill": ours[0].fill(row_length),
    "peer_fill": peer[0].fill(row_length),
    "seconds": _median(ours, "seconds"),
    "peer_seconds": _median(peer, "seconds"),
    "built_seconds": _median(ours, "built"),
    "peer_built_seconds": _median(peer, "built"),
    "first_row_seconds": _median(ours, "first"),
    "peer_first_row_seconds": _median(peer, "first"),
    "ratio_by_round": [
      one.rate / other.rate for one, other in zip(ours, peer, strict=True)
    ],
  }


def _flan_pass(
  tasks: Sequence[schema.Task],
  data_dir: str,
  vocabulary: Vocabulary,
  data: config.DataConfig,
) -> tuple[Pass, batches.Batches]:
  """Returns (the counts of one pass, the batches after it)."""
  counts, start = Pass(), time.perf_counter()
  run = config.RunConfig(data=data)
  prompt_format = PromptFormat.from_run(run, vocabulary)
  tables, report = pipeline.load_training_tables(
    tasks, data_dir, data, prompt_format, _SEED, progress=False
  )
  stream = pipeline.training_batches(
    tables, report, prompt_format, _BATCH_ROWS, _SEED
  )
  counts.built = time.perf_counter() - start
  # The mixture has no end. A pass ends after as many tokens as the tables have:
  # if no task exceeds the mixing cap, each example came about once.
  total = sum(len(table.ids) for table in tables.values())
  while counts.tokens < total:
    counts.add(next(stream).features["segment_ids"], start)
  return counts, stream


def _draw_further_rows(stream: batches.Batches, rows: int) -> dict[str, Any]:
  """Draws rows from memory; returns their rate, and the resident memory."""
  import psutil

  process = psutil.Process()
  before = process.memory_info().rss
  highest, counts, start = before, Pass(), time.perf_counter()
  while counts.rows < rows:
    counts.add(next(stream).features["segment_ids"], start)
    highest = max(highest, process.memory_info().rss)
  after = process.memory_info().rss
  return {
    "rss_mb_start": before / 1e6,
    "rss_mb_end": after / 1e6,
    "rss_mb_highest": highest / 1e6,
    "rss_rows": counts.rows,
    "rss_hours_of_training": counts.rows / _ROWS_PER_HOUR,
    "steady_value": counts.rate,
  }


def _seqio_pass(
  opened: Sequence[opened_tasks.OpenedTask],
  vocabulary_path: str,
  data: config.DataConfig,
) -> Pass:
  counts, start = Pass(), time.perf_counter()
  mixture = seqio_mixture.open_mixture(opened, vocabulary_path, data, _SEED)
  stream = mixture.batch(_BATCH_ROWS).prefetch(2).as_numpy_iterator()
  counts.built = time.perf_counter() - start
  for batch in stream:
    counts.add(batch["decoder_segment_ids"], start)
  return counts


def _seqio_rate_in_next_epochs(
  opened: Sequence[opened_tasks.OpenedTask],
  vocabulary_path: str,
  data: config.DataConfig,
  rows: int,
) -> float:
  """Returns tokens per second of an epoch's rows, after the first batch.

  SeqIO packs about 1,280 examples together, so that rows come in bursts. A part
  of an epoch would measure little.
  """
  mixture = seqio_mixture.open_mixture(
    opened, vocabulary_path, data, _SEED, epochs=None
  )
  stream = mixture.batch(_BATCH_ROWS).as_numpy_iterator()
  next(stream)
  counts, start = Pass(), time.perf_counter()
  while counts.rows < rows:
    counts.add(next(stream)["decoder_segment_ids"], start)
  return counts.rate


def _median(passes: Sequence[Pass], name: str) -> float:
  return statistics.median(getattr(one, name) for one in passes)
