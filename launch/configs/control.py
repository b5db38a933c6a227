"""The positive control: tuned on sentiment itself, a small model must learn it.

  python -m launch.train --config=launch/configs/control.py \
      --config.train.init_from=runs/base --workdir=runs/control

A scrambled label, template or scorer would hide in a zero-shot score near
chance; it cannot hide here. `--config.data.shuffle_labels` must take the gain
away again. `launch.control` runs all three checks and judges them.
"""

from flan_tf import config
from launch.configs import sizes


def get_config():
  return config.to_config_dict(
    config.RunConfig(
      name="control",
      data=config.DataConfig(
        clusters=("sentiment",),
        overflow="skip",
        input_length=480,
        target_length=8,
        length=512,
      ),
      model=sizes.SIZES["small"],
      mesh=config.MeshConfig(precision="bfloat16"),
      train=config.TrainConfig(
        steps=200,
        batch=8,
        learning_rate=0.01,
        warmup=20,
        schedule="cosine",
        save_every=50,
        keep=10,
      ),
    )
  )
