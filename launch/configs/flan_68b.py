"""FLAN 68B, NLI held out: the paper's run on 128 cores of TPU v4 (v4-128).

  python -m launch.plan --config=launch/configs/flan_68b.py --topology=v4:4x4x4
  python -m launch.train --config=launch/configs/flan_68b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_68b

Weights are float32, and no core holds more than its part of them.

What `plan` answered, an estimate: 10.8 of 16 GiB a core; 0.36 s a step, 0.55 of
peak, 0.55 by 6 N; 0.46 s and 0.43 if nothing that is sent hides behind a
product. It has not run on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("68b"))
