"""Shows tasks, prompts and mixtures, and which data sets can be read.

  python -m launch.inspect_tasks --list
  python -m launch.inspect_tasks --show=rte --template=3 --shots=2
  python -m launch.inspect_tasks --check --tfds_data_dir=DIR
  python -m launch.inspect_tasks --mixture --held_out=nli [--published_counts]

Each call does one of these; `--json` prints the result for programs. Without
`--tfds_data_dir`, rows are those shipped with flan_tf. `--mixture` can take a
run from `--config`, e.g. launch/configs/ablation.py:clusters=3.
`--task_file=my_tasks.py` adds tasks of your own.
"""

import json
from collections.abc import Sequence
from typing import Any

from absl import flags

import flan_tf as flan
from flan_tf import config, name_lists
from flan_tf.api import cache
from flan_tf.api.training_tasks import select_training_tasks
from flan_tf.task import catalog, schema, wordings
from flan_tf.terminal_text import visible
from launch import cli

# A result for --json, and the text that is printed without it.
Output = tuple[dict[str, Any], str]

_CONFIG = cli.define_config()
_LIST = flags.DEFINE_bool(
  "list", False, "List all data sets, clusters and tasks."
)
_SHOW = flags.DEFINE_string(
  "show", "", "Name of a task: shows one of its prompts."
)
_CHECK = flags.DEFINE_bool(
  "check", False, "Show which data sets can be read, and what is missing."
)
_MIXTURE = flags.DEFINE_bool(
  "mixture", False, "Show the mixing rates of the training tasks."
)
_JSON = flags.DEFINE_bool("json", False, "Print JSON.")
_DATA_DIR = cli.define_data_dir()
_TASK_FILE = cli.define_task_file()
_HELD_OUT = flags.DEFINE_string(
  "held_out", "", "--mixture: clusters or tasks to hold out, comma-separated."
)
_PUBLISHED = flags.DEFINE_bool(
  "published_counts",
  False,
  "--mixture: use the sizes of the published data sets, not those of the"
  " directory.",
)
_TEMPLATE = flags.DEFINE_integer(
  "template", 0, "--show: index of the template.", 0
)
_SHOTS = flags.DEFINE_integer(
  "shots", 0, "--show: exemplars before the prompt.", 0
)
_ROW = flags.DEFINE_integer(
  "row", 0, "--show: position of the row in its part, from 0.", 0
)
_PART = flags.DEFINE_enum(
  "part", "test", ["test", "dev", "train"], "--show: part that has the row."
)
_WORDING = flags.DEFINE_enum(
  "wording",
  wordings.INSTRUCTIONS,
  wordings.WORDINGS,
  "--show: wording of the prompt; see flan_tf/task/wordings.py.",
)
_MARKERS = flags.DEFINE_string(
  "markers",
  "plain",
  "--show: texts around prompts and answers:"
  f" {', '.join(wordings.MARKERS)}, or 'prompt|answer|example|cue'.",
)
_VOCABULARY = flags.DEFINE_string(
  "vocabulary",
  "",
  "--show: path of a vocabulary; by default a small one, trained on the shipped"
  " rows.",
)
_SEED = flags.DEFINE_integer(
  "seed", 0, "--show: seed of the draw of exemplars."
)


def main() -> None:
  cli.register_task_files(_TASK_FILE.value)
  actions = {
    _list: _LIST.value,
    _show: bool(_SHOW.value),
    _check: _CHECK.value,
    _mixture: _MIXTURE.value,
  }
  chosen = [action for action, is_chosen in actions.items() if is_chosen]
  if len(chosen) != 1:
    raise ValueError(
      f"Expected one of --list, --show=TASK, --check and --mixture, got"
      f" {len(chosen)} of them."
    )
  result, text = chosen[0]()
  if _JSON.value:
    text = json.dumps(result, indent=2, ensure_ascii=False)
  print(visible(text))


def _list() -> Output:
  listing = catalog.listing(flan.tasks.registry())
  return listing, catalog.listing_text(listing)


def _mixture() -> Output:
  run, tasks = select_training_tasks(_run())
  left_out: dict[str, str] = {}
  if _PUBLISHED.value:
    sizes = {task.name: task.published_rows for task in tasks}
    files = (task.name for task in tasks if task.source.file)
    left_out = dict.fromkeys(files, "a file has no published size")
  else:
    sizes, left_out = _training_sizes(tasks, run.data.train_cap)
  mixture = {
    "held_out": name_lists.join_names(run.held_out),
    **catalog.mixture(tasks, sizes, run.data.mixing_cap),
    "left_out": left_out,
  }
  lines = [catalog.mixture_text(mixture)]
  lines += [
    f"left out: {name} ({reason.splitlines()[0]})"
    for name, reason in left_out.items()
  ]
  return mixture, "\n".join(lines)


def _run() -> config.RunConfig:
  if _CONFIG.value is None:
    return config.RunConfig(held_out=name_lists.split_names(_HELD_OUT.value))
  if _HELD_OUT.value:
    raise ValueError(
      "Give --held_out or --config, not both: the run of --config says what is"
      " held out."
    )
  return cli.resolve(_CONFIG.value)


def _training_sizes(
  tasks: Sequence[schema.Task], train_cap: int
) -> tuple[dict[str, int], dict[str, str]]:
  """Returns the tasks' training rows in the directory.

  Returns:
    (task -> number of rows, task without rows -> reason).
  """
  data_dir = _data_dir()
  from flan_tf.data import opened_tasks

  opened, left_out = opened_tasks.open_tasks(tasks, data_dir, train_cap)
  sizes = {item.task.name: len(item.ranges.train) for item in opened}
  left_out |= {
    item.task.name: "; ".join(item.notes) or "no training rows"
    for item in opened
    if not len(item.ranges.train)
  }
  return sizes, left_out


def _check() -> Output:
  data_dir = _data_dir()
  from flan_tf.data import availability

  found = availability.check_tasks(flan.tasks.registry(), data_dir)
  return found, availability.format_availability(found)


def _show() -> Output:
  task = flan.tasks[_SHOW.value]
  data_dir = _data_dir()
  from flan_tf.data import preview

  result = task.preview(
    template=_TEMPLATE.value,
    row=_ROW.value,
    part=_PART.value,
    shots=_SHOTS.value,
    data_dir=data_dir,
    wording=_WORDING.value,
    markers=_MARKERS.value,
    seed=_SEED.value,
    vocabulary=_VOCABULARY.value,
  )
  return result, preview.format_preview(result)


def _data_dir() -> str:
  cli.start_tensorflow()
  return cache.data_dir(_DATA_DIR.value)


def run() -> None:
  """Runs the console script `flan-inspect-tasks`."""
  cli.run(main, tensorflow=False)


if __name__ == "__main__":
  run()
