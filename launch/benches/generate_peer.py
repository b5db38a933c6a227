"""A peer that continues prompts, in a process of its own, asked on stdin.

  python -m launch.benches.generate_peer KIND MODEL PRECISION

A line in is {"ids": prompts of one length, "new": tokens to make, "fused": for
keras_hub whether XLA compiles it}; a line out is {"ids": the new ones,
"seconds": ...}. No token ends a text, so that all are made. PyTorch and
TensorFlow do not go well together in one process.
"""

# They are an extra.
# pyright: reportMissingImports=false

import json
import os
import sys
import time

import numpy as np


def main(kind: str, model: str, precision: str) -> None:
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # Whatever a peer prints is no answer.
  peer = {"transformers": Transformers, "keras_hub": KerasHub}[kind]
  generate = peer(model, precision)
  for line in sys.stdin:
    asked = json.loads(line)
    ids = np.array(asked["ids"], np.int32)
    start = time.perf_counter()
    found = generate(ids, asked["new"], asked["fused"])
    seconds = time.perf_counter() - start
    answer = {"ids": np.asarray(found).tolist(), "seconds": seconds}
    print(json.dumps(answer), file=answers, flush=True)


class Transformers:
  """`model.generate`, greedy, with the cache that it takes by default."""

  def __init__(self, folder: str, precision: str):
    import torch
    import transformers

    file = {}
    if folder.endswith(".gguf"):
      folder, name = os.path.split(folder)
      file = {"gguf_file": name}
    self._model = transformers.AutoModelForCausalLM.from_pretrained(
      folder, dtype=getattr(torch, precision), **file
    )
    self._model.eval()
    self._model.generation_config.eos_token_id = None

  def __call__(self, ids: np.ndarray, new: int, fused: bool):
    import torch

    del fused
    asked = torch.from_numpy(ids.astype(np.int64))
    found = self._model.generate(
      asked,
      attention_mask=torch.ones_like(asked),
      do_sample=False,
      max_new_tokens=new,
      min_new_tokens=new,
      pad_token_id=0,
    )
    return found[:, ids.shape[1] :]


class KerasHub:
  """`CausalLM.generate` on TensorFlow, greedy."""

  def __init__(self, folder: str, precision: str):
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras_hub

    self._model = keras_hub.models.CausalLM.from_preset(
      folder, dtype=precision, preprocessor=None
    )
    self._fused: bool | None = None

  def __call__(self, ids: np.ndarray, new: int, fused: bool):
    if fused is not self._fused:
      self._model.compile(sampler="greedy", jit_compile=fused)
      self._fused = fused
    room = np.zeros([len(ids), new], np.int32)
    found = self._model.generate(
      {
        "token_ids": np.concatenate([ids, room], axis=1),
        "padding_mask": np.concatenate([np.ones_like(ids), room], axis=1),
      },
      stop_token_ids=None,
    )
    return found["token_ids"][:, ids.shape[1] :]


if __name__ == "__main__":
  main(*sys.argv[1:])
