"""Trains a SentencePiece vocabulary on the text that a run may see.

  python -m launch.train_vocabulary --output=runs/nli.model --size=4000 \
      --held_out=nli --tfds_data_dir=DIR

The vocabulary of the paper has 32,000 byte-pair pieces and was trained on the
pretraining corpus. Rows of held-out clusters and of related clusters are not
read.
"""

from absl import flags

import flan_tf as flan
from launch import cli

_OUTPUT = flags.DEFINE_string(
  "output", None, "Path of the vocabulary file to write.", required=True
)
_SIZE = flags.DEFINE_integer("size", 4000, "Number of pieces.", 300, 1_000_000)
_KIND = flags.DEFINE_enum(
  "kind", "bpe", ["bpe", "unigram"], "Algorithm that finds the pieces."
)
_HELD_OUT = flags.DEFINE_string(
  "held_out", "", "Clusters or tasks to hold out, comma-separated."
)
_DATA_DIR = cli.define_data_dir()
_TASK_FILE = cli.define_task_file()


def main() -> None:
  cli.register_task_files(_TASK_FILE.value)
  vocabulary = flan.train_vocabulary(
    _OUTPUT.value,
    size=_SIZE.value,
    kind=_KIND.value,
    held_out=_HELD_OUT.value,
    data_dir=_DATA_DIR.value,
  )
  print(
    f"{_OUTPUT.value}: {vocabulary.size} pieces, fingerprint"
    f" {vocabulary.fingerprint}"
  )


def run() -> None:
  """Runs the console script `flan-train-vocabulary`."""
  cli.run(main)


if __name__ == "__main__":
  run()
