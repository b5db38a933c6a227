"""The paper's ablations: what is trained on, how large, in which words.

  python -m launch.train --config=launch/configs/ablation.py:clusters=3 \
      --workdir=runs/clusters-3 --config.train.init_from=runs/base

Behind the colon stand settings, comma-separated:

  clusters=1..7      so many clusters train; three are held out (Figure 6)
  datasets=1..4      so many data sets of each cluster, the same held out
  superglue=0..55    so many tasks train (0: all), SuperGLUE is held out
  intra=0..9         one data set of each cluster is held out
  held_out=NAME      a cluster, or several joined by "+" (the default: nli)
  size=NAME          a model of launch/configs/sizes.py (default: small)
  wording=NAME       no_template, dataset_name, ... of flan_tf/task/wordings.py
  templates=1..10    so many templates of each task

so `:clusters=3,size=8b,templates=4` is one run, and a study is a list of them.
The paper evaluates all wordings with instructions: `launch.evaluate` does so
unless `--wording` says otherwise. `launch.inspect_tasks --mixture
--config=...` shows what such a run trains on.
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
  """The run that the settings describe.

  Raises:
    ValueError: a setting that does not exist, or two that exclude each other.
  """
  chosen = dict(_parse(setting) for setting in name_lists.split_names(settings))
  subsets = [name for name in chosen if name in _SUBSETS]
  if len(subsets) + ("held_out" in chosen) > 1:
    raise ValueError(
      f"{settings!r}: of {', '.join(_SUBSETS)} and held_out only one can say"
      " what is held out."
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
