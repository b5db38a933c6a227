"""FLAN 137B, NLI held out: the paper's run on 128 cores of TPU v3 (v3-128).

  python -m launch.plan --config=launch/configs/flan_137b.py --topology=v3:8x8
  python -m launch.train --config=launch/configs/flan_137b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_137b

That is the paper's own slice. Weights are float32, and no core holds more than
its part of them.

What `plan` answered, an estimate: 9.6 of 16 GiB a core; 1.19 s a step, 0.74 of
peak with what is computed again, 0.74 by 6 N; 1.44 s and 0.62 if nothing that
is sent hides behind a product. That makes 10 to 12 hours for 30,000 steps.
Scoring 16 prompts of 1,280 tokens takes 2.7 GiB and 0.98 s, a token more for
each of them 3.4 GiB and 0.04 s; 0.02 s where no weights have to be gathered
(--mesh=model:128 of launch.evaluate). It has not run on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("137b"))
