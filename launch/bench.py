"""Measures ours against a peer: same work, same machine, in turn, in one run.

  python -m launch.bench --what=train --against=keras_hub
  python -m launch.bench --what=data --against=seqio --tfds_data_dir=DIR
  python -m launch.bench --what=score --against=lm_eval --tfds_data_dir=DIR \
      --checkpoint=CHECKPOINT --peer_model=FOLDER_OR_GGUF --tasks=rte,anli_r1
  python -m launch.bench --what=options --checkpoint=CHECKPOINT
  python -m launch.bench --what=generate --against=transformers \
      --checkpoint=CHECKPOINT --peer_model=FOLDER_OR_GGUF --precisions=float32
  python -m launch.bench --what=convert --gigabytes=5

Prints one JSON object a line: what, system, peer, value, unit, peer_value,
ratio_to_peer (above 1: ours is faster), share_of_peak, precision, size, and
what a measurement has beside them. Machines are noisy, so the two take turns
and the median of the rounds counts. The modules of `launch.benches` say what
each does. Some peers come with `pip install -e .[bench]`.
"""

import json
from collections.abc import Iterator
from typing import Any

from absl import flags

import flan_tf as flan
from flan_tf import config
from flan_tf.api import cache
from launch import cli

_PEERS = {
  "train": "keras_hub",
  "data": "seqio",
  "score": "lm_eval",
  "generate": "keras_hub",  # Or transformers.
  "options": "itself",  # Without what options share.
  "convert": "nothing",  # What is measured is the memory it takes.
}
_WHAT = flags.DEFINE_enum("what", "train", list(_PEERS), "What to measure.")
_AGAINST = flags.DEFINE_enum(
  "against",
  None,
  sorted({*_PEERS.values(), "transformers"}),
  "The peer; each --what has its own, generate a second one.",
)
_ROUNDS = flags.DEFINE_integer(
  "rounds", None, "Turns that each side takes; by default 5 (data: 3).", 1
)
# --what=train
_STEPS = flags.DEFINE_integer("steps", 4, "Training steps in a turn.", 1)
_LAYERS = flags.DEFINE_integer("layers", 6, "Layers.", 1)
_WIDTH = flags.DEFINE_integer("d_model", 256, "Width; heads are 64 wide.", 64)
_VOCAB = flags.DEFINE_integer("vocab", 8064, "Tokens.", 128)
_LENGTH = flags.DEFINE_integer("length", 256, "Tokens in a row.", 16)
_BATCH = flags.DEFINE_integer("batch", 8, "Rows in a step.", 1)
_PRECISIONS = flags.DEFINE_list(
  "precisions", list(config.PRECISIONS), "What to measure in."
)
# --what=data
_DATA_DIR = flags.DEFINE_string(
  "tfds_data_dir", "", "Prepared TFDS directory; empty for the shipped rows."
)
_TASKS = flags.DEFINE_list("tasks", [], "Tasks to mix; all by default.")
_VOCABULARY = flags.DEFINE_string(
  "vocabulary",
  "",
  "SentencePiece file. By default the 32,000 pieces that mistral-common ships,"
  " if it is installed, or a small one trained on the shipped rows.",
)
_STEADY_ROWS = flags.DEFINE_integer(
  "steady_rows",
  200_000,
  "Rows to draw after a pass, to watch the memory; 0 skips that.",
  0,
)
# --what=score, --what=generate
_CHECKPOINT = flags.DEFINE_string("checkpoint", "", "What scores, or goes on.")
_PEER_MODEL = flags.DEFINE_string(
  "peer_model", "", "The same weights for transformers: a folder or GGUF file."
)
_SEPARATOR = flags.DEFINE_enum(
  "separator",
  "newline",
  ["newline", "blank", "plain"],
  "Between prompt and option.",
)
_PEER_DEFAULTS = flags.DEFINE_bool(
  "peer_defaults", False, "The peer's own batch and precision, not ours."
)
_SHOTS = flags.DEFINE_integer("shots", 0, "Exemplars before each query.", 0)
_EXEMPLARS = flags.DEFINE_enum(
  "exemplars", config.EXEMPLARS[0], config.EXEMPLARS, "Whose they are."
)
_MAX = flags.DEFINE_integer("max_examples", 20, "Most test rows of a task.", 1)
_GIGABYTES = flags.DEFINE_float(
  "gigabytes", 5.0, "--what=convert: size of the model in float32.", 0.3
)
_TEMPLATES = flags.DEFINE_integer("templates", 2, "Templates of a task.", 1)


def main() -> None:
  what = _WHAT.value
  peers = [None, _PEERS[what], *["transformers"] * (what == "generate")]
  if _AGAINST.value not in peers:
    raise ValueError(
      f"--what={what} is measured against"
      f" {' or '.join(filter(None, peers))}, not {_AGAINST.value}."
    )
  measure = {
    "train": _train,
    "data": _data,
    "score": _score,
    "options": _options,
    "generate": _generate,
    "convert": _convert,
  }[what]
  for line in measure():
    print(json.dumps(line), flush=True)


def _train() -> Iterator[dict[str, Any]]:
  from launch.benches import train

  run = train.run_of_size(
    _LAYERS.value, _WIDTH.value, _VOCAB.value, _LENGTH.value, _BATCH.value
  )
  yield from train.compare(
    run, _PRECISIONS.value, _STEPS.value, _ROUNDS.value or train.ROUNDS
  )


def _data() -> Iterator[dict[str, Any]]:
  from launch.benches import data

  yield data.compare(
    flan.tasks.registry().select(_TASKS.value),
    cache.data_dir(_DATA_DIR.value),
    _VOCABULARY.value or data.shipped_vocabulary() or cache.small_vocabulary(),
    _ROUNDS.value or data.ROUNDS,
    _STEADY_ROWS.value,
  )


def _score() -> Iterator[dict[str, Any]]:
  from flan_tf.checkpoints import checkpoint_dirs
  from flan_tf.task import schema
  from launch.benches import score

  if not (_CHECKPOINT.value and _PEER_MODEL.value):
    raise ValueError("--what=score needs --checkpoint and --peer_model.")
  chosen = flan.tasks.registry().select(_TASKS.value)
  work = score.Work(
    checkpoint_dirs.find(_CHECKPOINT.value),
    _PEER_MODEL.value,
    [task for task in chosen if task.kind is schema.TaskKind.CLASSIFICATION],
    cache.data_dir(_DATA_DIR.value),
    _MAX.value,
    _TEMPLATES.value,
    _SEPARATOR.value,
    _BATCH.value,
    _PEER_DEFAULTS.value,
    _SHOTS.value,
    _EXEMPLARS.value == "fixed",
    _ROUNDS.value or score.ROUNDS,
  )
  for precision in _PRECISIONS.value:
    yield from score.compare(work, precision)


def _options() -> Iterator[dict[str, Any]]:
  from flan_tf.checkpoints import checkpoint_dirs
  from launch.benches import score

  if not _CHECKPOINT.value:
    raise ValueError("--what=options needs --checkpoint.")
  for precision in _PRECISIONS.value:
    yield from score.options(
      checkpoint_dirs.find(_CHECKPOINT.value),
      precision,
      rounds=_ROUNDS.value or score.ROUNDS,
    )


def _generate() -> Iterator[dict[str, Any]]:
  from flan_tf.checkpoints import checkpoint_dirs
  from launch.benches import generate

  if not _CHECKPOINT.value:
    raise ValueError("--what=generate needs --checkpoint.")
  work = generate.Work(
    checkpoint_dirs.find(_CHECKPOINT.value),
    _AGAINST.value or _PEERS["generate"],
    _PEER_MODEL.value,
    rounds=_ROUNDS.value or generate.ROUNDS,
  )
  for precision in _PRECISIONS.value:
    yield from generate.compare(work, precision)


def _convert() -> Iterator[dict[str, Any]]:
  from launch.benches import convert

  vocabulary = _VOCABULARY.value or cache.small_vocabulary()
  yield from convert.measure(_GIGABYTES.value, vocabulary)


def run() -> None:
  """Entry point of `flan-bench`."""
  cli.run(main)


if __name__ == "__main__":
  run()
