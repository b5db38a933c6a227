"""Writes a model as a TensorFlow SavedModel: texts in, texts out.

  FOLDER/saved_model.pb, variables/*, fingerprint.pb
  FOLDER/README.md                                     the model card

The folder needs nothing of this project. TensorFlow with tensorflow-text loads
it, and so does TensorFlow Serving, which expects a number as the folder's name.
The signatures take and return arrays with one element per prompt, [n]:

  signature         inputs            outputs
  serving_default   prompt            answer, log_prob, tokens, ended, trimmed
  generate          prompt, max_new   the same; max_new is one int32, and 0
                                      means the run's target length
  score             prompt, answer    log_prob, tokens, trimmed

Answers and log-probabilities are those of `launch.generate` and of an
evaluation, since the same code of the model computes them. Separator, chat
template, markers, soft prompt and lengths are those of the run. TensorFlow
Serving can batch requests to `serving_default` and `score`, because all of
their inputs are [n].

Memory and time: TensorFlow's saver needs all weights at once as variables, in
float32, and the graphs of 30 layers take some 3 GB more, since there is one
program for each of six shapes (`flan_tf.bridges.saved_model.row_programs`).
Loading the folder builds these programs, too, and the first request prepares
them; send one request before the model serves.
"""

import math
import os
from typing import Any

import tensorflow as tf

from flan_tf import config
from flan_tf.bridges import model_card
from flan_tf.bridges.model_source import ModelSource, SourceTensor, check_value
from flan_tf.bridges.native.checkpoint_source import NativeSource
from flan_tf.bridges.native.checkpoint_writer import converted_run
from flan_tf.bridges.saved_model.row_programs import weight_shapes
from flan_tf.bridges.saved_model.text_model import TextModel
from flan_tf.bridges.target_folder import check_is_free, renamed_when_complete
from flan_tf.bridges.write_progress import WriteProgress, no_progress
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.model.weights import SOFT_PROMPT

_CODE = """\
```python
import tensorflow as tf
import tensorflow_text  # Its operations are in the graph.

model = tf.saved_model.load({target!r})
answer = model.signatures["generate"]
print(answer(prompt=tf.constant(["..."]), max_new=tf.constant(0)))
```"""
_NOTES = (
  "It is a TensorFlow SavedModel, with its tokenizer in the graph: texts in,"
  " texts out.",
  "Signatures: `serving_default` (prompt), `generate` (prompt, max_new; 0 for"
  " the longest answer), `score` (prompt, answer). Prompts and answers are"
  " strings [n]; `max_new` is one int32.",
  "Answers are the most likely tokens, one after another. `log_prob` is the sum"
  " over an answer's tokens, and the end of text where that was reached.",
  "A prompt that is too long is cut, and `trimmed` says so.",
)


def write(
  source: ModelSource,
  target: str,
  progress: WriteProgress = no_progress,
) -> None:
  """Writes a SavedModel.

  Args:
    source: the model.
    target: a folder that does not exist, or is empty; may be a gs:// path.
    progress: called after each tensor.

  Raises:
    SourceError: there is something at `target`, or a tensor cannot be read.
      Nothing remains of what was written.
    ValueError: the separator is "chat", but there is no chat template, or it
      leaves no room for a prompt.
  """
  target = os.path.expanduser(target).rstrip("/")
  check_is_free(target)
  run = exported_run(source)
  # Checked before any tensor is read.
  PromptFormat.from_run(run, source.vocabulary).check()
  module = TextModel(
    run, source.vocabulary, _read_variables(source, run, progress)
  )
  card = model_card.card_text(
    source,
    f"{run.name}: a SavedModel",
    _CODE.format(target=target),
    _NOTES,
  )
  with renamed_when_complete(target) as folder:
    tf.saved_model.save(module, folder, module.signatures())
    with tf.io.gfile.GFile(os.path.join(folder, model_card.FILE), "w") as file:
      file.write(card)


def exported_run(source: ModelSource) -> config.RunConfig:
  """Returns a checkpoint's run; for other models, that of their checkpoint."""
  if isinstance(source, NativeSource):
    return source.changed_run
  return converted_run(source)


def _read_variables(
  source: ModelSource, run: config.RunConfig, progress: WriteProgress
) -> dict[str, tf.Variable]:
  """Reads all weights, and the soft prompt if there is one."""
  tensors: dict[str, SourceTensor] = dict(source.tensors)
  if isinstance(source, NativeSource) and source.soft_prompt:
    tensors[SOFT_PROMPT] = source.soft_prompt
  total = sum(_bytes(tensor) for tensor in tensors.values())
  done, variables = 0, {}
  for name in weight_shapes(run):
    tensor = tensors[name]
    value: Any = tensor.read()
    check_value(f"{source.origin}: {name}", value, tensor.shape)
    with tf.device("/cpu:0"):
      variables[name] = tf.Variable(value, trainable=False, name=name)
    done += _bytes(tensor)
    progress(name, done, total)
  return variables


def _bytes(tensor: SourceTensor) -> int:
  return 4 * math.prod(tensor.shape)
