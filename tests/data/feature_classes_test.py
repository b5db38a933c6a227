"""A data set's files do not make TFDS import modules of their choice."""

import json
import pathlib
import sys
from unittest import mock

import tensorflow_datasets as tfds
from absl.testing import absltest

from flan_tf.data import feature_classes, prepared_dataset
from flan_tf.task import schema

_DICT = "tensorflow_datasets.core.features.features_dict.FeaturesDict"
_TEXT = "tensorflow_datasets.core.features.text_feature.Text"


class FeatureClassesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.data_dir = pathlib.Path(self.create_tempdir().full_path)
    self.folder = self.data_dir / "toy" / "1.0.0"
    self.folder.mkdir(parents=True)

  def write(self, text_class: str) -> None:
    text = {"pythonClassName": text_class, "text": {}}
    features = {"features": {"a": text}}
    (self.folder / "features.json").write_text(
      json.dumps({"pythonClassName": _DICT, "featuresDict": features})
    )

  def test_classes_of_tfds(self):
    self.write(_TEXT)
    feature_classes.check_feature_classes(str(self.folder))

  def test_a_missing_or_damaged_file_is_for_tfds_to_refuse(self):
    feature_classes.check_feature_classes(str(self.folder))
    for content in ("{", "[" * 100_000):
      (self.folder / "features.json").write_text(content)
      feature_classes.check_feature_classes(str(self.folder))

  def test_another_module_is_not_imported(self):
    module = "never_to_be_imported"
    modules = self.create_tempdir()
    modules.create_file(f"{module}.py", content="")
    self.enter_context(
      mock.patch.object(sys, "path", [modules.full_path, *sys.path])
    )
    self.write(f"{module}.Text")
    (self.folder / "dataset_info.json").write_text(
      json.dumps({"name": "toy", "version": "1.0.0", "fileFormat": "tfrecord"})
    )
    source = schema.Source("toy", "1.0.0")
    with self.assertRaisesRegex(
      ValueError, f"{module}.Text'; expected classes of TFDS"
    ):
      prepared_dataset.open_dataset(source, str(self.data_dir))
    self.assertNotIn(module, sys.modules)
    # TFDS itself would import it.
    with self.assertRaises(ValueError):
      tfds.builder_from_directory(str(self.folder))
    self.assertIn(module, sys.modules)


if __name__ == "__main__":
  absltest.main()
