"""Model sizes: two for a laptop, and the five of the paper (section 4.2).

The paper's models are those of LaMDA-PT (Thoppilan et al. 2022, Table 27):
gated GELU, T5 relative positions, heads of 128, and d_ff = 8 d_model. A size is
the number of parameters of the layers, L (3 d d_ff + 4 d heads d_kv). The
shapes of 422m and 68b were not published; the shapes here give these numbers.
"""

from flan_tf import config


def _lamda(layers: int, d_model: int, heads: int) -> config.ModelConfig:
  return config.ModelConfig(
    layers=layers,
    d_model=d_model,
    heads=heads,
    d_kv=128,
    d_ff=8 * d_model,
  )


SIZES = {
  "tiny": config.ModelConfig(layers=2, d_model=64, heads=2, d_kv=32, d_ff=256),
  # 2.6M parameters with a vocabulary of 4,000.
  "small": config.ModelConfig(
    layers=4, d_model=192, heads=4, d_kv=48, d_ff=512
  ),
  "422m": _lamda(8, 1280, 20),
  "2b": _lamda(10, 2560, 40),
  "8b": _lamda(16, 4096, 64),
  "68b": _lamda(32, 8192, 128),
  "137b": _lamda(64, 8192, 128),
}


def layer_parameters(model: config.ModelConfig) -> int:
  """Returns the parameters of the layers, without embeddings and norms."""
  gated = 3 if model.mlp in ("geglu", "swiglu") else 2
  mlp = gated * model.d_model * model.d_ff
  return model.layers * (mlp + 4 * model.d_model * model.heads * model.d_kv)
