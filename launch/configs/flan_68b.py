"""FLAN 68B, NLI held out: the paper's run on 128 cores of TPU v4 (v4-128).

  python -m launch.plan --config=launch/configs/flan_68b.py --topology=v4:4x4x4
  python -m launch.train --config=launch/configs/flan_68b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_68b

Weights are float32, and each core holds only its shard of them.

Estimates of `launch.plan`: 10.8 of 16 GiB per core; 0.36 s per step, HFU 0.55,
MFU 0.55 (by 6 N); 0.46 s and 0.43 if no communication overlaps with
computation. The run has not been executed on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("68b"))
