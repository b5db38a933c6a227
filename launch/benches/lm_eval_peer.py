"""lm-evaluation-harness in a process of its own, asked on standard input.

  python -m launch.benches.lm_eval_peer MODEL PRECISION DELIMITER BATCH

A line in is the path of a file of requests (JSON lines with prompt, options and
answer); a line out is {"scores": [[...], ...], "seconds": of its model}.
PyTorch and TensorFlow do not go well together in one process.
"""

# They are an extra.
# pyright: reportMissingImports=false

import json
import os
import sys
import time


def main(model: str, precision: str, delimiter: str, batch: str) -> None:
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # Whatever the harness prints is no answer.
  harness = Harness(model, precision, delimiter, int(batch))
  for line in sys.stdin:
    print(json.dumps(harness.score(line.strip())), file=answers, flush=True)


class Harness:
  """The harness, from its task configuration to its answers.

  Args:
    folder: a model for transformers, or a GGUF file.
    precision: float32, bfloat16, or auto: what the files name.
    delimiter: between prompt and option.
    batch: requests that run at once.
  """

  def __init__(self, folder: str, precision: str, delimiter: str, batch: int):
    import torch
    import transformers
    from lm_eval.models import huggingface

    file = {}
    if folder.endswith(".gguf"):
      folder, name = os.path.split(folder)
      file = {"gguf_file": name}
    model = transformers.AutoModelForCausalLM.from_pretrained(
      folder, dtype=getattr(torch, precision, precision), **file
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **file)
    self._model = huggingface.HFLM(
      pretrained=model, tokenizer=tokenizer, batch_size=batch, device="cpu"
    )
    self._untimed, self._seconds = self._model.loglikelihood, 0.0
    self._model.loglikelihood = self._timed
    self._delimiter = delimiter

  def score(self, path: str) -> dict:
    import lm_eval

    self._seconds = 0.0
    cache = os.path.dirname(path)
    task = {
      "task": "asked",
      "dataset_path": "json",
      "dataset_kwargs": {"data_files": {"test": path}, "cache_dir": cache},
      "test_split": "test",
      "output_type": "multiple_choice",
      # Names of columns: a pattern would lose blanks at an end.
      "doc_to_text": "prompt",
      "doc_to_choice": "options",
      "doc_to_target": "answer",
      "target_delimiter": self._delimiter,
      "metric_list": [{"metric": "acc"}],
    }
    found = lm_eval.simple_evaluate(
      self._model, tasks=[task], bootstrap_iters=0
    )
    samples = sorted(found["samples"]["asked"], key=lambda s: s["doc_id"])
    scores = [
      [float(log_prob) for log_prob, _ in sample["filtered_resps"]]
      for sample in samples
    ]
    return {"scores": scores, "seconds": self._seconds}

  def _timed(self, *args, **kwargs):
    start = time.perf_counter()
    found = self._untimed(*args, **kwargs)
    self._seconds += time.perf_counter() - start
    return found


if __name__ == "__main__":
  main(*sys.argv[1:])
