"""Compiles a lowered program with the TPU compiler, for a slice that is absent.

The compiler is that of libtpu, called through jaxlib. It needs only the name of
the slice: see `jax.experimental.topologies`. Only the worker's process can
import this module, since the planner's environment lacks these packages.
"""

import dataclasses
import re
import time
from collections.abc import Mapping

import numpy as np
from jax._src.interpreters import mlir
from jax._src.lib.mlir import ir  # pyright: ignore
from jax.experimental import topologies
from jaxlib import xla_client

from flan_tf.mesh import tpu_slice
from flan_tf.mesh.layout import Layout
from flan_tf.tpu_plan.compiler import hlo
from flan_tf.tpu_plan.compiler.lower import LoweredProgram

# Cycles per second by generation. Multiplied with the FLOPs per cycle of the
# matrix units they give the published peak of a core, e.g. for v3:
# 0.94e9 x 2 units x 2 x 128 x 128 = 61.6 TFLOP/s.
_CYCLES_PER_SECOND = {
  "v2": 0.70e9,
  "v3": 0.94e9,
  "v4": 1.05e9,
  "v5e": 1.50e9,
  "v5p": 1.75e9,
  "v6e": 1.75e9,
}
_OUT_OF_MEMORY = re.compile(r"Used ([\d.]+)([KMG]) of ([\d.]+)([KMG]) hbm")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclasses.dataclass(frozen=True)
class CompiledProgram:
  """Results of the compiler for one core.

  Attributes:
    refused: the compiler's message if the program does not fit, else "".
    hbm: HBM bytes by kind; see `CompileReport.hbm`. Of a program that does not
      fit, only the kind "all" is known.
    hbm_limit: HBM bytes that a program may use; 0 if the compiler did not say.
    flops: executed FLOPs.
    bytes_accessed: bytes read from and written to HBM.
    seconds: estimated time of all operations, one after another. Collectives
      take no time.
    cost: cycles and collectives.
    compile_seconds: wall time of the compilation.
  """

  refused: str
  hbm: Mapping[str, int]
  hbm_limit: int = 0
  flops: float = 0.0
  bytes_accessed: float = 0.0
  seconds: float = 0.0
  cost: hlo.HloCost = hlo.HloCost(0, {}, {})
  compile_seconds: float = 0.0


def compile_program(
  lowered: LoweredProgram, topology: str, layout: Layout
) -> CompiledProgram:
  """Compiles a program for a slice.

  Args:
    lowered: the program of one core.
    topology: the slice, e.g. "v3:8x8".
    layout: the mesh; its axes determine which device is which core.

  Raises:
    ValueError: the mesh does not have as many cores as the slice.
  """
  start = time.perf_counter()
  devices = topologies.get_topology_desc(
    platform="tpu", topology_name=topology
  ).devices
  if len(devices) != layout.cores:
    raise ValueError(
      f"{topology} has {len(devices)} cores, but the mesh {layout} has"
      f" {layout.cores}. Set mesh.shape so that its axes multiply to"
      f" {len(devices)}."
    )
  options = xla_client.CompileOptions()
  options.num_replicas, options.num_partitions = layout.cores, 1
  options.device_assignment = xla_client.DeviceAssignment.create(
    _device_order(devices, layout).reshape(-1, 1)
  )
  try:
    executable = devices[0].client.compile(
      to_stablehlo(lowered), xla_client.DeviceList(tuple(devices)), options
    )
  except Exception as error:
    refused = _read_refusal(str(error))
    if refused is None:
      raise
    seconds = time.perf_counter() - start
    return dataclasses.replace(refused, compile_seconds=seconds)
  generation = topology.partition(":")[0]
  compiled = _read_executable(executable, _CYCLES_PER_SECOND[generation])
  seconds = time.perf_counter() - start
  return dataclasses.replace(compiled, compile_seconds=seconds)


def to_stablehlo(lowered: LoweredProgram) -> bytes:
  """Returns the program as StableHLO bytecode.

  The new value of each assigned variable is marked to reuse (alias) the memory
  of its old value.
  """
  text = xla_client._xla.mlir.hlo_to_stablehlo(  # pyright: ignore
    lowered.hlo
  )
  context = mlir.make_ir_context()
  with context:
    module = ir.Module.parse(text)
    (main,) = (
      op
      for op in module.body.operations
      if op.attributes["sym_name"].value == "main"
    )
    attributes = [ir.DictAttr.get({}) for _ in main.arguments]
    if "arg_attrs" in main.attributes:
      attributes = list(main.attributes["arg_attrs"])
    int32 = ir.IntegerType.get_signless(32)
    for output, variable in enumerate(lowered.assigned):
      argument = 1 + variable  # The first argument is the core number.
      named = {a.name: a.attr for a in ir.DictAttr(attributes[argument])}
      named["tf.aliasing_output"] = ir.IntegerAttr.get(int32, output)
      attributes[argument] = ir.DictAttr.get(named)
    main.attributes["arg_attrs"] = ir.ArrayAttr.get(attributes)
    return mlir.module_to_bytecode(module)


def _read_executable(executable, cycles_per_second: float) -> CompiledProgram:
  """Reads memory, FLOPs and cycles of a program that fits."""
  memory = executable.get_compiled_memory_stats()
  analysis = executable.cost_analysis()
  cost = hlo.read_cost(executable.hlo_modules()[0].to_string())
  return CompiledProgram(
    refused="",
    hbm={
      "arguments": memory.argument_size_in_bytes,
      "outputs": memory.output_size_in_bytes,
      "aliased": memory.alias_size_in_bytes,
      "temporaries": memory.temp_size_in_bytes,
      "code": memory.generated_code_size_in_bytes,
    },
    # The key is missing if a program has no matrix products.
    flops=analysis.get("flops", 0.0),
    bytes_accessed=analysis["bytes accessed"],
    seconds=cost.cycles / cycles_per_second,
    cost=cost,
  )


def _read_refusal(message: str) -> CompiledProgram | None:
  """Reads an error of the compiler; None if it is not about lack of HBM."""
  match = _OUT_OF_MEMORY.search(message)
  if match is None:
    return None
  used, limit = (
    int(float(match.group(i)) * _UNITS[match.group(i + 1)]) for i in (1, 3)
  )
  first_line = message.strip().splitlines()[0]
  return CompiledProgram(first_line, {"all": used}, limit)


def _device_order(devices, layout: Layout) -> np.ndarray:
  """Returns the device id of each core, in the order that TPUStrategy uses."""
  ids = {(*device.coords, device.core_on_chip): device.id for device in devices}
  torus = [1 + max(place[axis] for place in ids) for axis in range(4)]
  sizes = [axis.size for axis in layout.shape]
  places = tpu_slice.arrange_cores(torus, sizes or [1]).reshape(-1, 4)
  return np.array(
    [ids[int(x), int(y), int(z), int(c)] for x, y, z, c in places]
  )
