"""The TPU compiler's answer to a lowered program.

It is the compiler of libtpu, by way of jaxlib, for a slice that only its name
describes: `jax.experimental.topologies`. Imported by the worker alone, since
its packages are not those of the rest.
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
from flan_tf.tpu_plan.compiler import hlo, lower

# Cycles a second of each generation. With the products' operations a cycle they
# give the published peaks: v3 0.94e9 x 2 x 2 x 128 x 128 = 61.6 TFLOP/s a core.
CLOCKS = {
  "v2": 0.70e9,
  "v3": 0.94e9,
  "v4": 1.05e9,
  "v5e": 1.50e9,
  "v5p": 1.75e9,
  "v6e": 1.75e9,
}
_NO_ROOM = re.compile(r"Used ([\d.]+)([KMG]) of ([\d.]+)([KMG]) hbm")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclasses.dataclass(frozen=True)
class Compiled:
  """What the compiler says; bytes and FLOPs are of one core.

  Attributes:
    refused: its own words where the program does not fit, else "".
    hbm: bytes by kind.
    limit: bytes that it gives programs; 0 if it did not say.
    flops: executed.
    bytes_accessed: to and from HBM.
    seconds: that all operations take one after another; collectives are free.
    work: see hlo.Work.
    compile_seconds: what compiling took.
  """

  refused: str
  hbm: Mapping[str, int]
  limit: int = 0
  flops: float = 0.0
  bytes_accessed: float = 0.0
  seconds: float = 0.0
  work: hlo.HloWork = hlo.HloWork(0, {}, {})
  compile_seconds: float = 0.0


def compile_for(
  lowered: lower.Lowered, topology: str, layout: Layout
) -> Compiled:
  """Compiles a program for a slice, e.g. "v3:8x8".

  Raises:
    ValueError: the slice has another number of cores than the layout.
  """
  begin = time.perf_counter()
  described = topologies.get_topology_desc(
    platform="tpu", topology_name=topology
  )
  devices = described.devices
  if len(devices) != layout.cores:
    raise ValueError(
      f"{topology} has {len(devices)} cores, but the mesh {layout} has"
      f" {layout.cores}. Set mesh.shape to fill the slice."
    )
  options = xla_client.CompileOptions()
  options.num_replicas, options.num_partitions = layout.cores, 1
  order = _device_order(devices, layout)
  options.device_assignment = xla_client.DeviceAssignment.create(
    order.reshape(-1, 1)
  )
  try:
    executable = devices[0].client.compile(
      stablehlo(lowered), xla_client.DeviceList(tuple(devices)), options
    )
  except Exception as error:
    words = str(error)
    found = _NO_ROOM.search(words)
    if found is None:
      raise
    used, limit = (
      int(float(found.group(i)) * _UNITS[found.group(i + 1)]) for i in (1, 3)
    )
    return Compiled(
      words.strip().splitlines()[0],
      {"all": used},
      limit,
      compile_seconds=time.perf_counter() - begin,
    )
  memory = executable.get_compiled_memory_stats()
  cost = executable.cost_analysis()
  work = hlo.read(executable.hlo_modules()[0].to_string())
  return Compiled(
    refused="",
    hbm={
      "arguments": memory.argument_size_in_bytes,
      "outputs": memory.output_size_in_bytes,
      "aliased": memory.alias_size_in_bytes,
      "temporaries": memory.temp_size_in_bytes,
      "code": memory.generated_code_size_in_bytes,
    },
    # Of a program that multiplies nothing it says nothing.
    flops=cost.get("flops", 0.0),
    bytes_accessed=cost["bytes accessed"],
    seconds=work.cycles / CLOCKS[topology.partition(":")[0]],
    work=work,
    compile_seconds=time.perf_counter() - begin,
  )


def stablehlo(lowered: lower.Lowered) -> bytes:
  """The program as StableHLO, its new slices in the memory of the old ones."""
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
    of_arguments = [ir.DictAttr.get({}) for _ in main.arguments]
    if "arg_attrs" in main.attributes:
      of_arguments = list(main.attributes["arg_attrs"])
    number = ir.IntegerType.get_signless(32)
    for output, changed in enumerate(lowered.changed):
      at = 1 + changed  # Behind the core's number.
      known = {a.name: a.attr for a in ir.DictAttr(of_arguments[at])}
      known["tf.aliasing_output"] = ir.IntegerAttr.get(number, output)
      of_arguments[at] = ir.DictAttr.get(known)
    main.attributes["arg_attrs"] = ir.ArrayAttr.get(of_arguments)
    return mlir.module_to_bytecode(module)


def _device_order(devices, layout: Layout) -> np.ndarray:
  """The device that each core of the mesh is, as TPUStrategy is told."""
  at = {(*device.coords, device.core_on_chip): device.id for device in devices}
  torus = [1 + max(place[axis] for place in at) for axis in range(4)]
  sizes = [axis.size for axis in layout.shape]
  places = tpu_slice.arrange(torus, sizes or [1]).reshape(-1, 4)
  found = [at[int(x), int(y), int(z), int(c)] for x, y, z, c in places]
  return np.array(found)
