"""Answers prompts with a checkpoint: one, a file of them, or a conversation.

  python -m launch.generate --checkpoint=runs/tuned --prompt='Is it so? ...'
  python -m launch.generate --checkpoint=runs/tuned \
      --input=prompts.jsonl --output=answers.jsonl
  python -m launch.generate --checkpoint=runs/tuned

A line of the input is a JSON object with a "prompt"; its other keys are kept.
The output adds to each line "answer", "log_prob" (of the answer's tokens),
"tokens", "by" (the model and its flags), "ended" (false if the answer was cut
at the limit) and "trimmed" (true if the prompt was too long and was cut). A
line with "options", a list of two or more texts, is labeled: its answer is the
most likely option, ranked as in an evaluation, and the line gains "scores" (the
log-probability of each option) and "probability" (of the answer among the
options), so that unsure labels can be left out. A run that was stopped resumes
after the last line of its output. A smaller model learns from such a file with

  python -m launch.train --config=... --config.data.files=answers.jsonl

Without --prompt and --input, the prompts are typed, one on each line. With
--separator=chat, earlier turns are part of the prompt, and the line /new starts
a new conversation. Otherwise each line is answered alone, because a tuned model
was trained on single prompts. Answers are shown while they are generated.
--score='yes|no|maybe' shows instead how likely each of these answers is.

By default the most likely token is taken. Tokens are drawn with --temperature,
--top_k, --top_p and --seed; --beams searches for the most likely text.
--stop=TEXT ends an answer.
"""

import functools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from absl import flags

import flan_tf as flan
from flan_tf import config, json_lines
from flan_tf.sampling import Sampling
from flan_tf.task import wordings
from flan_tf.terminal_text import visible
from launch import cli, typed_prompts

if TYPE_CHECKING:
  from flan_tf.inference.conversation import Conversation

_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", None, "Checkpoint or workdir.", required=True
)
_PROMPT = flags.DEFINE_string("prompt", "", "One prompt to answer.")
_INPUT = flags.DEFINE_string(
  "input",
  "",
  "Path of JSON lines with prompts, and with options if they are to be ranked.",
)
_OUTPUT = flags.DEFINE_string(
  "output", "", "Path of the JSON lines to write, with answers."
)
_MAX_NEW = flags.DEFINE_integer(
  "max_new",
  0,
  "Maximum number of new tokens; 0 for the target length of the run.",
  0,
)
_MARKERS = flags.DEFINE_string(
  "markers",
  "",
  f"Texts around a prompt: {', '.join(wordings.MARKERS)}, or"
  " 'prompt|answer|example|cue' spelled out. By default those that the model"
  " was trained with.",
)
_SEPARATOR = flags.DEFINE_enum(
  "separator",
  "",
  ["", *config.SEPARATORS],
  "Tokens after a prompt: end of text (flan), nothing (plain), a newline, a"
  " blank, or the chat template of the model. By default as in the checkpoint's"
  " run, which is plain for converted models.",
)
_TEMPERATURE = flags.DEFINE_float(
  "temperature",
  0.0,
  "Above 0, tokens are drawn, with logits divided by it. At 0, the most likely"
  " token is taken.",
)
_TOP_K = flags.DEFINE_integer(
  "top_k", 0, "Draw from the K most likely tokens only; 0 for all."
)
_TOP_P = flags.DEFINE_float(
  "top_p",
  1.0,
  "Draw from the fewest most likely tokens whose probabilities sum to this.",
)
_BEAMS = flags.DEFINE_integer(
  "beams", 1, "Above 1, beam search with this number of beams."
)
_LENGTH_PENALTY = flags.DEFINE_float(
  "length_penalty",
  1.0,
  "Beams are compared by log-probability / tokens ^ length_penalty.",
)
_SEED = flags.DEFINE_integer(
  "seed", 0, "Seed of the draws: the same seed gives the same texts."
)
_STOP = flags.DEFINE_multi_string(
  "stop",
  [],
  "A text that ends an answer; \\n stands for a newline. May be repeated.",
)
_SCORE = flags.DEFINE_string(
  "score",
  "",
  "Options, as 'yes|no|maybe': shows how likely each option is, instead of an"
  " answer.",
)
_BATCH = flags.DEFINE_integer(
  "batch", 8, "Prompts of a file that are answered at once.", 1
)
_MESH = cli.define_mesh()
_ADAPTER_BASE = cli.define_adapter_base()


def main() -> None:
  options = _check_flags()
  if _INPUT.value:
    _answer_file()
    return
  # The smallest batch that the mesh allows, for one prompt at a time.
  model = _load(batch=_data_shards(_MESH()))
  conversation = model.conversation(
    max_new=_MAX_NEW.value,
    sampling=_sampling(),
    stops=_stops(),
    markers=_MARKERS.value,
  )
  answer = functools.partial(_print_answer, conversation)
  if options:
    answer = functools.partial(_print_scores, model, options)
  if _PROMPT.value:
    answer(_PROMPT.value)
  else:
    typed_prompts.answer_lines(answer, conversation)


def _check_flags() -> tuple[str, ...]:
  """Returns the options of --score; raises ValueError for flags that clash."""
  if bool(_INPUT.value) != bool(_OUTPUT.value):
    raise ValueError("--input and --output go together: give both or neither.")
  if _PROMPT.value and _INPUT.value:
    raise ValueError("Give --prompt or --input, not both.")
  if _SCORE.value and _INPUT.value:
    raise ValueError(
      "--score shows one prompt's options. In a file of prompts, give each line"
      ' its own as "options".'
    )
  ignored = [
    f"--{flag.name}"
    for flag in (_TEMPERATURE, _TOP_K, _TOP_P, _BEAMS, _STOP, _MAX_NEW)
    if flag.value != flag.default
  ]
  if _SCORE.value and ignored:
    raise ValueError(
      f"--score ranks options and generates no text: {', '.join(ignored)} would"
      " have no effect. Remove it."
    )
  for text in _STOP.value:
    json_lines.check_text("--stop", text)
  for flag in (_PROMPT, _SCORE):
    json_lines.check_text(f"--{flag.name}", flag.value)
  return parse_options(_SCORE.value)


def parse_options(text: str) -> tuple[str, ...]:
  """Splits the options of a flag: "yes|no|maybe".

  Raises:
    ValueError: there is only one option, or one is empty or repeated.
  """
  options = tuple(text.replace("\\n", "\n").split("|")) if text else ()
  if text and (len(set(options)) < max(len(options), 2) or "" in options):
    raise ValueError(
      "--score: expected two or more different texts between |, none empty, as"
      f" 'yes|no|maybe'; got {text!r}."
    )
  return options


def _data_shards(mesh: config.MeshConfig) -> int:
  """Returns the number of parts that the mesh splits a batch into."""
  from flan_tf.model.run_mesh import run_layout

  return run_layout(mesh).num_shards("batch")


def _load(batch: int) -> "flan.Model":
  from flan_tf.api import models

  model = flan.load(
    _CHECKPOINT.value,
    mesh=_MESH(),
    batch=batch,
    separator=_SEPARATOR.value,
    adapter_base=_ADAPTER_BASE.value,
  )
  if model.run.chat.is_set and not _SEPARATOR.value:
    advice = models.separator_advice(model.run)
    if advice:
      print(advice, file=sys.stderr)
  return model


def _answer_file() -> None:
  model = _load(_BATCH.value)
  counts = model.answer_file(
    _INPUT.value,
    _OUTPUT.value,
    max_new=_MAX_NEW.value,
    sampling=_sampling(),
    stops=_stops(),
    markers=_MARKERS.value,
    by=_description(model.checkpoint),
  )
  print(
    f"{_OUTPUT.value}: {counts.now} prompts answered, {counts.before} were"
    " answered before."
  )


def _description(checkpoint: str) -> str:
  """Returns the checkpoint and the flags that change its answers."""
  words = [checkpoint]
  for flag in (
    _MAX_NEW,
    _MARKERS,
    _SEPARATOR,
    _TEMPERATURE,
    _TOP_K,
    _TOP_P,
    _BEAMS,
    _LENGTH_PENALTY,
    _SEED,
  ):
    if flag.value != flag.default:
      words.append(f"--{flag.name}={flag.value}")
  words += [f"--stop={text}" for text in _STOP.value]
  return " ".join(words)


def _sampling() -> Sampling:
  return Sampling(
    _TEMPERATURE.value,
    _TOP_K.value,
    _TOP_P.value,
    _BEAMS.value,
    _LENGTH_PENALTY.value,
    seed=_SEED.value,
  )


def _stops() -> tuple[str, ...]:
  return tuple(text.replace("\\n", "\n") for text in _STOP.value)


def _print_answer(conversation: "Conversation", prompt: str) -> None:
  """Prints an answer while it is generated."""
  reply = conversation.answer(
    prompt, lambda part: print(visible(part), end="", flush=True)
  )
  print("" if reply.ended else " ...", flush=True)
  if reply.trimmed:
    print("(The prompt was too long, and was cut.)", file=sys.stderr)
  if reply.forgotten:
    print(f"({reply.forgotten} old turns were left out.)", file=sys.stderr)


def _print_scores(
  model: "flan.Model", options: Sequence[str], prompt: str
) -> None:
  scores = model.score(prompt, options, markers=_MARKERS.value)
  print(score_table(scores), flush=True)


def score_table(scores: Mapping[str, float]) -> str:
  """Formats options with their probabilities, the most likely option first.

  >>> print(score_table({"no": -2.0986, "yes": -1.0}))
  option   log p  among these
  yes     -1.000       75.0 %
  no      -2.099       25.0 %
  """
  best = max(scores.values())
  total = sum(math.exp(x - best) for x in scores.values())
  names = {x: visible(x).replace("\n", "\\n") for x in scores}
  width = max(len("option"), *map(len, names.values()))
  lines = [f"{'option':{width}}   log p  among these"]
  for option, x in sorted(scores.items(), key=lambda pair: -pair[1]):
    share = 100 * math.exp(x - best) / total
    lines.append(f"{names[option]:{width}} {x:7.3f} {share:10.1f} %")
  return "\n".join(lines)


def run() -> None:
  """Runs the console script `flan-generate`."""
  cli.run(
    main, again="resumes after the answers in its --output, if it has one"
  )


if __name__ == "__main__":
  run()
