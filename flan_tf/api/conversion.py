"""Converts models between checkpoints and the formats of other libraries."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flan_tf.bridges import convert as formats
from flan_tf.bridges.convert import Conversion
from flan_tf.bridges.write_progress import WriteProgress, no_progress

if TYPE_CHECKING:
  from flan_tf.bridges.model_source import ModelSource


def convert(
  source: str,
  target: str | os.PathLike,
  *,
  vocabulary: str = "",
  chat: str = "",
  separator: str = "",
  results: str = "",
  vocab_rows: int = 0,
  new_pieces: Sequence[str] = (),
  adapter_base: str = "",
  on_source: "Callable[[ModelSource], object] | None" = None,
  progress: WriteProgress = no_progress,
) -> Conversion:
  """Reads a model in one format and writes it in another.

  Args:
    source: "gguf:FILE", "hugging_face:FOLDER", "keras_hub:PRESET", or
      "native:DIR" for a checkpoint or workdir of this project.
    target: "native:DIR", "keras_hub:FOLDER" or "saved_model:FOLDER"; a path
      without a format is a native checkpoint. The folder must not exist, or be
      empty.
    vocabulary: a vocabulary file, or a Hugging Face folder with a tokenizer, to
      use in place of the source's tokenizer.
    chat: a chat template in place of the source's own: "chatml", "llama3",
      "gemma", "mistral", or a text with {prompt} and {answer}.
    separator: text between prompts and answers in the target, one of
      `flan_tf.config.SEPARATORS`.
    results: the folder of an evaluation of the source, to show in the model
      card.
    vocab_rows: rows of the embedding in the target; 0 for as many as the source
      has, or as its pieces need.
    new_pieces: special pieces to add to the vocabulary.
    adapter_base: for a checkpoint of adapters, where the checkpoint of the
      model that they adapt lies now; by default where it was.
    on_source: called with the source before anything is written.
    progress: called after each tensor with its name and the bytes written so
      far and in all.

  Returns:
    The format and the folder that were written.

  Raises:
    ValueError: the source cannot be converted, or the target cannot hold it.
      The message says why and what would work.
  """
  target = os.fspath(target)
  if target.partition(":")[0] not in formats.TARGET_FORMATS:
    target = f"native:{target}"
  return formats.convert(
    source,
    target,
    vocabulary=vocabulary,
    results=results,
    vocab_rows=vocab_rows,
    new_pieces=new_pieces,
    chat=chat,
    separator=separator,
    adapter_base=adapter_base,
    on_source=on_source,
    progress=progress,
  )
