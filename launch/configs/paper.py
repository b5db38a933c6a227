"""The paper's run, in five sizes: what flan_422m.py to flan_137b.py share.

Section 2.4 of the paper: 30,000 steps of 8,192 tokens, Adafactor with a
constant learning rate of 3e-5, inputs of at most 1,024 tokens and answers of at
most 256, packed; 60 hours on 128 cores of TPU v3. How long a packed row is was
not published: 8,192 tokens are four rows of 2,048 here. Products are made in
bfloat16, weights are kept in float32.

A base model comes from `--config.train.init_from`, a vocabulary with it; a
plan needs neither.
"""

from flan_tf import config
from launch.configs import sizes

SIZES = ("422m", "2b", "8b", "68b", "137b")
# Rows over one axis, heads, MLP and vocabulary over the other. Weights and
# statistics are split over both, and so is what layers keep for the backward
# pass: of nothing that is large does a core hold more than its part.
_LAYOUT = (
  "batch:data;heads:model;d_ff:model;vocab:model;stream:model;d_model:data"
)
# The slice that each run file is for, the mesh that it names, and what the
# backward pass has to compute again to fit.
SLICES = {
  "422m": ("v6e:2x2", "model:4", "nothing"),
  "2b": ("v5e:4x4", "data:2;model:8", "nothing"),
  "8b": ("v3:4x4", "data:2;model:16", "nothing"),
  "68b": ("v4:4x4x4", "data:4;model:32", "nothing"),
  "137b": ("v3:8x8", "data:4;model:32", "inputs"),
}


def run(size: str) -> config.RunConfig:
  """The run of one of SIZES, on its slice's mesh."""
  _, mesh, again = SLICES[size]
  return config.RunConfig(
    name=f"FLAN {size}",
    held_out=("nli",),
    data=config.DataConfig(input_length=1024, target_length=256, length=2048),
    model=sizes.SIZES[size],
    mesh=config.MeshConfig(mesh, _LAYOUT, precision="bfloat16"),
    train=config.TrainConfig(
      steps=30_000,
      batch=4,
      recompute=again,
      learning_rate=3e-5,
      save_every=1_000,
    ),
  )
