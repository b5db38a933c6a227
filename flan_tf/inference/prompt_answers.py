"""Answers to prompts that somebody wrote, each with its log-probability."""

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flan_tf import json_lines
from flan_tf.data import requests
from flan_tf.inference import predictions, progress, stop_strings
from flan_tf.inference.language_model import LanguageModel
from flan_tf.sampling import GREEDY, Sampling
from flan_tf.task import wordings

_log = logging.getLogger(__name__)
_ROW = 4_096  # characters that fill a row, about: prompts to rank share rows

# Answers prompts: their texts, of each the texts that it may be answered with,
# or none, and the number of the first one.
AnswerBatch = Callable[
  [list[str], list[tuple[str, ...]], int], list["PromptAnswer"]
]


@dataclasses.dataclass(frozen=True)
class PromptAnswer:
  """What a model said.

  Attributes:
    prompt: as it was given.
    text: the continuation, or the best of the prompt's options.
    log_prob: sum of the log-probabilities of its tokens, and of what ended it
      (end of text, in a chat the end of a turn, or a stop string) if the model
      came to it.
    tokens: how many these are.
    ended: whether it came to an end, or was cut at the limit.
    trimmed: whether the prompt was too long, and lost a part.
    scores: of each option its log-probability; empty where none was given.
  """

  prompt: str
  text: str
  log_prob: float
  tokens: int
  ended: bool
  trimmed: bool
  scores: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @property
  def probability(self) -> float:
    """Of the best option, where the options are all that may be said."""
    odds = [math.exp(x - self.log_prob) for x in self.scores.values()]
    return 1 / sum(odds)

  def as_line(self) -> dict[str, Any]:
    """What a line of an answered file gains."""
    value = dataclasses.asdict(self)
    del value["prompt"]
    if self.scores:
      value["probability"] = self.probability
    else:
      del value["scores"]
    return {"answer": value.pop("text"), **value}


def answer(
  model: LanguageModel,
  prompts: Sequence[str],
  max_new: int = 0,
  markers: str = "",
  options: Sequence[Sequence[str]] = (),
  sampling: Sampling = GREEDY,
  stops: Sequence[str] = (),
  first: int = 0,
) -> list[PromptAnswer]:
  """Continues each prompt, or ranks its options.

  Options are ranked as the evaluation ranks them: by the log-probability of
  all their tokens, the first one of equals.

  Args:
    model: what answers. Prompts get the separator of its run.
    prompts: texts.
    max_new: most new tokens; 0 for the target length of the model's run.
    markers: what stands around a prompt, as `wordings.markers` takes it; empty
      for what the model was trained with.
    options: for each prompt the texts that it may be answered with, or none;
      empty where no prompt has any.
    sampling: how tokens are chosen.
    stops: texts that end an answer; they are no part of it.
    first: number of the first prompt; draws depend on a prompt's number.

  Raises:
    ValueError: an option has no tokens, or a stop string is empty.
  """
  around = wordings.markers(markers or model.run.data.markers)
  limits = predictions.limits_of(model)
  longest = min(max_new or limits.longest_target, limits.longest_target)
  ends = limits.wrapper(model.vocabulary).ends
  offered = options or [()] * len(prompts)
  asked = [
    requests.Request(number, around.join(prompt), tuple(texts), -1, (prompt,))
    for number, (prompt, texts) in enumerate(zip(prompts, offered, strict=True))
  ]
  tokenized = requests.tokenize_requests(asked, model.vocabulary, limits)
  free = [i for i, item in enumerate(tokenized) if not item.options]
  new = model.continuations(
    *([tokenized[i].prompt for i in free], longest, ends),
    sampling=sampling,
    stops=stops,
    numbers=[first + i for i in free],
  )
  made = dict(zip(free, new, strict=True))
  ranked = [item.options or [made[i]] for i, item in enumerate(tokenized)]
  log_probs = model.score_options([item.prompt for item in tokenized], ranked)
  found = []
  for item, answers, scores in zip(tokenized, ranked, log_probs, strict=True):
    best, texts = int(np.argmax(scores)), item.request.options
    ids, ended = answers[best], True
    if texts:
      text = texts[best]
    else:
      ended = bool(np.isin(ids[-1:], ends).any())
      whole = model.vocabulary.decode(ids[:-1] if ended else ids)
      text = stop_strings.until(whole, stops)
      ended = ended or text != whole
    found.append(
      PromptAnswer(
        prompts[item.request.row],
        text,
        float(scores[best]),
        len(ids),
        ended,
        item.trimmed,
        dict(zip(texts, scores.tolist(), strict=False)),
      )
    )
  return found


def answer_file(
  answer_batch: AnswerBatch,
  source: str,
  target: str,
  batch: int = 8,
  by: str = "",
) -> tuple[int, int]:
  """Answers the prompts of a file of JSON lines; goes on where it was stopped.

  Args:
    answer_batch: gives the answers to prompts.
    source: lines with "prompt" and, if they are to be ranked, "options"; what
      else a line holds is kept.
    target: the same lines with "answer", "log_prob", "tokens", "ended" and
      "trimmed"; one with options has their "scores", too, and the
      "probability" of the best among them. Written batch by batch; may be
      gs://.
    batch: prompts continued at once. Of those to be ranked there are more: as
      many as fill so many rows.
    by: what answers, for people; "by" of each line. A file that something else
      has begun is not gone on with.

  Returns:
    (lines answered now, lines that were answered before).

  Raises:
    FileNotFoundError: there is no source.
    ValueError: a line has no prompt or options that cannot be ranked, or the
      target answers other prompts, or by something else.
  """
  if not tf.io.gfile.exists(source):
    raise FileNotFoundError(f"There is no file {source} of prompts.")
  lines = json_lines.read_jsonl(source, whole=True)
  options = [
    _options(f"{source}, line {number}", line)
    for number, line in enumerate(lines, 1)
  ]
  done = json_lines.read_jsonl(target)
  for number, (old, line) in enumerate(zip(done, lines, strict=False), 1):
    if any(old.get(key) != line.get(key) for key in ("prompt", "options")):
      raise ValueError(
        f"{target}, line {number} answers another prompt than {source}. Remove"
        " it, or choose another --output."
      )
    if old.get("by", "") != by:
      raise ValueError(
        f"{target}, line {number} was answered by {old.get('by')!r}, not by"
        f" {by!r}. Choose another --output."
      )
  answered = _counter(len(lines) - len(done), target)
  with tf.io.gfile.GFile(target, "w") as file:
    # Anew, in one write: a line that was cut short is dropped.
    file.write("".join(json.dumps(line) + "\n" for line in done))
    prompts = [line["prompt"] for line in lines]
    for part in _parts(prompts, options, len(done), batch):
      answers = answer_batch(prompts[part], options[part], part.start)
      for line, found in zip(lines[part], answers, strict=True):
        made = {**line, **found.as_line(), **({"by": by} if by else {})}
        file.write(json.dumps(made) + "\n")
      file.flush()
      answered(len(answers))
  return max(len(lines) - len(done), 0), len(done)


def _parts(
  prompts: Sequence[str],
  options: Sequence[tuple[str, ...]],
  begin: int,
  batch: int,
) -> Iterator[slice]:
  """Prompts from `begin` on, in parts that are answered and written at once."""
  free = characters = 0
  for number, (prompt, texts) in enumerate(zip(prompts, options, strict=True)):
    if number < begin:
      continue
    if texts:
      characters += len(prompt)
    else:
      free += 1
    is_last = number + 1 == len(prompts)
    if free == batch or characters >= batch * _ROW or is_last:
      yield slice(begin, number + 1)
      begin, free, characters = number + 1, 0, 0


def _options(where: str, line: Any) -> tuple[str, ...]:
  """The options of a line, () if it has none; ValueError if it is not one."""
  if not isinstance(line, dict) or not isinstance(line.get("prompt"), str):
    raise ValueError(
      f'{where}: expected an object with a "prompt", got {str(line)[:80]}.'
    )
  options = line.get("options") or []
  texts = isinstance(options, list) and all(
    isinstance(text, str) and text for text in options
  )
  if not texts or len(options) == 1 or len(set(options)) < len(options):
    raise ValueError(
      f'{where}: expected "options" to be two or more different texts, none'
      f" empty, got {json.dumps(options)[:80]}. Without them the prompt is"
      " continued freely."
    )
  return tuple(options)


def _counter(number: int, target: str) -> Callable[[int], None]:
  """A function that counts prompts answered, on a terminal as a bar."""
  start, done = time.perf_counter(), 0
  bar = progress.Bar(max(number, 0), "prompt")

  def add(count: int) -> None:
    nonlocal done
    done += count
    rate = done / max(time.perf_counter() - start, 1e-9)
    if bar.show(done, rate):
      bar.told()
      _log.info(
        "%s: %d of %d prompts answered, %.1f a second",
        *(target, done, number, rate),
      )

  return add
