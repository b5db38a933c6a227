"""Answers prompts with a checkpoint: one, a file of them, or a conversation.

  python -m launch.generate --checkpoint=runs/tuned --prompt='Is it so? ...'
  python -m launch.generate --checkpoint=runs/tuned \
      --input=prompts.jsonl --output=answers.jsonl
  python -m launch.generate --checkpoint=runs/tuned

A line of the input is a JSON object with a "prompt"; its other keys are kept.
A line of the output adds "answer", "log_prob" (of the answer's tokens),
"tokens", "by", "ended" (or cut at the limit), "trimmed" (whether the prompt was
too long). A line with "options", two or more texts, is labelled: its answer is
the likeliest of them, ranked as an evaluation ranks them, and it gains "scores"
(the log-probability of each) and "probability" (of the answer among them), to
leave unsure labels out by. A run that was stopped goes on behind the last line
of its output. A smaller model learns from such a file with

  python -m launch.train --config=... --config.data.files=answers.jsonl

With neither --prompt nor --input, what is typed is answered, a line at a time.
With --separator=chat the turns before are part of the prompt, and a line /new
begins afresh; else each line is answered alone, for a tuned model sees one
prompt. Answers appear while they are made. --score='yes|no|maybe' shows how
likely each of these answers is, instead.

The most likely tokens are taken, or drawn with --temperature, --top_k, --top_p
and --seed, or searched for with --beams; --stop=TEXT ends an answer.
"""

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from flan_tf import config
from flan_tf.sampling import Sampling
from flan_tf.task import wordings
from launch import cli, jobs

_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", None, "Checkpoint or workdir.", required=True
)
_PROMPT = flags.DEFINE_string("prompt", "", "One prompt.")
_INPUT = flags.DEFINE_string(
  "input", "", "JSON lines with prompts, and options if they are to be ranked."
)
_OUTPUT = flags.DEFINE_string("output", "", "JSON lines with answers.")
_MAX_NEW = flags.DEFINE_integer(
  "max_new", 0, "Most new tokens; 0 for the target length of the run.", 0
)
_MARKERS = flags.DEFINE_string(
  "markers",
  "",
  f"Around a prompt: {', '.join(wordings.MARKERS)}, or"
  " 'prompt|answer|example|cue' spelt out; by default as the model trained.",
)
_SEPARATOR = flags.DEFINE_enum(
  "separator",
  "",
  ["", *config.SEPARATORS],
  "Around a prompt, in tokens: end of text (flan), nothing (plain), a new line"
  " behind it (newline), or the model's chat wrapper; by default as the"
  " checkpoint's run says, plain for converted ones.",
)
_TEMPERATURE = flags.DEFINE_float(
  "temperature",
  0.0,
  "Above 0, tokens are drawn, with logits divided by it; else the most likely"
  " ones are taken.",
)
_TOP_K = flags.DEFINE_integer(
  "top_k", 0, "Draw from so many of the most likely tokens; 0 for all."
)
_TOP_P = flags.DEFINE_float(
  "top_p", 1.0, "Draw from the likeliest tokens that have this probability."
)
_BEAMS = flags.DEFINE_integer("beams", 1, "Above 1, beam search instead.")
_LENGTH_PENALTY = flags.DEFINE_float(
  "length_penalty",
  1.0,
  "Beams are compared by log-probability / tokens to its power.",
)
_SEED = flags.DEFINE_integer(
  "seed", 0, "Of draws: the same one, the same texts."
)
_STOP = flags.DEFINE_multi_string(
  "stop", [], "A text that ends an answer; \\n is a new line. May be repeated."
)
_SCORE = flags.DEFINE_string(
  "score",
  "",
  "Options, as 'yes|no|maybe': shows how likely each one is, instead of an"
  " answer.",
)
_BATCH = flags.DEFINE_integer("batch", 8, "Prompts answered at once.", 1)
_MESH = cli.define_mesh()

Answer = Callable[[str], None]


def main() -> None:
  if bool(_INPUT.value) != bool(_OUTPUT.value):
    raise ValueError("--input and --output go together.")
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
      f"--score ranks options, and makes no text: {', '.join(ignored)} would do"
      " nothing. Remove it."
    )
  sampling = Sampling(
    _TEMPERATURE.value,
    _TOP_K.value,
    _TOP_P.value,
    _BEAMS.value,
    _LENGTH_PENALTY.value,
    seed=_SEED.value,
  )
  options, mesh = options_of(_SCORE.value), _MESH()
  if _INPUT.value:
    _answer_file(sampling, mesh)
    return
  from flan_tf.inference import conversation
  from flan_tf.mesh import layout
  from flan_tf.model import dims

  # One prompt, and what else the mesh wants a row of.
  parts = layout.parse_layout(mesh.shape, mesh.layout, dims.SPLITTABLE).parts(
    "batch"
  )
  model = jobs.open_to_ask(_CHECKPOINT.value, mesh, parts, _SEPARATOR.value)
  talk = conversation.Conversation(
    model, _MAX_NEW.value, _MARKERS.value, sampling, _stops()
  )
  answer = functools.partial(_say, talk)
  if options:
    answer = functools.partial(_show_scores, model, options)
  if _PROMPT.value:
    answer(_PROMPT.value)
  else:
    _converse(answer, talk)


def options_of(text: str) -> tuple[str, ...]:
  """The options of a flag: "yes|no|maybe".

  Raises:
    ValueError: there is one alone, or one is empty or there twice.
  """
  options = tuple(text.replace("\\n", "\n").split("|")) if text else ()
  if text and (len(set(options)) < max(len(options), 2) or "" in options):
    raise ValueError(
      "--score: expected two or more different texts between |, none empty, as"
      f" 'yes|no|maybe'; got {text!r}."
    )
  return options


def _answer_file(sampling: Sampling, mesh) -> None:
  from flan_tf.checkpoints import store
  from flan_tf.inference import prompt_answers

  answer = jobs.answerer(
    *(_CHECKPOINT.value, mesh, _BATCH.value, _MAX_NEW.value),
    *(_MARKERS.value, _SEPARATOR.value, sampling, _stops()),
  )
  by = store.find(_CHECKPOINT.value)
  for flag in (
    *(_MAX_NEW, _MARKERS, _SEPARATOR, _TEMPERATURE, _TOP_K, _TOP_P),
    *(_BEAMS, _LENGTH_PENALTY, _SEED),
  ):
    if flag.value != flag.default:
      by += f" --{flag.name}={flag.value}"
  by += "".join(f" --stop={text}" for text in _STOP.value)
  now, before = prompt_answers.answer_file(
    answer, _INPUT.value, _OUTPUT.value, _BATCH.value, by
  )
  print(f"{_OUTPUT.value}: {now} prompts answered, {before} were before.")


def _stops() -> tuple[str, ...]:
  return tuple(text.replace("\\n", "\n") for text in _STOP.value)


def _say(talk, prompt: str) -> None:
  """Prints an answer while it is made."""
  said = talk.answer(prompt, lambda part: print(part, end="", flush=True))
  print("" if said.ended else " ...", flush=True)
  if said.trimmed:
    print("(The prompt was too long, and lost a part.)", file=sys.stderr)
  if said.forgotten:
    print(f"({said.forgotten} old turns were left out.)", file=sys.stderr)


def _show_scores(model, options: Sequence[str], prompt: str) -> None:
  """Prints how likely options are, the best one first."""
  from flan_tf.inference import prompt_answers

  (found,) = prompt_answers.answer(
    model, [prompt], markers=_MARKERS.value, options=[options]
  )
  print(score_table(found.scores), flush=True)


def score_table(scores: Mapping[str, float]) -> str:
  """Options with log-probability and probability among them, best first.

  >>> print(score_table({"no": -2.0986, "yes": -1.0}))
  option   log p  among these
  yes     -1.000       75.0 %
  no      -2.099       25.0 %
  """
  best = max(scores.values())
  total = sum(math.exp(x - best) for x in scores.values())
  names = {option: option.replace("\n", "\\n") for option in scores}
  width = max(len("option"), *map(len, names.values()))
  lines = [f"{'option':{width}}   log p  among these"]
  for option, x in sorted(scores.items(), key=lambda pair: -pair[1]):
    share = 100 * math.exp(x - best) / total
    lines.append(f"{names[option]:{width}} {x:7.3f} {share:10.1f} %")
  return "\n".join(lines)


def _converse(answer: Answer, talk) -> None:
  if sys.stdin.isatty():
    turns = "; /new begins afresh" if talk.remembers else ""
    print(
      f"Type a prompt and Enter; \\n in it is a new line{turns}; Ctrl-D ends."
    )
  for line in sys.stdin:
    prompt = line.strip().replace("\\n", "\n")
    if prompt == "/new":
      talk.forget()
    elif prompt:
      answer(prompt)


def run() -> None:
  """Entry point of `flan-generate`."""
  cli.run(main)


if __name__ == "__main__":
  run()
