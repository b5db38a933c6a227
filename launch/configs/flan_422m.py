"""FLAN 422M, NLI held out: the paper's run on four chips of TPU v6e (v6e-4).

  python -m launch.plan --config=launch/configs/flan_422m.py --topology=v6e:2x2
  python -m launch.train --config=launch/configs/flan_422m.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_422m

The 20 heads cannot be split over eight cores, only over four.

Estimates of `launch.plan`: 3.5 of 32 GiB per core; 0.030 s per step, HFU 0.24,
MFU 0.24 (by 6 N); 0.033 s and 0.22 if no communication overlaps with
computation. The run has not been executed on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("422m"))
