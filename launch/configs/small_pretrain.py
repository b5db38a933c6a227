"""Pretraining of a base model for a laptop, on plain text of allowed rows.

  python -m launch.train --config=launch/configs/small_pretrain.py \
      --config.data.vocabulary=runs/nli.model --workdir=runs/base

NLI is held out, and so is its related cluster paraphrase.
`--config.data.tfds_data_dir=DIR` reads a prepared TFDS directory instead of the
shipped rows.
"""

from flan_tf import config
from launch.configs import sizes


def get_config():
  return config.to_config_dict(
    config.RunConfig(
      name="small base",
      held_out=("nli",),
      data=config.DataConfig(objective="language_model", length=256),
      model=sizes.SIZES["small"],
      mesh=config.MeshConfig(precision="bfloat16"),
      train=config.TrainConfig(
        steps=600,
        batch=8,
        learning_rate=0.02,
        schedule="cosine",
        warmup=30,
        save_every=200,
      ),
    )
  )
