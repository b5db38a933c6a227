"""What is asked of the compiler, and what it answers: plain values as JSON.

  launch.plan -- Request, on stdin --> python -m flan_tf.tpu_plan.compiler.worker
              <- Answer, last line --

The two processes have different environments (the worker's has the TPU
compiler), so that nothing but these two values passes between them. Both also
lie in the cache. No TensorFlow here: an answer that is known is shown at once.
"""

import dataclasses
import functools
import hashlib
import json
import typing
from collections.abc import Mapping
from typing import Any

from flan_tf import config, name_lists
from flan_tf.tpu_plan import source_digest

PROGRAMS = ("train", "score", "decode")
WHATS = ("compile", "execute")
COLLECTIVES = (
  *("all-reduce", "all-gather", "reduce-scatter"),
  *("all-to-all", "collective-permute"),
)
# The paper's vocabulary, which no run file of its sizes has to have at hand.
VOCAB = 32_000

# Settings that no program of a core hangs on; the host reads them.
_FOR_THE_HOST = {
  "": ("name", "held_out", "seed"),
  "data": (
    *("tfds_data_dir", "vocabulary", "objective", "tasks", "clusters", "files"),
    *("separator", "overflow", "train_cap", "mixing_cap", "wording"),
    *("templates", "markers", "shuffle_labels"),
  ),
  "mesh": ("platform", "tpu"),
  "train": (
    *("steps", "learning_rate", "schedule", "warmup", "save_every", "keep"),
    *("log_every", "init_from", "profile_steps", "steps_per_loop"),
  ),
}


@dataclasses.dataclass(frozen=True)
class CompileRequest:
  """One program of one run on one slice.

  Attributes:
    run: with the mesh and the layout to try; `model.vocab` is resolved. Made by
      `ask`, it has the defaults in all settings that no program hangs on.
    topology: the slice, e.g. "v3:8x8".
    program: one of PROGRAMS.
    what: "compile" for the slice, or "execute" on virtual cores.
    rows: prompts that are scored, or gone on with, at once.
  """

  run: config.RunConfig
  topology: str
  program: str = "train"
  what: str = "compile"
  rows: int = 16

  def __post_init__(self):
    for where, value, known in (
      ("program", self.program, PROGRAMS),
      ("what", self.what, WHATS),
    ):
      if value not in known:
        raise ValueError(name_lists.unknown_name(where, value, known))
    if self.rows < 1:
      raise ValueError(f"rows: expected a positive number, got {self.rows}.")
    if not self.run.model.vocab:
      raise ValueError(
        "model.vocab is 0, and a plan reads no vocabulary. Make the request"
        f" with `ask`, which takes {VOCAB}, or set model.vocab."
      )

  @property
  def length(self) -> int:
    """Tokens of a row; in decoding, of the prompt and the answer together."""
    data = self.run.data
    if self.program == "train":
      return data.length
    return data.input_length + data.target_length

  @property
  def tokens(self) -> int:
    """Of one run of the program: of a step, of scoring, of one new column."""
    if self.program == "train":
      return self.run.train.batch * self.length
    return self.rows * (self.length if self.program == "score" else 1)

  def to_json(self) -> str:
    return json.dumps(dataclasses.asdict(self))

  @staticmethod
  def from_json(text: str) -> "CompileRequest":
    """Raises ValueError: a key that a request does not have, or a bad value."""
    values = json.loads(text)
    run = config.from_mapping(values.pop("run", {}))
    return CompileRequest(run=run, **_checked(CompileRequest, values))

  @functools.cached_property
  def fingerprint(self) -> str:
    """Of the request, and of all source that the answer hangs on."""
    whole = hashlib.sha256(self.to_json().encode())
    whole.update(source_digest.digest("flan_tf.tpu_plan.compiler.worker"))
    return whole.hexdigest()


@dataclasses.dataclass(frozen=True)
class CompileReport:
  """What the compiler says of one program; bytes and FLOPs are of one core.

  Attributes:
    program: one of PROGRAMS.
    parameters: of the model.
    cores: of the slice.
    fits: whether the compiler takes it.
    refused: the compiler's own words if it does not.
    hbm: bytes by kind: arguments, outputs, aliased (outputs that lie where
      arguments lay), temporaries, code.
    hbm_bytes_per_core: arguments + outputs - aliased + temporaries + code.
    hbm_limit_bytes: what a core has.
    flops_per_core: executed ones, recomputation among them.
    bytes_accessed_per_core: to and from HBM.
    collective_bytes_per_core: on the wire, by kind (COLLECTIVES).
    estimated_step_seconds: the compiler's, of one run of the program: a whole
      step with all microbatches, one call of scoring, one decoded column.
      Collectives take no time in it.
    collective_seconds: that collectives take, if the worker knows it; 0.0
      leaves it to `arithmetic`.
    seconds: what it took to trace, lower and compile.
    differences: of an execution: what was compared -> largest difference
      between the slice's virtual cores and one device.
  """

  program: str
  parameters: int
  cores: int
  fits: bool
  refused: str = ""
  hbm: Mapping[str, int] = dataclasses.field(default_factory=dict)
  hbm_bytes_per_core: int = 0
  hbm_limit_bytes: int = 0
  flops_per_core: float = 0.0
  bytes_accessed_per_core: float = 0.0
  collective_bytes_per_core: Mapping[str, float] = dataclasses.field(
    default_factory=dict
  )
  estimated_step_seconds: float = 0.0
  collective_seconds: float = 0.0
  seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
  differences: Mapping[str, float] = dataclasses.field(default_factory=dict)

  def to_json(self) -> str:
    return json.dumps(dataclasses.asdict(self))

  @staticmethod
  def from_json(text: str) -> "CompileReport":
    """Raises ValueError: a key that an answer does not have."""
    return CompileReport(**_checked(CompileReport, json.loads(text)))


def ask(
  run: config.RunConfig,
  topology: str,
  program: str = "train",
  what: str = "compile",
  rows: int = 16,
) -> CompileRequest:
  """A request: the vocabulary resolved, settings for the host left out.

  Two runs whose cores have the same program give the same request, and so the
  same place in the cache.
  """
  model = dataclasses.replace(run.model, vocab=run.model.vocab or VOCAB)
  run = _plain(dataclasses.replace(run, model=model))
  return CompileRequest(run, topology, program, what, rows)


def _plain(run: config.RunConfig) -> config.RunConfig:
  default = config.RunConfig()
  for part, names in _FOR_THE_HOST.items():
    value = getattr(run, part) if part else run
    usual = getattr(default, part) if part else default
    known = {field.name for field in dataclasses.fields(value)}
    value = dataclasses.replace(
      value, **{name: getattr(usual, name) for name in names if name in known}
    )
    run = dataclasses.replace(run, **{part: value}) if part else value
  return dataclasses.replace(run, chat=default.chat)


def _checked(cls: type, values: dict[str, Any]) -> dict[str, Any]:
  known = typing.get_type_hints(cls)
  for name in values:
    if name not in known:
      raise ValueError(
        name_lists.unknown_name(f"key of a {cls.__name__}", name, known)
      )
  return values
