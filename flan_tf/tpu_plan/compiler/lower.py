"""A program of one core as HLO, from shapes alone."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from flan_tf.mesh import program
from flan_tf.tpu_plan.compiler import abstract_devices


@dataclasses.dataclass(frozen=True)
class Lowered:
  """The HLO of one core's program, which all cores run.

  Its arguments are the core's number, all slices of the devices' states in the
  order in which they were made, then what was fed. Its results are the slices
  that the program assigns, then what it returns.

  Attributes:
    hlo: a serialized HLO module.
    slices: the states' slices, in order.
    changed: which of them are assigned, in order.
    feeds: what is fed, flattened.
    results: what is returned, a nest.
    trace: the collectives.
    seconds: that tracing and lowering took.
  """

  hlo: bytes
  slices: tuple[tf.TensorSpec, ...]
  changed: tuple[int, ...]
  feeds: tuple[tf.TensorSpec, ...]
  results: Any
  trace: Any
  seconds: dict[str, float]


def lower(
  devices: abstract_devices.AbstractDevices,
  made: program.Program,
  feeds: Sequence,
) -> Lowered:
  """Lowers what `made` runs on every core.

  Args:
    devices: those that the program and its states were made for.
    made: the program.
    feeds: a nest of TensorSpecs for one core: what the program is called with.
  """
  strategy = devices.strategy
  slices = [held.spec for held in strategy.slices]
  changed: list[int] = []
  begin = time.perf_counter()

  def pure(core, *flat):
    values, fed = flat[: len(slices)], flat[len(slices) :]
    with strategy.tracing(core, values):
      out = made.run_all(*tf.nest.pack_sequence_as(list(feeds), fed))
      new = strategy.changed()
    changed[:] = new
    return list(new.values()), out

  function = tf.function(pure, jit_compile=True, autograph=False)
  fed = tf.nest.flatten(list(feeds))
  specs = [tf.TensorSpec([], tf.int32, name="core"), *slices, *fed]
  concrete = function.get_concrete_function(*specs)
  traced = time.perf_counter()
  hlo = function.experimental_get_compiler_ir(*specs)(
    stage="hlo_serialized", platform_name="TPU"
  )
  done = time.perf_counter()
  _, results = concrete.structured_outputs
  return Lowered(
    hlo=hlo,
    slices=tuple(slices),
    changed=tuple(changed),
    feeds=tuple(fed),
    results=tf.nest.map_structure(
      lambda x: tf.TensorSpec(x.shape, x.dtype), results
    ),
    trace=made.trace,
    seconds={"trace": traced - begin, "lower": done - traced},
  )
