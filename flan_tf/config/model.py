"""Configuration of the language model and of the adapters on it."""

import dataclasses

from flan_tf.config import checks

MLPS = ("geglu", "swiglu", "gelu", "relu")
POSITIONS = ("t5", "rotary", "learned")
ROTARY_SCALINGS = ("none", "linear", "llama3")
NORMS = ("rms", "layer")
ATTENTION_BIASES = ("none", "qkv", "all")
# Limits far above every published model, so that a mistyped number is refused
# before it takes all memory.
MOST_LAYERS = 10_000
MOST_ROWS = 1 << 24
_LARGEST_SIZE = 1 << 24
_NO_SUCH_MODEL = "no published model comes near it"
LORA_WEIGHTS = (
  "attention/q",
  "attention/k",
  "attention/v",
  "attention/o",
  "mlp/gate",
  "mlp/in",
  "mlp/out",
)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Configuration of a decoder-only language model.

  Attributes:
    layers: number of layers.
    d_model: size of the residual stream.
    heads: number of query heads.
    d_kv: size of one head.
    d_ff: size of the MLP's hidden layer.
    vocab: rows of the embedding. 0 takes the size of the vocabulary, rounded
      up to a multiple of 128.
    pieces: rows of the embedding that are tokens. The rows after them are
      padding and are never predicted. 0: all rows are tokens.
    kv_heads: number of key and value heads. Each serves heads / kv_heads query
      heads (Ainslie et al. 2023). 0 for as many as `heads`.
    mlp: "geglu" and "swiglu" have a gate, "gelu" and "relu" have none.
    mlp_bias: whether the matrix products of the MLP have biases.
    norm: "rms" (RMSNorm) or "layer" (LayerNorm with a bias).
    post_norms: whether attention and MLP are followed by a norm, too, as in
      Gemma 2.
    attention_bias: biases on no attention product ("none"), on queries, keys
      and values ("qkv"), or on these and the output ("all").
    query_scale: factor on queries; 0 for d_kv ** -0.5.
    attention_cap: attention logits x become cap * tanh(x / cap); 0 for no cap.
    logit_cap: the same cap on the output logits; 0 for no cap.
    window: number of positions that a position attends to, itself included, in
      the layers 0, window_every, 2 * window_every, ...; 0 for no limit.
    window_every: see `window`.
    positions: "t5" (relative position biases, shared by all layers), "rotary",
      or "learned" (an embedding of `max_positions` rows).
    max_positions: number of learned positions.
    relative_buckets: number of T5 position biases of a head.
    relative_max_distance: distance from which T5 biases are all the same.
    rotary_base: base of the rotary frequencies.
    rotary_scaling: how rotary frequencies are changed for long texts. "none":
      not at all. "linear": divided by rotary_factor. "llama3": divided by
      rotary_factor where they turn fewer than rotary_low_frequency times in
      rotary_original_length positions, unchanged where they turn more than
      rotary_high_frequency times, and interpolated between the two.
    rotary_factor: see `rotary_scaling`.
    rotary_low_frequency: see `rotary_scaling`.
    rotary_high_frequency: see `rotary_scaling`.
    rotary_original_length: see `rotary_scaling`.
    norm_epsilon: the constant that norms add to the variance.
    shared_embedding: whether the output layer is the input embedding.
    scale_embedding: whether input embeddings are multiplied by sqrt(d_model).
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
    checks.one_of("model.mlp", self.mlp, MLPS)
    checks.one_of("model.positions", self.positions, POSITIONS)
    checks.one_of("model.rotary_scaling", self.rotary_scaling, ROTARY_SCALINGS)
    checks.one_of("model.norm", self.norm, NORMS)
    checks.one_of("model.attention_bias", self.attention_bias, ATTENTION_BIASES)
    self._check_sizes()
    self._check_numbers()
    if self.heads % (self.kv_heads or self.heads):
      raise ValueError(
        f"model.kv_heads: {self.heads} query heads (model.heads) do not divide"
        f" evenly among {self.kv_heads} key and value heads."
      )
    if not 2 <= self.relative_buckets < 2 * self.relative_max_distance:
      raise ValueError(
        "model.relative_buckets: expected 2 or more, and fewer than twice"
        f" model.relative_max_distance ({self.relative_max_distance}), got"
        f" {self.relative_buckets}."
      )
    if self.positions == "rotary" and self.d_kv % 2:
      raise ValueError(
        "model.d_kv: rotary positions need heads of an even size, got"
        f" {self.d_kv}."
      )

  def _check_sizes(self) -> None:
    """Checks the whole numbers."""
    for name, most in (
      ("layers", MOST_LAYERS),
      ("d_model", _LARGEST_SIZE),
      ("heads", _LARGEST_SIZE),
      ("d_kv", _LARGEST_SIZE),
      ("d_ff", _LARGEST_SIZE),
    ):
      checks.positive(
        f"model.{name}", getattr(self, name), most, _NO_SUCH_MODEL
      )
    for name in ("vocab", "pieces", "max_positions"):
      checks.not_negative(
        f"model.{name}", getattr(self, name), MOST_ROWS, _NO_SUCH_MODEL
      )
    for name in ("kv_heads", "window"):
      checks.not_negative(f"model.{name}", getattr(self, name))
    for name in (
      "window_every",
      "relative_max_distance",
      "rotary_original_length",
    ):
      checks.positive(f"model.{name}", getattr(self, name))
    if self.positions == "learned":
      checks.positive("model.max_positions", self.max_positions)
    checks.at_most(
      "model.relative_buckets",
      self.relative_buckets,
      _LARGEST_SIZE,
      _NO_SUCH_MODEL,
    )
    if self.vocab and self.pieces > self.vocab:
      raise ValueError(
        f"model.pieces: expected at most as many as model.vocab has rows"
        f" ({self.vocab}), got {self.pieces}. 0 makes all rows tokens."
      )

  def _check_numbers(self) -> None:
    """Checks the real numbers."""
    for name in ("query_scale", "attention_cap", "logit_cap"):
      if getattr(self, name) != 0:
        checks.above_zero(f"model.{name}", getattr(self, name))
    for name in (
      "norm_epsilon",
      "rotary_base",
      "rotary_factor",
      "rotary_low_frequency",
      "rotary_high_frequency",
    ):
      checks.above_zero(f"model.{name}", getattr(self, name))
    low, high = self.rotary_low_frequency, self.rotary_high_frequency
    if self.rotary_scaling == "llama3" and low >= high:
      raise ValueError(
        "model.rotary_high_frequency: expected more than"
        f" model.rotary_low_frequency ({low}), got {high}."
      )


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
  """Configuration of adapters, which train in place of the model's weights.

  `flan_tf.model.adapters` describes both kinds.

  Attributes:
    lora_rank: rank of the product that LoRA adds to each weight; 0 for no LoRA.
    lora_alpha: the product is multiplied by lora_alpha / lora_rank.
    lora_weights: the weights of each layer that LoRA adapts, of LORA_WEIGHTS;
      may be one string with commas. Weights that the model does not have, such
      as the gate of an MLP without one, are left out.
    soft_prompt: number of learned vectors before every example. They take the
      place of as many tokens (prompt tuning, section 4.5 of the paper). 0 for
      none.
  """

  lora_rank: int = 0
  lora_alpha: float = 16.0
  lora_weights: tuple[str, ...] = LORA_WEIGHTS
  soft_prompt: int = 0

  def __post_init__(self):
    names = checks.names("adapter.lora_weights", self.lora_weights)
    object.__setattr__(self, "lora_weights", names)
    checks.not_negative(
      "adapter.lora_rank",
      self.lora_rank,
      _LARGEST_SIZE,
      "a rank is smaller than model.d_model",
    )
    checks.above_zero("adapter.lora_alpha", self.lora_alpha)
    checks.not_negative(
      "adapter.soft_prompt",
      self.soft_prompt,
      checks.LONGEST_ROW,
      checks.ROW_IN_MEMORY,
    )
    for name in self.lora_weights:
      checks.one_of("adapter.lora_weights", name, LORA_WEIGHTS)

  @property
  def trains(self) -> bool:
    """True if adapters train; the model's own weights are then frozen."""
    return bool(self.lora_rank or self.soft_prompt)
