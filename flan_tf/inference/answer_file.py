"""Answers a file of prompts; a stopped run resumes after its last line.

All prompts are checked before the first one is answered.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from flan_tf import json_lines, safe_files, write_lock
from flan_tf.inference.progress import ProgressBar
from flan_tf.inference.prompt_answers import PromptAnswer
from flan_tf.json_lines import NumberedObject

_log = logging.getLogger(__name__)
# Prompts to rank share rows; about so many characters fill a row.
_CHARACTERS_PER_ROW = 4_096

# Takes prompts, the options of each (empty to continue it), and the number of
# the first prompt.
AnswerBatch = Callable[
  [list[str], list[tuple[str, ...]], int], list[PromptAnswer]
]


class AnswerCounts(NamedTuple):
  """Numbers of lines: answered now, and answered by an earlier run."""

  now: int
  before: int


def answer_file(
  answer_batch: AnswerBatch,
  source: str,
  target: str,
  batch: int = 8,
  by: str = "",
) -> AnswerCounts:
  """Answers the prompts of a file of JSON lines.

  Args:
    answer_batch: answers prompts.
    source: path of lines with "prompt" and, to rank them, "options". Other
      keys are kept.
    target: path of the same lines with "answer", "log_prob", "tokens", "ended"
      and "trimmed", and for options "scores" and "probability". Each batch is
      written at once; local or gs://. Lines that are there already are kept.
    batch: number of prompts that are continued at once. Prompts to rank are
      more: as many as fill so many rows.
    by: description of the model, written as "by" into each line. A target that
      another model began is refused.

  Raises:
    FileNotFoundError: there is no source.
    LockedError: another process is writing to the target.
    ValueError: a line is not a JSON object in UTF-8, or has no prompt, or
      options that cannot be ranked; or the target answers other prompts, or is
      by another model.
  """
  if not tf.io.gfile.exists(source):
    raise FileNotFoundError(
      f"There is no file {source}; expected JSON lines with prompts."
    )
  lines = json_lines.read_numbered(source, complete=True)
  options = [
    _checked_options(f"{source}, line {line.number}", line.value)
    for line in lines
  ]
  with write_lock.hold(target, "answering prompts", beside=True):
    done = json_lines.read_numbered(target)
    _check_resumable(source, lines, target, done, by)
    prompts = [line.value["prompt"] for line in lines]
    count = _Counter(max(len(lines) - len(done), 0), target)
    # Written again without a last line that was cut short.
    kept = "".join(json.dumps(line.value) + "\n" for line in done)
    with safe_files.open_to_append(target, kept) as file:
      for part in _batches(prompts, options, len(done), batch):
        answers = answer_batch(prompts[part], options[part], part.start)
        for line, answer in zip(lines[part], answers, strict=True):
          answered = {**line.value, **answer.to_json()}
          answered |= {"by": by} if by else {}
          file.write(json.dumps(answered) + "\n")
        file.flush()
        count.add(len(answers))
  return AnswerCounts(max(len(lines) - len(done), 0), len(done))


def _check_resumable(
  source: str,
  lines: Sequence[NumberedObject],
  target: str,
  done: Sequence[NumberedObject],
  by: str,
) -> None:
  """Raises ValueError if the answered lines are not those of this run."""
  for (number, old), (_, line) in zip(done, lines, strict=False):
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


def _batches(
  prompts: Sequence[str],
  options: Sequence[tuple[str, ...]],
  begin: int,
  batch: int,
) -> Iterator[slice]:
  """Yields the prompts from number `begin` on in batches."""
  continued = characters = 0
  for number in range(begin, len(prompts)):
    if options[number]:
      characters += len(prompts[number])
    else:
      continued += 1
    is_full = continued == batch or characters >= batch * _CHARACTERS_PER_ROW
    if is_full or number + 1 == len(prompts):
      yield slice(begin, number + 1)
      begin, continued, characters = number + 1, 0, 0


def _checked_options(where: str, line: Mapping[str, Any]) -> tuple[str, ...]:
  """Returns the options of a line; () if it has none.

  Raises:
    ValueError: the line has no prompt, or options that cannot be ranked.
  """
  if not isinstance(line.get("prompt"), str):
    raise ValueError(
      f'{where}: expected an object with a "prompt", got {str(line)[:80]}.'
    )
  options = line.get("options") or []
  are_texts = isinstance(options, list) and all(
    isinstance(text, str) and text for text in options
  )
  if not are_texts or len(options) == 1 or len(set(options)) < len(options):
    raise ValueError(
      f'{where}: expected "options" to be two or more different texts, none'
      f" empty, got {json.dumps(options)[:80]}. Without options the prompt is"
      " continued freely."
    )
  json_lines.check_text(f'{where}: "prompt"', line["prompt"])
  for number, option in enumerate(options, 1):
    json_lines.check_text(f'{where}: option {number} of "options"', option)
  return tuple(options)


class _Counter:
  """Counts answered prompts: a bar on a terminal, lines in a log elsewhere."""

  def __init__(self, total: int, target: str):
    self._total, self._target, self._done = total, target, 0
    self._start = time.perf_counter()
    self._bar = ProgressBar(total, "prompt")

  def add(self, count: int) -> None:
    self._done += count
    rate = self._done / max(time.perf_counter() - self._start, 1e-9)
    if self._bar.update(self._done, rate):
      self._bar.mark_logged()
      _log.info(
        "%s: %d of %d prompts answered, %.1f a second",
        self._target,
        self._done,
        self._total,
        rate,
      )
