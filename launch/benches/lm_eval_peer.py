"""lm-evaluation-harness in a process of its own, for the score benchmark.

  python -m launch.benches.lm_eval_peer MODEL PRECISION DELIMITER BATCH

A line of standard input is the path of a file of requests: JSON lines with
"prompt", "options" and "answer". A line of the output is a JSON object with
"scores" (of each request's options) and "seconds" (of the model). The process
is separate because PyTorch and TensorFlow do not work well together in one
process.
"""

# The harness is installed by an extra.
# pyright: reportMissingImports=false

import json
import os
import sys
import time


def main(model: str, precision: str, delimiter: str, batch: str) -> None:
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # Output of the harness must not mix with the answers.
  harness = Harness(model, precision, delimiter, int(batch))
  for line in sys.stdin:
    print(json.dumps(harness.score(line.strip())), file=answers, flush=True)


class Harness:
  """lm-evaluation-harness with one model.

  Args:
    folder: a folder of transformers, or a GGUF file.
    precision: float32, bfloat16, or auto for the precision of the files.
    delimiter: text between prompt and option.
    batch: requests that are computed at once.
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
    self._loglikelihood, self._seconds = self._model.loglikelihood, 0.0
    self._model.loglikelihood = self._timed
    self._delimiter = delimiter

  def score(self, path: str) -> dict:
    """Scores a file of requests.

    Returns:
      A dict: "scores" has the log-likelihood of each request, "seconds" is the
      time of all of them."""
    import lm_eval

    self._seconds = 0.0
    cache = os.path.dirname(path)
    task = {
      "task": "requests",
      "dataset_path": "json",
      "dataset_kwargs": {"data_files": {"test": path}, "cache_dir": cache},
      "test_split": "test",
      "output_type": "multiple_choice",
      # Names of columns: a template would strip whitespace at the ends.
      "doc_to_text": "prompt",
      "doc_to_choice": "options",
      "doc_to_target": "answer",
      "target_delimiter": self._delimiter,
      "metric_list": [{"metric": "acc"}],
    }
    results = lm_eval.simple_evaluate(
      self._model, tasks=[task], bootstrap_iters=0
    )
    samples = sorted(results["samples"]["requests"], key=lambda s: s["doc_id"])
    scores = [
      [float(log_prob) for log_prob, _ in sample["filtered_resps"]]
      for sample in samples
    ]
    return {"scores": scores, "seconds": self._seconds}

  def _timed(self, *args, **kwargs):
    start = time.perf_counter()
    log_likelihoods = self._loglikelihood(*args, **kwargs)
    self._seconds += time.perf_counter() - start
    return log_likelihoods


if __name__ == "__main__":
  main(*sys.argv[1:])
