"""Configuration of training, and of the devices that a run uses."""

import dataclasses

from flan_tf.config import checks

PRECISIONS = ("float32", "bfloat16")
RECOMPUTE_POLICIES = ("nothing", "inputs", "light", "layers")
SCHEDULES = ("constant", "rsqrt", "linear", "cosine")
PLATFORMS = ("auto", "cpu", "gpu", "tpu")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Configuration of the mesh of devices.

  `flan_tf.mesh.layout` describes the texts of `shape` and `layout`.

  Attributes:
    shape: axes of the mesh and their sizes, e.g. "data:2;model:4"; empty for
      one core.
    layout: pairs of dimension and mesh axis: a dimension is split over its
      axis.
    platform: "auto", "cpu", "gpu" or "tpu".
    tpu: with platform "tpu", the name of a Cloud TPU, grpc://HOST:PORT, or
      "local" for the TPU of this machine. Empty takes the environment variable
      TPU_NAME, and "local" if that is not set.
    precision: type of activations and matrix products, one of PRECISIONS.
      Weights that train are float32 in any case.
  """

  shape: str = ""
  layout: str = "batch:data;length:sequence;heads:model;d_ff:model;vocab:model"
  platform: str = "auto"
  tpu: str = ""
  precision: str = "float32"

  def __post_init__(self):
    checks.one_of("mesh.precision", self.precision, PRECISIONS)
    checks.one_of("mesh.platform", self.platform, PLATFORMS)
    if self.tpu and self.platform != "tpu":
      raise ValueError(
        f"mesh.tpu names {self.tpu!r}, but mesh.platform is {self.platform!r}."
        " Set mesh.platform to 'tpu' (--tpu sets both)."
      )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """Configuration of training.

  Attributes:
    steps: number of the last step.
    batch: packed rows of a step, over all cores.
    microbatches: parts of a batch that run one after another, to save memory.
    recompute: the rematerialization policy: values that the backward pass
      recomputes, so that they need no memory. "nothing". "inputs": the inputs
      of matrix products with weights (norms, activations, and values gathered
      from other cores, weights among them). "light": these and attention
      (Korthikanti et al. 2022, section 5). "layers": whole layers.
    learning_rate: the paper finetunes with a constant 3e-5.
    schedule: "constant"; "rsqrt", which is 1 / sqrt(max(step, warmup));
      "linear" or "cosine", which fall to zero at the last step. All but "rsqrt"
      rise linearly during the first `warmup` steps.
    warmup: steps, see `schedule`.
    clip_norm: upper limit of the gradients' global norm; 0 for no limit.
    parameter_scale: whether Adafactor's updates are relative to the size of
      the weight.
    weight_decay: a step multiplies each matrix by 1 - weight_decay * learning
      rate.
    save_every: steps between checkpoints. The last step is always saved.
    save_minutes: also save when so many minutes have passed since the last
      checkpoint, measured on the first host; 0 for never.
    keep: number of checkpoints to keep, the newest ones.
    log_every: steps between log lines.
    steps_per_loop: steps that the devices run before control returns to
      Python. Logging, saving, stopping and profiling wait for the last of them.
    profile_steps: steps to profile for TensorBoard, as "FIRST-LAST", both
      included; empty for none.
    init_from: a checkpoint, or a workdir with checkpoints, that gives the
      initial weights; empty for random ones.
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
  save_minutes: float = 0.0
  keep: int = 2
  log_every: int = 10
  steps_per_loop: int = 1
  profile_steps: str = ""
  init_from: str = ""

  def __post_init__(self):
    checks.one_of("train.schedule", self.schedule, SCHEDULES)
    checks.one_of("train.recompute", self.recompute, RECOMPUTE_POLICIES)
    for name in ("steps", "batch", "microbatches", "save_every", "log_every"):
      checks.positive(f"train.{name}", getattr(self, name))
    checks.positive("train.keep", self.keep)
    checks.positive("train.steps_per_loop", self.steps_per_loop)
    for name in ("save_every", "log_every"):
      self._check_multiple_of_loop(name, getattr(self, name))
    self.profiled_steps()
    checks.not_negative("train.warmup", self.warmup)
    for name in ("learning_rate", "weight_decay", "save_minutes"):
      checks.at_least(f"train.{name}", getattr(self, name), 0)
    checks.at_least("train.clip_norm", self.clip_norm, 0, "0 sets no limit.")
    if self.weight_decay * self.learning_rate > 1:
      raise ValueError(
        "train.weight_decay: a step takes weight_decay * learning_rate of each"
        f" weight away, and {self.weight_decay} * {self.learning_rate} is more"
        " than all of it."
      )
    if self.batch % self.microbatches:
      raise ValueError(
        f"train.batch: {self.batch} rows do not split into"
        f" {self.microbatches} microbatches."
      )

  def profiled_steps(self) -> range:
    """Returns the numbers of the steps to profile; the first step is 1.

    Raises:
      ValueError: `profile_steps` is not FIRST-LAST.
    """
    if not self.profile_steps:
      return range(0)
    first, dash, last = self.profile_steps.partition("-")
    if not (dash and _is_step(first.strip()) and _is_step(last.strip())):
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

  def _check_multiple_of_loop(self, name: str, steps: int) -> None:
    loop = self.steps_per_loop
    if steps % loop == 0:
      return
    below = steps - steps % loop
    choices = " or ".join(str(n) for n in (below, below + loop) if n)
    raise ValueError(
      f"train.{name}: {steps} is not a multiple of train.steps_per_loop"
      f" ({loop}). The devices run {loop} steps before Python can act. Set"
      f" train.{name} to {choices}, or train.steps_per_loop to a divisor of"
      f" {steps}."
    )


def _is_step(text: str) -> bool:
  return text.isdecimal() and len(text) <= len(str(checks.LARGEST_INT32))
