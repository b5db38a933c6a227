"""What a compiled TPU program does, read off its text.

The compiler notes how many cycles it expects each operation on the core to
take. It notes none for collectives: in its estimate they are free, and what
they send is counted here, as if each ran by itself on rings of links.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_LINE = re.compile(r"\s+(?:ROOT )?%(\S+) = (.*?) ([\w-]+)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TENSOR = re.compile(r"\b(pred|[sufb]f?\d+)\[([\d,]*)\]")
_GROUP = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_ALL_GROUPS = re.compile(r"replica_groups=\[(\d+),(\d+)\]")
_CORES = re.compile(r"\breplica_count=(\d+)")
_COLLECTIVES = re.compile(
  r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
  r"(-start)?$"
)
# A computation of v3's compiler: an all-reduce of which each core keeps a part.
_SCATTER = "%all-reduce-scatter"


@dataclasses.dataclass(frozen=True)
class HloWork:
  """What a program does on a core.

  Attributes:
    cycles: that the compiler expects, all operations one after another.
    sent: bytes on the wire for each kind of collective.
    number: how many of each kind there are.
  """

  cycles: int
  sent: Mapping[str, float]
  number: Mapping[str, int]


def read(text: str) -> HloWork:
  """Reads the text of a compiled module."""
  cycles = 0
  header = _CORES.search(text.partition("\n")[0])
  cores = int(header.group(1)) if header else 1
  sent: dict[str, float] = collections.defaultdict(float)
  number: dict[str, int] = collections.Counter()
  for one in _operations(text):
    found = _CYCLES.search(one.line)
    cycles += int(found.group(1)) if found else 0
    kind = _COLLECTIVES.match(one.name)
    if kind is None:
      continue
    what = "reduce-scatter" if one.scatters else kind.group(1)
    started = bool(kind.group(2))
    sent[what] += _bytes_sent(one, kind.group(1), started, cores)
    number[what] += 1
  return HloWork(cycles, dict(sent), dict(number))


class _Operation(NamedTuple):
  shape: str
  name: str
  line: str
  scatters: bool  # Whether of its sum each core keeps a part only.


def _operations(text: str) -> Iterator[_Operation]:
  """All that is not inside of a fusion."""
  inside = ""
  for line in text.splitlines():
    if line[:1] in ("%", "E"):  # A computation begins.
      inside = line
    if inside.startswith("%fused_computation"):
      continue
    found = _LINE.match(line)
    if found:
      _, shape, name = found.groups()
      yield _Operation(shape, name, line, inside.startswith(_SCATTER))


def _bytes_sent(
  one: _Operation, what: str, started: bool, all_cores: int
) -> float:
  """By one core, in a ring of its group."""
  sizes = [_bytes(kind, dims) for kind, dims in _TENSOR.findall(one.shape)]
  # What an asynchronous one holds has its operands before its results, and
  # words of the runtime, which are small.
  size = max(sizes) if started else sum(sizes)
  cores = _group_size(one.line) or all_cores
  if what == "collective-permute":
    return size
  share = (cores - 1) / cores
  if what == "all-reduce":
    return size * share * (1 if one.scatters else 2)
  if what == "reduce-scatter" and not started:
    # The result is one of the parts.
    return size * cores * share
  return size * share


def _group_size(line: str) -> int:
  """0 where no groups are given, which means all cores together."""
  found = _GROUP.search(line)
  if found:
    return len(found.group(1).split(","))
  found = _ALL_GROUPS.search(line)
  return int(found.group(2)) if found else 0


def _bytes(kind: str, dims: str) -> int:
  elements = 1
  for dim in filter(None, dims.split(",")):
    elements *= int(dim)
  bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
  return elements * bits // 8
