"""Random command lines of the binaries, with good, bad and absurd values."""

import dataclasses
import importlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.helpers import fuzz_files

_RUN = f"--config={fuzz_files.RUN}"
# Command lines that work, or that only a missing network, compiler or file
# keeps from working. Those that take longer are given something impossible.
_BASES: dict[str, tuple[tuple[str, ...], ...]] = {
  "bench": (
    ("--what=score", "--checkpoint=ref"),
    ("--what=options", "--checkpoint=missing", "--rounds=1"),
    ("--what=generate", "--checkpoint=ref", "--against=lm_eval"),
  ),
  "contamination": (
    ("--evaluation=eval", "--corpus=corpus.txt"),
    ("--evaluation=eval", "--checkpoint=ref", "--tfds_data_dir=td"),
  ),
  "control": (("--base=missing", "--workdir=new", _RUN),),
  "convert": (
    ("--source=native:ref", "--target=native:new"),
    ("--source=gguf:model.gguf", "--target=native:new"),
    ("--source=native:ref", "--target=native:new", "--results=eval"),
    ("--source=native:ref", "--target=keras_hub:new"),
    ("--source=hugging_face:empty", "--target=native:new"),
  ),
  "evaluate": (
    ("--checkpoint=ref", "--tasks=cb", "--max_examples=1", "--output=new"),
    ("--compare=eval,eval", "--output=new"),
  ),
  "generate": (
    ("--checkpoint=ref", "--prompt=one", "--max_new=2"),
    ("--checkpoint=ref", "--prompt=one", "--score=yes|no"),
    ("--checkpoint=ref", "--input=prompts.jsonl", "--output=new.jsonl"),
  ),
  "inspect_tasks": (
    ("--list",),
    ("--show=cb",),
    ("--check", "--tfds_data_dir=td"),
    ("--mixture",),
    ("--mixture", _RUN, "--published_counts"),
    ("--show=my_rte", "--task_file=my_tasks.py"),
  ),
  "plan": (
    (_RUN, "--topology=v3:2x2", "--programs=train"),
    ("--table=v3", "--sizes=huge"),
  ),
  "prepare": (
    ("--tfds_data_dir=td", "--tasks=cb", "--dry_run"),
    ("--tfds_data_dir=td", "--verify"),
  ),
  "quickstart": (("--model=small", "--workdir=/proc/nothing/x"),),
  "train": (
    (_RUN, "--workdir=new", "--dry_run"),
    (_RUN, "--workdir=new", "--dry_run"),
    (_RUN, "--workdir=new"),
    (_RUN, "--workdir=ref", "--config.train.steps=3"),
    (_RUN, "--workdir=new", "--dry_run", "--config.train.init_from=ref"),
    (_RUN, "--workdir=new", "--dry_run", "--config.data.files=answers.jsonl"),
    (_RUN, "--workdir=new", "--dry_run", "--config.data.tfds_data_dir=td"),
  ),
  "train_vocabulary": (
    ("--output=new.model", "--size=440", "--tfds_data_dir=td"),
  ),
}
BINARIES = tuple(_BASES)

# How often a binary is chosen.
_WEIGHTS = {"train": 5, "generate": 3, "evaluate": 2, "convert": 2}

# Flags that would start long work which nothing is wrong with.
_LEFT_OUT = {
  "bench": ("what",),
  "prepare": ("dry_run", "verify"),
  "quickstart": ("model", "workdir"),
}
# Values of these are left as they are where they are large: it is what the user
# asked for.
_COUNTS = ("config.train.steps", "steps", "rounds", "steady_rows")

# Numbers that absl takes, and texts that it does not.
_INTEGERS = (
  *("0", "1", "2", "3", "7", "100", "-1", "-2147483649", "2147483648"),
  *("4000000000000000000", "100000000000000000000", "+1", "1_000", "1"),
)
_FLOATS = (
  *("0", "0.5", "1", "-1", "nan", "inf", "-inf", "1e20", "-1e308", "1e308"),
  *("1e-320", "2"),
)
_NO_NUMBERS = ("", " ", "abc", "0x10", "1e", "3,5", "None", "☃")
_BOOLS = ("true", "false", "1", "maybe", "")
_TEXTS = (
  *("", " ", "cb", "rte,sst2", "nli", "rtee", "a,b,,", "all", "x" * 5000),
  *("☃", "\x1b[31mred", "\x07", "\udcff", "'", '"', "{x}", "%s", "\\n", "*"),
  *("data:2;model:2", "model:99999", "garbage", "-1", "nan", "../..", "yes|no"),
  *("prompt|answer|example|cue", "|||", "{prompt}", "{{ 1/0 }}", "v3:2x2"),
)


@dataclasses.dataclass(frozen=True)
class Flag:
  """A flag of a binary.

  Attributes:
    name: its name.
    kind: the type as absl names it: "int", "float", "bool", "string", ...
    choices: allowed values of an enum.
  """

  name: str
  kind: str
  choices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Command:
  """A command line: `python -m launch.BINARY ARGUMENTS`.

  Attributes:
    binary: name of a module of launch.
    arguments: flags and words.
    damage: how a file is damaged before, see `fuzz_files.DAMAGES`; or "".
  """

  binary: str
  arguments: tuple[str, ...]
  damage: str = ""


def flags_of(binary: str) -> list[Flag]:
  """Imports a binary, once in a process, and returns its flags."""
  from absl import flags

  module = importlib.import_module(f"launch.{binary}")
  found = []
  for flag in flags.FLAGS.get_key_flags_for_module(module):
    if flag.name not in _LEFT_OUT.get(binary, ()):
      choices = tuple(map(str, getattr(flag.parser, "enum_values", ())))
      found.append(Flag(flag.name, flag.flag_type(), choices))
  if any(flag.name == "config" for flag in found):
    found += _settings()
  return found


def _settings() -> list[Flag]:
  """Returns a flag for each setting of a run."""
  from flan_tf import config

  found = []

  def add(prefix: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
      if isinstance(value, Mapping):
        add(f"{prefix}{name}.", value)
      else:
        kind = {str: "string"}.get(type(value), type(value).__name__)
        found.append(Flag(prefix + name, kind))

  add("config.", config.to_dict(config.RunConfig()))
  return found


def random_command(
  seed: str, flags_by_binary: Mapping[str, Sequence[Flag]]
) -> Command:
  """Returns a random command line; equal seeds give equal ones."""
  draw = random.Random(seed)
  names = list(flags_by_binary)
  weights = [_WEIGHTS.get(name, 1) for name in names]
  (binary,) = draw.choices(names, weights)
  known = flags_by_binary[binary]
  arguments = list(draw.choice(_BASES[binary]))
  damage = draw.choice(fuzz_files.DAMAGES) if draw.random() < 0.3 else ""
  for _ in range(0 if damage else draw.choice((1, 1, 1, 2, 3))):
    arguments.append(_argument(draw, draw.choice(known)))
  if draw.random() < 0.05:
    arguments.append(draw.choice(("word", "--", "--no", "--=", "--flag=1")))
  if draw.random() < 0.05:
    arguments.remove(draw.choice(arguments))
  return Command(binary, tuple(arguments), damage)


def _argument(draw: random.Random, flag: Flag) -> str:
  if draw.random() < 0.03:
    return f"--{flag.name}"
  if draw.random() < 0.03:
    return f"--{flag.name}x=1"
  return f"--{flag.name}={_value(draw, flag)}"


def _value(draw: random.Random, flag: Flag) -> str:
  if flag.choices:
    return draw.choice((*flag.choices, "", flag.choices[-1] + "x"))
  if flag.kind in ("int", "float") and draw.random() < 0.1:
    return draw.choice(_NO_NUMBERS)
  if flag.kind == "int":
    value = draw.choice(_INTEGERS)
    return "2" if flag.name in _COUNTS and len(value) > 3 else value
  if flag.kind == "float":
    return draw.choice(_FLOATS)
  if flag.kind == "bool":
    return draw.choice(_BOOLS)
  value = draw.choice(draw.choice((_TEXTS, fuzz_files.GOOD, fuzz_files.BAD)))
  if flag.name in ("source", "target") and draw.random() < 0.8:
    form = draw.choice(("native", "gguf", "hugging_face", "keras_hub", "x"))
    return f"{form}:{value}"
  return value
