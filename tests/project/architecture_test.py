"""Imports only point down the layers, and no file names a machine."""

import os
import pathlib
import re

from absl.testing import absltest, parameterized

from tools import layers, update_build

ROOT = pathlib.Path(__file__).absolute().parents[2]

# Hosts of package registries and folders of machines. In pieces, or this file
# would not pass.
_FORBIDDEN = re.compile(
  r"pypi\.o" + r"rg|pythonhos" + r"ted\.|npm" + r"js\.|deb\.deb" + r"ian\."
  r"|(?<![\w.~)}*$-])/(?:work|root|tmp|home/\w|opt/\w)(?![\w-])"
  r"|\.\./\.lib"
)
_SKIPPED_FOLDERS = re.compile(
  r"\.git$|\.venv|bazel-|external$|\.\w+_cache$|__pycache__$|build$|dist$|runs$"
)


def violations(path: pathlib.Path):
  """Yields what each import of a module does against the layers."""
  layer = layers.layer_of(update_build.module_name(path))
  relative = set(update_build.relative_imports(path))
  for line, module in update_build.imports(path):
    if layer != "tasks" and line in relative:
      yield f"{path}:{line} imports {module} relatively: name it from the root."
      continue
    target = layers.layer_of(module)
    if layer == target == "tasks" and line not in relative:
      # `import tasks` could find a file of the user's.
      yield f"{path}:{line} imports {module}: inside tasks/, import relatively."
      continue
    if target in (None, layer, *layers.BELOW[layer]):
      continue
    allowed = ", ".join(layers.BELOW[layer]) or "nothing of the project"
    yield (
      f"{path}:{line} imports {module} of layer {target}. Layer {layer} may"
      f" import: {allowed}."
    )


class ArchitectureTest(parameterized.TestCase):
  @parameterized.parameters(*update_build.PACKAGES)
  def test_imports_point_down(self, package):
    found = [v for p in update_build.sources(package) for v in violations(p)]
    self.assertEmpty(found, "\n" + "\n".join(found))

  def test_the_layers_have_no_cycle(self):
    for layer, below in layers.BELOW.items():
      for other in below:
        self.assertNotIn(layer, layers.BELOW[other])

  @parameterized.parameters(
    ("flan_tf.task.fields", "flan_tf.task.schema"),
    ("flan_tf.task.registry.TaskRegistry", "flan_tf.task"),
    ("flan_tf.load", "flan_tf.api"),
    ("flan_tf.data.packing", "flan_tf.data"),
    ("tasks.nli.TASKS", "tasks"),
    ("tensorflow.data", None),
  )
  def test_layer_of(self, module, layer):
    self.assertEqual(layers.layer_of(module), layer)

  def test_no_file_names_a_machine(self):
    found = []
    for path in _text_files():
      text = path.read_text(encoding="utf-8")
      for number, line in enumerate(text.splitlines(), 1):
        if match := _FORBIDDEN.search(line):
          found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()!r}")
    self.assertEmpty(found, "\n" + "\n".join(found))


def _text_files():
  for folder, folders, names in os.walk(ROOT):
    folders[:] = [n for n in folders if not _SKIPPED_FOLDERS.match(n)]
    for name in names:
      path = pathlib.Path(folder, name)
      if not path.suffix and path.with_suffix(".py").exists():
        continue  # Bazel's launcher of a test.
      try:
        path.read_text(encoding="utf-8")
      except (UnicodeDecodeError, OSError):
        continue  # A picture or an archive, or a link that leads nowhere.
      yield path


if __name__ == "__main__":
  absltest.main()
