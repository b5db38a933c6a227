"""Instruction tuning of SmolLM2-135M for a laptop: LoRA, NLI held out.

  python -m launch.convert --source=gguf:SmolLM2.gguf --target=native:runs/base
  python -m launch.train --config=launch/configs/smollm2_tune.py \
      --config.train.init_from=runs/base --workdir=runs/tuned

The checkpoint provides the model and its chat template, because SmolLM2 was
tuned on chats. Each microbatch is one row, so that 3 GB of memory are enough.
"""

from flan_tf import config


def get_config():
  return config.to_config_dict(
    config.RunConfig(
      name="SmolLM2 tuned",
      held_out=("nli",),
      data=config.DataConfig(
        separator="chat", input_length=384, target_length=128, length=512
      ),
      adapter=config.AdapterConfig(lora_rank=8),
      mesh=config.MeshConfig(precision="bfloat16"),
      train=config.TrainConfig(
        steps=24,
        batch=4,
        microbatches=4,
        learning_rate=1e-3,
        parameter_scale=False,
        schedule="cosine",
        warmup=3,
        log_every=1,
      ),
    )
  )
