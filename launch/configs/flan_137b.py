"""FLAN 137B, NLI held out: the paper's run on 128 cores of TPU v3 (v3-128).

  python -m launch.plan --config=launch/configs/flan_137b.py --topology=v3:8x8
  python -m launch.train --config=launch/configs/flan_137b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_137b

That is the paper's own slice. Weights are float32, and no core holds more than
its part of them.

What `plan` answered, an estimate: not yet planned. It has not run on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("137b"))
