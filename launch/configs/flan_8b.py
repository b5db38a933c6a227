"""FLAN 8B, NLI held out: the paper's run on 32 cores of TPU v3 (v3-32).

  python -m launch.plan --config=launch/configs/flan_8b.py --topology=v3:4x4
  python -m launch.train --config=launch/configs/flan_8b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_8b

On v4:2x2x2 add --config.mesh.shape='data:2;model:8', on v5p:2x2x2
--config.mesh.shape='data:2;model:4'.

Estimates of `launch.plan`: 4.9 of 16 GiB per core; 0.32 s per step, HFU 0.70,
MFU 0.72 (by 6 N); 0.36 s and 0.65 if no communication overlaps with
computation. On v4:2x2x2: 8.7 of 16 GiB; 0.36 s, HFU 0.56, MFU 0.57; 0.40 s and
0.51 without overlap. On v5p:2x2x2: 19.9 of 95 GiB; 0.23 s, HFU 0.53, MFU 0.53;
0.25 s and 0.50 without overlap. The run has not been executed on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("8b"))
