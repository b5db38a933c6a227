"""Training run of the positive control for SmolLM2-135M, an instruct model.

  python -m launch.control --config=launch/configs/smollm2_control.py \
      --base=runs/base --workdir=runs/control --tfds_data_dir=DIR --tasks=sst2
"""

from flan_tf import config


def get_config():
  return config.to_config_dict(
    config.RunConfig(
      name="SmolLM2 control",
      data=config.DataConfig(
        clusters=("sentiment",),
        separator="chat",
        overflow="skip",
        input_length=240,
        target_length=16,
        length=256,
      ),
      adapter=config.AdapterConfig(lora_rank=8),
      mesh=config.MeshConfig(precision="bfloat16"),
      train=config.TrainConfig(
        steps=40,
        batch=8,
        microbatches=2,
        learning_rate=2e-3,
        parameter_scale=False,
        schedule="cosine",
        warmup=4,
        log_every=5,
      ),
    )
  )
