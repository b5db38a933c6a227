"""Brings models in that others have trained, and takes models out.

  python -m launch.convert --source=keras_hub:gpt2_base_en --target=native:DIR
  python -m launch.convert --source=hugging_face:FOLDER --target=native:DIR
  python -m launch.convert --source=gguf:FILE --target=native:DIR
  python -m launch.convert --source=native:DIR --target=keras_hub:PRESET

`keras_hub:` takes a built-in preset, hf://..., kaggle://..., or a local folder;
`hugging_face:` a local folder with config.json and *.safetensors. Families:
GPT-2, Llama 1 to 3 (SmolLM2 too), Mistral, Gemma 1 and 2, Qwen 2 and 2.5; of
GGUF files llama and gpt2. One tensor is read at a time: memory stays near the
size of the largest one. A native checkpoint can be evaluated, and tuned:

  python -m launch.evaluate --checkpoint=DIR --clusters=nli
  python -m launch.train --config=... --config.train.init_from=DIR

`native:` as a source merges adapters into the model that they were trained on.
`keras_hub:` as a target is a folder for `CausalLM.from_preset` of KerasHub; a
model card goes with it. A model with T5's relative positions cannot go there;
one with model.positions=rotary can.
"""

import dataclasses
import sys

from absl import flags

from launch import cli

SOURCES = ("keras_hub", "hugging_face", "gguf", "native")
TARGETS = ("native", "keras_hub")

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


def main() -> None:
  kind, where = split(_SOURCE.value, "source", SOURCES)
  target_kind, target = split(_TARGET.value, "target", TARGETS)
  source = open_source(kind, where, _VOCABULARY.value)
  print(source.describe(), flush=True)
  write(source, target_kind, target)
  print(f"Written: {target}")


def split(value: str, flag: str, known: tuple[str, ...]) -> tuple[str, str]:
  """'gguf:a.gguf' -> ('gguf', 'a.gguf')."""
  from flan_tf import suggest

  kind, colon, where = value.partition(":")
  if not (colon and where):
    raise ValueError(
      f"--{flag}={value}: expected KIND:WHERE, e.g. {known[0]}:DIR."
    )
  if kind not in known:
    raise ValueError(f"--{flag}: " + suggest.unknown("kind", kind, known))
  return kind, where


def open_source(kind: str, where: str, vocabulary: str):
  """The source of one kind; ValueError if it cannot be taken in."""
  from flan_tf.bridges import (
    gguf_file,
    hugging_face,
    keras_hub_preset,
    native_source,
  )

  given = hugging_face.given_vocabulary(vocabulary) if vocabulary else None
  if kind == "gguf":
    source = gguf_file.open_source(where)
    return dataclasses.replace(source, vocabulary=given) if given else source
  if kind == "hugging_face":
    return hugging_face.open_source(where, given)
  if kind == "native":
    return native_source.open_source(where, given)
  return keras_hub_preset.open_source(where, given)


def write(source, kind: str, target: str) -> None:
  """Writes a source; ValueError if the target cannot hold it."""
  from flan_tf.bridges import (
    keras_hub_export,
    model_card,
    native,
    native_source,
  )

  if kind == "keras_hub":
    keras_hub_export.write(source, target, _progress())
    return
  files = None
  if isinstance(source, native_source.NativeSource):
    files = native_source.side_files(source)
    files[model_card.FILE] = model_card.of_checkpoint(source, target).encode()
  native.write(source, target, _progress(), files)


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
