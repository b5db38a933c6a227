"""Loads models: checkpoints, and models of other formats."""

import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from typing import overload

from flan_tf import config, name_lists
from flan_tf.api.models import Model
from flan_tf.bridges import convert
from flan_tf.checkpoints import checkpoint_dirs
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.data.prompt_format import Separator, check_chat_template
from flan_tf.inference.language_model import LanguageModel
from flan_tf.inference.prompt_answers import PromptAnswer
from flan_tf.sampling import GREEDY, Sampling

_NATIVE = "native"


def load(
  model: str | os.PathLike,
  *,
  mesh: config.MeshConfig | None = None,
  batch: int = 16,
  separator: str = "",
  data: config.DataConfig | None = None,
  cache_dir: str | os.PathLike = "",
  adapter_base: str | os.PathLike = "",
) -> Model:
  """Loads a model.

  Args:
    model: a checkpoint, or a workdir for its newest checkpoint; or a model of
      another format, as "gguf:FILE", "hugging_face:FOLDER" or
      "keras_hub:PRESET". Such a model is first converted into a checkpoint.
    mesh: devices, layout and precision; by default one core, in the precision
      of the checkpoint's run.
    batch: rows that are computed at once.
    separator: text between prompts and answers, one of
      `flan_tf.config.SEPARATORS`; "chat" uses the chat template of an instruct
      model. By default the separator that the model was trained with, or
      "plain" for a converted one.
    data: lengths and separator, in place of those of the checkpoint's run.
    cache_dir: folder for the converted checkpoint, which later calls read
      again. By default it is a temporary folder, removed with the model.
      `Model.checkpoint` is the folder in both cases.
    adapter_base: for a checkpoint of adapters, where the checkpoint of the
      model that they adapt lies now; by default where it was.

  Raises:
    CheckpointError: there is no complete checkpoint.
    ValueError: the model cannot be converted, `cache_dir` holds another model,
      the mesh does not fit the model, or the separator is "chat" and the model
      has no chat template.
  """
  text = os.path.expanduser(os.fspath(model))
  format_name, path = _parse_location(text)
  temporary = ""
  if format_name == _NATIVE:
    if cache_dir:
      raise ValueError(
        f"cache_dir is for models that are converted, and {text!r} is a"
        " checkpoint already. Leave cache_dir out."
      )
  elif cache_dir:
    folder = os.path.expanduser(os.fspath(cache_dir))
    path = _converted(f"{format_name}:{path}", folder)
  else:
    path = temporary = _converted_temporarily(f"{format_name}:{path}")
  bundle = Bundle.open(path, os.fspath(adapter_base))
  data = data or bundle.run.data
  if separator:
    data = dataclasses.replace(data, separator=separator)
  check_chat_template(Separator(data.separator), bundle.run.chat)
  language_model = LanguageModel.load(
    bundle.path, mesh, batch, data, bundle.adapter_base
  )
  return Model(language_model, bundle, temporary)


@overload
def generate(
  model: Model | str | os.PathLike,
  prompts: str,
  *,
  max_new: int = ...,
  sampling: Sampling = ...,
  stops: Sequence[str] = ...,
  markers: str = ...,
) -> PromptAnswer: ...


@overload
def generate(
  model: Model | str | os.PathLike,
  prompts: Sequence[str],
  *,
  max_new: int = ...,
  sampling: Sampling = ...,
  stops: Sequence[str] = ...,
  markers: str = ...,
) -> list[PromptAnswer]: ...


def generate(
  model: Model | str | os.PathLike,
  prompts: str | Sequence[str],
  *,
  max_new: int = 0,
  sampling: Sampling = GREEDY,
  stops: Sequence[str] = (),
  markers: str = "",
) -> PromptAnswer | list[PromptAnswer]:
  """Continues one prompt, or several; see `Model.generate`.

  Args:
    model: a loaded model, or anything that `load` takes. A model that is named
      is loaded for this one call.
    prompts: a text, or a list of texts.
    max_new: maximum number of new tokens; 0 for the target length of the run.
    sampling: how tokens are chosen.
    stops: texts that end an answer; they are no part of it.
    markers: texts around a prompt.
  """
  return as_model(model).generate(
    prompts,
    max_new=max_new,
    sampling=sampling,
    stops=stops,
    markers=markers,
  )


@overload
def score(
  model: Model | str | os.PathLike,
  prompts: str,
  options: Sequence[str],
  *,
  markers: str = ...,
) -> dict[str, float]: ...


@overload
def score(
  model: Model | str | os.PathLike,
  prompts: Sequence[str],
  options: Sequence[str],
  *,
  markers: str = ...,
) -> list[dict[str, float]]: ...


def score(
  model: Model | str | os.PathLike,
  prompts: str | Sequence[str],
  options: Sequence[str],
  *,
  markers: str = "",
) -> dict[str, float] | list[dict[str, float]]:
  """Returns the log-probability of each option; see `Model.score`.

  Args:
    model: a loaded model, or anything that `load` takes. A model that is named
      is loaded for this one call.
    prompts: a text, or a list of texts.
    options: the possible answers, the same for all prompts.
    markers: texts around a prompt.
  """
  return as_model(model).score(prompts, options, markers=markers)


def as_model(model: Model | str | os.PathLike) -> Model:
  """Returns a loaded model as it is, and loads one that is named."""
  return model if isinstance(model, Model) else load(model)


def _parse_location(text: str) -> convert.Location:
  """Splits FORMAT:PATH; a text without a format is a checkpoint."""
  match = re.match(r"(\w+):(?!//)", text)
  if not match or os.path.exists(text):
    return convert.Location(_NATIVE, text)
  if match[1] not in convert.SOURCE_FORMATS:
    raise ValueError(
      f"The model {text!r}: "
      + name_lists.unknown_name("format", match[1], convert.SOURCE_FORMATS)
      + " A path without a format is a checkpoint or a workdir."
    )
  return convert.parse_location(text, "model")


def _converted(location: str, folder: str) -> str:
  """Converts a model into a checkpoint, unless that was done before.

  Raises:
    ValueError: the folder has a checkpoint of another model, or the model
      cannot be converted.
  """
  source = convert.open_source(location)
  if not checkpoint_dirs.is_complete(folder):
    return convert.write_target(source, f"{_NATIVE}:{folder}").path
  origin = Bundle.open(folder).data.get("source", "a training run")
  if origin != source.origin:
    raise ValueError(
      f"cache_dir {folder} has a checkpoint of {origin}, not of"
      f" {source.origin}. Choose another cache_dir, or remove that folder."
    )
  return folder


def _converted_temporarily(location: str) -> str:
  """Converts a model into a checkpoint in a new temporary folder."""
  folder = tempfile.mkdtemp(prefix="flan_tf-")
  try:
    return _converted(location, folder)
  except BaseException:
    shutil.rmtree(folder, ignore_errors=True)
    raise
