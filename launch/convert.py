"""Brings models in that others have trained, and takes models out.

  python -m launch.convert --source=keras_hub:gpt2_base_en --target=native:DIR
  python -m launch.convert --source=hugging_face:FOLDER --target=native:DIR
  python -m launch.convert --source=gguf:FILE --target=native:DIR
  python -m launch.convert --source=native:DIR --target=keras_hub:PRESET
  python -m launch.convert --source=native:DIR --target=saved_model:MODELS/1

`keras_hub:` takes a built-in preset, hf://..., kaggle://..., or a local folder;
`hugging_face:` a local folder with config.json and *.safetensors. Families:
GPT-2, Llama 1 to 3 (SmolLM2 too), Mistral, Gemma 1 and 2, Qwen 2 and 2.5; of
GGUF files llama and gpt2. One tensor is read at a time: memory stays near the
size of the largest one. A native checkpoint can be evaluated, and tuned:

  python -m launch.evaluate --checkpoint=DIR --clusters=nli
  python -m launch.train --config=... --config.train.init_from=DIR

What stands around a prompt when the model is talked to (its chat template)
goes into the checkpoint, or is said with --chat; --separator=chat uses it. With
--add_pieces the vocabulary grows by special pieces, with --vocab the embedding
by rows.

`native:` as a source merges adapters into the model that they were trained on.
`keras_hub:` as a target is a folder for `CausalLM.from_preset` of KerasHub; a
model card goes with it. A model with T5's relative positions cannot go there;
one with model.positions=rotary can. `saved_model:` as a target is a folder for
TensorFlow Serving, texts in, texts out, with its tokenizer and a model card; a
soft prompt can go there, too, and it takes memory for the whole model.
`--results` puts into the card what launch.evaluate wrote.
"""

import dataclasses
import sys

from absl import flags

from flan_tf import config
from launch import cli

SOURCES = ("keras_hub", "hugging_face", "gguf", "native")
TARGETS = ("native", "keras_hub", "saved_model")

_SOURCE = flags.DEFINE_string(
  "source", None, f"KIND:WHERE; kinds: {', '.join(SOURCES)}.", required=True
)
_TARGET = flags.DEFINE_string(
  "target", None, f"KIND:WHERE; kinds: {', '.join(TARGETS)}.", required=True
)
_VOCABULARY = flags.DEFINE_string(
  "vocabulary",
  "",
  "Instead of the source's tokenizer: a vocabulary file, or a Hugging Face"
  " folder that has one.",
)

_RESULTS = flags.DEFINE_string(
  "results",
  "",
  "The output of launch.evaluate for a native checkpoint, a folder or"
  " results.json: the model card shows it.",
)
_CHAT = flags.DEFINE_string(
  "chat",
  "",
  "How the model is talked to, instead of what it says itself: chatml, llama3,"
  " gemma, mistral, or spelt out with {prompt} and {answer}, e.g."
  " '<|user|>\\n{prompt}<|end|>\\n<|model|>\\n{answer}{eos}'.",
)
_SEPARATOR = flags.DEFINE_enum(
  "separator",
  "",
  ["", *config.SEPARATORS],
  "How the target puts prompts to the model: chat for an instruct model. By"
  " default as the source was trained; plain if that is not known.",
)
_VOCAB = flags.DEFINE_integer(
  "vocab", 0, "Rows of the embedding, e.g. a multiple that a mesh splits.", 0
)
_ADD_PIECES = flags.DEFINE_list(
  "add_pieces", [], "New special pieces, e.g. '<|user|>,<|model|>'."
)


def main() -> None:
  kind, where = split(_SOURCE.value, "source", SOURCES)
  target_kind, target = split(_TARGET.value, "target", TARGETS)
  soft_prompt = target_kind == "saved_model"
  source = open_source(kind, where, _VOCABULARY.value, soft_prompt)
  if _RESULTS.value:
    from flan_tf.bridges import card_results

    source = card_results.with_results(source, _RESULTS.value)
  source = changed(
    source,
    _VOCAB.value,
    _ADD_PIECES.value,
    _CHAT.value,
    _SEPARATOR.value,
  )
  print(source.describe(), flush=True)
  write(source, target_kind, target)
  print(f"Written: {target}")


def split(value: str, flag: str, known: tuple[str, ...]) -> tuple[str, str]:
  """'gguf:a.gguf' -> ('gguf', 'a.gguf')."""
  from flan_tf import name_lists

  kind, colon, where = value.partition(":")
  if not (colon and where):
    raise ValueError(
      f"--{flag}={value}: expected KIND:WHERE, e.g. {known[0]}:DIR."
    )
  if kind not in known:
    raise ValueError(
      f"--{flag}: " + name_lists.unknown_name("kind", kind, known)
    )
  return kind, where


def open_source(
  kind: str, where: str, vocabulary: str, soft_prompt: bool = False
):
  """The source of one kind; ValueError if it cannot be taken in."""
  from flan_tf.bridges.gguf import gguf_source
  from flan_tf.bridges.hugging_face import folder_source
  from flan_tf.bridges.keras_hub import preset_source
  from flan_tf.bridges.native import checkpoint_source

  given = folder_source.given_vocabulary(vocabulary) if vocabulary else None
  if kind == "gguf":
    return gguf_source.open_source(where, given)
  if kind == "hugging_face":
    return folder_source.open_source(where, given)
  if kind == "native":
    return checkpoint_source.open_source(where, given, soft_prompt)
  return preset_source.open_source(where, given)


def changed(
  source, vocab: int, add_pieces: list[str], chat: str, separator: str = ""
):
  """The source with another vocabulary or wrapper, as the flags say."""
  from flan_tf.bridges import chat_templates, resize
  from flan_tf.data import prompt_format

  if vocab or add_pieces:
    source = resize.resized(source, vocab, add_pieces)
  if chat:
    wrapper = chat_templates.parse(chat, source.vocabulary)
    source = dataclasses.replace(source, chat=wrapper, no_chat="")
  if separator:
    source = dataclasses.replace(source, separator=separator)
    # Refuses "chat" without a wrapper.
    prompt_format.Limits.of(1280, 256, 1280, "middle", separator, source.chat)
  return source


def write(source, kind: str, target: str) -> None:
  """Writes a source; ValueError if the target cannot hold it."""
  from flan_tf.bridges import model_card
  from flan_tf.bridges.keras_hub import preset_writer
  from flan_tf.bridges.native import checkpoint_source, checkpoint_writer
  from flan_tf.bridges.saved_model import saved_model_writer

  if kind == "keras_hub":
    preset_writer.write(source, target, _progress())
    return
  if kind == "saved_model":
    saved_model_writer.write(source, target, _progress())
    return
  files = None
  if isinstance(source, checkpoint_source.NativeSource):
    files = checkpoint_source.side_files(source)
    files[model_card.FILE] = model_card.of_checkpoint(source, target).encode()
  checkpoint_writer.write(source, target, _progress(), files)


def _progress():
  """Counts up on one line, where somebody looks on."""

  def show(name: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
      end = "\n" if done == total else ""
      text = f"{done / 1e9:.2f} of {total / 1e9:.2f} GB"
      print(f"\r{text}  {name:40}", end=end, file=sys.stderr, flush=True)

  return show


def run() -> None:
  """Entry point of `flan-convert`."""
  cli.run(main)


if __name__ == "__main__":
  run()
