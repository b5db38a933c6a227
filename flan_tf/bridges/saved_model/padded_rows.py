"""Runs programs of fixed shapes on rows of token ids of any number and length.

A row is one sequence of token ids. Mesh-TF needs every size when a program is
built, so there is one program for each of a few shapes: 1 or ROWS rows, padded
on the left to one of some numbers of columns (64, 256, ..., the longest that a
run allows). `map_rows` sorts a batch by length, cuts it into groups of rows,
and runs each group with the fewest columns that it fits into:

  columns   0 1 2 3       the rows 5 6 7 and 8 in 4 columns
            . 5 6 7
            . . . 8
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# Rows of a group, if there is more than one row.
ROWS = 8
_FEWEST_COLUMNS = 64
# Stands for an id, a count or a target that does not exist.
NONE = -1

_Ragged: Any = tf.RaggedTensor  # Its methods have no type hints.

# (number of rows, number of columns, ragged ids [rows, None], what `extra` of
# `map_rows` has for these rows) -> [rows, *result_shape].
Program = Callable[[int, int, Any, Any], Any]


def program_columns(longest: int) -> list[int]:
  """Returns the numbers of columns of the programs: 64, 256, ..., `longest`."""
  columns = []
  size = _FEWEST_COLUMNS
  while size <= longest // 2:
    columns.append(size)
    size *= 4
  return [*columns, longest]


def map_rows(
  program: Program,
  columns: Sequence[int],
  ids: Any,
  extra: Any,
  result_shape: Sequence[int],
  result_type: tf.DType,
) -> Any:
  """Runs a program on all rows of a batch, in groups of a fixed size.

  Args:
    program: see `Program`.
    columns: the padded lengths to choose from, in ascending order.
    ids: ragged int32 [n, None].
    extra: int32 [n, ...], a further input. Rows that fill the last group up
      get the value NONE.
    result_shape: shape of the result of one row.
    result_type: type of the results.

  Returns:
    [n, *result_shape].
  """

  def in_groups_of(rows: int) -> Any:
    groups = -(-ids.nrows(tf.int32) // rows)
    order = tf.argsort(ids.row_lengths(), stable=True)
    sorted_ids, sorted_extra = _complete_groups(
      tf.gather(ids, order), tf.gather(extra, order), groups * rows
    )

    def run_group(group: Any) -> Any:
      here = slice(group * rows, (group + 1) * rows)
      return _run_with_fewest_columns(
        program, rows, columns, sorted_ids[here], sorted_extra[here]
      )

    results = tf.map_fn(
      run_group,
      tf.range(groups),
      parallel_iterations=1,
      fn_output_signature=tf.TensorSpec([rows, *result_shape], result_type),
    )
    results = tf.reshape(results, [groups * rows, *result_shape])
    return tf.gather(results, tf.argsort(order))

  return tf.cond(
    ids.nrows() == 1, lambda: in_groups_of(1), lambda: in_groups_of(ROWS)
  )


def _complete_groups(ids: Any, extra: Any, rows: Any) -> tuple[Any, Any]:
  """Adds empty rows to ids and extra until there are `rows` of them."""
  missing = rows - ids.nrows(tf.int32)
  lengths = tf.pad(ids.row_lengths(), [[0, missing]])
  ids = _Ragged.from_row_lengths(ids.values, lengths)
  other_dimensions = [[0, 0]] * (extra.shape.rank - 1)
  extra = tf.pad(extra, [[0, missing], *other_dimensions], constant_values=NONE)
  return ids, extra


def _run_with_fewest_columns(
  program: Program, rows: int, columns: Sequence[int], ids: Any, extra: Any
) -> Any:
  """Runs a group of rows with the fewest columns that its longest row needs."""
  longest = tf.reduce_max(ids.row_lengths())
  branches = [
    functools.partial(_not_inlined(program, rows, size), ids, extra)
    for size in columns
  ]
  too_few = longest > tf.constant(columns, tf.int64)
  return tf.switch_case(tf.reduce_sum(tf.cast(too_few, tf.int32)), branches)


def _not_inlined(program: Program, rows: int, columns: int) -> Callable:
  """Returns a program as a function that TensorFlow does not inline.

  If all programs were inlined, the first call would prepare every one of them,
  even though only one runs.
  """
  return tf.function(
    functools.partial(program, rows, columns),
    autograph=False,
    experimental_attributes={"_noinline": True},
  )


def pad_left(ids: Any, columns: int, filler: int = 0) -> tuple[Any, Any]:
  """Pads ragged ids on the left, to int32 [rows, columns].

  The rows [[5 6 7] [8]] in 4 columns become

    ids  0 5 6 7   positions  -1  0  1  2
         0 0 0 8              -3 -2 -1  0

  Returns:
    (ids, the position of each id in its row); both int32 [rows, columns].
  """
  lengths = tf.cast(ids.row_lengths(), tf.int32)
  positions = tf.range(columns) - columns + lengths[:, tf.newaxis]
  padded_right = ids.to_tensor(shape=[None, columns])
  padded = tf.gather(padded_right, tf.maximum(positions, 0), batch_dims=1)
  return tf.where(positions >= 0, padded, filler), positions
