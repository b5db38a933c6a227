"""Rank classification, ours and that of lm-evaluation-harness.

Both read the same prompts and options with the same weights; the peer runs
transformers on PyTorch. A line a task: examples a second of both, the accuracy
that each gets, and on how many requests they choose the same option.
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

import numpy as np

from flan_tf import config, schema
from flan_tf.data import requests

PEER = "lm_eval"


@dataclasses.dataclass(frozen=True)
class Work:
  """What is measured.

  Attributes:
    checkpoint: ours.
    peer_model: the same weights for transformers: a folder, or a GGUF file.
    tasks: classifications.
    data_dir: a prepared TFDS directory.
    max_examples: most test rows of a task.
    templates: the first so many of each task.
    separator: between prompt and option, "newline" or "plain".
    batch: rows that run at once; the peer's requests as well.
  """

  checkpoint: str
  peer_model: str
  tasks: Sequence[schema.Task]
  data_dir: str
  max_examples: int = 20
  templates: int = 2
  separator: str = "newline"
  batch: int = 8


def compare(work: Work, precision: str) -> Iterator[dict]:
  """A line for each task that has data, then one for all of them.

  Raises:
    ValueError: the harness is not installed, or there is nothing to score.
  """
  if importlib.util.find_spec(PEER) is None:
    raise ValueError(
      "lm-evaluation-harness is not installed: `pip install -e .[bench]`."
    )
  ours, theirs = _Ours(work, precision), _LmEval(work, precision)
  totals = np.zeros(3)
  agreed: list[bool] = []
  for name, asked, left_out in ours.asked():
    ours.choose(asked)  # What is traced once for a shape is not timed.
    if not agreed:
      theirs.choose(asked[:1])
    start = time.perf_counter()
    found = ours.choose(asked)
    seconds = time.perf_counter() - start
    wanted, peer_seconds = theirs.choose(asked)
    right = np.array([request.answer_index for request in asked])
    same = np.equal(found, wanted)
    totals += (len(asked), seconds, peer_seconds)
    agreed += same.tolist()
    yield _line(precision, *(len(asked), seconds, peer_seconds)) | {
      "task": name,
      "accuracy": 100 * float(np.mean(np.equal(found, right))),
      "peer_accuracy": 100 * float(np.mean(np.equal(wanted, right))),
      "same_choices": int(same.sum()),
      "too_long": left_out,
    }
  if not agreed:
    raise ValueError(
      "There is nothing to score: no row of these tasks is prepared, or none"
      f" fits into the {ours.row_length} tokens that the model reads."
    )
  yield _line(precision, *totals.tolist()) | {
    "task": "all",
    "same_choices": sum(agreed),
  }


def _line(precision: str, examples, seconds, peer_seconds) -> dict:
  return {
    "what": "score",
    "system": "flan_tf",
    "peer": "lm-evaluation-harness, transformers on PyTorch",
    "value": examples / seconds,
    "unit": "examples/s",
    "peer_value": examples / peer_seconds,
    "ratio_to_peer": peer_seconds / seconds,
    "share_of_peak": None,
    "precision": precision,
    "size": {"examples": int(examples)},
  }


class _Ours:
  def __init__(self, work: Work, precision: str):
    from flan_tf.eval.model import Model
    from flan_tf.train import run as run_lib

    self._work = work
    data = run_lib.saved_config(work.checkpoint).data
    data = dataclasses.replace(data, separator=work.separator)
    mesh = config.MeshConfig(precision=precision)
    self._model = Model.load(work.checkpoint, mesh, work.batch, data)
    self.row_length = data.length

  def asked(self) -> Iterator[tuple[str, list[requests.Request], int]]:
    """Each task's requests that the model reads whole; how many it does not."""
    from flan_tf.data import pipeline

    work = self._work
    planned, _ = pipeline.plan_tasks(work.tasks, work.data_dir)
    for item in planned:
      read = requests.read_evaluation_rows(
        item.task, item.dataset, item.plan.test, work.max_examples
      )
      asked = [
        request
        for template in item.task.forward_templates[: work.templates]
        for request in requests.prompts_for(item.task, read.rows, template)
      ]
      kept = [r.request for r in self._tokenize(asked) if not r.trimmed]
      if kept:
        yield item.task.name, kept, len(asked) - len(kept)

  def choose(self, asked: list[requests.Request]) -> np.ndarray:
    tokenized = self._tokenize(asked)
    scores = self._model.score_options(
      [item.prompt for item in tokenized], [item.options for item in tokenized]
    )
    return np.array([np.argmax(of_request) for of_request in scores])

  def _tokenize(
    self, asked: Sequence[requests.Request]
  ) -> list[requests.TokenRequest]:
    from flan_tf.eval import predictions

    return requests.tokenize_requests(
      asked, self._model.vocabulary, predictions.limits_of(self._model)
    )


class _LmEval:
  """The harness, in a process of its own."""

  def __init__(self, work: Work, precision: str):
    delimiter = {"newline": "\n", "plain": ""}[work.separator]
    command = [sys.executable, "-m", "launch.benches.lm_eval_peer"]
    command += [work.peer_model, precision, delimiter, str(work.batch)]
    self._process = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

  def choose(self, asked: list[requests.Request]) -> tuple[np.ndarray, float]:
    """The options, and the seconds that its model took for them."""
    assert self._process.stdin and self._process.stdout
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, "asked.jsonl")
      with open(path, "w", encoding="utf-8") as file:
        for request in asked:
          row = {
            "prompt": request.prompt,
            "options": list(request.options),
            "answer": max(request.answer_index, 0),
          }
          file.write(json.dumps(row) + "\n")
      print(path, file=self._process.stdin, flush=True)
      line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(
        "lm-evaluation-harness ended before it answered, with status"
        f" {self._process.wait()}; its own message stands above."
      )
    answer = json.loads(line)
    return np.array(answer["choices"]), answer["seconds"]
