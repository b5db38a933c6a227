"""FLAN 422M, NLI held out: the paper's run on four chips of TPU v6e (v6e-4).

  python -m launch.plan --config=launch/configs/flan_422m.py --topology=v6e:2x2
  python -m launch.train --config=launch/configs/flan_422m.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_422m

Heads, 20, do not split over eight cores: four is the most.

What `plan` answered, an estimate: 3.5 of 32 GiB a core; 0.030 s a step, 0.24 of
peak, 0.24 by 6 N; 0.033 s and 0.22 if nothing that is sent hides behind a
product. It has not run on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("422m"))
