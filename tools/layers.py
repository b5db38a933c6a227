"""The layers of the project and what each may import (README, "The tree").

Keys are layers, values the layers below them. A layer is a package, apart from
two: `flan_tf` means the modules that lie in it directly, and of these
`flan_tf.schema` means the two that a task table may use. Siblings do not
import each other.
"""

SCHEMA_MODULES = ("schema", "fields")

_L0 = ("flan_tf.schema", "flan_tf")
_L1 = (*_L0, "flan_tf.mesh", "flan_tf.data")
_L3 = (*_L1, "flan_tf.model", "flan_tf.train", "flan_tf.eval")

BELOW = {
  "flan_tf.schema": (),
  "flan_tf": ("flan_tf.schema",),
  "tasks": ("flan_tf.schema",),
  "flan_tf.mesh": _L0,
  "flan_tf.data": _L0,
  "flan_tf.prepare": (*_L0, "flan_tf.data"),
  "flan_tf.model": (*_L0, "flan_tf.mesh"),
  "flan_tf.train": (*_L1, "flan_tf.model"),
  "flan_tf.eval": (*_L1, "flan_tf.model"),
  "flan_tf.report": (*_L0, "flan_tf.eval"),
  "flan_tf.plan": _L3,
  "flan_tf.bridges": (*_L3, "flan_tf.report"),
  "launch": (
    *_L3,
    "flan_tf.prepare",
    "flan_tf.plan",
    "flan_tf.bridges",
    "flan_tf.report",
    "tasks",
  ),
}


def layer_of(module: str) -> str | None:
  """The layer of a dotted module name; None if it is not of this project.

  >>> layer_of("flan_tf.fields"), layer_of("flan_tf.data.pack.greedy")
  ('flan_tf.schema', 'flan_tf.data')
  """
  package, _, rest = module.partition(".")
  if package in ("tasks", "launch"):
    return package
  if package != "flan_tf":
    return None
  name = rest.partition(".")[0]
  if name in SCHEMA_MODULES:
    return "flan_tf.schema"
  inner = f"{package}.{name}"
  return inner if inner in BELOW else package
