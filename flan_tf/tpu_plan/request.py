"""Requests to the TPU compiler's process and its reports: plain values as JSON.

  planner  -- CompileRequest, one JSON line on stdin -->  compiler/worker.py
           <-- CompileReport, one JSON line on stdout --

The compiler's packages conflict with those of the planner (tensorflow-tpu
replaces tensorflow), so each half runs in an environment of its own, and only
these two values pass between them. Cache files hold the same two values.

Nothing here imports TensorFlow: a report from the cache appears at once.
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
MODES = ("compile", "execute")
COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
# Vocabulary size of the paper, for runs whose vocabulary is not known yet.
DEFAULT_VOCAB = 32_000

_WORKER = "flan_tf.tpu_plan.compiler.worker"
# Settings, by section of a run, that only the host's Python code reads. They
# change no program of a core.
_HOST_SETTINGS = {
  "": ("name", "held_out", "seed"),
  "data": (
    "tfds_data_dir",
    "vocabulary",
    "objective",
    "tasks",
    "clusters",
    "files",
    "separator",
    "overflow",
    "train_cap",
    "mixing_cap",
    "wording",
    "templates",
    "markers",
    "shuffle_labels",
  ),
  "mesh": ("platform", "tpu"),
  "train": (
    "steps",
    "learning_rate",
    "schedule",
    "warmup",
    "save_every",
    "keep",
    "log_every",
    "init_from",
    "profile_steps",
    "steps_per_loop",
  ),
}


@dataclasses.dataclass(frozen=True)
class CompileRequest:
  """One program of one run on one TPU slice. `make_request` builds it.

  Attributes:
    run: the run, with the mesh and layout to compile for. `model.vocab` is not
      0. Settings that change no program of a core have their defaults.
    topology: the slice, e.g. "v3:8x8".
    program: one of PROGRAMS.
    mode: "compile" compiles for the slice; "execute" runs on virtual cores.
    rows: batch size of the score and decode programs.
  """

  run: config.RunConfig
  topology: str
  program: str = "train"
  mode: str = "compile"
  rows: int = 16

  def __post_init__(self):
    for field, value, known in (
      ("program", self.program, PROGRAMS),
      ("mode", self.mode, MODES),
    ):
      if value not in known:
        raise ValueError(name_lists.unknown_name(field, value, known))
    if self.rows < 1:
      raise ValueError(f"rows: expected a positive number, got {self.rows}.")
    if not self.run.model.vocab:
      raise ValueError(
        "model.vocab is 0, but a plan needs the size of the vocabulary. Set"
        " model.vocab, or build the request with `make_request`, which sets it"
        f" to {DEFAULT_VOCAB}."
      )

  @property
  def length(self) -> int:
    """Tokens per row: of a packed row, or of a prompt with its answer."""
    data = self.run.data
    if self.program == "train":
      return data.length
    return data.input_length + data.target_length

  @property
  def tokens(self) -> int:
    """Tokens in a training step, a scoring call, or a decode step."""
    if self.program == "train":
      return self.run.train.batch * self.length
    return self.rows * (self.length if self.program == "score" else 1)

  def to_json(self) -> str:
    values = dataclasses.asdict(self)
    values["run"] = config.to_dict(self.run)
    values["what"] = values.pop("mode")  # The key in cache files.
    return json.dumps(values)

  @staticmethod
  def from_json(text: str) -> "CompileRequest":
    """Reads what `to_json` wrote.

    Raises:
      ValueError: a key is unknown, or a value is not allowed.
    """
    values = json.loads(text)
    if "what" in values:
      values["mode"] = values.pop("what")
    run = config.from_mapping(values.pop("run", {}))
    return CompileRequest(run=run, **_with_known_keys(CompileRequest, values))

  @functools.cached_property
  def fingerprint(self) -> str:
    """A digest of the request and of the source that its report depends on."""
    digest = hashlib.sha256(self.to_json().encode())
    digest.update(source_digest.module_digest(_WORKER))
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class CompileReport:
  """Results for one program; bytes, FLOPs and seconds are those of one core.

  One "run" of a program is a training step with all its microbatches, a scoring
  call, or a decode step that appends one token to each row.

  Attributes:
    program: one of PROGRAMS.
    parameters: parameters of the model without adapters.
    cores: cores of the slice.
    fits: True if the compiler accepts the program.
    refused: the compiler's message if it does not, else "".
    hbm: HBM bytes by kind: arguments, outputs, aliased (outputs that reuse the
      memory of arguments), temporaries, code.
    hbm_bytes_per_core: arguments + outputs - aliased + temporaries + code.
    hbm_limit_bytes: HBM bytes that a program may use.
    flops_per_core: executed FLOPs in one run, rematerialization included.
    bytes_accessed_per_core: bytes read from and written to HBM in one run.
    collective_bytes_per_core: wire bytes in one run, by kind (COLLECTIVES).
    estimated_step_seconds: the compiler's estimate for one run. Collectives
      take no time in it.
    collective_seconds: time of the collectives in one run; 0.0 if it is to be
      derived from their wire bytes.
    seconds: wall time of each phase of the compilation: trace, lower, compile.
    differences: in mode "execute", the largest difference between virtual cores
      and one device for each compared result.
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
    """Reads what `to_json` wrote.

    Raises:
      ValueError: a key is unknown.
    """
    return CompileReport(**_with_known_keys(CompileReport, json.loads(text)))


def make_request(
  run: config.RunConfig,
  topology: str,
  program: str = "train",
  mode: str = "compile",
  rows: int = 16,
) -> CompileRequest:
  """Returns the request for a program of a run; see CompileRequest.

  A `model.vocab` of 0 becomes DEFAULT_VOCAB. Settings that change no program of
  a core get their defaults, so that runs with equal programs make equal
  requests and share a cache file.
  """
  model = dataclasses.replace(run.model, vocab=run.model.vocab or DEFAULT_VOCAB)
  run = _without_host_settings(dataclasses.replace(run, model=model))
  return CompileRequest(run, topology, program, mode, rows)


def _without_host_settings(run: config.RunConfig) -> config.RunConfig:
  """Returns the run with defaults for _HOST_SETTINGS and chat templates."""
  default_run = config.RunConfig()
  for section, names in _HOST_SETTINGS.items():
    value = getattr(run, section) if section else run
    default = getattr(default_run, section) if section else default_run
    value = dataclasses.replace(
      value, **{name: getattr(default, name) for name in names}
    )
    run = dataclasses.replace(run, **{section: value}) if section else value
  return dataclasses.replace(run, chat=default_run.chat)


def _with_known_keys(cls: type, values: dict[str, Any]) -> dict[str, Any]:
  """Returns the values; raises ValueError if `cls` lacks one of the keys."""
  known = typing.get_type_hints(cls)
  for name in values:
    if name not in known:
      raise ValueError(
        name_lists.unknown_name(f"key of a {cls.__name__}", name, known)
      )
  return values
