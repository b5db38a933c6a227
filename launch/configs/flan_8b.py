"""FLAN 8B, NLI held out: the paper's run on 32 cores of TPU v3 (v3-32).

  python -m launch.plan --config=launch/configs/flan_8b.py --topology=v3:4x4
  python -m launch.train --config=launch/configs/flan_8b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_8b

On v4:2x2x2 add --config.mesh.shape='data:2;model:8', on v5p:2x2x2
--config.mesh.shape='model:8'.

What `plan` answered, an estimate: not yet planned. It has not run on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("8b"))
