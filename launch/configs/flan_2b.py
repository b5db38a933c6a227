"""FLAN 2B, NLI held out: the paper's run on 16 cores of TPU v5e (v5litepod-16).

  python -m launch.plan --config=launch/configs/flan_2b.py --topology=v5e:4x4
  python -m launch.train --config=launch/configs/flan_2b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_2b

Heads, 40, split over eight cores, rows over two groups of them.

What `plan` answered, an estimate: 3.5 of 16 GiB a core; 0.064 s a step, 0.57 of
peak, 0.58 by 6 N; 0.076 s and 0.49 if nothing that is sent hides behind a
product. It has not run on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("2b"))
