"""Runs of the paper's ablations: training tasks, model size and wording.

  python -m launch.train --config=launch/configs/ablation.py:clusters=3 \
      --workdir=runs/clusters-3 --config.train.init_from=runs/base

Settings follow the colon, separated by commas:

  clusters=1..7      number of training clusters; three others are held out
                     (Figure 6)
  datasets=1..4      number of data sets of each cluster; the same held out
  superglue=0..55    number of training tasks (0: all); SuperGLUE is held out
  intra=0..9         one data set of each cluster is held out
  held_out=NAME      a cluster, or several joined by "+" (default: nli)
  size=NAME          a model of launch/configs/sizes.py (default: small)
  wording=NAME       no_template, dataset_name, ...; flan_tf/task/wordings.py
  templates=1..10    number of templates of each task

`:clusters=3,size=8b,templates=4` is one run, and a study is a list of such
runs. The paper evaluates all wordings with instructions, which is the default
of `launch.evaluate`. `launch.inspect_tasks --mixture --config=...` shows the
training mixture of such a run.
"""

import dataclasses

from flan_tf import config, name_lists
from flan_tf.task import ablations
from flan_tf.task.registry import TaskRegistry
from flan_tf.task.table import shipped_tasks
from launch.configs import sizes, small_tune

_SUBSETS = {
  "clusters": ablations.cluster_count,
  "datasets": ablations.datasets_per_cluster,
  "superglue": ablations.superglue,
  "intra": ablations.intra_cluster,
}
_KNOWN = (*_SUBSETS, "held_out", "size", "wording", "templates")


def get_config(settings: str = ""):
  return config.to_config_dict(run(settings))


def run(settings: str) -> config.RunConfig:
  """Returns the run with comma-separated settings; see above.

  Raises:
    ValueError: an unknown setting, a wrong value, or two settings that exclude
      each other.
  """
  chosen = dict(_parse(setting) for setting in name_lists.split_names(settings))
  subsets = [name for name in chosen if name in _SUBSETS]
  if len(subsets) + ("held_out" in chosen) > 1:
    raise ValueError(
      f"{settings!r}: give only one of {', '.join(_SUBSETS)} and held_out, as"
      " each of them sets what is held out."
    )
  base = config.from_mapping(small_tune.get_config().to_dict())
  held_out, names = base.held_out, ()
  if "held_out" in chosen:
    held_out = tuple(chosen["held_out"].split("+"))
  for name in subsets:
    known = TaskRegistry(shipped_tasks())
    subset = _SUBSETS[name](known, _number(name, chosen[name]))
    held_out, names = subset.held_out, subset.tasks
  size = chosen.get("size", "small")
  if size not in sizes.SIZES:
    raise ValueError(name_lists.unknown_name("size", size, sizes.SIZES))
  return dataclasses.replace(
    base,
    name=f"ablation {settings}".strip(),
    held_out=held_out,
    model=sizes.SIZES[size],
    data=dataclasses.replace(
      base.data,
      tasks=names,
      wording=chosen.get("wording", base.data.wording),
      templates=_number("templates", chosen.get("templates", "0")),
    ),
  )


def _parse(setting: str) -> tuple[str, str]:
  name, _, value = setting.partition("=")
  if name not in _KNOWN:
    raise ValueError(name_lists.unknown_name("setting", name, _KNOWN))
  return name, value


def _number(name: str, value: str) -> int:
  if not value.isdecimal():
    raise ValueError(f"{name}: expected a number, got {value!r}.")
  return int(value)
