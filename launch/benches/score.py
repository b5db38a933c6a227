"""Benchmark of rank classification against lm-evaluation-harness.

Both systems read the same prompts and options with the same weights; the peer
runs transformers on PyTorch. There is a line for each task, with the examples
per second and the accuracy of both systems, the number of requests for which
they choose the same option, and the largest difference of log-probabilities.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from flan_tf import config
from flan_tf.data import few_shot, requests
from flan_tf.task import schema, wordings

PEER = "lm_eval"
ROUNDS = 3
DELIMITERS = {"newline": "\n", "blank": " ", "plain": ""}


@dataclasses.dataclass(frozen=True)
class ScoreBenchmark:
  """The requests to score, and the settings of both systems.

  Attributes:
    checkpoint: folder of flan_tf's model.
    peer_model: the same weights for transformers: a folder or a GGUF file.
    tasks: classifications.
    data_dir: a prepared TFDS directory.
    max_examples: maximum number of test rows of a task.
    templates: number of templates of each task, the first ones.
    separator: text between prompt and option, one of DELIMITERS. The peer also
      scores a newline, so that its scores differ by that of one token.
    batch: rows that flan_tf computes at once, and requests that the peer does.
    peer_defaults: whether the peer uses its own defaults: one request at a
      time, in the precision of the weights' files.
    shots: exemplars before each query.
    fixed_exemplars: whether all queries of a template have the same exemplars.
    rounds: turns of each system; the medians are reported.
  """

  checkpoint: str
  peer_model: str
  tasks: Sequence[schema.Task]
  data_dir: str
  max_examples: int = 20
  templates: int = 2
  separator: str = "newline"
  batch: int = 8
  peer_defaults: bool = False
  shots: int = 0
  fixed_exemplars: bool = False
  rounds: int = ROUNDS


class TaskRequests(NamedTuple):
  """The requests of a task.

  Attributes:
    task: name of the task.
    requests: the requests that the model can read without cutting them.
    too_long: number of the other requests.
  """

  task: str
  requests: list[requests.Request]
  too_long: int


class _Timing(NamedTuple):
  """Number of requests, and the seconds that both systems took for them."""

  examples: int
  seconds: float
  peer_seconds: float


def compare(benchmark: ScoreBenchmark, precision: str) -> Iterator[dict]:
  """Yields a line for each task that has data, then one for all of them.

  Raises:
    ValueError: the harness is not installed, or there is nothing to score.
  """
  if importlib.util.find_spec(PEER) is None:
    raise ValueError(
      "lm-evaluation-harness is not installed: `pip install -e .[bench]`."
    )
  ours, peer = FlanScorer(benchmark, precision), LmEval(benchmark, precision)
  totals = _Timing(0, 0.0, 0.0)
  num_tasks = same_choices = 0
  for of_task in ours.read_requests():
    if not num_tasks:
      peer.score(of_task.requests[:1])  # Loads the peer's model.
    timing, line = _compare_task(ours, peer, of_task, benchmark.rounds)
    num_tasks += 1
    same_choices += line["same_choices"]
    totals = _Timing(*np.add(totals, timing).tolist())
    yield _line(benchmark, precision, timing) | line
  peer.close()
  if not num_tasks:
    raise ValueError(
      "There is nothing to score: no data set of these tasks is prepared, or no"
      f" row fits into the {ours.row_length} tokens that the model reads."
    )
  yield _line(benchmark, precision, totals) | {
    "task": "all",
    "same_choices": same_choices,
  }


def _compare_task(
  ours: "FlanScorer", peer: "LmEval", of_task: TaskRequests, rounds: int
) -> tuple[_Timing, dict[str, Any]]:
  """Scores the requests of a task in turns.

  Returns:
    (the median times, the keys of the line that compare the scores).
  """
  asked = of_task.requests
  ours.score(asked)  # Compiles programs, which is not timed.
  scores, peer_scores, times = [], [], []
  for _ in range(rounds):
    start = time.perf_counter()
    scores = ours.score(asked)
    seconds = time.perf_counter() - start
    peer_scores, peer_seconds = peer.score(asked)
    times.append((seconds, peer_seconds))
  seconds, peer_seconds = np.median(times, axis=0).tolist()
  right = np.array([request.example.answer_index for request in asked])
  choices = np.array([np.argmax(x) for x in scores])
  peer_choices = np.array([np.argmax(x) for x in peer_scores])
  return _Timing(len(asked), seconds, peer_seconds), {
    "task": of_task.task,
    "accuracy": 100 * float(np.mean(choices == right)),
    "peer_accuracy": 100 * float(np.mean(peer_choices == right)),
    "same_choices": int((choices == peer_choices).sum()),
    "too_long": of_task.too_long,
    **ours.differences(asked, scores, peer_scores),
  }


def _line(
  benchmark: ScoreBenchmark, precision: str, timing: _Timing
) -> dict[str, Any]:
  return {
    "what": "score",
    "system": "flan_tf",
    "peer": "lm-evaluation-harness, transformers on PyTorch",
    "value": timing.examples / timing.seconds,
    "unit": "examples/s",
    "peer_value": timing.examples / timing.peer_seconds,
    "ratio_to_peer": timing.peer_seconds / timing.seconds,
    "share_of_peak": None,
    "precision": precision,
    "peer_defaults": benchmark.peer_defaults,
    "shots": benchmark.shots,
    "size": {"examples": int(timing.examples)},
  }


class FlanScorer:
  """flan_tf with the model of a benchmark.

  Args:
    benchmark: the benchmark.
    precision: number format of the computation.

  Attributes:
    row_length: tokens that the model reads at most.
  """

  def __init__(self, benchmark: ScoreBenchmark, precision: str):
    from flan_tf.checkpoints.bundle import Bundle
    from flan_tf.inference.language_model import LanguageModel

    self._benchmark = benchmark
    data = Bundle.open(benchmark.checkpoint).run.data
    data = dataclasses.replace(data, separator=benchmark.separator)
    mesh = config.MeshConfig(precision=precision)
    self._model = LanguageModel.load(
      benchmark.checkpoint, mesh, benchmark.batch, data
    )
    self._format = self._model.prompt_format
    self.row_length = data.length

  def read_requests(self) -> Iterator[TaskRequests]:
    """Yields the requests of each task that has data."""
    from flan_tf.data import opened_tasks

    benchmark = self._benchmark
    opened, _ = opened_tasks.open_tasks(benchmark.tasks, benchmark.data_dir)
    for item in opened:
      asked = self._render(item)
      kept = [e.request for e in self._encode(asked) if not e.trimmed]
      if kept:
        yield TaskRequests(item.task.name, kept, len(asked) - len(kept))

  def score(self, asked: Sequence[requests.Request]) -> list[np.ndarray]:
    """Returns the log-probabilities of the options of each request."""
    encoded = self._encode(asked)
    return self._model.score_options(
      [item.prompt for item in encoded], [item.options for item in encoded]
    )

  def differences(
    self,
    asked: Sequence[requests.Request],
    scores: Sequence[np.ndarray],
    peer_scores: Sequence[np.ndarray],
  ) -> dict[str, Any]:
    """Compares the log-probabilities of both systems.

    If a token spans the border of prompt and option, the peer scores another
    text, or none. Such requests are counted as `border_tokens`, and are not
    part of `largest_difference`.
    """
    tokenizer = self._format.tokenizer
    prompts = [request.prompt for request in asked]
    prompts_alone = tokenizer.encode_prompts(prompts)
    with_options = tokenizer.encode_options(
      prompts, [request.example.options for request in asked]
    )
    spans = [
      len(shared) < len(alone)
      for alone, (shared, _) in zip(prompts_alone, with_options, strict=True)
    ]
    differences = [
      float(np.abs(ours - peers).max())
      for ours, peers, spanned in zip(scores, peer_scores, spans, strict=True)
      if not spanned
    ]
    return {
      "largest_difference": max(differences, default=None),
      "border_tokens": sum(spans),
    }

  def _render(self, item) -> list[requests.Request]:
    """Writes the requests of an opened task, with their exemplars."""
    benchmark, task, test = self._benchmark, item.task, item.ranges.test
    rows = requests.read_evaluation_rows(
      task, item.dataset, test, benchmark.max_examples
    ).rows
    pool = ()
    if benchmark.shots:
      pool = few_shot.read_exemplar_pool(
        task, item.dataset, item.ranges.train, seed=0
      )
    return [
      request
      for template in task.forward_templates[: benchmark.templates]
      for request in few_shot.add_exemplars(
        requests.render_requests(task, rows, template),
        task,
        template,
        pool,
        self._format,
        shots=benchmark.shots,
        markers=wordings.markers("plain"),
        seed=0,
        same_split=test.split == item.ranges.train.split,
        fixed=benchmark.fixed_exemplars,
      )
    ]

  def _encode(
    self, asked: Sequence[requests.Request]
  ) -> list[requests.EncodedRequest]:
    return requests.encode_requests(asked, self._format)


class LmEval:
  """lm-evaluation-harness in a process of its own; see `lm_eval_peer`.

  Args:
    benchmark: the benchmark.
    precision: number format of the computation.
  """

  def __init__(self, benchmark: ScoreBenchmark, precision: str):
    command = [sys.executable, "-m", "launch.benches.lm_eval_peer"]
    command += [benchmark.peer_model]
    command += ["auto" if benchmark.peer_defaults else precision]
    command += [DELIMITERS[benchmark.separator]]
    command += [str(1 if benchmark.peer_defaults else benchmark.batch)]
    self._process = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

  def score(
    self, asked: Sequence[requests.Request]
  ) -> tuple[list[np.ndarray], float]:
    """Returns (scores of each request's options, seconds of the model)."""
    assert self._process.stdin and self._process.stdout
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, "requests.jsonl")
      with open(path, "w", encoding="utf-8") as file:
        for request in asked:
          row = {
            "prompt": request.prompt,
            "options": list(request.example.options),
            "answer": max(request.example.answer_index, 0),
          }
          file.write(json.dumps(row) + "\n")
      print(path, file=self._process.stdin, flush=True)
      line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(
        "lm-evaluation-harness ended before it answered, with status"
        f" {self._process.wait()}. Its own error message is above."
      )
    answer = json.loads(line)
    return list(map(np.array, answer["scores"])), answer["seconds"]

  def close(self) -> None:
    """Ends the process, which frees its model."""
    self._process.communicate()
