"""The main job in one go, small: tune with a cluster held out, and prove.

  launch/quickstart.sh [--tfds_data_dir=DIR]

makes an environment and runs this. It starts from SmolLM2-135M-Instruct, which
comes as a Python package; where that cannot be had, or with --model=small, it
trains a small model from nothing. Each stage is a binary of its own, so that
one can go on from there by hand. A stage that is done is not done again; one
that was stopped goes on where it was.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import time

from absl import flags
from ml_collections import config_dict

from flan_tf import config
from launch import cli, jobs, own_rows, smollm2
from launch.configs import small_pretrain, small_tune, smollm2_tune

_DATA_DIR = flags.DEFINE_string(
  "tfds_data_dir", "", "Prepared TFDS directory; empty for the shipped rows."
)
_WORKDIR = flags.DEFINE_string(
  "workdir", "", "Where it all goes; by default below runs/."
)
_MODEL = flags.DEFINE_enum(
  "model",
  "auto",
  ["auto", "smollm2", "small"],
  "What to tune: SmolLM2, or a small model that is trained from nothing; auto"
  " takes the second where the first cannot be had.",
)
_HELD_OUT = flags.DEFINE_string("held_out", "nli", "The cluster to hold out.")
_STEPS = flags.DEFINE_integer(
  "steps", None, "Steps of each training; by default 24, or 300 (small).", 1
)
_MAX = flags.DEFINE_integer(
  "max_examples",
  None,
  "Most test and dev rows of a task, 0 for all; by default 4, or 60 (small).",
  0,
)
_SEED = flags.DEFINE_integer("seed", 0, "Of everything random.")

_VOCAB = 4000
_BATCH = 4  # Rows that are evaluated at once: SmolLM2's take memory.


def main() -> None:
  gguf = _smollm2()
  _Quickstart(gguf).run()


def _smollm2() -> str:
  """The file of the real model; empty where a small one takes its place."""
  if _MODEL.value == "small":
    return ""
  try:
    return smollm2.fetch(own_rows.cache())
  except smollm2.NotAvailableError as error:
    if _MODEL.value == "smollm2":
      raise
    print(
      f"SmolLM2 cannot be had here. {error}\nA small model is trained from"
      " nothing instead."
    )
    return ""


class _Quickstart:
  """One run of it, with SmolLM2 from a GGUF file, or without."""

  def __init__(self, gguf: str):
    self._gguf = gguf
    self._steps = _STEPS.value or (24 if gguf else 300)
    rows = 4 if gguf else 60
    self._max: int = rows if _MAX.value is None else _MAX.value
    self._workdir = _WORKDIR.value or self._default_workdir()
    self._base, self._tuned, self._output = (
      os.path.join(self._workdir, n) for n in ("base", "tuned", "evaluation")
    )
    self._start, self._stage = time.monotonic(), 0
    self._check_workdir()

  def _check_workdir(self) -> None:
    """Raises ValueError if the folder has what other flags gave."""
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

  def run(self) -> None:
    done = self._with_smollm2() if self._gguf else self._from_nothing()
    if done:
      print(self._where_next())

  def _with_smollm2(self) -> bool:
    run = self._run(smollm2_tune.get_config())
    run = config.replace(run, "train", init_from=self._base)
    held_out = _HELD_OUT.value
    self._say(f"SmolLM2-135M-Instruct as a checkpoint -> {self._base}")
    if not self._is_converted():
      jobs.convert_gguf(self._gguf, self._base)
    before, after = (
      os.path.join(self._output, name) for name in ("base", "tuned")
    )
    self._say(f"zero-shot on {held_out}, as it comes -> {before}")
    print(self._evaluate({"base": self._base}, before, run))
    self._say(f"tuning with LoRA, {held_out} held out -> {self._tuned}")
    if not self._train(run, self._tuned):
      return False
    self._say(f"zero-shot on {held_out}, tuned -> {self._output}")
    self._evaluate({"tuned": self._tuned}, after, run)
    print(jobs.compare(before, after, self._output))
    return True

  def _is_converted(self) -> bool:
    """Whether the base is there, whole; what was cut short is removed."""
    from flan_tf.checkpoints import store

    whole = store.is_complete(self._base)
    if not whole and os.path.isdir(self._base):
      shutil.rmtree(self._base)
    return whole

  def _from_nothing(self) -> bool:
    vocabulary = os.path.join(self._workdir, "vocabulary.model")
    held_out = _HELD_OUT.value
    self._say(f"a vocabulary of {_VOCAB} pieces -> {vocabulary}")
    if not os.path.exists(vocabulary):
      jobs.train_vocabulary(vocabulary, _VOCAB, held_out, _DATA_DIR.value)
    self._say(f"a base model, on plain text -> {self._base}")
    run = self._run(small_pretrain.get_config())
    run = config.replace(run, "data", vocabulary=vocabulary)
    if not self._train(run, self._base):
      return False
    self._say(f"instruction tuning, {held_out} held out -> {self._tuned}")
    run = self._run(small_tune.get_config())
    run = config.replace(run, "train", init_from=self._base)
    if not self._train(run, self._tuned):
      return False
    self._say(f"zero-shot on {held_out}, both models -> {self._output}")
    models = {"base": self._base, "tuned": self._tuned}
    print(self._evaluate(models, self._output, run))
    return True

  def _say(self, what: str) -> None:
    self._stage += 1
    minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
    print(f"\n[{minutes}:{seconds:02d}] {self._stage} of 4: {what}", flush=True)

  def _run(self, settings: config_dict.ConfigDict) -> config.RunConfig:
    run = config.from_mapping(settings.to_dict())
    run = dataclasses.replace(run, held_out=_HELD_OUT.value, seed=_SEED.value)
    run = config.replace(run, "data", tfds_data_dir=_DATA_DIR.value)
    return config.replace(run, "train", steps=self._steps)

  def _train(self, run: config.RunConfig, workdir: str) -> bool:
    """Whether all steps are done, now or before."""
    from flan_tf.checkpoints import store

    done = store.steps(workdir)
    if done and done[-1] >= self._steps:
      return True
    return jobs.train(run, workdir)

  def _evaluate(
    self, models: dict[str, str], output: str, run: config.RunConfig
  ) -> str:
    """The table, of an evaluation now or before."""
    from flan_tf.eval import protocol

    return jobs.read_table(output, list(models)) or jobs.evaluate(
      models,
      output,
      held_out=_HELD_OUT.value,
      tfds_data_dir=_DATA_DIR.value,
      mesh=run.mesh,
      batch=_BATCH,
      settings=protocol.EvaluationConfig(self._max, _SEED.value),
      data=run.data,
    )

  @property
  def _choices(self) -> dict[str, str | int]:
    """What the results depend on."""
    data_dir = _DATA_DIR.value
    return {
      "model": "smollm2" if self._gguf else "small",
      "tfds_data_dir": os.path.abspath(data_dir) if data_dir else "",
      "held_out": _HELD_OUT.value,
      "steps": self._steps,
      "max_examples": self._max,
      "seed": _SEED.value,
    }

  def _default_workdir(self) -> str:
    """A folder for each data directory and flags that change the results."""
    choices = self._choices
    digest = hashlib.sha256(json.dumps(choices).encode()).hexdigest()
    rows = "prepared" if choices["tfds_data_dir"] else "shipped"
    name = f"{choices['model']}-{rows}-{digest[:8]}"
    return os.path.join("runs", f"quickstart-{name}")

  def _where_next(self) -> str:
    data = _DATA_DIR.value
    data = f" \\\n      --tfds_data_dir={data}" if data else ""
    caveat, config_file = _FROM_NOTHING, "small_tune"
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
These numbers show that the path works, not that tuning helps: few rows, minutes
of tuning, and a start that is instruction-tuned already, never an untuned one.
The paper sees zero-shot gains from about 68 billion parameters on."""

_FROM_NOTHING = """\
These numbers show that the path works, not that tuning helps: the paper sees
zero-shot gains from about 68 billion parameters on, and this model has a few
million. `python -m launch.control` shows that it learns what it is taught."""


def run() -> None:
  """Entry point of `flan-quickstart`."""
  cli.run(main)


if __name__ == "__main__":
  run()
