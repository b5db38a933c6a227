"""Tokens a second of generation, ours and a peer's, with the same weights.

Prompts of one length, so many new tokens, greedy, none of which ends a text.
`share_of_peak` is the share of the memory bandwidth, as a large sum reaches it
in the same run, that reading all weights once for every step takes: no step
can be faster than that (with one prompt; with several, products cost, too).
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

import numpy as np

from flan_tf import config

PEERS = ("keras_hub", "transformers")
ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Work:
  """What is measured.

  Attributes:
    checkpoint: ours.
    peer: one of PEERS.
    peer_model: the same weights for it: for transformers a folder or a GGUF
      file, for keras_hub a preset or a Hugging Face folder; by default a preset
      is made of the checkpoint, if KerasHub has a tokenizer that fits.
    batches: prompts at once.
    prompt: tokens of a prompt.
    new: new tokens.
    rounds: turns that each side takes.
  """

  checkpoint: str
  peer: str
  peer_model: str = ""
  batches: tuple[int, ...] = (1, 8)
  prompt: int = 128
  new: int = 64
  rounds: int = ROUNDS


def compare(work: Work, precision: str) -> Iterator[dict]:
  """A line for each size of batch.

  Raises:
    ValueError: the peer is not installed, or has no model.
  """
  if importlib.util.find_spec(work.peer) is None:
    raise ValueError(
      f"{work.peer} is not installed: `pip install -e .[bench]`."
    )
  if work.peer == "transformers" and not work.peer_model:
    raise ValueError(
      "--against=transformers needs --peer_model, the same weights as a folder"
      " or a GGUF file."
    )
  with tempfile.TemporaryDirectory() as folder:
    peer_model = work.peer_model or _preset(work.checkpoint, folder)
    peer = _Peer(work.peer, peer_model, precision)
    try:
      for batch in work.batches:
        yield _compare(work, precision, batch, peer)
    finally:
      peer.close()


def _compare(work: Work, precision: str, batch: int, peer: "_Peer") -> dict:
  ours, parameters, vocab = _ours(work, precision, batch)
  ids = np.random.default_rng(0).integers(2, vocab, [batch, work.prompt])
  fused = [True, False] if work.peer == "keras_hub" else [False]
  # What is compiled once for a shape is not timed.
  found = ours(ids)
  for choice in fused:
    peer(ids, work.new, choice)
  times: dict = {"ours": []} | {choice: [] for choice in fused}
  wanted = found
  for _ in range(work.rounds):
    start = time.perf_counter()
    found = ours(ids)
    times["ours"].append(time.perf_counter() - start)
    for choice in fused:
      wanted, seconds = peer(ids, work.new, choice)
      times[choice].append(seconds)
  medians = {name: statistics.median(spent) for name, spent in times.items()}
  seconds = medians.pop("ours")
  best = min(medians, key=lambda choice: medians[choice])
  tokens, peak = batch * work.new, bandwidth()
  width = {"float32": 4, "bfloat16": 2}[precision]
  how = {True: ", compiled by XLA", False: ", not compiled"}
  peer_name = work.peer + (how[best] if len(fused) > 1 else "")
  return {
    "what": "generate",
    "system": "flan_tf",
    "peer": peer_name,
    "value": tokens / seconds,
    "unit": "tokens/s",
    "peer_value": tokens / medians[best],
    "ratio_to_peer": medians[best] / seconds,
    "share_of_peak": work.new * parameters * width / seconds / peak,
    "peak_gigabytes_s": peak / 1e9,
    "precision": precision,
    "same_texts": int(np.all(found == wanted, axis=1).sum()),
    "size": {
      "parameters": parameters,
      "batch": batch,
      "prompt": work.prompt,
      "new": work.new,
    },
  }


def bandwidth() -> float:
  """Bytes a second of a sum over a gigabyte, the best of five."""
  import tensorflow as tf

  numbers = tf.ones([1 << 28])
  total = tf.function(tf.reduce_sum)
  total(numbers)
  spent = []
  for _ in range(5):
    start = time.perf_counter()
    float(total(numbers))
    spent.append(time.perf_counter() - start)
  return 4 * (1 << 28) / min(spent)


def _ours(
  work: Work, precision: str, batch: int
) -> tuple[Callable[[np.ndarray], np.ndarray], int, int]:
  """What continues ids; the number of weights, and of tokens."""
  from flan_tf.inference.language_model import LanguageModel

  mesh = config.MeshConfig(precision=precision)
  model = LanguageModel.load(work.checkpoint, mesh, batch)
  never = [-1]

  def generate(ids: np.ndarray) -> np.ndarray:
    prompts = [row.astype(np.int32) for row in ids]
    return np.stack(model.continuations(prompts, work.new, never))

  parameters = sum(spec.shape.size for spec in model.weights.specs.values())
  return generate, parameters, model.vocabulary.size


def _preset(checkpoint: str, folder: str) -> str:
  """The checkpoint as a KerasHub preset."""
  target = os.path.join(folder, "preset")
  command = [sys.executable, "-m", "launch.convert"]
  command += [f"--source=native:{checkpoint}", f"--target=keras_hub:{target}"]
  subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
  return target


class _Peer:
  """A peer in a process of its own."""

  def __init__(self, kind: str, model: str, precision: str):
    command = [sys.executable, "-m", "launch.benches.generate_peer"]
    self._process = subprocess.Popen(
      [*command, kind, model, precision],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def __call__(self, ids: np.ndarray, new: int, fused: bool):
    """The new ids, and the seconds that they took."""
    assert self._process.stdin and self._process.stdout
    asked = {"ids": ids.tolist(), "new": new, "fused": fused}
    print(json.dumps(asked), file=self._process.stdin, flush=True)
    line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(
        "The peer ended before it answered, with status"
        f" {self._process.wait()}; its own message stands above."
      )
    answer = json.loads(line)
    return np.array(answer["ids"]), answer["seconds"]

  def close(self) -> None:
    assert self._process.stdin
    self._process.stdin.close()
    self._process.wait()
