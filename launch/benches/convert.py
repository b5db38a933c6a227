"""The memory that conversions take, on a Llama of random weights.

    a Hugging Face folder -> a checkpoint -> a KerasHub preset -> a checkpoint

Each is a process of its own, whose peak resident memory is a line. The last
checkpoint must be the first one, to the bit. Needs four times the model's size
on disk.
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
_FILE_LAYERS = 4  # Layers in a file of the folder.


def measure(gigabytes: float, vocabulary: str) -> Iterator[dict]:
  """A line for each conversion.

  Args:
    gigabytes: size of the model in float32.
    vocabulary: a vocabulary file.

  Raises:
    RuntimeError: a conversion failed, or there and back is not the same.
  """
  with tempfile.TemporaryDirectory() as folder:
    source, first, preset, again = (
      os.path.join(folder, name)
      for name in ("source", "native", "preset", "again")
    )
    size = write_folder(source, gigabytes)
    steps = (
      (f"hugging_face:{source}", f"native:{first}"),
      (f"native:{first}", f"keras_hub:{preset}"),
      (f"keras_hub:{preset}", f"native:{again}"),
    )
    for before, after in steps:
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
    _check_same(first, again)


def write_folder(folder: str, gigabytes: float) -> int:
  """A Llama as transformers has it, in several files; its bytes."""
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
  in_layer = 4 * sum(math.prod(shape) for shape in layer.values())
  layers = max(1, round((gigabytes * 1e9 - 4 * _VOCAB * _WIDTH) / in_layer))
  shapes: dict[str, tuple[int, ...]]
  shapes = {"model.embed_tokens.weight": (_VOCAB, _WIDTH)}
  for number in range(layers):
    for name, shape in layer.items():
      shapes[f"model.layers.{number}.{name}.weight"] = shape
  shapes["model.norm.weight"] = (_WIDTH,)
  os.makedirs(folder)
  rng, places, total = np.random.default_rng(0), {}, 0
  names, step = [*shapes], _FILE_LAYERS * len(layer)
  for number, start in enumerate(range(0, len(names), step)):
    file = f"model-{number:05d}.safetensors"
    tensors = {}
    for name in names[start : start + step]:
      tensors[name] = rng.standard_normal(shapes[name], np.float32) * 0.02
      places[name] = file
      total += tensors[name].nbytes
    safetensors.save_file(tensors, os.path.join(folder, file))
  described = {
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
    ("config.json", described),
    ("model.safetensors.index.json", {"weight_map": places}),
  ):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
      json.dump(value, out)
  return total


def _convert(source: str, target: str, vocabulary: str) -> int:
  """Peak resident bytes of a conversion."""
  command = [sys.executable, "-m", "launch.convert", f"--source={source}"]
  command += [f"--target={target}", f"--vocabulary={vocabulary}"]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  peak = 0
  # What the system says of a process that has ended counts its parent's memory.
  while process.poll() is None:
    peak = max(peak, _peak_of(process.pid))
    time.sleep(0.05)
  if process.returncode:
    raise RuntimeError(f"{' '.join(command)} failed; its message is above.")
  return peak


def _peak_of(pid: int) -> int:
  """Most resident bytes of a process so far; Linux only."""
  with open(f"/proc/{pid}/status", encoding="ascii") as file:
    lines = dict(line.split(":", 1) for line in file)
  return 1024 * int(lines.get("VmHWM", "0 kB").split()[0])


def _check_same(first: str, again: str) -> None:
  """Raises RuntimeError unless two checkpoints have the same tensors."""
  import tensorflow as tf

  a, b = (
    tf.train.load_checkpoint(os.path.join(folder, "state"))
    for folder in (first, again)
  )
  names = set(a.get_variable_to_shape_map())
  differ = names ^ set(b.get_variable_to_shape_map())
  differ |= {
    name
    for name in names - differ
    if not np.array_equal(a.get_tensor(name), b.get_tensor(name))
  }
  if differ:
    raise RuntimeError(f"There and back differs: {sorted(differ)[:5]}.")
