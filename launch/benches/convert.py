"""Benchmark of the memory that conversions need, on a Llama of random weights.

    Hugging Face folder -> checkpoint -> KerasHub preset -> checkpoint

Each conversion is a process of its own, and its peak resident memory is
reported. The two checkpoints must be equal to the bit. This needs four times
the size of the model on disk.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

_VOCAB, _WIDTH, _HEADS, _KV_HEADS, _D_FF = 32_000, 2048, 16, 8, 8192
_LAYERS_PER_FILE = 4  # of the Hugging Face folder


def measure(gigabytes: float, vocabulary: str) -> Iterator[dict]:
  """Yields a line for each conversion.

  Args:
    gigabytes: size of the model in float32.
    vocabulary: path of a vocabulary.

  Raises:
    RuntimeError: a conversion failed, or the two checkpoints differ.
  """
  with tempfile.TemporaryDirectory() as folder:
    source, first, preset, second = (
      os.path.join(folder, name)
      for name in ("source", "first", "preset", "second")
    )
    size = write_folder(source, gigabytes)
    conversions = (
      (f"hugging_face:{source}", f"native:{first}"),
      (f"native:{first}", f"keras_hub:{preset}"),
      (f"keras_hub:{preset}", f"native:{second}"),
    )
    for before, after in conversions:
      start = time.perf_counter()
      peak = _convert(before, after, vocabulary)
      seconds = time.perf_counter() - start
      yield {
        "what": "convert",
        "system": "flan_tf",
        "peer": None,
        "value": peak / 1e9,
        "unit": "GB of resident memory at most",
        "peer_value": None,
        "ratio_to_peer": None,
        "share_of_peak": None,
        "precision": "float32",
        "size": {"gigabytes": size / 1e9},
        "from": before.partition(":")[0],
        "to": after.partition(":")[0],
        "seconds": seconds,
      }
    _check_equal(first, second)


def write_folder(folder: str, gigabytes: float) -> int:
  """Writes a Llama in the format of transformers; returns its bytes."""
  from safetensors import numpy as safetensors

  d_kv = _WIDTH // _HEADS
  layer = {
    "input_layernorm": (_WIDTH,),
    "post_attention_layernorm": (_WIDTH,),
    "self_attn.q_proj": (_WIDTH, _WIDTH),
    "self_attn.k_proj": (_KV_HEADS * d_kv, _WIDTH),
    "self_attn.v_proj": (_KV_HEADS * d_kv, _WIDTH),
    "self_attn.o_proj": (_WIDTH, _WIDTH),
    "mlp.gate_proj": (_D_FF, _WIDTH),
    "mlp.up_proj": (_D_FF, _WIDTH),
    "mlp.down_proj": (_WIDTH, _D_FF),
  }
  layer_bytes = 4 * sum(math.prod(shape) for shape in layer.values())
  layers = max(1, round((gigabytes * 1e9 - 4 * _VOCAB * _WIDTH) / layer_bytes))
  shapes: dict[str, tuple[int, ...]]
  shapes = {"model.embed_tokens.weight": (_VOCAB, _WIDTH)}
  for number in range(layers):
    for name, shape in layer.items():
      shapes[f"model.layers.{number}.{name}.weight"] = shape
  shapes["model.norm.weight"] = (_WIDTH,)
  os.makedirs(folder)
  rng, file_of, total = np.random.default_rng(0), {}, 0
  names, step = [*shapes], _LAYERS_PER_FILE * len(layer)
  for number, start in enumerate(range(0, len(names), step)):
    file = f"model-{number:05d}.safetensors"
    tensors = {}
    for name in names[start : start + step]:
      tensors[name] = rng.standard_normal(shapes[name], np.float32) * 0.02
      file_of[name] = file
      total += tensors[name].nbytes
    safetensors.save_file(tensors, os.path.join(folder, file))
  settings = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": _WIDTH,
    "intermediate_size": _D_FF,
    "num_hidden_layers": layers,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": _KV_HEADS,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "vocab_size": _VOCAB,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
  }
  for name, value in (
    ("config.json", settings),
    ("model.safetensors.index.json", {"weight_map": file_of}),
  ):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
      json.dump(value, out)
  return total


def _convert(source: str, target: str, vocabulary: str) -> int:
  """Runs a conversion; returns its peak resident bytes."""
  command = [sys.executable, "-m", "launch.convert", f"--source={source}"]
  command += [f"--target={target}", f"--vocabulary={vocabulary}"]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  peak = 0
  # Polled, because the counters of an ended process include its parent's
  # memory.
  while process.poll() is None:
    peak = max(peak, _peak_memory(process.pid))
    time.sleep(0.05)
  if process.returncode:
    raise RuntimeError(
      f"{' '.join(command)} failed. Its own error message is above."
    )
  return peak


def _peak_memory(pid: int) -> int:
  """Returns the peak resident bytes of a process; works on Linux only."""
  with open(f"/proc/{pid}/status", encoding="ascii") as file:
    lines = dict(line.split(":", 1) for line in file)
  return 1024 * int(lines.get("VmHWM", "0 kB").split()[0])


def _check_equal(first: str, second: str) -> None:
  """Raises RuntimeError unless two checkpoints have equal tensors."""
  import tensorflow as tf

  a, b = (
    tf.train.load_checkpoint(os.path.join(folder, "state"))
    for folder in (first, second)
  )
  names = set(a.get_variable_to_shape_map())
  differ = names ^ set(b.get_variable_to_shape_map())
  differ |= {
    name
    for name in names - differ
    if not np.array_equal(a.get_tensor(name), b.get_tensor(name))
  }
  if differ:
    raise RuntimeError(
      "The tensors of the two checkpoints differ:"
      f" {', '.join(sorted(differ)[:5])}."
    )
