"""What a run is: frozen values, checked when they are built.

A run file (`launch/configs/*.py`) gives a `RunConfig` as an ml_collections
ConfigDict, so that `--config.train.steps=10` changes one number of it. The
resolved run is saved in every checkpoint; model and vocabulary of a checkpoint
always come from there.
"""

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from flan_tf import name_lists
from flan_tf.name_lists import split_names
from flan_tf.task import wordings

SEPARATORS = ("flan", "plain", "newline", "blank", "chat")
# By what an evaluation ranks options, and whose exemplars prompts have.
SCORES = ("sum", "per_token", "per_character", "unconditional")
EXEMPLARS = ("per_query", "fixed")
OVERFLOWS = ("middle", "end", "skip")
OBJECTIVES = ("instructions", "language_model")
MLPS = ("geglu", "swiglu", "gelu", "relu")
POSITIONS = ("t5", "rotary", "learned")
ROTARY_SCALINGS = ("none", "linear", "llama3")
NORMS = ("rms", "layer")
ATTENTION_BIASES = ("none", "qkv", "all")
LORA_WEIGHTS = (
  *("attention/q", "attention/k", "attention/v", "attention/o"),
  *("mlp/gate", "mlp/in", "mlp/out"),
)
PRECISIONS = ("float32", "bfloat16")
RECOMPUTED = ("nothing", "inputs", "light", "layers")
SCHEDULES = ("constant", "rsqrt", "linear", "cosine")


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """What the model reads.

  Attributes:
    tfds_data_dir: a prepared TFDS directory; empty for the rows shipped here.
    vocabulary: a SentencePiece model file, or one of byte pairs.
    objective: "instructions" (prompts and answers, loss on answers) or
      "language_model" (plain text of the same rows, loss on all of it).
    tasks: names, comma-separated; with `clusters` and `files`, what trains.
      "all", or nothing in any of the three: all that `held_out` allows.
    clusters: names, comma-separated.
    files: JSON lines with prompts and answers, comma-separated; each is a task
      of its own (`flan_tf.data.prompt_file`), named after the file. Alone they
      train alone. The resolved run has "PATH@FINGERPRINT" of each: a file that
      changed is another one.
    input_length: longest prompt, in tokens.
    target_length: longest answer, in tokens.
    length: tokens in a packed row.
    separator: "flan" puts end-of-text between prompt and answer and after it;
      "plain" puts nothing, "newline" a new line and "blank" a blank between
      them, as suits a model that only goes on with texts; "chat" puts the run's
      `chat` around both.
    overflow: what happens to a prompt that is too long: its "middle" is cut,
      since instructions and options stand at either end; its "end" is cut, as
      published; or it is left out ("skip"). All are counted.
    train_cap: rows a data set may train with (paper, section 2.4).
    mixing_cap: a data set counts in the mixture with at most so many rows.
    wording: how tasks are worded, one of `flan_tf.task.wordings.WORDINGS`.
    templates: only the first so many of each task; 0 for all.
    markers: what stands around prompts and answers: a name or a text that
      `flan_tf.task.wordings.markers` knows.
    shuffle_labels: a control: answers are drawn anew, whatever the row says.
  """

  tfds_data_dir: str = ""
  vocabulary: str = ""
  objective: str = "instructions"
  tasks: str = ""
  clusters: str = ""
  files: str = ""
  input_length: int = 1024
  target_length: int = 256
  length: int = 1280
  separator: str = "flan"
  overflow: str = "middle"
  train_cap: int = 30_000
  mixing_cap: int = 3_000
  wording: str = "instructions"
  templates: int = 0
  markers: str = "plain"
  shuffle_labels: bool = False

  def __post_init__(self):
    _one_of("data.objective", self.objective, OBJECTIVES)
    _one_of("data.separator", self.separator, SEPARATORS)
    _one_of("data.overflow", self.overflow, OVERFLOWS)
    _one_of("data.wording", self.wording, wordings.WORDINGS)
    wordings.markers(self.markers)
    if self.templates < 0:
      raise ValueError(
        f"data.templates: expected 0 or more, got {self.templates}."
      )
    for name in ("input_length", "target_length", "length"):
      _positive(f"data.{name}", getattr(self, name))
    for name in ("train_cap", "mixing_cap"):
      _positive(f"data.{name}", getattr(self, name))

  @property
  def task_names(self) -> tuple[str, ...]:
    return split_names(self.tasks)

  @property
  def cluster_names(self) -> tuple[str, ...]:
    return split_names(self.clusters)

  @property
  def file_names(self) -> tuple[str, ...]:
    return split_names(self.files)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A decoder-only language model; sizes are numbers of elements.

  Attributes:
    vocab: 0 takes the vocabulary's size, rounded up to a multiple of 128.
    pieces: rows of the vocabulary that are tokens; those beyond are padding,
      which is never predicted. 0: all rows count.
    kv_heads: heads of keys and values, each shared by heads / kv_heads query
      heads (Ainslie et al. 2023); 0 for as many as heads.
    mlp: "geglu" and "swiglu" are gated, "gelu" and "relu" are not.
    mlp_bias: whether the MLP's products have biases.
    norm: "rms" (RMSNorm) or "layer" (LayerNorm, with a bias).
    post_norms: norms behind attention and MLP too, as in Gemma 2.
    attention_bias: "none", on queries, keys and values ("qkv"), or on the
      output as well ("all").
    query_scale: queries are multiplied by it; 0 for d_kv ** -0.5.
    attention_cap: attention logits x become cap tanh(x / cap); 0 for never.
    logit_cap: the same for the output's logits.
    window: a position sees so many positions back, itself among them, in
      layers 0, window_every, 2 window_every, ...; 0 for all.
    positions: "t5" relative position biases, shared by the layers, "rotary",
      or "learned", a table of `max_positions` rows.
    rotary_scaling: how rotary frequencies are stretched for long texts: not,
      "linear" (divided by rotary_factor), or "llama3" (only the slow ones:
      those that turn fewer than rotary_low_frequency times in
      rotary_original_length; between that and rotary_high_frequency, partly).
    shared_embedding: whether the output layer is the input embedding.
    scale_embedding: multiplies input embeddings by sqrt(d_model).
  """

  layers: int = 2
  d_model: int = 128
  heads: int = 4
  d_kv: int = 32
  d_ff: int = 512
  vocab: int = 0
  pieces: int = 0
  kv_heads: int = 0
  mlp: str = "geglu"
  mlp_bias: bool = False
  norm: str = "rms"
  post_norms: bool = False
  attention_bias: str = "none"
  query_scale: float = 0.0
  attention_cap: float = 0.0
  logit_cap: float = 0.0
  window: int = 0
  window_every: int = 1
  positions: str = "t5"
  max_positions: int = 0
  relative_buckets: int = 32
  relative_max_distance: int = 128
  rotary_base: float = 10_000.0
  rotary_scaling: str = "none"
  rotary_factor: float = 1.0
  rotary_low_frequency: float = 1.0
  rotary_high_frequency: float = 4.0
  rotary_original_length: int = 8192
  norm_epsilon: float = 1e-6
  shared_embedding: bool = True
  scale_embedding: bool = True

  def __post_init__(self):
    _one_of("model.mlp", self.mlp, MLPS)
    _one_of("model.positions", self.positions, POSITIONS)
    _one_of("model.rotary_scaling", self.rotary_scaling, ROTARY_SCALINGS)
    _one_of("model.norm", self.norm, NORMS)
    _one_of("model.attention_bias", self.attention_bias, ATTENTION_BIASES)
    for name in ("layers", "d_model", "heads", "d_kv", "d_ff", "window_every"):
      _positive(f"model.{name}", getattr(self, name))
    if self.heads % (self.kv_heads or self.heads):
      raise ValueError(
        f"model.kv_heads: {self.heads} heads cannot share {self.kv_heads}"
        " evenly."
      )
    if self.positions == "learned":
      _positive("model.max_positions", self.max_positions)
    if not 2 <= self.relative_buckets < 2 * self.relative_max_distance:
      raise ValueError(
        "model.relative_buckets: expected 2 or more, and fewer than twice"
        f" model.relative_max_distance ({self.relative_max_distance}), got"
        f" {self.relative_buckets}."
      )
    if self.positions == "rotary" and self.d_kv % 2:
      raise ValueError(
        f"model.d_kv: rotary needs an even size, got {self.d_kv}."
      )


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
  """What a run trains instead of the model's weights; see model/adapters.py.

  Attributes:
    lora_rank: rank of what is added to each of `lora_weights`; 0 for nothing,
      and the whole model trains.
    lora_alpha: it is multiplied by lora_alpha / lora_rank.
    lora_weights: weights of every layer, comma-separated; those that a model
      has not (a gate, say) are left out.
    soft_prompt: learned vectors that stand before every example, in the place
      of as many tokens; 0 for none (prompt tuning, section 4.5 of the paper).
  """

  lora_rank: int = 0
  lora_alpha: float = 16.0
  lora_weights: str = (
    "attention/q,attention/k,attention/v,attention/o,mlp/gate,mlp/in,mlp/out"
  )
  soft_prompt: int = 0

  def __post_init__(self):
    for name in ("lora_rank", "soft_prompt"):
      if getattr(self, name) < 0:
        raise ValueError(
          f"adapter.{name}: expected 0 or more, got {getattr(self, name)}."
        )
    for name in split_names(self.lora_weights):
      _one_of("adapter.lora_weights", name, LORA_WEIGHTS)

  @property
  def trains(self) -> bool:
    """Whether adapters train, and the model's own weights do not."""
    return bool(self.lora_rank or self.soft_prompt)


@dataclasses.dataclass(frozen=True)
class ChatConfig:
  """What stands around a prompt and its answer in a conversation of one turn.

      before PROMPT between ANSWER after

  Special pieces are spelt out: "<|im_start|>user". The vocabulary's start
  piece is left out where texts start with it anyway.
  """

  before: str = ""
  between: str = ""
  after: str = ""

  @property
  def given(self) -> bool:
    """Whether there is a wrapper at all."""
    return bool(self.before or self.between or self.after)

  def __str__(self) -> str:
    return f"{self.before}{{prompt}}{self.between}{{answer}}{self.after}"


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Where the model runs: see `flan_tf.mesh.layout`.

  Attributes:
    tpu: with platform "tpu", a Cloud TPU's name or grpc://HOST:PORT, or "local"
      for this machine's; empty for what TPU_NAME says, else local.
  """

  shape: str = ""
  layout: str = "batch:data;length:sequence;heads:model;d_ff:model;vocab:model"
  platform: str = "auto"
  tpu: str = ""
  precision: str = "float32"

  def __post_init__(self):
    _one_of("mesh.precision", self.precision, PRECISIONS)
    if self.tpu and self.platform != "tpu":
      raise ValueError(
        f"mesh.tpu: {self.tpu!r} is named, but mesh.platform is"
        f" {self.platform!r}. Set mesh.platform to 'tpu' (--tpu sets both)."
      )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """How it trains.

  Attributes:
    batch: packed rows in a step, over all cores.
    microbatches: a step's rows are taken in so many parts, one after another.
    recompute: what the backward pass computes again, so that it need not be
      kept: "nothing"; "inputs" of the products with weights (norms, activations
      and what was gathered from other cores, weights among it); "light" (these
      and attention; Korthikanti et al. 2022, section 5); whole "layers".
    learning_rate: the paper finetunes with a constant 3e-5.
    schedule: "constant", "rsqrt" (1/sqrt(max(step, warmup))), "linear" or
      "cosine" (to zero at the last step); all but "rsqrt" rise linearly
      through `warmup` steps.
    clip_norm: gradients are scaled down to this global norm; 0 for never.
    parameter_scale: Adafactor's updates are relative to a weight's size.
    weight_decay: each step takes this times the learning rate off a matrix.
    save_every: steps between checkpoints; the last step is always saved.
    keep: how many of the newest checkpoints stay.
    log_every: steps between log lines.
    steps_per_loop: steps that run on the devices before Python looks: logs,
      saves, stops and profiles wait for the last of them.
    profile_steps: "FIRST-LAST", steps that are profiled for TensorBoard, both
      included; empty for none.
    init_from: a checkpoint (or a workdir) whose weights the run starts with.
  """

  steps: int = 1000
  batch: int = 8
  microbatches: int = 1
  recompute: str = "nothing"
  learning_rate: float = 3e-5
  schedule: str = "constant"
  warmup: int = 0
  clip_norm: float = 1.0
  parameter_scale: bool = True
  weight_decay: float = 0.0
  save_every: int = 500
  keep: int = 2
  log_every: int = 10
  steps_per_loop: int = 1
  profile_steps: str = ""
  init_from: str = ""

  def __post_init__(self):
    _one_of("train.schedule", self.schedule, SCHEDULES)
    _one_of("train.recompute", self.recompute, RECOMPUTED)
    for name in ("steps", "batch", "microbatches", "save_every", "log_every"):
      _positive(f"train.{name}", getattr(self, name))
    _positive("train.keep", self.keep)
    _positive("train.steps_per_loop", self.steps_per_loop)
    for name in ("save_every", "log_every"):
      _multiple(name, getattr(self, name), self.steps_per_loop)
    self.profiled()
    for name in ("learning_rate", "warmup", "clip_norm", "weight_decay"):
      if getattr(self, name) < 0:
        raise ValueError(
          f"train.{name}: expected 0 or more, got {getattr(self, name)}."
        )
    if self.batch % self.microbatches:
      raise ValueError(
        f"train.batch: {self.batch} rows do not split into"
        f" {self.microbatches} microbatches."
      )

  def profiled(self) -> range:
    """The steps to profile, from 1 on; none by default.

    Raises:
      ValueError: profile_steps cannot be read.
    """
    if not self.profile_steps:
      return range(0)
    first, dash, last = self.profile_steps.partition("-")
    if not (dash and first.strip().isdigit() and last.strip().isdigit()):
      raise ValueError(
        f"train.profile_steps: cannot read {self.profile_steps!r}; write"
        " FIRST-LAST, e.g. '10-15'."
      )
    steps = range(int(first), int(last) + 1)
    if not steps or not steps.start:
      raise ValueError(
        "train.profile_steps: expected FIRST-LAST with 1 <= FIRST <= LAST, got"
        f" {self.profile_steps!r}."
      )
    return steps


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """One run.

  Attributes:
    held_out: what it must not see: clusters or tasks, comma-separated.
    seed: everything random follows from it.
    chat: for `data.separator="chat"`; by default what the checkpoint says that
      the run starts from.
  """

  name: str = "run"
  held_out: str = ""
  seed: int = 0
  data: DataConfig = dataclasses.field(default_factory=DataConfig)
  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  adapter: AdapterConfig = dataclasses.field(default_factory=AdapterConfig)
  chat: ChatConfig = dataclasses.field(default_factory=ChatConfig)
  mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
  train: TrainConfig = dataclasses.field(default_factory=TrainConfig)


def replace(run: RunConfig, part: str, **changes) -> RunConfig:
  """Changes settings of one part: `replace(run, "train", steps=9)`."""
  value = dataclasses.replace(getattr(run, part), **changes)
  return dataclasses.replace(run, **{part: value})


def to_config_dict(run: RunConfig) -> ml_collections.ConfigDict:
  """A run as the ConfigDict that `--config.a.b=c` can change."""
  return ml_collections.ConfigDict(dataclasses.asdict(run))


def from_mapping(values: Mapping[str, Any]) -> RunConfig:
  """A run from nested mappings; ValueError names an unknown key.

  Raises:
    ValueError: a key that a run does not have (with what was probably meant),
      a value of the wrong type, or one that does not fit.
  """
  return _build(RunConfig, values, "")


def to_json(run: RunConfig) -> str:
  return json.dumps(dataclasses.asdict(run), indent=2)


def from_json(text: str) -> RunConfig:
  return from_mapping(json.loads(text))


def check_key(key: str) -> None:
  """Raises ValueError, with a suggestion, unless a run has that dotted key."""
  known = _keys(RunConfig)
  if key not in known:
    raise ValueError(name_lists.unknown_name("configuration key", key, known))


def _keys(cls: type, where: str = "") -> list[str]:
  keys = []
  for name, wanted in typing.get_type_hints(cls).items():
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
      keys += _keys(wanted, f"{where}{name}.")
    else:
      keys.append(where + name)
  return keys


def _build(cls: type, values: Mapping[str, Any], where: str):
  if not isinstance(values, Mapping):
    raise ValueError(f"{where[:-1]}: expected settings, got {values!r}.")
  types = typing.get_type_hints(cls)
  built = {}
  for name, value in values.items():
    if name not in types:
      raise ValueError(
        name_lists.unknown_name(
          "configuration key", where + name, [where + known for known in types]
        )
      )
    wanted = types[name]
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
      value = _build(wanted, value, f"{where}{name}.")
    elif wanted is float and isinstance(value, int):
      value = float(value)
    elif not isinstance(value, wanted):
      raise ValueError(
        f"{where}{name}: expected {wanted.__name__}, got {value!r}."
      )
    built[name] = value
  return cls(**built)


def _one_of(where: str, value: str, known: tuple[str, ...]) -> None:
  if value not in known:
    raise ValueError(
      f"{where}: " + name_lists.unknown_name("value", value, known)
    )


def _positive(where: str, value: int) -> None:
  if value < 1:
    raise ValueError(f"{where}: expected a positive number, got {value}.")


def _multiple(name: str, value: int, loop: int) -> None:
  if value % loop:
    below, above = value - value % loop, value - value % loop + loop
    fit = " or ".join(str(n) for n in (below, above) if n)
    raise ValueError(
      f"train.{name}: {value} is no multiple of train.steps_per_loop ({loop}),"
      f" and Python looks only so often. Set train.{name} to {fit}, or"
      " train.steps_per_loop to a divisor of it."
    )
