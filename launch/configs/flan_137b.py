"""FLAN 137B, NLI held out: the paper's run on 128 cores of TPU v3 (v3-128).

  python -m launch.plan --config=launch/configs/flan_137b.py --topology=v3:8x8
  python -m launch.train --config=launch/configs/flan_137b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_137b

This is the slice that the paper used. Weights are float32, and each core holds
only its shard of them.

Estimates of `launch.plan`: 9.6 of 16 GiB per core; 1.19 s per step, HFU 0.74
(with recomputed work), MFU 0.74 (by 6 N); 1.44 s and 0.62 if no communication
overlaps with computation. 30,000 steps would take 10 to 12 hours. Scoring 16
prompts of 1,280 tokens takes 2.7 GiB and 0.98 s. Generating one more token for
each of them takes 3.4 GiB and 0.04 s, or 0.02 s if no weights have to be
gathered (--mesh=model:128 of launch.evaluate). The run has not been executed on
a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("137b"))
