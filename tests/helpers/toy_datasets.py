"""TFDS data sets that need no network; some fail in different ways.

A data set that starts to generate its rows appends a line with its name and its
process id to the file $TOY_LOG.
"""

import os
import pathlib
import signal
import sys
import time
import types

import tensorflow_datasets as tfds

ROWS = 3


def started() -> list[list[str]]:
  """Returns [name, process id] for each line of $TOY_LOG, oldest first."""
  path = pathlib.Path(os.environ["TOY_LOG"])
  return [line.split() for line in path.read_text().splitlines()]


class _Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  VERSION = tfds.core.Version("1.1.0")

  def _info(self):
    features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
    return tfds.core.DatasetInfo(builder=self, features=features)

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(dl_manager)}

  def _generate_examples(self, dl_manager):
    with open(os.environ["TOY_LOG"], "a") as log:
      log.write(f"{self.name} {os.getpid()}\n")
    self.act(dl_manager)
    for i in range(ROWS):
      yield i, {"text": f"row {i}"}

  def act(self, dl_manager):
    """Fails, in some of the subclasses."""


class ToyRows(_Toy):
  SUPPORTED_VERSIONS = [
    tfds.core.Version("1.0.0")
  ]  # Can be read, but not generated.


class ToyConfigs(_Toy):
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in "ab"]


class ToyFails(_Toy):
  def act(self, dl_manager):
    print("a line of the log")
    raise ValueError("the host is out\nand stays so")


class ToyManual(_Toy):
  MANUAL_DOWNLOAD_INSTRUCTIONS = "Sign the form and get toy.txt."

  def act(self, dl_manager):
    (dl_manager.manual_dir / "toy.txt").read_text()


class ToyKilled(_Toy):
  def act(self, dl_manager):
    if "TOY_SURVIVES" not in os.environ:
      os.kill(os.getpid(), signal.SIGKILL)


class ToySlow(_Toy):
  def act(self, dl_manager):
    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))


class _ToyHub(_Toy, skip_registration=True):
  """A stand-in for the Hugging Face hub builder of TFDS; it refuses scripts."""

  VERSION = tfds.core.Version("1.2.0")

  def __init__(self, *, hf_repo_id, data_dir, revision=None):
    if hf_repo_id != "Someone/Toy-Hub":
      raise ConnectionError(f"no such data set: {hf_repo_id}")
    if revision is None:
      raise RuntimeError("Dataset scripts are no longer supported")
    self.name = "someone__toy_hub"
    super().__init__(data_dir=data_dir)


def use_toy_hub() -> None:
  """Lets `huggingface:` data sets be generated without the network."""
  tfds.core.dataset_builders.HuggingfaceDatasetBuilder = _ToyHub
  if "datasets" not in sys.modules:
    stand_in = types.ModuleType("datasets")
    stand_in.__spec__ = types.SimpleNamespace(name="datasets")
    sys.modules["datasets"] = stand_in


if "TOY_LOG" in os.environ:
  use_toy_hub()
