"""The paper's run in five sizes, shared by flan_422m.py to flan_137b.py.

Section 2.4 of the paper: 30,000 steps of 8,192 tokens, Adafactor with a
constant learning rate of 3e-5, packed inputs of at most 1,024 tokens and
answers of at most 256; 60 hours on 128 cores of TPU v3. The length of a packed
row was not published; here, 8,192 tokens are four rows of 2,048. Matrix
products are computed in bfloat16, and weights are kept in float32.

`--config.train.init_from` names the base model, which brings its vocabulary. A
plan needs neither.
"""

from flan_tf import config
from launch.configs import sizes

SIZES = ("422m", "2b", "8b", "68b", "137b")
# The batch is split over one axis; heads, MLP and vocabulary over the other.
# Weights, optimizer statistics and the activations that layers keep for the
# backward pass are split over both, so that no core holds a large tensor whole.
_LAYOUT = (
  "batch:data;heads:model;d_ff:model;vocab:model;stream:model;d_model:data"
)
# Size -> (TPU slice, mesh, recompute policy that makes the run fit).
SLICES = {
  "422m": ("v6e:2x2", "model:4", "nothing"),
  "2b": ("v5e:4x4", "data:2;model:8", "nothing"),
  "8b": ("v3:4x4", "data:2;model:16", "nothing"),
  "68b": ("v4:4x4x4", "data:4;model:32", "nothing"),
  "137b": ("v3:8x8", "data:4;model:32", "inputs"),
}


def run(size: str) -> config.RunConfig:
  """Returns the run of one of SIZES, on the mesh of its TPU slice."""
  _, mesh, recompute = SLICES[size]
  return config.RunConfig(
    name=f"FLAN {size}",
    held_out=("nli",),
    data=config.DataConfig(input_length=1024, target_length=256, length=2048),
    model=sizes.SIZES[size],
    mesh=config.MeshConfig(mesh, _LAYOUT, precision="bfloat16"),
    train=config.TrainConfig(
      steps=30_000,
      batch=4,
      recompute=recompute,
      learning_rate=3e-5,
      save_every=1_000,
    ),
  )
