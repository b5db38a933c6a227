"""A peer of the generation benchmark, in a process of its own.

  python -m launch.benches.generate_peer NAME MODEL PRECISION

NAME is transformers or keras_hub. A line of standard input is a JSON object
with "ids" (prompts of one length), "new" (number of tokens to generate) and
"xla" (whether XLA compiles keras_hub). A line of the output has "ids" (the new
ones) and "seconds". No token ends a text. The process is separate because
PyTorch and TensorFlow do not work well together in one process.
"""

# The peers are installed by an extra.
# pyright: reportMissingImports=false

import json
import os
import sys
import time

import numpy as np


def main(name: str, model: str, precision: str) -> None:
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # Output of the peer itself must not mix with the answers.
  peer = {"transformers": Transformers, "keras_hub": KerasHub}[name]
  generate = peer(model, precision)
  for line in sys.stdin:
    request = json.loads(line)
    ids = np.array(request["ids"], np.int32)
    start = time.perf_counter()
    new_ids = generate(ids, request["new"], request["xla"])
    seconds = time.perf_counter() - start
    answer = {"ids": np.asarray(new_ids).tolist(), "seconds": seconds}
    print(json.dumps(answer), file=answers, flush=True)


class Transformers:
  """`model.generate` of transformers: greedy, with its default cache."""

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

  def __call__(self, ids: np.ndarray, new: int, xla: bool):
    import torch

    del xla
    prompts = torch.from_numpy(ids.astype(np.int64))
    texts = self._model.generate(
      prompts,
      attention_mask=torch.ones_like(prompts),
      do_sample=False,
      max_new_tokens=new,
      min_new_tokens=new,
      pad_token_id=0,
    )
    return texts[:, ids.shape[1] :]


class KerasHub:
  """`CausalLM.generate` of KerasHub on TensorFlow, greedy."""

  def __init__(self, folder: str, precision: str):
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras_hub

    self._model = keras_hub.models.CausalLM.from_preset(
      folder, dtype=precision, preprocessor=None
    )
    self._xla: bool | None = None

  def __call__(self, ids: np.ndarray, new: int, xla: bool):
    if xla is not self._xla:
      self._model.compile(sampler="greedy", jit_compile=xla)
      self._xla = xla
    room = np.zeros([len(ids), new], np.int32)
    texts = self._model.generate(
      {
        "token_ids": np.concatenate([ids, room], axis=1),
        "padding_mask": np.concatenate([np.ones_like(ids), room], axis=1),
      },
      stop_token_ids=None,
    )
    return texts["token_ids"][:, ids.shape[1] :]


if __name__ == "__main__":
  main(*sys.argv[1:])
