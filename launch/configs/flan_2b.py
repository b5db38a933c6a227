"""FLAN 2B, NLI held out: the paper's run on 16 cores of TPU v5e (v5litepod-16).

  python -m launch.plan --config=launch/configs/flan_2b.py --topology=v5e:4x4
  python -m launch.train --config=launch/configs/flan_2b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_2b

The 40 heads are split over eight cores, and the batch over two groups of eight.

Estimates of `launch.plan`: 3.5 of 16 GiB per core; 0.064 s per step, HFU 0.57,
MFU 0.58 (by 6 N); 0.076 s and 0.49 if no communication overlaps with
computation. The run has not been executed on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("2b"))
