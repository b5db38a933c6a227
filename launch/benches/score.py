"""Rank classification, ours and that of lm-evaluation-harness.

Both read the same prompts and options with the same weights; the peer runs
transformers on PyTorch. A line a task: examples a second of both, the accuracy
that each gets, on how many requests they choose the same option, and how far
apart their log-probabilities are.

`options` shows what more options cost: ours by turns with itself, where each
option reads its prompt anew.
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
from typing import Any

import numpy as np

from flan_tf import config
from flan_tf.data import few_shot, requests
from flan_tf.task import schema, wordings
from launch.benches import turns

PEER = "lm_eval"
ROUNDS = 3
DELIMITERS = {"newline": "\n", "blank": " ", "plain": ""}


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
    separator: between prompt and option, one of DELIMITERS. The peer gives a
      new line a probability, too: then scores differ by that of one token.
    batch: rows that run at once; the peer's requests as well.
    peer_defaults: the peer runs as it does when it is told nothing: one request
      at a time, in the precision that the weights' files name.
    shots: exemplars before each query.
    fixed: the same ones before all queries of a template.
    rounds: turns that each side takes; the medians count.
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
  fixed: bool = False
  rounds: int = ROUNDS


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
    ours.score(asked)  # What is traced once for a shape is not timed.
    if not agreed:
      theirs.score(asked[:1])
    found, wanted, times = [], [], []
    for _ in range(work.rounds):
      start = time.perf_counter()
      found = ours.score(asked)
      spent = time.perf_counter() - start
      wanted, peer_spent = theirs.score(asked)
      times.append((spent, peer_spent))
    seconds, peer_seconds = np.median(times, axis=0).tolist()
    right = np.array([request.example.answer_index for request in asked])
    chosen, peer_chosen = (
      np.array([np.argmax(scores) for scores in side])
      for side in (found, wanted)
    )
    same = chosen == peer_chosen
    totals += (len(asked), seconds, peer_seconds)
    agreed += same.tolist()
    yield _line(precision, work, *(len(asked), seconds, peer_seconds)) | {
      "task": name,
      "accuracy": 100 * float(np.mean(chosen == right)),
      "peer_accuracy": 100 * float(np.mean(peer_chosen == right)),
      "same_choices": int(same.sum()),
      "too_long": left_out,
      **ours.differences(asked, found, wanted),
    }
  theirs.close()
  if not agreed:
    raise ValueError(
      "There is nothing to score: no row of these tasks is prepared, or none"
      f" fits into the {ours.row_length} tokens that the model reads."
    )
  yield _line(precision, work, *totals.tolist()) | {
    "task": "all",
    "same_choices": sum(agreed),
  }


def options(
  checkpoint: str,
  precision: str,
  numbers: Sequence[int] = (2, 4, 8, 16),
  prompts: int = 16,
  length: int = 128,
  rounds: int = ROUNDS,
) -> Iterator[dict]:
  """A line for each number of options, of four tokens, behind long prompts.

  Args:
    checkpoint: what scores.
    precision: of the computation.
    numbers: of options.
    prompts: how many.
    length: their tokens.
    rounds: turns that each side takes.
  """
  from flan_tf.inference.language_model import LanguageModel

  model = LanguageModel.load(
    checkpoint, config.MeshConfig(precision=precision), 8
  )
  rng = np.random.default_rng(0)
  pieces = model.vocabulary.size
  asked = [rng.integers(3, pieces, length) for _ in range(prompts)]
  first = None
  for number in numbers:
    few = [list(rng.integers(3, pieces, [number, 4])) for _ in asked]

    def together(few=few):
      return model.score_options(asked, few)

    def apart(few=few, number=number):
      for option in range(number):
        model.score_options(asked, [[of[option]] for of in few])

    seconds, peer_seconds = turns.in_turn(together, apart, 1, rounds)
    first = first or seconds
    yield {
      "what": "options",
      "system": "flan_tf",
      "peer": "flan_tf, each option behind its own copy of the prompt",
      "options": number,
      "value": prompts / seconds,
      "unit": "examples/s",
      "peer_value": prompts / peer_seconds,
      "ratio_to_peer": peer_seconds / seconds,
      "share_of_peak": None,
      "precision": precision,
      "seconds_to_first": seconds / first,
      "tokens": prompts * (length + 4 * number),
      "peer_tokens": prompts * number * (length + 4),
      "size": {"prompts": prompts, "length": length},
    }


def _line(precision: str, work: Work, examples, seconds, peer_seconds) -> dict:
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
    "peer_defaults": work.peer_defaults,
    "shots": work.shots,
    "size": {"examples": int(examples)},
  }


class _Ours:
  def __init__(self, work: Work, precision: str):
    from flan_tf.checkpoints.bundle import Bundle
    from flan_tf.inference.language_model import LanguageModel

    self._work = work
    data = Bundle.open(work.checkpoint).run.data
    data = dataclasses.replace(data, separator=work.separator)
    mesh = config.MeshConfig(precision=precision)
    self._model = LanguageModel.load(work.checkpoint, mesh, work.batch, data)
    self._format = self._model.prompt_format
    self.row_length = data.length

  def asked(self) -> Iterator[tuple[str, list[requests.Request], int]]:
    """Each task's requests that the model reads whole; how many it does not."""
    from flan_tf.data import opened_tasks

    work = self._work
    planned, _ = opened_tasks.open_tasks(work.tasks, work.data_dir)
    for item in planned:
      read = requests.read_evaluation_rows(
        item.task, item.dataset, item.ranges.test, work.max_examples
      )
      pool = ()
      if work.shots:
        pool = few_shot.read_exemplar_pool(
          item.task, item.dataset, item.ranges.train, 0
        )
      asked = [
        request
        for template in item.task.forward_templates[: work.templates]
        for request in few_shot.add_exemplars(
          requests.render_requests(item.task, read.rows, template),
          item.task,
          template,
          pool,
          self._format,
          shots=work.shots,
          markers=wordings.markers("plain"),
          seed=0,
          same_split=item.ranges.test.split == item.ranges.train.split,
          fixed=work.fixed,
        )
      ]
      kept = [r.request for r in self._tokenize(asked) if not r.trimmed]
      if kept:
        yield item.task.name, kept, len(asked) - len(kept)

  def score(self, asked: list[requests.Request]) -> list[np.ndarray]:
    tokenized = self._tokenize(asked)
    return self._model.score_options(
      [item.prompt for item in tokenized], [item.options for item in tokenized]
    )

  def differences(self, asked, found, wanted) -> dict[str, Any]:
    """How far two sets of log-probabilities are apart.

    Where a token spans the border of prompt and option, the peer scores another
    text (or none): these requests are counted, and stand apart.
    """
    tokenizer = self._format.tokenizer
    prompts = [request.prompt for request in asked]
    whole = tokenizer.encode_prompts(prompts)
    pairs = tokenizer.encode_options(
      prompts, [r.example.options for r in asked]
    )
    spans = [
      len(ids) < len(prompt)
      for prompt, (ids, _) in zip(whole, pairs, strict=True)
    ]
    apart = [
      float(np.abs(one - two).max())
      for one, two, spanned in zip(found, wanted, spans, strict=True)
      if not spanned
    ]
    return {
      "largest_difference": max(apart, default=None),
      "border_tokens": sum(spans),
    }

  def _tokenize(
    self, asked: Sequence[requests.Request]
  ) -> list[requests.EncodedRequest]:
    return requests.encode_requests(asked, self._format)


class _LmEval:
  """The harness, in a process of its own."""

  def __init__(self, work: Work, precision: str):
    command = [sys.executable, "-m", "launch.benches.lm_eval_peer"]
    command += [work.peer_model]
    command += ["auto" if work.peer_defaults else precision]
    command += [DELIMITERS[work.separator]]
    command += [str(1 if work.peer_defaults else work.batch)]
    self._process = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

  def score(
    self, asked: list[requests.Request]
  ) -> tuple[list[np.ndarray], float]:
    """Each option's score, and the seconds that its model took for them."""
    assert self._process.stdin and self._process.stdout
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, "asked.jsonl")
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
        f" {self._process.wait()}; its own message stands above."
      )
    answer = json.loads(line)
    return list(map(np.array, answer["scores"])), answer["seconds"]

  def close(self) -> None:
    """Ends the process, and frees its model."""
    self._process.communicate()
