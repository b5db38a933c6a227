"""Reads cycles and wire bytes from the text of a compiled TPU program.

The compiler writes the estimated cycles of each operation into the text. For
collectives it writes none: in its estimate they take no time. The bytes that
they send are counted here, as if each ran alone on a ring of links.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_OPERATION = re.compile(r"\s+(?:ROOT )?%(\S+) = (.*?) ([\w-]+)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TENSOR = re.compile(r"\b(pred|[sufb]f?\d+)\[([\d,]*)\]")
# Groups of cores as lists, {{0,1},{2,3}}, or as counts, [2,2]<=[4].
_LISTED_GROUPS = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_COUNTED_GROUPS = re.compile(r"replica_groups=\[(\d+),(\d+)\]")
_CORES = re.compile(r"\breplica_count=(\d+)")
_COLLECTIVES = re.compile(
  r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
  r"(-start)?$"
)
# The compiler of v3 writes a reduce-scatter as a computation of this name with
# an all-reduce inside.
_REDUCE_SCATTER_COMPUTATION = "%all-reduce-scatter"


@dataclasses.dataclass(frozen=True)
class HloCost:
  """The cost of a compiled program on one core.

  Attributes:
    cycles: estimated cycles of all operations, one after another.
    wire_bytes: bytes sent, by kind of collective.
    collectives: number of collectives, by kind.
  """

  cycles: int
  wire_bytes: Mapping[str, float]
  collectives: Mapping[str, int]


def read_cost(text: str) -> HloCost:
  """Reads the text of a compiled HLO module."""
  header = _CORES.search(text.partition("\n")[0])
  cores = int(header.group(1)) if header else 1
  cycles = 0
  wire_bytes: dict[str, float] = collections.defaultdict(float)
  counts: dict[str, int] = collections.Counter()
  for operation in _operations(text):
    estimate = _CYCLES.search(operation.line)
    cycles += int(estimate.group(1)) if estimate else 0
    collective = _COLLECTIVES.match(operation.name)
    if collective is None:
      continue
    name, is_async = collective.group(1), bool(collective.group(2))
    kind = "reduce-scatter" if operation.is_scattered else name
    wire_bytes[kind] += _wire_bytes(operation, name, is_async, cores)
    counts[kind] += 1
  return HloCost(cycles, dict(wire_bytes), dict(counts))


class _Operation(NamedTuple):
  """One operation of the text.

  Attributes:
    shape: text of the shape of its result.
    name: name of the operation, e.g. "all-reduce".
    line: the whole line.
    is_scattered: True if the operation is an all-reduce of which each core
      keeps one shard of the sum only.
  """

  shape: str
  name: str
  line: str
  is_scattered: bool


def _operations(text: str) -> Iterator[_Operation]:
  """Yields all operations that are not inside of a fusion."""
  computation = ""
  for line in text.splitlines():
    if line[:1] in ("%", "E"):  # A computation begins.
      computation = line
    if computation.startswith("%fused_computation"):
      continue
    match = _OPERATION.match(line)
    if match:
      _, shape, name = match.groups()
      is_scattered = computation.startswith(_REDUCE_SCATTER_COMPUTATION)
      yield _Operation(shape, name, line, is_scattered)


def _wire_bytes(
  operation: _Operation, name: str, is_async: bool, all_cores: int
) -> float:
  """Returns the bytes that one core sends around the ring of its group."""
  sizes = [
    _bytes(dtype, dims) for dtype, dims in _TENSOR.findall(operation.shape)
  ]
  # The result of an asynchronous start holds the operands, the results, and
  # small values of the runtime.
  size = max(sizes) if is_async else sum(sizes)
  cores = _group_size(operation.line) or all_cores
  if name == "collective-permute":
    return size
  ring_share = (cores - 1) / cores
  if name == "all-reduce":
    return size * ring_share * (1 if operation.is_scattered else 2)
  if name == "reduce-scatter" and not is_async:
    # The result is one shard of the operand.
    return size * cores * ring_share
  return size * ring_share


def _group_size(line: str) -> int:
  """Returns the cores of a group; 0 if all cores form one group."""
  match = _LISTED_GROUPS.search(line)
  if match:
    return len(match.group(1).split(","))
  match = _COUNTED_GROUPS.search(line)
  return int(match.group(2)) if match else 0


def _bytes(dtype: str, dims: str) -> int:
  """Returns the size of a tensor, e.g. _bytes("bf16", "8,128") = 2048."""
  elements = 1
  for dim in filter(None, dims.split(",")):
    elements *= int(dim)
  bits = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
  return elements * bits // 8
