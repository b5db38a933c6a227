"""The layers of the project and what each of them may import.

A layer is a package, a module that lies directly in `flan_tf`, or one of the
groups of modules in `_GROUPS`. `BELOW` maps each layer to the layers that it
may import. Layers that are not below one another do not import each other.

`tests/project/architecture_test.py` compares every import with this table, and
tools/update_build.py turns each layer into one Bazel library.
"""

# Modules that a task table may use; they form a layer of their own.
_GROUPS = {
  "flan_tf.task.schema": "flan_tf.task.schema",
  "flan_tf.task.fields": "flan_tf.task.schema",
}

_BASE = (
  "flan_tf.version",
  "flan_tf.name_lists",
  "flan_tf.json_lines",
  "flan_tf.progress_bars",
  "flan_tf.terminal_text",
  "flan_tf.foreign_values",
  "flan_tf.safe_files",
  "flan_tf.write_lock",
  "flan_tf.waits",
)
_TASK = (*_BASE, "flan_tf.task.schema", "flan_tf.task")
_VALUES = (*_TASK, "flan_tf.config", "flan_tf.sampling")
_DATA = (*_VALUES, "flan_tf.vocab", "flan_tf.data")
_MODEL = (
  *_VALUES,
  "flan_tf.vocab",
  "flan_tf.mesh",
  "flan_tf.checkpoints",
  "flan_tf.model",
)
_RUN = (*_MODEL, "flan_tf.data")
_EVAL = (*_RUN, "flan_tf.inference", "flan_tf.eval")
_ALL = (
  *_EVAL,
  "flan_tf.training",
  "flan_tf.report",
  "flan_tf.contamination",
  "flan_tf.prepare",
  "flan_tf.bridges",
  "flan_tf.tpu_plan",
  "tasks",
)

BELOW = {
  "flan_tf.version": (),
  "flan_tf.name_lists": ("flan_tf.version",),
  "flan_tf.json_lines": ("flan_tf.version", "flan_tf.safe_files"),
  "flan_tf.safe_files": ("flan_tf.version",),
  "flan_tf.write_lock": ("flan_tf.version", "flan_tf.safe_files"),
  "flan_tf.waits": ("flan_tf.version",),
  "flan_tf.terminal_text": ("flan_tf.version",),
  "flan_tf.foreign_values": ("flan_tf.version",),
  "flan_tf.progress_bars": ("flan_tf.version",),
  "flan_tf.task.schema": _BASE,
  "tasks": (*_BASE, "flan_tf.task.schema"),
  "flan_tf.task": (*_BASE, "flan_tf.task.schema"),
  "flan_tf.sampling": _BASE,
  "flan_tf.config": _TASK,
  "flan_tf.vocab": _VALUES,
  "flan_tf.data": (*_VALUES, "flan_tf.vocab"),
  "flan_tf.mesh": _VALUES,
  "flan_tf.checkpoints": (*_VALUES, "flan_tf.vocab", "flan_tf.mesh"),
  "flan_tf.model": (*_VALUES, "flan_tf.mesh"),
  "flan_tf.training": _RUN,
  "flan_tf.inference": _RUN,
  "flan_tf.eval": (*_RUN, "flan_tf.inference"),
  "flan_tf.report": _EVAL,
  "flan_tf.contamination": (*_EVAL, "flan_tf.report"),
  "flan_tf.prepare": _DATA,
  "flan_tf.bridges": (*_EVAL, "flan_tf.training", "flan_tf.report"),
  "flan_tf.tpu_plan": (*_EVAL, "flan_tf.training"),
  "flan_tf.api": _ALL,
  "launch": (*_ALL, "flan_tf.api"),
}

# Layers that a layer loads by their location when it runs, without an import:
# Bazel has to bring them along.
LOADED_BY = {"flan_tf.task": ("tasks",)}


def layer_of(module: str) -> str | None:
  """Returns the layer of a dotted name, None for modules of other projects.

  >>> layer_of("flan_tf.task.fields"), layer_of("flan_tf.data.packing")
  ('flan_tf.task.schema', 'flan_tf.data')
  """
  parts = module.split(".")
  for length in range(len(parts), 0, -1):
    name = ".".join(parts[:length])
    name = _GROUPS.get(name, name)
    if name in BELOW:
      return name
  # `import flan_tf` alone gives the public interface.
  return "flan_tf.api" if parts[0] == "flan_tf" else None
