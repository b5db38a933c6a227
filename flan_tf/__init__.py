"""FLAN on TensorFlow: instruction tuning of language models.

  import flan_tf as flan

  model = flan.load("runs/tuned")
  print(model.generate("Is it so?").text)
  print(model.score("Is it so?", ["yes", "no"]))
  print(flan.tasks["rte"].prompts(limit=3)[0].text)
  result = flan.evaluate(model, held_out="nli", max_examples=25)
  print(result["rte"].mean)

A name is imported when it is used, so that `import flan_tf` takes milliseconds
and does not import TensorFlow. The packages, in the order in which a row of
data travels:

  task           tasks, held-out clusters, wordings, mixing rates
  config         the configuration of a run
  vocab          SentencePiece and byte-pair vocabularies
  data           rows -> prompts -> token ids -> mixture -> packed batches
  prepare        downloads data sets and writes TFDS directories
  mesh           devices, layouts, collectives, programs, state on the cores
  checkpoints    sharded tensors on disk, and the bundle that a checkpoint is
  model          the decoder with named dimensions, attention, caches
  training       Adafactor, schedules, the step, the loop
  inference      scores options and generates text
  eval           the evaluation protocol, metrics, results
  report         tables, pages and plots of evaluations
  contamination  overlap of evaluated rows with a training corpus
  bridges        KerasHub, Hugging Face, GGUF, SavedModel
  tpu_plan       plans runs for TPU slices that are not at hand
  api            the functions below, and the work of the binaries

A package imports only packages above it, and contamination, bridges and
tpu_plan do not import one another. The tasks themselves are the package `tasks`
beside this one.
"""

import importlib
from typing import TYPE_CHECKING, Any

from flan_tf.version import __version__ as __version__

if TYPE_CHECKING:
  from flan_tf.api.conversion import convert as convert
  from flan_tf.api.evaluation import Evaluation as Evaluation
  from flan_tf.api.evaluation import compare as compare
  from flan_tf.api.evaluation import evaluate as evaluate
  from flan_tf.api.evaluation import read_evaluation as read_evaluation
  from flan_tf.api.loading import generate as generate
  from flan_tf.api.loading import load as load
  from flan_tf.api.loading import score as score
  from flan_tf.api.models import Model as Model
  from flan_tf.api.run_files import read_run as read_run
  from flan_tf.api.task_table import tasks as tasks
  from flan_tf.api.training import TrainingResult as TrainingResult
  from flan_tf.api.training import train as train
  from flan_tf.api.vocabularies import train_vocabulary as train_vocabulary
  from flan_tf.config import AdapterConfig as AdapterConfig
  from flan_tf.config import ChatConfig as ChatConfig
  from flan_tf.config import DataConfig as DataConfig
  from flan_tf.config import MeshConfig as MeshConfig
  from flan_tf.config import ModelConfig as ModelConfig
  from flan_tf.config import RunConfig as RunConfig
  from flan_tf.config import TrainConfig as TrainConfig
  from flan_tf.sampling import Sampling as Sampling
  from flan_tf.task.schema import Baseline as Baseline
  from flan_tf.task.schema import Source as Source
  from flan_tf.task.schema import Splits as Splits
  from flan_tf.task.schema import Task as Task
  from flan_tf.task.schema import TaskKind as TaskKind
  from flan_tf.task.schema import Template as Template

# Module -> the public names that it has.
_NAMES_BY_MODULE = {
  "flan_tf.api.conversion": ("convert",),
  "flan_tf.api.evaluation": (
    "Evaluation",
    "compare",
    "evaluate",
    "read_evaluation",
  ),
  "flan_tf.api.loading": ("generate", "load", "score"),
  "flan_tf.api.models": ("Model",),
  "flan_tf.api.run_files": ("read_run",),
  "flan_tf.api.task_table": ("tasks",),
  "flan_tf.api.training": ("TrainingResult", "train"),
  "flan_tf.api.vocabularies": ("train_vocabulary",),
  "flan_tf.config": (
    "AdapterConfig",
    "ChatConfig",
    "DataConfig",
    "MeshConfig",
    "ModelConfig",
    "RunConfig",
    "TrainConfig",
  ),
  "flan_tf.sampling": ("Sampling",),
  "flan_tf.task.schema": (
    "Baseline",
    "Source",
    "Splits",
    "Task",
    "TaskKind",
    "Template",
  ),
}
_MODULES = {
  name: module for module, names in _NAMES_BY_MODULE.items() for name in names
}

__all__ = tuple(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
  """Imports a public name when it is used for the first time."""
  if name not in _MODULES:
    raise AttributeError(
      f"module 'flan_tf' has no attribute {name!r}. Public names:"
      f" {', '.join(sorted(_MODULES))}. A module is imported by its own name:"
      f" `import flan_tf.{name}`."
    )
  value = getattr(importlib.import_module(_MODULES[name]), name)
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  special = {name for name in globals() if name.startswith("__")}
  return sorted({*_MODULES, *special})
