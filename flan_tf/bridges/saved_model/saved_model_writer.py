"""Writes a source as a TensorFlow SavedModel: texts in, texts out.

  FOLDER/saved_model.pb, variables/*, fingerprint.pb
  FOLDER/README.md                                     the model card

It needs nothing of this project: TensorFlow and tensorflow-text load it, and so
does TensorFlow Serving, which wants a number as the folder's name. Its
signatures take strings [n], and give values [n]:

  serving_default   prompt            answer, log_prob, tokens, ended, trimmed
  generate          prompt, max_new   the same; max_new is an int32 [], and 0
                                      means the run's target length
  score             prompt, answer    log_prob, tokens, trimmed

They give the answers and numbers of `flan_tf.inference.prompt_answers` and of an
evaluation, by the same model code (`flan_tf.bridges.saved_model.text_model`).

What stands around a prompt (separator, chat, markers, soft prompt) and all
lengths are those of the run. TensorFlow Serving can batch requests to
`serving_default` and `score`, as all of their inputs are [n].

The weights are variables, assigned one tensor after another, as TensorFlow's
saver wants all of them at once. So this takes memory for the model in float32,
and some 3 GB for the graphs of 30 layers: there is a program for each of six
shapes (`flan_tf.bridges.saved_model.row_programs`). Whoever loads the folder waits for
these, too, and at the first request; ask it once before it serves.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from flan_tf import config
from flan_tf.bridges import model_card, model_source
from flan_tf.bridges.native import checkpoint_source, checkpoint_writer
from flan_tf.bridges.saved_model import row_programs, text_model

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
  source: model_source.ModelSource,
  target: str,
  progress: Callable[[str, int, int], object] = lambda name, done, all: None,
) -> None:
  """Writes a SavedModel.

  Args:
    source: the model.
    target: a folder that does not exist, or is empty; may be a `gs://` path.
    progress: called with each tensor's name, and the bytes done and in all.

  Raises:
    SourceError: there is something at `target`, or a tensor cannot be read.
      Nothing remains of what was written.
  """
  target = os.path.expanduser(target).rstrip("/")
  model_source.check_free(target)
  run = run_of(source)
  # What is refused is refused before anything is read.
  text_model.limits_of(run).wrapper(source.vocabulary)
  module = text_model.TextModel(
    run, source.vocabulary, _variables(source, run, progress)
  )
  card = model_card.text(
    source,
    f"{run.name}: a SavedModel",
    _CODE.format(target=target),
    _NOTES,
  )
  with _renamed_at_the_end(target) as part:
    tf.saved_model.save(module, part, module.signatures())
    with tf.io.gfile.GFile(os.path.join(part, model_card.FILE), "w") as file:
      file.write(card)


def run_of(source: model_source.ModelSource) -> config.RunConfig:
  """The run of a checkpoint; of other models, what a checkpoint would say."""
  if isinstance(source, checkpoint_source.NativeSource):
    return source.run_now
  return checkpoint_writer.run_of(source)


def _variables(
  source: model_source.ModelSource,
  run: config.RunConfig,
  progress: Callable[[str, int, int], object],
) -> dict[str, tf.Variable]:
  tensors = dict(source.tensors)
  if isinstance(source, checkpoint_source.NativeSource) and source.soft_prompt:
    tensors["soft_prompt"] = source.soft_prompt
  sizes = {name: 4 * math.prod(t.shape) for name, t in tensors.items()}
  done, made = 0, {}
  for name in row_programs.weight_shapes(run):
    value: Any = tensors[name].read()
    what = f"{source.note}: {name}"
    model_source.check_value(what, value, tensors[name].shape)
    with tf.device("/cpu:0"):
      made[name] = tf.Variable(value, trainable=False, name=name)
    done += sizes[name]
    progress(name, done, sum(sizes.values()))
  return made


@contextlib.contextmanager
def _renamed_at_the_end(target: str) -> Iterator[str]:
  """A folder beside the target, which takes its name once all is written."""
  part = f"{target}.part{os.getpid()}"
  try:
    yield part
    tf.io.gfile.rename(part, target, overwrite=True)
  except BaseException:  # An interrupt, too, must leave nothing half-written.
    with contextlib.suppress(tf.errors.NotFoundError):
      tf.io.gfile.rmtree(part)
    raise
