"""Instruction tuning for a laptop, NLI held out.

  python -m launch.train --config=launch/configs/small_tune.py \
      --config.train.init_from=runs/base --workdir=runs/tuned

The paper tunes with a constant learning rate of 3e-5 for 30,000 steps. A small
model that is tuned for some hundred steps needs a larger learning rate.
"""

from flan_tf import config
from launch.configs import sizes


def get_config():
  return config.to_config_dict(
    config.RunConfig(
      name="small tuned",
      held_out=("nli",),
      data=config.DataConfig(input_length=384, target_length=128, length=512),
      model=sizes.SIZES["small"],
      mesh=config.MeshConfig(precision="bfloat16"),
      train=config.TrainConfig(
        steps=600,
        batch=8,
        learning_rate=5e-3,
        schedule="cosine",
        warmup=30,
        save_every=200,
      ),
    )
  )
