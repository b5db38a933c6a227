"""Shows tasks, prompts and mixtures, and what of them can be read here.

  python -m launch.inspect_tasks --list
  python -m launch.inspect_tasks --show=rte --template=3 --shots=2
  python -m launch.inspect_tasks --check --tfds_data_dir=DIR
  python -m launch.inspect_tasks --mixture --held_out=nli [--published_counts]

One action a call; `--json` prints it for programs. Without `--tfds_data_dir`
rows come from the project's own. `--mixture` takes the run of `--config`, if
there is one, e.g. launch/configs/ablation.py:clusters=3.
"""

import json

from absl import flags

import tasks
from flan_tf import config
from flan_tf.task import catalog, registry, wordings
from launch import cli, jobs

_CONFIG = cli.define_config()
_LIST = flags.DEFINE_bool("list", False, "All data sets, clusters and tasks.")
_SHOW = flags.DEFINE_string("show", "", "A task: one of its prompts.")
_CHECK = flags.DEFINE_bool("check", False, "What can be read, and what not.")
_MIXTURE = flags.DEFINE_bool("mixture", False, "Rates of the training tasks.")
_JSON = flags.DEFINE_bool("json", False, "Print JSON.")
_DATA_DIR = flags.DEFINE_string(
  "tfds_data_dir", "", "Prepared TFDS directory; empty for the shipped rows."
)
_HELD_OUT = flags.DEFINE_string(
  "held_out", "", "--mixture: clusters or tasks to hold out, comma-separated."
)
_PUBLISHED = flags.DEFINE_bool(
  "published_counts",
  False,
  "--mixture: sizes of the published data sets, not those of the directory.",
)
_TEMPLATE = flags.DEFINE_integer("template", 0, "--show: which template.", 0)
_SHOTS = flags.DEFINE_integer("shots", 0, "--show: exemplars before it.", 0)
_ROW = flags.DEFINE_integer("row", 0, "--show: which row of the part.", 0)
_PART = flags.DEFINE_enum(
  "part", "test", ["test", "dev", "train"], "--show: where the row is from."
)
_WORDING = flags.DEFINE_enum(
  "wording", wordings.INSTRUCTIONS, wordings.WORDINGS, "--show: which wording."
)
_MARKERS = flags.DEFINE_string(
  "markers",
  "plain",
  f"--show: {', '.join(wordings.MARKERS)}, or 'prompt|answer|example|cue'.",
)
_VOCABULARY = flags.DEFINE_string(
  "vocabulary",
  "",
  "--show: SentencePiece model; by default a small one of the shipped rows.",
)
_SEED = flags.DEFINE_integer("seed", 0, "--show: of the exemplars.")


def main() -> None:
  actions = {
    _list: _LIST.value,
    _show: bool(_SHOW.value),
    _check: _CHECK.value,
    _mixture: _MIXTURE.value,
  }
  chosen = [action for action, wanted in actions.items() if wanted]
  if len(chosen) != 1:
    raise ValueError(
      f"Expected one of --list, --show=TASK, --check and --mixture, got"
      f" {len(chosen)} of them."
    )
  found, text = chosen[0](registry.TaskRegistry(tasks.ALL))
  print(
    json.dumps(found, indent=2, ensure_ascii=False) if _JSON.value else text
  )


def _list(known: registry.TaskRegistry):
  found = catalog.listing(known)
  return found, catalog.listing_text(found)


def _mixture(_: registry.TaskRegistry):
  run, chosen = jobs.training_tasks(_run())
  missing: dict[str, str] = {}
  if _PUBLISHED.value:
    sizes = {task.name: task.published_rows for task in chosen}
    of_files = (task.name for task in chosen if task.source.file)
    missing = dict.fromkeys(of_files, "a file has no published size")
  else:
    sizes, missing = _sizes(chosen, run.data.train_cap)
  found = {
    "held_out": run.held_out,
    **catalog.mixture(chosen, sizes, run.data.mixing_cap),
    "left_out": missing,
  }
  lines = [catalog.mixture_text(found)]
  lines += [
    f"left out: {name} ({reason.splitlines()[0]})"
    for name, reason in missing.items()
  ]
  return found, "\n".join(lines)


def _run() -> config.RunConfig:
  if _CONFIG.value is None:
    return config.RunConfig(held_out=_HELD_OUT.value)
  if _HELD_OUT.value:
    raise ValueError("Give --held_out or --config, which says it, not both.")
  return cli.resolve(_CONFIG.value)


def _sizes(chosen, train_cap: int) -> tuple[dict[str, int], dict[str, str]]:
  """Training rows of each task in the directory, and why some have none."""
  from flan_tf.data import pipeline

  planned, missing = pipeline.plan_tasks(chosen, _data_dir(), train_cap)
  sizes = {item.task.name: len(item.plan.train) for item in planned}
  missing |= {
    item.task.name: "; ".join(item.notes) or "no training rows"
    for item in planned
    if not len(item.plan.train)
  }
  return sizes, missing


def _check(known: registry.TaskRegistry):
  data_dir = _data_dir()
  from flan_tf.data import availability

  found = availability.check(known, data_dir)
  return found, availability.text(found)


def _show(known: registry.TaskRegistry):
  task = known.get(_SHOW.value)
  worded = wordings.reword(task, _WORDING.value)
  markers = wordings.markers(_MARKERS.value)
  data_dir = _data_dir()
  from flan_tf.data import pipeline, preview, prompt_format

  planned, missing = pipeline.plan_tasks([task], data_dir)
  if missing:
    raise ValueError(missing[task.name])
  found = preview.show(
    planned[0],
    worded,
    _vocabulary(),
    prompt_format.Limits(),
    template=_TEMPLATE.value,
    row=_ROW.value,
    part=_PART.value,
    shots=_SHOTS.value,
    markers=markers,
    seed=_SEED.value,
  )
  return found, preview.text(found)


def _data_dir() -> str:
  cli.start_tensorflow()
  from launch import own_rows

  return own_rows.data_dir(_DATA_DIR.value)


def _vocabulary():
  from flan_tf.vocab import vocabulary
  from launch import own_rows

  path = _VOCABULARY.value or own_rows.vocabulary()
  return vocabulary.load_vocabulary(path)


def run() -> None:
  """Entry point of `flan-inspect-tasks`."""
  cli.run(main, tensorflow=False)


if __name__ == "__main__":
  run()
