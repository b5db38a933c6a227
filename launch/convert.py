"""Converts models from and to the formats of other libraries.

  python -m launch.convert --source=keras_hub:gpt2_base_en --target=native:DIR
  python -m launch.convert --source=hugging_face:FOLDER --target=native:DIR
  python -m launch.convert --source=gguf:FILE --target=native:DIR
  python -m launch.convert --source=native:DIR --target=keras_hub:PRESET
  python -m launch.convert --source=native:DIR --target=saved_model:MODELS/1

Sources: `keras_hub:` takes a built-in preset, hf://..., kaggle://..., or a
local folder; `hugging_face:` takes a local folder with config.json and
*.safetensors; `native:` takes a checkpoint of this project and merges adapters
into the model that they were trained on. Families: GPT-2, Llama 1 to 3 (SmolLM2
too), Mistral, Gemma 1 and 2, Qwen 2 and 2.5; of GGUF files llama and gpt2.

Targets: a `native:` checkpoint can be evaluated, and tuned:

  python -m launch.evaluate --checkpoint=DIR --clusters=nli
  python -m launch.train --config=... --config.train.init_from=DIR

`keras_hub:` writes a folder for `CausalLM.from_preset` of KerasHub. KerasHub
has no T5 relative positions, so the model must have other ones, e.g.
model.positions=rotary. `saved_model:` writes a folder for TensorFlow Serving,
with the tokenizer, from texts to texts; it can hold a soft prompt. Each target
of a checkpoint has a model card, which shows the scores of --results.

The chat template of the source is saved in a native checkpoint; --chat replaces
it, and --separator=chat makes the target use it. --add_pieces adds special
pieces to the vocabulary, and --vocab adds rows to the embedding.

Tensors are read one at a time, so memory stays near the size of the largest
one. Only a SavedModel needs memory for the whole model.
"""

import sys

from absl import flags

import flan_tf as flan
from flan_tf import config
from flan_tf.bridges import convert
from flan_tf.bridges.write_progress import no_progress
from flan_tf.terminal_text import visible
from launch import cli

_SOURCE = flags.DEFINE_string(
  "source",
  None,
  "The model to convert, as FORMAT:PATH. Formats:"
  f" {', '.join(convert.SOURCE_FORMATS)}.",
  required=True,
)
_TARGET = flags.DEFINE_string(
  "target",
  None,
  "The folder to write, as FORMAT:PATH. Formats:"
  f" {', '.join(convert.TARGET_FORMATS)}.",
  required=True,
)
_VOCABULARY = flags.DEFINE_string(
  "vocabulary",
  "",
  "A vocabulary file, or a Hugging Face folder with a tokenizer, to use in"
  " place of the source's tokenizer.",
)
_RESULTS = flags.DEFINE_string(
  "results",
  "",
  "The output of launch.evaluate for a native checkpoint (a folder, or its"
  " results.json), to show in the model card.",
)
_CHAT = flags.DEFINE_string(
  "chat",
  "",
  "The chat template, in place of the source's own: chatml, llama3, gemma,"
  " mistral, or a text with {prompt} and {answer}, e.g."
  " '<|user|>\\n{prompt}<|end|>\\n<|model|>\\n{answer}{eos}'.",
)
_SEPARATOR = flags.DEFINE_enum(
  "separator",
  "",
  ["", *config.SEPARATORS],
  "The text between a prompt and its answer in the target; chat suits an"
  " instruct model. By default the separator that the source was trained with,"
  " or plain where that is not known.",
)
_VOCAB = flags.DEFINE_integer(
  "vocab",
  0,
  "Rows of the embedding in the target, e.g. a number that the mesh can split."
  " By default as many as the source has, or as its pieces need.",
  0,
)
_ADD_PIECES = flags.DEFINE_list(
  "add_pieces",
  [],
  "New special pieces of the vocabulary, e.g. '<|user|>,<|model|>'.",
)
_ADAPTER_BASE = cli.define_adapter_base()


def main() -> None:
  """Converts the model that the flags name."""
  done = flan.convert(
    _SOURCE.value,
    _TARGET.value,
    vocabulary=_VOCABULARY.value,
    results=_RESULTS.value,
    vocab_rows=_VOCAB.value,
    new_pieces=_ADD_PIECES.value,
    chat=_CHAT.value,
    separator=_SEPARATOR.value,
    adapter_base=_ADAPTER_BASE.value,
    on_source=lambda source: print(visible(source.describe()), flush=True),
    progress=_show_progress if sys.stderr.isatty() else no_progress,
  )
  print(f"Written: {done.path}")


def _show_progress(name: str, done: int, total: int) -> None:
  """Rewrites one line of a terminal with the bytes that are written."""
  end = "\n" if done == total else ""
  text = f"{done / 1e9:.2f} of {total / 1e9:.2f} GB"
  print(f"\r{text}  {visible(name):40}", end=end, file=sys.stderr, flush=True)


def run() -> None:
  """Runs `flan-convert`: parses its flags and converts one model."""
  cli.run(main)


if __name__ == "__main__":
  run()
