"""Rows become prompts: features -> slots -> one string in, one string out.

    row     {"text": "What a film!", "label": 1}
    slots   {"text": "What a film!", "options_": "OPTIONS:\\n- no\\n- yes",
             "answer": "yes", "answer_index": 1, "options": ["no", "yes"], ...}
    prompt  ("What a film!\\nIs this praise?\\nOPTIONS:\\n- no\\n- yes", "yes")

Everything is TensorFlow string ops and runs eagerly and in tf.data alike. A
template is a row of piece numbers into (literals, slot values), so choosing a
template by a tensor is one gather, and joining it is one reduce_join. Slot
values are never parsed: a brace in a text is a brace in the prompt.
"""

import functools
import hashlib
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
HIDDEN = "hidden"  # bool: the row's label is not public
KEEP = "keep"  # bool: False where the task's fields leave the row out
GROUP = "group"  # string: rows of one group are judged together; else ""


def fill_slots(task: schema.Task, row: Mapping[str, Any]) -> Slots:
  """Turns one row into the slots of its task.

  Args:
    task: the task whose field function reads the row.
    row: features of one row as TFDS yields them; tensors, NumPy or Python.

  Returns:
    Scalar strings for `task.slots`, `answer` and (for a classification)
    `options_`, and the keys named at the top of this module. The answer of a
    hidden label is "".

  Raises:
    ValueError: the field function leaves out a slot that the task declares.
    tf.errors.InvalidArgumentError: an answer index beyond the options.
  """
  raw = dict(task.fields(tensors(row)))
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
  """The OPTIONS block: ["yes", "no"] -> "OPTIONS:\\n- yes\\n- no"."""
  listed = tf.strings.reduce_join(options, axis=-1, separator="\n- ")
  return tf.strings.join(["OPTIONS:\n- ", listed])


def render(
  task: schema.Task, slots: Mapping[str, Any], template_index: Any
) -> tuple[tf.Tensor, tf.Tensor]:
  """Fills the chosen template: scalars, or a batch with one choice a row.

  Args:
    task: the task that owns the templates.
    slots: strings [] or [batch] for each slot that a template names.
    template_index: int [] or [batch].

  Returns:
    (inputs, target), strings of the shape of `template_index`.
  """
  plan = _plan(task)
  index = tf.convert_to_tensor(template_index)
  values = [tf.convert_to_tensor(slots[name], tf.string) for name in plan.slots]
  literals = tf.constant(plan.literals, tf.string)
  if index.shape.rank == 0:
    pieces = tf.concat(
      [literals, tf.stack(values)] if values else [literals], 0
    )
  else:
    batch = tf.shape(index)[0]
    literals = tf.broadcast_to(literals, [batch, len(plan.literals)])
    values = [tf.stack(values, 1)] if values else []
    pieces = tf.concat([literals, *values], 1)  # [batch, pieces]
  joined = []
  for table in (plan.inputs, plan.target):
    chosen = tf.gather(tf.constant(table), index)  # [..., longest template]
    chosen = tf.gather(pieces, chosen, batch_dims=index.shape.rank)
    joined.append(tf.strings.reduce_join(chosen, axis=-1))
  return joined[0], joined[1]


def all_templates(
  task: schema.Task, slots: Mapping[str, Any]
) -> tuple[tf.Tensor, tf.Tensor]:
  """One row in every wording: (inputs, targets), strings [num templates]."""
  count = len(task.templates)
  many = {
    name: tf.repeat(tf.convert_to_tensor(slots[name], tf.string), count)
    for name in _plan(task).slots
  }
  return render(task, many, tf.range(count))


def render_row(
  task: schema.Task, row: Mapping[str, Any]
) -> list[tuple[str, str]]:
  """One row in every wording, as Python strings, in template order."""
  inputs, targets = all_templates(task, fill_slots(task, row))
  return [
    (text.decode("utf-8", "replace"), target.decode("utf-8", "replace"))
    for text, target in zip(inputs.numpy(), targets.numpy(), strict=True)
  ]


def pick_template(
  seed: int, task_name: str, row_index: Any, num_templates: int
) -> Any:
  """The template of a training row: a pure function of (seed, example).

  The same on every host, in any order of reading and after every resume. A
  tensor of row numbers gives a tensor, anything else gives NumPy; both agree.

  Args:
    seed: of the run.
    task_name: of the task; with the row's number it names the example.
    row_index: int of any shape, the row's number in its split.
    num_templates: how many there are to pick from.

  Returns:
    int64 of the shape of `row_index`, in [0, num_templates).
  """
  if num_templates < 1:
    raise ValueError(f"Task {task_name!r} has no templates to pick from.")
  key = name_key(f"{seed}/{task_name}")
  if tf.is_tensor(row_index):
    x = tf.bitwise.bitwise_xor(tf.cast(row_index, tf.uint64), _u64(key))
    for shift, factor in _MIX:
      x = tf.bitwise.right_shift(x, _u64(shift))
      x = x * _u64(factor)
      x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _u64(32)))
    top = tf.cast(tf.bitwise.right_shift(x, _u64(33)), tf.int64)
    return top % num_templates
  with np.errstate(over="ignore"):  # the multiplication is meant to wrap
    x = np.asarray(row_index).astype(np.uint64) ^ np.uint64(key)
    for shift, factor in _MIX:
      x = (x >> np.uint64(shift)) * np.uint64(factor)
      x = x ^ (x >> np.uint64(32))
  return (x >> np.uint64(33)).astype(np.int64) % num_templates


def name_key(name: str) -> int:
  """64 bits of a name's SHA-256: unlike hash(), the same in every process."""
  return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


# Odd factors of a multiply-xorshift hash (the constants of SplitMix64 and
# MurmurHash3's finalizer).
_MIX = (
  (0, 0x9E3779B97F4A7C15),
  (0, 0xBF58476D1CE4E5B9),
  (0, 0x94D049BB133111EB),
)


def _u64(value: int) -> tf.Tensor:
  return tf.constant(np.uint64(value))


def _classification(task: schema.Task, raw: Slots) -> Slots:
  if task.options:
    options = tf.constant(task.options, tf.string)
  elif "choices" in raw:
    options = tf.ensure_shape(raw["choices"], [None])
  else:
    raise ValueError(
      f"Task {task.name!r}: a classification needs options. Expected"
      " Task.options, or `choices` from its field function, which gave:"
      f" {', '.join(sorted(raw))}."
    )
  _require(task, raw, ANSWER_INDEX)
  index = tf.ensure_shape(tf.cast(raw[ANSWER_INDEX], tf.int64), [])
  count = tf.size(options, tf.int64)
  # With nothing but a string to report, this is one op; `assert_less` is a
  # conditional, the slowest part of the graph to trace.
  check = tf.debugging.Assert(
    index < tf.maximum(count, 1),
    [f"Task {task.name!r}: answer_index is beyond the row's options."],
  )
  with tf.control_dependencies([check] if check is not None else []):
    # An empty string stands behind the options for a hidden label to take.
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
      f"Task {task.name!r}: its field function gives no {name!r}. "
      + name_lists.unknown_name("slot", name, raw)
    )


def tensors(value: Any) -> Any:
  """A row's leaves become tensors; an empty Python list is one of strings."""
  if isinstance(value, Mapping):
    return {key: tensors(part) for key, part in value.items()}
  if isinstance(value, list) and not value:
    return tf.zeros([0], tf.string)
  return tf.convert_to_tensor(value)


class _Plan(NamedTuple):
  """A task's templates as piece numbers.

  Pieces are `literals` and behind them the values of `slots`; literal 0 is "",
  the padding of short templates.
  """

  literals: tuple[str, ...]
  slots: tuple[str, ...]
  inputs: np.ndarray  # int32 [num templates, longest]
  target: np.ndarray  # int32 [num templates, longest]


@functools.lru_cache(maxsize=1024)
def _plan_of(templates: tuple[schema.Template, ...]) -> _Plan:
  literals, slots = {"": 0}, {}
  for template in templates:
    for pattern in (template.inputs, template.target):
      for literal, slot, _, _ in string.Formatter().parse(pattern):
        literals.setdefault(literal, len(literals))
        if slot is not None:
          slots.setdefault(slot, len(slots))

  def numbers(pattern: str) -> list[int]:
    out = []
    for literal, slot, _, _ in string.Formatter().parse(pattern):
      if literal:
        out.append(literals[literal])
      if slot is not None:
        out.append(len(literals) + slots[slot])
    return out

  def table(patterns: list[str]) -> np.ndarray:
    rows = [numbers(pattern) for pattern in patterns]
    out = np.zeros([len(rows), max(map(len, rows))], np.int32)
    for i, row in enumerate(rows):
      out[i, : len(row)] = row
    return out

  return _Plan(
    tuple(literals),
    tuple(slots),
    table([template.inputs for template in templates]),
    table([template.target for template in templates]),
  )


def _plan(task: schema.Task) -> _Plan:
  if not task.templates:
    raise ValueError(f"Task {task.name!r} has no templates.")
  return _plan_of(task.templates)
