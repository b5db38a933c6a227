"""Writes a source as a KerasHub preset, one tensor after another.

  FOLDER/config.json, task.json, preprocessor.json, tokenizer.json
  FOLDER/assets/tokenizer/*      the tokenizer's files
  FOLDER/model.weights.h5        or shards, with model.weights.json
  FOLDER/vocabulary.model        the vocabulary as it is here
  FOLDER/README.md               the model card

`keras_hub.models.CausalLM.from_preset(FOLDER)` loads it. Of KerasHub's
backbones the first one is taken that computes just what the model does: Llama
(Llama3 with byte pairs), Mistral, Qwen, Gemma, GPT2. So a Llama whose heads are
wider than their share of d_model becomes a Mistral without a window, and our
own model with rotary positions is a Gemma. What KerasHub always does itself is
put into the weights: `query_scale` into those of the queries.

Names and shapes are those of `keras_hub_preset`, read the other way around.
"""

import contextlib
import dataclasses
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

from flan_tf import config
from flan_tf.bridges import model_card, model_source
from flan_tf.bridges.keras_hub import (
  preset_files,
  preset_source,
  preset_tokenizer,
)
from flan_tf.bridges.native import checkpoint_source
from flan_tf.data import prompt_format
from flan_tf.vocab import byte_pair

# As KerasHub's own `save_to_preset`: files of no more than 10 GB.
SHARD_BYTES = 10 << 30

_PLAIN = {"module": "keras", "class_name": "DTypePolicy"}


def write(
  source: model_source.ModelSource,
  target: str,
  progress: Callable[[str, int, int], object] = lambda name, done, all: None,
  shard_bytes: int = SHARD_BYTES,
) -> str:
  """Writes a preset; returns the name of its backbone's class.

  Args:
    source: the model.
    target: a local folder that does not exist, or is empty.
    progress: called with each tensor's name, and the bytes done and in all.
    shard_bytes: size of a weights file above which there are several.

  Raises:
    SourceError: no KerasHub class computes this model, no tokenizer fits, there
      is something at `target`, or a tensor cannot be read. Nothing remains of
      what was written.
  """
  target = os.path.expanduser(target)
  if "://" in target:
    raise model_source.SourceError(
      f"{target}: a preset is written to a local folder; copy it from there."
    )
  model_source.check_free(target)
  family = choose(source)
  tokenizer = preset_tokenizer.make(
    source.vocabulary, f"{family}Tokenizer", source.note
  )
  with _removed_on_error(target):
    os.makedirs(target, exist_ok=True)
    for name, content in _files(source, family, tokenizer).items():
      path = os.path.join(target, name)
      os.makedirs(os.path.dirname(path), exist_ok=True)
      with open(path, "wb") as file:
        file.write(content)
    _write_weights(source, family, target, progress, shard_bytes)
  return f"{family}Backbone"


# -- which class ---------------------------------------------------------------


def choose(source: model_source.ModelSource) -> str:
  """The family whose classes compute this model: "Llama", "Gemma", ...

  Raises:
    SourceError: there is none; it says what each would lack.
  """
  problems = {}
  byte_pairs = isinstance(source.vocabulary, byte_pair.BytePairVocabulary)
  # One class in all but name and tokenizer.
  llama = "Llama3" if byte_pairs else "Llama"
  for family in (llama, "Mistral", "Qwen", "Gemma", "GPT2"):
    problems[family] = list(_differences(source.model, _ALLOWED[family]))
    if not problems[family]:
      return family
  # What comes closest stands first.
  order = sorted(problems, key=lambda family: len(problems[family]))
  lines = "\n".join(f"  {n}Backbone: {'; '.join(problems[n])}" for n in order)
  raise model_source.SourceError(
    f"{source.note}: no model of KerasHub computes this one. What each would"
    f" need otherwise:\n{lines}"
  )


# What a class can be, by setting; of settings that are not named it can be all.
_ROTARY = {
  "mlp_bias": (False,),
  "norm": ("rms",),
  "positions": ("rotary",),
}
_LLAMA = {
  **_ROTARY,
  "mlp": ("swiglu",),
  "post_norms": (False,),
  "attention_bias": ("none",),
  "attention_cap": (0.0,),
  "logit_cap": (0.0,),
  "scale_embedding": (False,),
  # KerasHub 0.32 does not heed the linear factor of a Llama.
  "rotary_scaling": ("none", "llama3"),
  "window": (0,),
  "d_kv": ("d_model / heads",),
}
_STRETCHED = {**_LLAMA, "rotary_scaling": ("none", "linear")}
_ALLOWED: dict[str, dict[str, tuple]] = {
  "Llama": _LLAMA,
  "Llama3": _LLAMA,
  "Mistral": {
    **_STRETCHED,
    "shared_embedding": (False,),
    "window": ("in all layers",),
    "d_kv": ("any",),
  },
  # KerasHub 0.32 fails to generate with a Qwen that has a window.
  "Qwen": {**_STRETCHED, "attention_bias": ("qkv",)},
  "Gemma": {
    **_ROTARY,
    "mlp": ("geglu",),
    "attention_bias": ("none",),
    "scale_embedding": (True,),
    "shared_embedding": (True,),
    "rotary_scaling": ("none",),
    "rotary_base": (10_000.0,),
    # Of the norms in its blocks, whatever its configuration says.
    "norm_epsilon": (1e-6,),
    "window": ("in every second layer",),
  },
  "GPT2": {
    "mlp": ("gelu",),
    "mlp_bias": (True,),
    "norm": ("layer",),
    "post_norms": (False,),
    "attention_bias": ("all",),
    "attention_cap": (0.0,),
    "logit_cap": (0.0,),
    "positions": ("learned",),
    "norm_epsilon": (1e-5,),
    "shared_embedding": (True,),
    "scale_embedding": (False,),
    "kv_heads": (0,),
    "window": (0,),
    "d_kv": ("d_model / heads",),
  },
}


def _differences(
  model: config.ModelConfig, allowed: dict[str, tuple]
) -> Iterator[str]:
  """What the model has, and what it would need."""
  for name, values in allowed.items():
    value = getattr(model, name)
    if name == "d_kv":
      fits = values == ("any",) or value == model.d_model // model.heads
    elif name == "window" and values != (0,):
      every = 2 if values == ("in every second layer",) else 1
      fits = not value or model.layers == 1 or model.window_every == every
      value = "in all layers"
      if model.window_every > 1:
        value = f"in layers 0, {model.window_every}, ..."
    elif name == "kv_heads":
      fits = value in (0, model.heads)
    else:
      fits = value in values
    if not fits:
      yield f"{name} {value} (only {' or '.join(map(str, values))})"


# -- configurations ------------------------------------------------------------


def _backbone_config(model: config.ModelConfig, family: str) -> dict[str, Any]:
  found: dict[str, Any] = {
    "vocabulary_size": _rows(model),
    "num_layers": model.layers,
    "hidden_dim": model.d_model,
    "intermediate_dim": model.d_ff,
    "dropout": 0.0,
  }
  if family == "GPT2":
    return found | {
      "num_heads": model.heads,
      "max_sequence_length": model.max_positions,
    }
  found |= {
    "num_query_heads": model.heads,
    "num_key_value_heads": model.kv_heads or model.heads,
    "layer_norm_epsilon": model.norm_epsilon,
  }
  if family == "Gemma":
    return found | {
      # KerasHub counts the gate and its partner together.
      "intermediate_dim": 2 * model.d_ff,
      "head_dim": model.d_kv,
      "query_head_dim_normalize": True,
      "use_post_ffw_norm": model.post_norms,
      "use_post_attention_norm": model.post_norms,
      "attention_logit_soft_cap": model.attention_cap or None,
      "final_logit_soft_cap": model.logit_cap or None,
      "use_sliding_window_attention": bool(model.window),
      "sliding_window_size": model.window or 4096,
    }
  found["rope_max_wavelength"] = model.rotary_base
  if family in ("Mistral", "Qwen"):
    linear = model.rotary_scaling == "linear"
    found["rope_scaling_factor"] = model.rotary_factor if linear else 1.0
  if family == "Mistral":
    return found | {
      "head_dim": model.d_kv,
      "sliding_window": model.window or None,
    }
  # KerasHub 0.32 reads this of a Llama, though it does not write it.
  found["tie_word_embeddings"] = model.shared_embedding
  if model.rotary_scaling == "llama3":
    found |= {
      "rope_frequency_adjustment_factor": model.rotary_factor,
      "rope_low_freq_factor": model.rotary_low_frequency,
      "rope_high_freq_factor": model.rotary_high_frequency,
      "rope_pretraining_sequence_length": model.rotary_original_length,
    }
  return found


def _rows(model: config.ModelConfig) -> int:
  """Rows of the vocabulary that are tokens: all that can be predicted."""
  return model.pieces or model.vocab


def _files(
  source: model_source.ModelSource,
  family: str,
  tokenizer: preset_tokenizer.PresetTokenizer,
) -> dict[str, bytes]:
  """All files but the weights."""
  model = source.model
  length = source.row_length
  if model.positions == "learned":
    length = min(length, model.max_positions)
  backbone = _object(f"{family}Backbone", _backbone_config(model, family))
  as_tokenizer = _object(
    tokenizer.name,
    {
      "config_file": "tokenizer.json",
      "sequence_length": None,
      **tokenizer.config,
    },
    dtype="int32",
  )
  preprocessor = _object(
    f"{family}CausalLMPreprocessor",
    {
      "tokenizer": as_tokenizer,
      "config_file": "preprocessor.json",
      "sequence_length": length,
      "add_start_token": source.vocabulary.has_start,
      "add_end_token": True,
    },
  )
  parts = {"backbone": backbone, "preprocessor": preprocessor}
  task = _object(f"{family}CausalLM", parts, dtype=None)
  notes = list(tokenizer.notes)
  if _query_factor(model) != 1.0:
    notes.append(
      f"The weights of queries are multiplied by {_query_factor(model):g}, as"
      " KerasHub scales them by d_kv ** -0.5 only."
    )
  card = model_card.text(source, f"{family} for KerasHub", _code(source), notes)
  card = (
    f"---\nlibrary_name: keras-hub\npipeline_tag: text-generation\n---\n{card}"
  )
  made = {
    "config.json": backbone,
    "tokenizer.json": as_tokenizer,
    "preprocessor.json": preprocessor,
    "task.json": task,
    "metadata.json": _metadata(source),
  }
  return {
    **{n: json.dumps(value, indent=2).encode() for n, value in made.items()},
    **{
      f"{preset_tokenizer.FOLDER}/{name}": content
      for name, content in tokenizer.assets.items()
    },
    preset_files.VOCABULARY: source.vocabulary.model,
    model_card.FILE: card.encode(),
  }


def _object(
  name: str, values: dict[str, Any], dtype: str | None = "float32"
) -> dict[str, Any]:
  """An object of a class of `keras_hub.models`, as Keras writes it down."""
  import keras_hub

  common: dict[str, Any] = {"name": name.lower()}
  if dtype:
    policy = {**_PLAIN, "config": {"name": dtype}, "registered_name": None}
    common |= {"trainable": True, "dtype": policy}
  return {
    "module": getattr(keras_hub.models, name).__module__,
    "class_name": name,
    "config": common | values,
    "registered_name": f"keras_hub>{name}",
  }


def _metadata(source: model_source.ModelSource) -> dict[str, Any]:
  import keras
  import keras_hub

  model = source.model
  padding = (model.vocab - _rows(model)) * model.d_model
  tables = 1 if model.shared_embedding else 2
  count = sum(math.prod(tensor.shape) for tensor in source.tensors.values())
  return {
    "keras_version": keras.__version__,
    "keras_hub_version": keras_hub.__version__,
    "parameter_count": count - tables * padding,
    "tasks": ["CausalLM"],
  }


def _code(source: model_source.ModelSource) -> str:
  """Asks the model as it was trained, token by token.

  One thing cannot be had there: KerasHub's tokenizer puts the blank that
  SentencePiece puts before a text also where a chat wrapper has none.
  """
  vocabulary = source.vocabulary
  separator = prompt_format.Separator(source.separator)
  if isinstance(source, checkpoint_source.NativeSource):
    if source.run.data.objective == "language_model":
      separator = prompt_format.Separator.PLAIN
  limits = prompt_format.Limits(separator=separator, chat=source.chat)
  wrapper = limits.wrapper(vocabulary)
  start = [vocabulary.bos_id] if vocabulary.has_start else []
  before = [*start, *map(int, wrapper.before)]
  before = f"{before} + " if before else ""
  between = [int(i) for i in wrapper.between]
  between = f" + {between}" if between else ""
  lead = wrapper.leads[0]
  if wrapper.vocabulary is not vocabulary and lead == " ":
    lead = ""  # KerasHub's tokenizer puts one there by itself.
  lead = f"{lead!r} + " if lead else ""
  cue = f" + {wrapper.cue!r}" if wrapper.cue else ""
  ends = list(dict.fromkeys(wrapper.ends))
  return f"""With FOLDER the folder of this file, and PROMPT a text:

```python
import keras_hub
import numpy as np

model = keras_hub.models.CausalLM.from_preset(FOLDER)
tokenizer = model.preprocessor.tokenizer
model.preprocessor = None  # Ids go in as they are.
model.compile(sampler="greedy")
ids = {before}[int(i) for i in tokenizer({lead}PROMPT{cue})]{between}
length = len(ids) + 64
made = model.generate(
  {{
    "token_ids": np.array([ids + [0] * (length - len(ids))], "int32"),
    "padding_mask": np.arange(length)[np.newaxis] < len(ids),
  }},
  stop_token_ids={ends},
)
answer = [int(i) for i in np.array(made["token_ids"])[0, len(ids) :]]
ends = [at for at, i in enumerate(answer) if i in {ends}]
answer = answer[: ends[0]] if ends else answer
print(tokenizer.detokenize(answer))
```"""


# -- weights -------------------------------------------------------------------


def _query_factor(model: config.ModelConfig) -> float:
  """What goes into the weights of queries."""
  return model.query_scale * model.d_kv**0.5 if model.query_scale else 1.0


def _write_weights(
  source: model_source.ModelSource,
  family: str,
  target: str,
  progress: Callable[[str, int, int], object],
  shard_bytes: int,
) -> None:
  model = source.model
  parts = preset_source.parts_of(
    f"{family}Backbone", dataclasses.replace(model, pieces=_rows(model))
  )
  sizes = {name: 4 * math.prod(part.shape) for name, part in parts.items()}
  total = sum(sizes.values())
  several = total > shard_bytes
  places: dict[str, list[str]] = {}  # group of variables -> files
  done = held = shards = 0
  with contextlib.ExitStack() as stack:
    file = None
    for name, part in parts.items():
      if file is None or (
        several and held and held + sizes[name] > shard_bytes
      ):
        stack.close()
        path = f"model_{shards:05d}.weights.h5"
        path = path if several else preset_files.WEIGHTS
        file = stack.enter_context(h5py.File(os.path.join(target, path), "w"))
        shards, held = shards + 1, 0
      group = "/" + os.path.dirname(part.name)
      if path not in places.setdefault(group, []):
        places[group].append(path)
      file[part.name] = _theirs(source, name, part)
      held, done = held + sizes[name], done + sizes[name]
      progress(name, done, total)
  if several:
    index = {
      "metadata": {"total_size": total},
      "weight_map": {
        group: files[0] if len(files) == 1 else files
        for group, files in places.items()
      },
    }
    with open(os.path.join(target, preset_files.SHARDS), "w") as text:
      json.dump(index, text, indent=2)


def _theirs(
  source: model_source.ModelSource, name: str, part: model_source.TensorMapping
) -> np.ndarray:
  """One of our tensors as KerasHub has it."""
  value = source.tensors[name].read()
  what, shape = f"{source.note}: {name}", source.tensors[name].shape
  model_source.check_value(what, value, shape)
  if name in ("embedding", "unembedding"):
    value = value[: _rows(source.model)]
  if name.endswith(("attention/q", "attention/q_bias")):
    factor = _query_factor(source.model)
    value = value if factor == 1.0 else value * np.float32(factor)
  value = _inverse(part)(value)
  assert value.shape == part.shape, (name, value.shape, part.shape)
  return np.ascontiguousarray(value, np.float32)


def _inverse(
  part: model_source.TensorMapping,
) -> Callable[[np.ndarray], np.ndarray]:
  """Undoes what is done when a tensor comes in."""
  if part.convert is None:
    return lambda x: x
  if part.convert is model_source.one_plus:
    return lambda x: x - 1
  # Transposing two dimensions undoes itself.
  return part.convert


@contextlib.contextmanager
def _removed_on_error(path: str) -> Iterator[None]:
  try:
    yield
  except BaseException:  # An interrupt, too, must leave nothing half-written.
    shutil.rmtree(path, ignore_errors=True)
    raise
