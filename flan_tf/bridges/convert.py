"""Converts a model from one format into another.

  source                     target
  keras_hub:PRESET           native:DIR        a checkpoint of this project
  hugging_face:FOLDER        keras_hub:FOLDER  a preset for KerasHub
  gguf:FILE                  saved_model:DIR   a TensorFlow SavedModel
  native:DIR

`convert` is the whole conversion. Its three steps are functions of their own:
`open_source` reads a configuration and a vocabulary, but no tensor;
`changed_source` applies the options of the conversion; `write_target` reads
and writes the tensors, one at a time. Nothing here prints.

The modules of the formats are imported by the functions that need them, since
this module also gives the flags of `launch.convert` their values, which must
not wait for TensorFlow.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from flan_tf import name_lists
from flan_tf.bridges.write_progress import WriteProgress, no_progress

if TYPE_CHECKING:
  from flan_tf.bridges.model_source import ModelSource
  from flan_tf.vocab.base import Vocabulary

SOURCE_FORMATS = ("keras_hub", "hugging_face", "gguf", "native")
TARGET_FORMATS = ("native", "keras_hub", "saved_model")


class Location(NamedTuple):
  """A model in one of the formats, written FORMAT:PATH.

  Attributes:
    format: one of SOURCE_FORMATS or TARGET_FORMATS.
    path: a file, a folder, or a name that the format knows.
  """

  format: str
  path: str


@dataclasses.dataclass(frozen=True)
class Conversion:
  """A finished conversion.

  Attributes:
    source: the model that was written, after all changes. Its tensors can
      still be read from the files that it was opened from.
    format: the target's format, one of TARGET_FORMATS.
    path: the folder that was written.
  """

  source: "ModelSource" = dataclasses.field(repr=False)
  format: str
  path: str


def convert(
  source: str,
  target: str,
  *,
  vocabulary: str = "",
  results: str = "",
  vocab_rows: int = 0,
  new_pieces: Sequence[str] = (),
  chat: str = "",
  separator: str = "",
  adapter_base: str = "",
  on_source: Callable[["ModelSource"], object] | None = None,
  progress: WriteProgress = no_progress,
) -> Conversion:
  """Reads a model in one format and writes it in another.

  Args:
    source: FORMAT:PATH with a format of SOURCE_FORMATS, e.g. "gguf:model.gguf".
    target: FORMAT:PATH with a format of TARGET_FORMATS, e.g.
      "native:runs/base". The folder must not exist, or be empty.
    vocabulary: a vocabulary file, or a Hugging Face folder with a tokenizer, to
      use in place of the source's tokenizer.
    results: what launch.evaluate wrote for a native checkpoint (a folder, or
      its results.json), to show in the model card.
    vocab_rows: rows of the embedding in the target; 0 for as many as the source
      has, or as its pieces need.
    new_pieces: special pieces to add to the vocabulary.
    chat: a chat template in place of the source's own, as
      `chat_templates.parse` reads it.
    separator: one of `config.SEPARATORS`, in place of the source's own.
    adapter_base: for a checkpoint of adapters, where the checkpoint of the
      model that they adapt lies now.
    on_source: called with the source before anything is written.
    progress: called after each tensor.

  Raises:
    ValueError: a location cannot be read, the source cannot be converted, or
      the target cannot hold it. The message says why and what would work.
  """
  parse_location(source, "source", SOURCE_FORMATS)
  target_format, _ = parse_location(target, "target", TARGET_FORMATS)
  opened = open_source(
    source,
    vocabulary=vocabulary,
    soft_prompt=target_format == "saved_model",
    adapter_base=adapter_base,
  )
  if results:
    from flan_tf.bridges import card_results

    opened = card_results.with_results(opened, results)
  opened = changed_source(
    opened,
    vocab_rows=vocab_rows,
    new_pieces=new_pieces,
    chat=chat,
    separator=separator,
  )
  if on_source is not None:
    on_source(opened)
  return write_target(opened, target, progress)


def parse_location(
  text: str, role: str, formats: Sequence[str] = SOURCE_FORMATS
) -> Location:
  """Splits FORMAT:PATH.

  >>> parse_location("gguf:a.gguf", "source", SOURCE_FORMATS)
  Location(format='gguf', path='a.gguf')

  Args:
    text: the location.
    role: "source" or "target", for the message.
    formats: the formats that `text` may have.

  Raises:
    ValueError: it has no path, or an unknown format.
  """
  name, colon, path = text.partition(":")
  if not (colon and path):
    raise ValueError(
      f"The {role} {text!r} is not of the form FORMAT:PATH, e.g."
      f" {formats[0]}:DIR. Formats: {', '.join(formats)}."
    )
  if name not in formats:
    raise ValueError(
      f"The {role} {text!r}: "
      + name_lists.unknown_name("format", name, formats)
    )
  return Location(name, path)


def open_source(
  location: str,
  *,
  vocabulary: str = "",
  soft_prompt: bool = False,
  adapter_base: str = "",
) -> "ModelSource":
  """Opens a model that is to be converted; reads none of its tensors.

  Args:
    location: FORMAT:PATH with a format of SOURCE_FORMATS.
    vocabulary: see `convert`.
    soft_prompt: whether the target can hold a soft prompt. Without, a
      checkpoint that has one is refused.
    adapter_base: see `convert`.

  Raises:
    ValueError: see `convert`.
  """
  name, path = parse_location(location, "source", SOURCE_FORMATS)
  own_vocabulary = _open_vocabulary(vocabulary) if vocabulary else None
  if name == "gguf":
    from flan_tf.bridges.gguf import gguf_source

    return gguf_source.open_source(path, own_vocabulary)
  if name == "hugging_face":
    from flan_tf.bridges.hugging_face import folder_source

    return folder_source.open_source(path, own_vocabulary)
  if name == "native":
    from flan_tf.bridges.native import checkpoint_source

    return checkpoint_source.open_source(
      path, own_vocabulary, soft_prompt, adapter_base
    )
  from flan_tf.bridges.keras_hub import preset_source

  return preset_source.open_source(path, own_vocabulary)


def _open_vocabulary(path: str) -> "Vocabulary":
  from flan_tf.bridges.hugging_face import folder_source

  return folder_source.open_vocabulary(path)


def changed_source(
  source: "ModelSource",
  *,
  vocab_rows: int = 0,
  new_pieces: Sequence[str] = (),
  chat: str = "",
  separator: str = "",
) -> "ModelSource":
  """Returns a source with another vocabulary, chat template or separator.

  The arguments are those of `convert`; without any, the source is unchanged.

  Raises:
    ValueError: the model or its vocabulary does not allow the change.
  """
  from flan_tf.bridges import chat_templates, resize
  from flan_tf.data.prompt_format import Separator, check_chat_template

  if vocab_rows or new_pieces:
    source = resize.resize(source, vocab_rows, new_pieces)
  if chat:
    template = chat_templates.parse(chat, source.vocabulary)
    source = dataclasses.replace(source, chat=template, no_chat_reason="")
  if separator:
    source = dataclasses.replace(source, separator=separator)
    check_chat_template(Separator(separator), source.chat)
  return source


def write_target(
  source: "ModelSource",
  location: str,
  progress: WriteProgress = no_progress,
) -> Conversion:
  """Writes a source in the target's format, one tensor after another.

  Args:
    source: the model.
    location: FORMAT:PATH with a format of TARGET_FORMATS. The folder must not
      exist, or be empty.
    progress: called after each tensor.

  Raises:
    ValueError: see `convert`. Nothing remains of what was written.
  """
  name, path = parse_location(location, "target", TARGET_FORMATS)
  if name == "keras_hub":
    from flan_tf.bridges.keras_hub import preset_writer

    preset_writer.write(source, path, progress)
  elif name == "saved_model":
    from flan_tf.bridges.saved_model import saved_model_writer

    saved_model_writer.write(source, path, progress)
  else:
    _write_checkpoint(source, path, progress)
  return Conversion(source, name, path)


def _write_checkpoint(
  source: "ModelSource", path: str, progress: WriteProgress
) -> None:
  from flan_tf.bridges import model_card
  from flan_tf.bridges.native import checkpoint_source, checkpoint_writer

  files = None
  if isinstance(source, checkpoint_source.NativeSource):
    # What the weights have seen goes with them.
    files = checkpoint_source.side_files(source)
    files[model_card.FILE] = model_card.checkpoint_card(source, path).encode()
  checkpoint_writer.write(source, path, progress, files)
