"""A tiny training run on the shipped rows, for many test files.

Processes that a test starts read the same prepared rows and the same
vocabulary, and see no accelerator.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

ROOT = pathlib.Path(__file__).absolute().parents[2]
sys.path[:0] = [str(ROOT)]
# Before TensorFlow is imported, also where the file runs as a script.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

from flan_tf import config  # noqa: E402

TASKS = ("rte", "sst2")
# tests/run.py sets it to a folder in which the first test file that opens a
# Tiny leaves its rows and vocabulary; the others copy them.
_SHARED = "FLAN_TEST_SHARED"


class Tiny:
  """A folder with prepared rows, a vocabulary and run files.

      TINY = tiny.Tiny()
      setUpModule, tearDownModule = TINY.open, TINY.close

  Attributes:
    folder: temporary folder that holds all files.
    vocabulary: path of a SentencePiece model of at most 320 pieces.
    data_dir: the shipped rows as a TFDS directory.
  """

  folder: pathlib.Path
  vocabulary: str
  data_dir: str

  def __init__(self):
    self._numbers = itertools.count()

  def open(self) -> None:
    """Writes the rows to $FLAN_CACHE, and trains the vocabulary."""
    from flan_tf.api import cache
    from flan_tf.data import language_model
    from flan_tf.task import registry, table
    from flan_tf.vocab.sentence_piece import SentencePieceVocabulary

    with contextlib.ExitStack() as stack:
      temporary = stack.enter_context(tempfile.TemporaryDirectory())
      self.folder = pathlib.Path(temporary)
      shared = os.environ.get(_SHARED)
      if shared and os.path.exists(shared):
        shutil.copytree(shared, self.folder, dirs_exist_ok=True)
      folder = str(self.folder / "cache")
      stack.enter_context(mock.patch.dict(os.environ, FLAN_CACHE=folder))
      self.vocabulary = str(self.folder / "tiny.model")
      self.data_dir = cache.data_dir()
      if not os.path.exists(self.vocabulary):
        chosen = registry.TaskRegistry(table.shipped_tasks()).select(TASKS)
        texts = language_model.read_training_texts(chosen, self.data_dir)
        SentencePieceVocabulary.train(texts, 320, self.vocabulary)
        if shared:
          _share(self.folder, shared)
      self._stack = stack.pop_all()

  def close(self) -> None:
    self._stack.close()

  def run(self, **changes) -> config.RunConfig:
    """Returns the tiny run; `train__steps=5` changes `train.steps`."""
    values = dataclasses.asdict(
      config.RunConfig(
        name="tiny",
        data=config.DataConfig(
          vocabulary=self.vocabulary,
          tasks=",".join(TASKS),
          input_length=64,
          target_length=16,
          length=80,
        ),
        model=config.ModelConfig(
          layers=1, d_model=32, heads=2, d_kv=16, d_ff=64
        ),
        mesh=config.MeshConfig(platform="cpu"),
        train=config.TrainConfig(
          steps=6, batch=4, learning_rate=0.02, save_every=3, log_every=1
        ),
      )
    )
    for name, value in changes.items():
      *parents, key = name.split("__")
      part = values
      for parent in parents:
        part = part[parent]
      if key not in part:
        raise KeyError(name)
      part[key] = value
    return config.from_mapping(values)

  def train(
    self, run: config.RunConfig, workdir: str | os.PathLike, names=TASKS
  ):
    """Trains in this process; returns the session at its end."""
    from flan_tf.training import loop

    opened = self.open_run(run, workdir, names)
    loop.train(opened, str(workdir))
    return opened

  def open_run(
    self, run: config.RunConfig, workdir: str | os.PathLike, names=TASKS
  ):
    """Opens a training session on the named tasks."""
    from flan_tf.task import registry, table
    from flan_tf.training import session

    chosen = registry.TaskRegistry(table.shipped_tasks()).select(names)
    return session.open_session(run, str(workdir), chosen, self.data_dir)

  def run_file(self, **changes) -> str:
    """Writes a run file for --config; returns its path."""
    # A new name each time: Python would reuse the compiled code of a file with
    # the same size that was written in the same second.
    path = self.folder / f"tiny_run_{next(self._numbers)}.py"
    values = json.loads(config.to_json(self.run(**changes)))
    path.write_text(
      "from flan_tf import config\n\n\ndef get_config():\n"
      f"  return config.to_config_dict(config.from_mapping({values!r}))\n"
    )
    return str(path)


def _share(folder: pathlib.Path, shared: str) -> None:
  """Copies a folder to `shared`, unless another process was faster."""
  copy = f"{shared}.{os.getpid()}"
  shutil.copytree(folder, copy)
  with contextlib.suppress(OSError):
    os.rename(copy, shared)


def start(*command: str, **env: str) -> subprocess.Popen:
  """Starts Python with arguments, such as "-m", "launch.train", in the root."""
  # The path of this process, because Bazel sets it without the environment.
  path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
  return subprocess.Popen(
    [sys.executable, *command],
    cwd=ROOT,
    env={**os.environ, "PYTHONPATH": path, **env},
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
