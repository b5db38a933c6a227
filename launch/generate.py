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

With neither --prompt nor --input, what is typed is answered, a line at a time;
each line is answered alone, for a tuned model sees one prompt.
"""

import sys

from absl import flags

from flan_tf import config, wordings
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
_BATCH = flags.DEFINE_integer("batch", 8, "Prompts answered at once.", 1)
_MESH = cli.define_mesh()


def main() -> None:
  if bool(_INPUT.value) != bool(_OUTPUT.value):
    raise ValueError("--input and --output go together.")
  if _PROMPT.value and _INPUT.value:
    raise ValueError("Give --prompt or --input, not both.")
  mesh = _MESH()
  alone = not _INPUT.value
  answer = jobs.answerer(
    _CHECKPOINT.value,
    mesh,
    1 if alone else _BATCH.value,
    _MAX_NEW.value,
    _MARKERS.value,
    _SEPARATOR.value,
  )
  if _INPUT.value:
    from flan_tf.eval import answering
    from flan_tf.mesh import checkpoint

    by = checkpoint.find(_CHECKPOINT.value)
    for flag in (_MAX_NEW, _MARKERS, _SEPARATOR):
      by += f" --{flag.name}={flag.value}" if flag.value else ""
    now, before = answering.answer_file(
      answer, _INPUT.value, _OUTPUT.value, _BATCH.value, by
    )
    print(f"{_OUTPUT.value}: {now} prompts answered, {before} were before.")
  elif _PROMPT.value:
    (found,) = answer([_PROMPT.value])
    print(found.text)
  else:
    _converse(answer)


def _converse(answer) -> None:
  if sys.stdin.isatty():
    print("Type a prompt and Enter; \\n in it is a new line; Ctrl-D ends.")
  for line in sys.stdin:
    prompt = line.strip().replace("\\n", "\n")
    if prompt:
      (found,) = answer([prompt])
      cut = "" if found.ended else " ..."
      print(f"{found.text}{cut}", flush=True)


def run() -> None:
  """Entry point of `flan-generate`."""
  cli.run(main)


if __name__ == "__main__":
  run()
