"""Answers to prompts that somebody wrote, each with its log-probability."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf import wordings, writers
from flan_tf.data import requests
from flan_tf.eval import protocol
from flan_tf.eval.model import Example, Model


@dataclasses.dataclass(frozen=True)
class Answer:
  """What a model said.

  Attributes:
    prompt: as it was given.
    text: the greedy continuation.
    log_prob: sum of the log-probabilities of its tokens, and of the end of text
      if the model came to it.
    tokens: how many these are.
    ended: whether it came to the end of text, or was cut at the limit.
    trimmed: whether the prompt was too long, and lost a part.
  """

  prompt: str
  text: str
  log_prob: float
  tokens: int
  ended: bool
  trimmed: bool

  def as_line(self) -> dict[str, Any]:
    """What a line of an answered file gains."""
    value = dataclasses.asdict(self)
    del value["prompt"]
    return {"answer": value.pop("text"), **value}


def answer(
  model: Model, prompts: Sequence[str], max_new: int = 0, markers: str = ""
) -> list[Answer]:
  """Continues each prompt with the most likely tokens.

  Args:
    model: what answers. Prompts get the separator it was trained with.
    prompts: texts.
    max_new: most new tokens; 0 for the target length of the model's run.
    markers: what stands around a prompt, as `wordings.markers` takes it; empty
      for what the model was trained with.
  """
  around = wordings.markers(markers or model.run.data.markers)
  limits = protocol.limits_of(model)
  longest = min(limits.target_length, limits.row_length // 2)
  longest = min(max_new, longest) if max_new else longest
  asked = [
    requests.Request(number, around.join(prompt), (), -1, (prompt,))
    for number, prompt in enumerate(prompts)
  ]
  tokenized = requests.tokenize_requests(asked, model.vocabulary, limits)
  made = model.generate([item.prompt for item in tokenized], longest)
  ended = [len(ids) < longest for ids in made]
  eos = np.array([model.vocabulary.eos_id], np.int32)
  scored = [
    np.concatenate([ids, eos]) if end else ids
    for ids, end in zip(made, ended, strict=True)
  ]
  log_probs = model.score(
    [
      Example(np.concatenate([item.prompt, ids]), len(ids))
      for item, ids in zip(tokenized, scored, strict=True)
    ]
  )
  return [
    Answer(
      prompt,
      model.vocabulary.decode(ids),
      float(log_prob),
      len(counted),
      end,
      item.trimmed,
    )
    for prompt, item, ids, counted, end, log_prob in zip(
      prompts, tokenized, made, scored, ended, log_probs, strict=True
    )
  ]


def answer_file(
  answer_batch: Callable[[list[str]], list[Answer]],
  source: str,
  target: str,
  batch: int = 8,
) -> tuple[int, int]:
  """Answers the prompts of a file of JSON lines; goes on where it was stopped.

  Args:
    answer_batch: gives the answers to prompts.
    source: lines with "prompt"; what else a line holds is kept.
    target: the same lines with "answer", "log_prob", "tokens", "ended" and
      "trimmed"; written batch by batch. May be gs://.
    batch: prompts answered at once.

  Returns:
    (lines answered now, lines that were answered before).

  Raises:
    FileNotFoundError: there is no source.
    ValueError: a line has no prompt, or the target answers other prompts.
  """
  if not tf.io.gfile.exists(source):
    raise FileNotFoundError(f"There is no file {source} of prompts.")
  lines = writers.read_jsonl(source)
  for number, line in enumerate(lines, 1):
    if not isinstance(line, dict) or not isinstance(line.get("prompt"), str):
      raise ValueError(
        f'{source}, line {number}: expected an object with a "prompt", got'
        f" {str(line)[:80]}."
      )
  done = writers.read_jsonl(target)
  for number, (old, line) in enumerate(zip(done, lines, strict=False), 1):
    if old.get("prompt") != line["prompt"]:
      raise ValueError(
        f"{target}, line {number} answers another prompt than {source}. Remove"
        " it, or choose another --output."
      )
  with tf.io.gfile.GFile(target, "w") as file:
    # Anew, in one write: a line that was cut short is dropped.
    file.write("".join(json.dumps(line) + "\n" for line in done))
    for start in range(len(done), len(lines), batch):
      part = lines[start : start + batch]
      answers = answer_batch([line["prompt"] for line in part])
      for line, found in zip(part, answers, strict=True):
        file.write(json.dumps({**line, **found.as_line()}) + "\n")
      file.flush()
  return max(len(lines) - len(done), 0), len(done)
