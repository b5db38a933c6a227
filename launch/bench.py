"""Benchmarks flan_tf against a peer: same work, same machine, in turns.

  python -m launch.bench --what=train --against=keras_hub
  python -m launch.bench --what=data --against=seqio --tfds_data_dir=DIR
  python -m launch.bench --what=score --against=lm_eval --tfds_data_dir=DIR \
      --checkpoint=CHECKPOINT --peer_model=FOLDER_OR_GGUF --tasks=rte,anli_r1
  python -m launch.bench --what=options --checkpoint=CHECKPOINT
  python -m launch.bench --what=generate --against=transformers \
      --checkpoint=CHECKPOINT --peer_model=FOLDER_OR_GGUF --precisions=float32
  python -m launch.bench --what=convert --gigabytes=5

Prints JSON lines with the keys what, system, peer, value, unit, peer_value,
ratio_to_peer (above 1: flan_tf is faster), share_of_peak, precision, size, and
others of the benchmark. The load of a machine varies, so the two systems take
turns, and the median of the rounds is reported. The modules of
`launch.benches` describe the benchmarks. Some peers are installed by
`pip install -e .[bench]`.
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
  "options": "itself",  # flan_tf without sharing prompts between options.
  "convert": "nothing",  # Only memory is measured.
}
_WHAT = flags.DEFINE_enum(
  "what", "train", list(_PEERS), "The benchmark to run."
)
_AGAINST = flags.DEFINE_enum(
  "against",
  None,
  sorted({*_PEERS.values(), "transformers"}),
  "The peer. Each benchmark has one; generate can take transformers, too.",
)
_ROUNDS = flags.DEFINE_integer(
  "rounds",
  None,
  "Turns of each system; by default 3 for data, score and options, and 5 for"
  " the others.",
  1,
)
# --what=train
_STEPS = flags.DEFINE_integer(
  "steps", 4, "--what=train: training steps in a turn.", 1
)
_LAYERS = flags.DEFINE_integer("layers", 6, "--what=train: layers.", 1)
_D_MODEL = flags.DEFINE_integer(
  "d_model", 256, "--what=train: width of the model; each head has 64.", 64
)
_VOCAB = flags.DEFINE_integer(
  "vocab", 8064, "--what=train: size of the vocabulary.", 128
)
_LENGTH = flags.DEFINE_integer(
  "length", 256, "--what=train: tokens of a row.", 16
)
_BATCH = flags.DEFINE_integer(
  "batch", 8, "Rows of a training step, or rows that are scored at once.", 1
)
_PRECISIONS = flags.DEFINE_list(
  "precisions", list(config.PRECISIONS), "Number formats to measure."
)
# --what=data, --what=score
_DATA_DIR = cli.define_data_dir()
_TASKS = flags.DEFINE_list(
  "tasks", [], "Tasks to mix or to score; all by default."
)
_VOCABULARY = flags.DEFINE_string(
  "vocabulary",
  "",
  "--what=data: path of a SentencePiece model. By default the 32,000 pieces in"
  " the package mistral-common, if it is installed, or a small vocabulary that"
  " is trained on the shipped rows.",
)
_STEADY_ROWS = flags.DEFINE_integer(
  "steady_rows",
  200_000,
  "--what=data: rows to draw after a pass, to watch the memory; 0 for none.",
  0,
)
# --what=score, --what=options, --what=generate
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint", "", "Checkpoint or workdir of the model that is measured."
)
_PEER_MODEL = flags.DEFINE_string(
  "peer_model",
  "",
  "The same weights for transformers: a folder or a GGUF file.",
)
_SEPARATOR = flags.DEFINE_enum(
  "separator",
  "newline",
  ["newline", "blank", "plain"],
  "--what=score: text between prompt and option.",
)
_PEER_DEFAULTS = flags.DEFINE_bool(
  "peer_defaults",
  False,
  "--what=score: use the peer's default batch and precision.",
)
_SHOTS = flags.DEFINE_integer(
  "shots", 0, "--what=score: exemplars before each query.", 0
)
_EXEMPLARS = flags.DEFINE_enum(
  "exemplars",
  config.EXEMPLARS[0],
  config.EXEMPLARS,
  "--what=score: draw exemplars for each query, or use the same for all queries"
  " of a template.",
)
_MAX_EXAMPLES = flags.DEFINE_integer(
  "max_examples", 20, "--what=score: maximum number of test rows of a task.", 1
)
_TEMPLATES = flags.DEFINE_integer(
  "templates", 2, "--what=score: number of templates of each task.", 1
)
# --what=convert
_GIGABYTES = flags.DEFINE_float(
  "gigabytes", 5.0, "--what=convert: size of the model in float32.", 0.3
)


def main() -> None:
  what = _WHAT.value
  peers = [_PEERS[what], *["transformers"] * (what == "generate")]
  if _AGAINST.value is not None and _AGAINST.value not in peers:
    raise ValueError(
      f"--what={what} is measured against {' or '.join(peers)}, not"
      f" {_AGAINST.value}."
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
    layers=_LAYERS.value,
    d_model=_D_MODEL.value,
    vocab=_VOCAB.value,
    length=_LENGTH.value,
    batch=_BATCH.value,
  )
  yield from train.compare(
    run, _PRECISIONS.value, _STEPS.value, _ROUNDS.value or train.ROUNDS
  )


def _data() -> Iterator[dict[str, Any]]:
  from launch.benches import data

  vocabulary = _VOCABULARY.value or data.mistral_vocabulary()
  yield data.compare(
    flan.tasks.registry().select(_TASKS.value),
    cache.data_dir(_DATA_DIR.value),
    vocabulary or cache.small_vocabulary(),
    rounds=_ROUNDS.value or data.ROUNDS,
    steady_rows=_STEADY_ROWS.value,
  )


def _score() -> Iterator[dict[str, Any]]:
  from launch.benches import score

  if not (_CHECKPOINT.value and _PEER_MODEL.value):
    raise ValueError(
      "--what=score needs --checkpoint=DIR and --peer_model=FOLDER_OR_GGUF."
    )
  chosen = flan.tasks.registry().select(_TASKS.value)
  benchmark = score.ScoreBenchmark(
    checkpoint=_find_checkpoint(),
    peer_model=_PEER_MODEL.value,
    tasks=[t for t in chosen if t.kind is flan.TaskKind.CLASSIFICATION],
    data_dir=cache.data_dir(_DATA_DIR.value),
    max_examples=_MAX_EXAMPLES.value,
    templates=_TEMPLATES.value,
    separator=_SEPARATOR.value,
    batch=_BATCH.value,
    peer_defaults=_PEER_DEFAULTS.value,
    shots=_SHOTS.value,
    fixed_exemplars=_EXEMPLARS.value == "fixed",
    rounds=_ROUNDS.value or score.ROUNDS,
  )
  for precision in _PRECISIONS.value:
    yield from score.compare(benchmark, precision)


def _options() -> Iterator[dict[str, Any]]:
  from launch.benches import options

  for precision in _PRECISIONS.value:
    yield from options.compare(
      _find_checkpoint(), precision, rounds=_ROUNDS.value or options.ROUNDS
    )


def _generate() -> Iterator[dict[str, Any]]:
  from launch.benches import generate

  benchmark = generate.GenerateBenchmark(
    checkpoint=_find_checkpoint(),
    peer=_AGAINST.value or _PEERS["generate"],
    peer_model=_PEER_MODEL.value,
    rounds=_ROUNDS.value or generate.ROUNDS,
  )
  for precision in _PRECISIONS.value:
    yield from generate.compare(benchmark, precision)


def _convert() -> Iterator[dict[str, Any]]:
  from launch.benches import convert

  vocabulary = _VOCABULARY.value or cache.small_vocabulary()
  yield from convert.measure(_GIGABYTES.value, vocabulary)


def _find_checkpoint() -> str:
  from flan_tf.checkpoints import checkpoint_dirs

  if not _CHECKPOINT.value:
    raise ValueError(f"--what={_WHAT.value} needs --checkpoint=DIR.")
  return checkpoint_dirs.find(_CHECKPOINT.value)


def run() -> None:
  """Runs the console script `flan-bench`."""
  cli.run(main)


if __name__ == "__main__":
  run()
