"""Lowers the program of one core to HLO, from the shapes of its inputs."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from flan_tf.mesh.collective_trace import CollectiveTrace
from flan_tf.mesh.program import Program
from flan_tf.tpu_plan.compiler.abstract_devices import AbstractDevices


@dataclasses.dataclass(frozen=True)
class LoweredProgram:
  """The HLO of one core's program; all cores run the same HLO.

  Its arguments are the core number, the variables of the devices' states, and
  the inputs. Its results are the new values of assigned variables, and the
  program's outputs.

  Attributes:
    hlo: a serialized HLO module.
    variables: shapes and types of the variables, in order.
    assigned: indices of the variables that the program assigns, in order.
    inputs: shapes and types of the inputs, flattened.
    outputs: shapes and types of the outputs, in their nested structure.
    trace: the collectives of the program.
    seconds: wall time of the phases "trace" and "lower".
  """

  hlo: bytes
  variables: tuple[tf.TensorSpec, ...]
  assigned: tuple[int, ...]
  inputs: tuple[tf.TensorSpec, ...]
  outputs: Any
  trace: CollectiveTrace
  seconds: dict[str, float]


def lower_program(
  devices: AbstractDevices, program: Program, inputs: Sequence
) -> LoweredProgram:
  """Lowers the function that a program runs on every core.

  Args:
    devices: the devices for which the program and its states were created.
    program: the program.
    inputs: nested TensorSpecs of the program's arguments on one core.
  """
  strategy = devices.strategy
  variables = [variable.spec for variable in strategy.variables]
  flat_inputs = tf.nest.flatten(list(inputs))
  assigned: list[int] = []
  start = time.perf_counter()

  def core_function(core, *arguments):
    values = arguments[: len(variables)]
    nested = tf.nest.pack_sequence_as(list(inputs), arguments[len(variables) :])
    with strategy.tracing(core, values):
      outputs = program.run_replicas(*nested)
      new_values = strategy.assigned()
    assigned[:] = new_values
    return list(new_values.values()), outputs

  function = tf.function(core_function, jit_compile=True, autograph=False)
  specs = [tf.TensorSpec([], tf.int32, name="core"), *variables, *flat_inputs]
  concrete = function.get_concrete_function(*specs)
  traced = time.perf_counter()
  hlo = function.experimental_get_compiler_ir(*specs)(
    stage="hlo_serialized", platform_name="TPU"
  )
  lowered = time.perf_counter()
  _, outputs = concrete.structured_outputs
  return LoweredProgram(
    hlo=hlo,
    variables=tuple(variables),
    assigned=tuple(assigned),
    inputs=tuple(flat_inputs),
    outputs=tf.nest.map_structure(
      lambda x: tf.TensorSpec(x.shape, x.dtype), outputs
    ),
    trace=program.trace,
    seconds={"trace": traced - start, "lower": lowered - traced},
  )
