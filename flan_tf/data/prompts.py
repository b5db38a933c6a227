"""Turns data-set rows into prompts: features, slots, then prompt and target.

    row     {"text": "What a film!", "label": 1}
    slots   {"text": "What a film!", "options_": "OPTIONS:\\n- no\\n- yes",
             "answer": "yes", "answer_index": 1, "options": ["no", "yes"], ...}
    prompt  ("What a film!\\nIs this praise?\\nOPTIONS:\\n- no\\n- yes", "yes")

Everything is made of TensorFlow string ops, and runs eagerly as well as in
tf.data. A template is a list of indices into (literals, slot values). So a
template that is chosen by a tensor takes one gather, and joining it takes one
reduce_join. Slot values are never parsed: a brace in a text is a brace in the
prompt.
"""

import functools
import string
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flan_tf import name_lists
from flan_tf.task import schema

Slots = dict[str, tf.Tensor]

# Keys that `fill_slots` adds to the slots that templates may name.
OPTIONS = "options"  # strings [num options]; empty for a generation
REFERENCES = "references"  # strings [num right answers], at least one
ANSWER_INDEX = "answer_index"  # int64, -1 for a generation or a hidden label
HIDDEN = "hidden"  # bool: whether the row's label is not public
KEEP = "keep"  # bool: False if the task's field function leaves the row out
GROUP = "group"  # string: rows of one group are scored together; "" for none


def fill_slots(task: schema.Task, row: Mapping[str, Any]) -> Slots:
  """Turns one row into the slots of its task.

  Args:
    task: the task; its field function reads the row.
    row: features of one row as TFDS yields them: tensors, NumPy arrays or
      Python values.

  Returns:
    Scalar strings for `task.slots`, `answer` and (for a classification)
    `options_`, and the keys named at the top of this module. The answer of a
    hidden label is "".

  Raises:
    ValueError: the field function leaves out a slot that the task declares.
    tf.errors.InvalidArgumentError: an answer index exceeds the options.
  """
  raw = dict(task.fields(row_as_tensors(row)))
  slots = {name: _text(task, raw, name) for name in task.slots}
  if task.kind is schema.TaskKind.CLASSIFICATION:
    slots |= _classification(task, raw)
  else:
    slots |= {
      schema.ANSWER_SLOT: _text(task, raw, schema.ANSWER_SLOT),
      OPTIONS: tf.zeros([0], tf.string),
      ANSWER_INDEX: tf.constant(-1, tf.int64),
      HIDDEN: tf.constant(False),
    }
  answer = slots[schema.ANSWER_SLOT]
  references = raw.get(REFERENCES, tf.expand_dims(answer, 0))
  slots[REFERENCES] = tf.ensure_shape(references, [None])
  slots[GROUP] = tf.ensure_shape(raw.get(GROUP, tf.constant("")), [])
  slots[KEEP] = tf.ensure_shape(tf.cast(raw.get(KEEP, True), tf.bool), [])
  return slots


def options_text(options: Any) -> tf.Tensor:
  """Writes the OPTIONS block: ["yes", "no"] -> "OPTIONS:\\n- yes\\n- no"."""
  listed = tf.strings.reduce_join(options, axis=-1, separator="\n- ")
  return tf.strings.join(["OPTIONS:\n- ", listed])


def render(
  task: schema.Task, slots: Mapping[str, Any], template_index: Any
) -> tuple[tf.Tensor, tf.Tensor]:
  """Fills the chosen template of one row, or of each row of a batch.

  Args:
    task: the task that has the templates.
    slots: strings [] or [batch] for each slot that a template names.
    template_index: int [] or [batch].

  Returns:
    (inputs, target), strings of the shape of `template_index`.
  """
  compiled = _compiled_templates(task)
  index = tf.convert_to_tensor(template_index)
  values = [
    tf.convert_to_tensor(slots[name], tf.string) for name in compiled.slots
  ]
  literals = tf.constant(compiled.literals, tf.string)
  if index.shape.rank == 0:
    pieces = tf.concat(
      [literals, tf.stack(values)] if values else [literals], 0
    )
  else:
    batch = tf.shape(index)[0]
    literals = tf.broadcast_to(literals, [batch, len(compiled.literals)])
    values = [tf.stack(values, 1)] if values else []
    pieces = tf.concat([literals, *values], 1)  # [batch, pieces]
  joined = []
  for table in (compiled.inputs, compiled.target):
    chosen = tf.gather(tf.constant(table), index)  # [..., longest template]
    chosen = tf.gather(pieces, chosen, batch_dims=index.shape.rank)
    joined.append(tf.strings.reduce_join(chosen, axis=-1))
  return joined[0], joined[1]


def render_all_templates(
  task: schema.Task, slots: Mapping[str, Any]
) -> tuple[tf.Tensor, tf.Tensor]:
  """Fills every template with one row's slots.

  Returns:
    (inputs, targets), strings [num templates].
  """
  count = len(task.templates)
  repeated = {
    name: tf.repeat(tf.convert_to_tensor(slots[name], tf.string), count)
    for name in _compiled_templates(task).slots
  }
  return render(task, repeated, tf.range(count))


def render_row(
  task: schema.Task, row: Mapping[str, Any]
) -> list[tuple[str, str]]:
  """Fills every template with one row: (prompt, target) in template order."""
  inputs, targets = render_all_templates(task, fill_slots(task, row))
  return [
    (text.decode("utf-8", "replace"), target.decode("utf-8", "replace"))
    for text, target in zip(inputs.numpy(), targets.numpy(), strict=True)
  ]


def _classification(task: schema.Task, raw: Slots) -> Slots:
  if task.options:
    options = tf.constant(task.options, tf.string)
  elif "choices" in raw:
    options = tf.ensure_shape(raw["choices"], [None])
  else:
    raise ValueError(
      f"Task {task.name!r}: a classification needs options. Expected"
      " Task.options, or `choices` from the task's field function. The field"
      f" function returned: {', '.join(sorted(raw))}."
    )
  _require(task, raw, ANSWER_INDEX)
  index = tf.ensure_shape(tf.cast(raw[ANSWER_INDEX], tf.int64), [])
  count = tf.size(options, tf.int64)
  # This is one op. `assert_less` would be a conditional, which takes longer to
  # trace than the rest of the graph.
  check = tf.debugging.Assert(
    index < tf.maximum(count, 1),
    [f"Task {task.name!r}: answer_index is beyond the row's options."],
  )
  with tf.control_dependencies([check] if check is not None else []):
    # A hidden label takes the empty string after the options.
    answer = tf.concat([options, [""]], 0)[tf.where(index < 0, count, index)]
  return {
    OPTIONS: options,
    schema.OPTIONS_SLOT: options_text(options),
    schema.ANSWER_SLOT: answer,
    ANSWER_INDEX: tf.maximum(index, -1),
    HIDDEN: index < 0,
  }


def _text(task: schema.Task, raw: Slots, name: str) -> tf.Tensor:
  _require(task, raw, name)
  value = tf.convert_to_tensor(raw[name])
  if value.dtype != tf.string:
    value = tf.as_string(value)
  return tf.ensure_shape(value, [])


def _require(task: schema.Task, raw: Slots, name: str) -> None:
  if name not in raw:
    raise ValueError(
      f"Task {task.name!r}: the field function does not return {name!r}. "
      + name_lists.unknown_name("slot", name, raw)
    )


def row_as_tensors(value: Any) -> Any:
  """Converts the leaves of a row to tensors; an empty list has strings."""
  if isinstance(value, Mapping):
    return {key: row_as_tensors(item) for key, item in value.items()}
  if isinstance(value, list) and not value:
    return tf.zeros([0], tf.string)
  return tf.convert_to_tensor(value)


class _CompiledTemplates(NamedTuple):
  """The templates of a task as indices of pieces.

  The pieces are `literals`, followed by the values of `slots`. Literal 0 is "",
  which pads short templates.
  """

  literals: tuple[str, ...]
  slots: tuple[str, ...]
  inputs: np.ndarray  # int32 [num templates, longest]
  target: np.ndarray  # int32 [num templates, longest]


def _compiled_templates(task: schema.Task) -> _CompiledTemplates:
  if not task.templates:
    raise ValueError(f"Task {task.name!r} has no templates.")
  return _compile(task.templates)


@functools.lru_cache(maxsize=1024)
def _compile(templates: tuple[schema.Template, ...]) -> _CompiledTemplates:
  literals, slots = {"": 0}, {}
  for template in templates:
    for pattern in (template.inputs, template.target):
      for literal, slot, _, _ in string.Formatter().parse(pattern):
        literals.setdefault(literal, len(literals))
        if slot is not None:
          slots.setdefault(slot, len(slots))

  def piece_indices(pattern: str) -> list[int]:
    indices = []
    for literal, slot, _, _ in string.Formatter().parse(pattern):
      if literal:
        indices.append(literals[literal])
      if slot is not None:
        indices.append(len(literals) + slots[slot])
    return indices

  def padded(patterns: list[str]) -> np.ndarray:
    rows = [piece_indices(pattern) for pattern in patterns]
    table = np.zeros([len(rows), max(map(len, rows))], np.int32)
    for i, row in enumerate(rows):
      table[i, : len(row)] = row
    return table

  return _CompiledTemplates(
    tuple(literals),
    tuple(slots),
    padded([template.inputs for template in templates]),
    padded([template.target for template in templates]),
  )
