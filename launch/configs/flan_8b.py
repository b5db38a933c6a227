"""FLAN 8B, NLI held out: the paper's run on 32 cores of TPU v3 (v3-32).

  python -m launch.plan --config=launch/configs/flan_8b.py --topology=v3:4x4
  python -m launch.train --config=launch/configs/flan_8b.py \
      --config.train.init_from=BASE --workdir=gs://BUCKET/flan_8b

On v4:2x2x2 add --config.mesh.shape='data:2;model:8', on v5p:2x2x2
--config.mesh.shape='data:2;model:4'.

What `plan` answered, an estimate: 5.6 of 16 GiB a core; 0.34 s a step, 0.67 of
peak, 0.68 by 6 N; 0.37 s and 0.63 if nothing that is sent hides behind a
product. On v4:2x2x2: 9.8 of 16 GiB, 0.38 s, 0.53 and 0.54; 0.42 s and 0.49. On
v5p:2x2x2: 22.1 of 95 GiB, 0.25 s, 0.50 and 0.50; 0.26 s and 0.47. It
has not run on a TPU.
"""

from flan_tf import config
from launch.configs import paper


def get_config():
  return config.to_config_dict(paper.run("8b"))
