"""The whole mixture (read, template, tokenize, mix, pack), ours and SeqIO's.

One pass over the training rows of the tasks, from prepared TFDS rows to packed
rows, everything included: opening, tracing graphs, tokenizing, packing. Tokens
are those that are no padding. Ours tokenizes all rows at the start and then
draws from memory; SeqIO tokenizes as it goes, and again in every epoch.

What follows the pass is reported apart: `steady_value` is ours drawing on from
memory, with the resident memory before and after; `steady_peer_value` is SeqIO
going on with the rows of the next epochs. They are different work.
"""

import dataclasses
import importlib.util
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

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
# 30,000 steps of 8,192 tokens take 60 hours (paper, section 2.4).
_ROWS_AN_HOUR = 30_000 * 8_192 // 1_280 // 60


@dataclasses.dataclass
class Pass:
  """What a pass gave. Times are in seconds since its start.

  Attributes:
    tokens: those that are no padding.
    rows: packed rows.
    built: when all graphs (SeqIO) or all tables (ours) were there.
    first: when the first packed rows came.
    seconds: when the last ones did.
  """

  tokens: int = 0
  rows: int = 0
  built: float = 0.0
  first: float = 0.0
  seconds: float = 0.0

  def add(self, segment_ids: Any, since: float) -> None:
    """Counts a batch."""
    self.tokens += int((segment_ids > 0).sum())
    self.rows += len(segment_ids)
    self.seconds = time.perf_counter() - since
    self.first = self.first or self.seconds

  @property
  def rate(self) -> float:
    return self.tokens / self.seconds

  def fill(self, row_length: int) -> float:
    return self.tokens / (self.rows * row_length)


def compare(
  tasks: Sequence[schema.Task],
  data_dir: str,
  vocabulary_path: str,
  rounds: int,
  steady_rows: int,
  data: config.DataConfig | None = None,
) -> dict[str, Any]:
  """Measures both in turn.

  Args:
    tasks: those to mix; what is not prepared is left out.
    data_dir: a prepared TFDS directory.
    vocabulary_path: a SentencePiece file.
    rounds: passes of each; the median counts.
    steady_rows: rows that ours draws after its first pass; with 0 nothing but
      the passes is measured.
    data: its lengths are used; by default those of the paper.
  """
  seqio_mixture.require()
  data = data or config.DataConfig()
  vocabulary = load_vocabulary(vocabulary_path)
  planned, _ = opened_tasks.open_tasks(tasks, data_dir)
  planned = [item for item in planned if len(item.ranges.train)]

  ours, peer, steady = [], [], {}
  for turn in range(rounds):
    made, stream = _our_pass(tasks, data_dir, vocabulary, data)
    ours.append(made)
    if steady_rows and not turn:  # Before SeqIO's memory comes and goes.
      steady = _draw_on(stream, steady_rows)
    del stream
    peer.append(_peer_pass(planned, vocabulary_path, data))
  if steady_rows:
    steady["steady_peer_value"] = _peer_goes_on(
      planned, vocabulary_path, data, peer[0].rows
    )

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
    "fill": ours[0].fill(data.length),
    "peer_fill": peer[0].fill(data.length),
    "seconds": _median(ours, "seconds"),
    "peer_seconds": _median(peer, "seconds"),
    "built_seconds": _median(ours, "built"),
    "peer_built_seconds": _median(peer, "built"),
    "first_row_seconds": _median(ours, "first"),
    "peer_first_row_seconds": _median(peer, "first"),
    "ratio_by_round": [
      one.rate / other.rate for one, other in zip(ours, peer, strict=True)
    ],
    **steady,
    "size": {
      "tasks": len(planned),
      "rows": sum(len(item.ranges.train) for item in planned),
      "tokens": ours[0].tokens,
      "peer_tokens": peer[0].tokens,
      "row_length": data.length,
      "vocabulary": vocabulary.size,
      "cores": os.cpu_count(),
      "rounds": rounds,
    },
  }


def shipped_vocabulary() -> str:
  """The 32,000 pieces in the package mistral-common; "" if it is not there."""
  package = importlib.util.find_spec("mistral_common")
  for folder in (package and package.submodule_search_locations) or ():
    path = os.path.join(folder, "data", "tokenizer.model.v1")
    if os.path.exists(path):
      return path
  return ""


def _our_pass(
  tasks: Sequence[schema.Task],
  data_dir: str,
  vocabulary: Vocabulary,
  data: config.DataConfig,
) -> tuple[Pass, batches.Batches]:
  made, start = Pass(), time.perf_counter()
  run = config.RunConfig(data=data)
  prompt_format = PromptFormat.from_run(run, vocabulary)
  tables, report = pipeline.load_training_tables(
    tasks, data_dir, data, prompt_format, _SEED, progress=False
  )
  stream = pipeline.training_batches(
    tables, report, prompt_format, _BATCH_ROWS, _SEED
  )
  made.built = time.perf_counter() - start
  # The mixture has no end: a pass is over when as many tokens came as there
  # are. Where no task exceeds the mixing cap, each example came about once.
  total = sum(len(table.ids) for table in tables.values())
  while made.tokens < total:
    made.add(next(stream).features["segment_ids"], start)
  return made, stream


def _draw_on(stream: batches.Batches, rows: int) -> dict[str, Any]:
  """Draws rows; says how fast, and what became of the memory meanwhile."""
  import psutil

  process = psutil.Process()
  before = process.memory_info().rss
  highest, made, start = before, Pass(), time.perf_counter()
  while made.rows < rows:
    made.add(next(stream).features["segment_ids"], start)
    highest = max(highest, process.memory_info().rss)
  after = process.memory_info().rss
  return {
    "rss_mb_start": before / 1e6,
    "rss_mb_end": after / 1e6,
    "rss_mb_highest": highest / 1e6,
    "rss_rows": made.rows,
    "rss_hours_of_training": made.rows / _ROWS_AN_HOUR,
    "steady_value": made.rate,
  }


def _peer_pass(
  planned: Sequence[opened_tasks.OpenedTask],
  vocabulary: str,
  data: config.DataConfig,
) -> Pass:
  made, start = Pass(), time.perf_counter()
  mixture = seqio_mixture.mixture(planned, vocabulary, data, _SEED)
  stream = mixture.batch(_BATCH_ROWS).prefetch(2).as_numpy_iterator()
  made.built = time.perf_counter() - start
  for batch in stream:
    made.add(batch["decoder_segment_ids"], start)
  return made


def _peer_goes_on(
  planned: Sequence[opened_tasks.OpenedTask],
  vocabulary: str,
  data: config.DataConfig,
  rows: int,
) -> float:
  """Tokens a second of an epoch's rows, from the first packed one on.

  Rows come in bursts, of some 1,280 examples that were packed together, so less
  than an epoch would say little.
  """
  mixture = seqio_mixture.mixture(planned, vocabulary, data, _SEED, None)
  stream = mixture.batch(_BATCH_ROWS).as_numpy_iterator()
  next(stream)
  made, start = Pass(), time.perf_counter()
  while made.rows < rows:
    made.add(next(stream)["decoder_segment_ids"], start)
  return made.rate


def _median(passes: Sequence[Pass], name: str) -> float:
  return statistics.median(getattr(made, name) for made in passes)
