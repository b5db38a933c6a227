"""Benchmark of generation against a peer with the same weights.

All prompts have the same length, decoding is greedy, and no token ends a text,
so that both systems generate the same number of tokens.

A decode step must read all weights once. `share_of_peak` is the time that this
takes at the memory bandwidth of the machine (of a large sum, measured in the
same run), divided by the time of a step. For one prompt no step can exceed 1;
with several prompts, matrix products take time as well.
"""

import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from flan_tf import config

PEERS = ("keras_hub", "transformers")
ROUNDS = 5
_SUMMED_FLOATS = 1 << 28
_BYTES = {"float32": 4, "bfloat16": 2}


@dataclasses.dataclass(frozen=True)
class GenerateBenchmark:
  """The prompts to continue, and both models.

  Attributes:
    checkpoint: folder of flan_tf's model.
    peer: one of PEERS.
    peer_model: the same weights for the peer: for transformers a folder or a
      GGUF file, for keras_hub a preset or a Hugging Face folder. By default the
      checkpoint is converted into a preset, if KerasHub has its tokenizer.
    batches: batch sizes to measure.
    prompt: number of tokens of each prompt.
    new: number of tokens to generate for each prompt.
    rounds: how often each system is measured; the systems take turns.
  """

  checkpoint: str
  peer: str
  peer_model: str = ""
  batches: tuple[int, ...] = (1, 8)
  prompt: int = 128
  new: int = 64
  rounds: int = ROUNDS


def compare(benchmark: GenerateBenchmark, precision: str) -> Iterator[dict]:
  """Yields a line for each batch size.

  Raises:
    ValueError: the peer is not installed, or has no model.
  """
  if importlib.util.find_spec(benchmark.peer) is None:
    raise ValueError(
      f"{benchmark.peer} is not installed: `pip install -e .[bench]`."
    )
  if benchmark.peer == "transformers" and not benchmark.peer_model:
    raise ValueError(
      "--against=transformers needs --peer_model, the same weights as a folder"
      " or a GGUF file."
    )
  with tempfile.TemporaryDirectory() as folder:
    model = benchmark.peer_model or _write_preset(benchmark.checkpoint, folder)
    peer = _Peer(benchmark.peer, model, precision)
    try:
      for batch in benchmark.batches:
        yield _compare(benchmark, precision, batch, peer)
    finally:
      peer.close()


class _Times(NamedTuple):
  """Seconds of each turn, and the ids of the last turn.

  Attributes:
    ours: seconds of flan_tf.
    peer: seconds of the peer, by whether XLA compiles it.
    same_texts: number of prompts that both continue with the same ids.
  """

  ours: list[float]
  peer: dict[bool, list[float]]
  same_texts: int


def _compare(
  benchmark: GenerateBenchmark, precision: str, batch: int, peer: "_Peer"
) -> dict:
  model = _FlanGenerator(benchmark.checkpoint, precision, batch)
  times = _measure(benchmark, model, peer, batch)
  seconds = statistics.median(times.ours)
  medians = {xla: statistics.median(spent) for xla, spent in times.peer.items()}
  xla = min(medians, key=lambda choice: medians[choice])
  peer_name = benchmark.peer
  if len(medians) > 1:
    peer_name += ", compiled by XLA" if xla else ", not compiled"
  peak = memory_bandwidth()
  weight_bytes = model.parameters * _BYTES[precision]
  return {
    "what": "generate",
    "system": "flan_tf",
    "peer": peer_name,
    "value": batch * benchmark.new / seconds,
    "unit": "tokens/s",
    "peer_value": batch * benchmark.new / medians[xla],
    "ratio_to_peer": medians[xla] / seconds,
    "share_of_peak": benchmark.new * weight_bytes / seconds / peak,
    "peak_gigabytes_s": peak / 1e9,
    "precision": precision,
    "same_texts": times.same_texts,
    "size": {
      "parameters": model.parameters,
      "batch": batch,
      "prompt": benchmark.prompt,
      "new": benchmark.new,
    },
  }


def _measure(
  benchmark: GenerateBenchmark,
  model: "_FlanGenerator",
  peer: "_Peer",
  batch: int,
) -> _Times:
  """Continues the same prompts with both systems, in turns."""
  shape = [batch, benchmark.prompt]
  prompts = np.random.default_rng(0).integers(2, model.vocab, shape)
  choices = [True, False] if benchmark.peer == "keras_hub" else [False]
  # The first calls compile programs, and are not timed.
  ids = peer_ids = model.generate(prompts, benchmark.new)
  for xla in choices:
    peer(prompts, benchmark.new, xla)
  ours: list[float] = []
  peers: dict[bool, list[float]] = {xla: [] for xla in choices}
  for _ in range(benchmark.rounds):
    start = time.perf_counter()
    ids = model.generate(prompts, benchmark.new)
    ours.append(time.perf_counter() - start)
    for xla in choices:
      peer_ids, seconds = peer(prompts, benchmark.new, xla)
      peers[xla].append(seconds)
  return _Times(ours, peers, int(np.all(ids == peer_ids, axis=1).sum()))


def memory_bandwidth() -> float:
  """Returns the bytes per second of a sum over a gigabyte, the best of five."""
  import tensorflow as tf

  numbers = tf.ones([_SUMMED_FLOATS])
  total: Callable = tf.function(tf.reduce_sum)
  total(numbers)
  times = []
  for _ in range(5):
    start = time.perf_counter()
    float(total(numbers))
    times.append(time.perf_counter() - start)
  return 4 * _SUMMED_FLOATS / min(times)


class _FlanGenerator:
  """flan_tf with one batch size.

  Attributes:
    parameters: number of weights.
    vocab: size of the vocabulary.
  """

  def __init__(self, checkpoint: str, precision: str, batch: int):
    from flan_tf.inference.language_model import LanguageModel

    mesh = config.MeshConfig(precision=precision)
    self._model = LanguageModel.load(checkpoint, mesh, batch)
    specs = self._model.weights.specs.values()
    self.parameters = sum(spec.shape.size for spec in specs)
    self.vocab = self._model.vocabulary.size

  def generate(self, prompts: np.ndarray, new: int) -> np.ndarray:
    """Returns the new ids, int32 [batch, new]."""
    rows = [row.astype(np.int32) for row in prompts]
    never = [-1]  # No token has this id, so that none ends a text.
    return np.stack(self._model.continuations(rows, new, never))


def _write_preset(checkpoint: str, folder: str) -> str:
  """Converts a checkpoint into a KerasHub preset; returns its folder."""
  target = os.path.join(folder, "preset")
  command = [sys.executable, "-m", "launch.convert"]
  command += [f"--source=native:{checkpoint}", f"--target=keras_hub:{target}"]
  subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
  return target


class _Peer:
  """A peer in a process of its own; see `generate_peer`."""

  def __init__(self, name: str, model: str, precision: str):
    command = [sys.executable, "-m", "launch.benches.generate_peer"]
    self._process = subprocess.Popen(
      [*command, name, model, precision],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def __call__(
    self, ids: np.ndarray, new: int, xla: bool
  ) -> tuple[np.ndarray, float]:
    """Returns (the new ids, the seconds that they took)."""
    assert self._process.stdin and self._process.stdout
    request = {"ids": ids.tolist(), "new": new, "xla": xla}
    print(json.dumps(request), file=self._process.stdin, flush=True)
    line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(
        "The peer ended before it answered, with status"
        f" {self._process.wait()}. Its own error message is above."
      )
    answer = json.loads(line)
    return np.array(answer["ids"]), answer["seconds"]

  def close(self) -> None:
    """Ends the process."""
    assert self._process.stdin
    self._process.stdin.close()
    self._process.wait()
