"""Training run of the positive control: a small model must learn sentiment.

  python -m launch.train --config=launch/configs/control.py \
      --config.train.init_from=runs/base --workdir=runs/control

The model is tuned and evaluated on the same cluster. A fault in labels,
templates or scores cannot be seen in a zero-shot score near chance, but it can
be seen here. With `--config.data.shuffle_labels` the gain must disappear.
`launch.control` runs and judges all three checks.
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
