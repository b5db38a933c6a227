"""The compiler's own environment, made at first use, and the process in it.

tensorflow-tpu takes the place of tensorflow, so that the TPU tools cannot lie
where everything else does. A checkout makes `.venv-tpu` by itself, with the
versions of tools/python/requirements-tpu.txt. An installed copy is told where
such an environment is: FLAN_TPU_PYTHON=PATH.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from flan_tf.tpu_plan import request

_ROOT = pathlib.Path(__file__).parents[2]
_SCRIPT = _ROOT / "tools/python/environment.sh"
_VENV = _ROOT / ".venv-tpu"
_WORKER = "flan_tf.tpu_plan.compiler.worker"
# Of what the worker wrote: so many lines are shown if it fails.
_LINES = 15


class WorkerError(RuntimeError):
  """The environment cannot be had, or its process failed."""


def is_made() -> bool:
  """Whether an answer can be had without installing anything."""
  if os.environ.get("FLAN_TPU_PYTHON"):
    return True
  return any(_VENV.glob(".flan-tpu"))


def python() -> str:
  """The interpreter of the environment, which is made if need be.

  Raises:
    WorkerError: it is not there and cannot be made.
  """
  given = os.environ.get("FLAN_TPU_PYTHON")
  if given:
    if not os.access(given, os.X_OK):
      raise WorkerError(f"FLAN_TPU_PYTHON={given} is no program.")
    return given
  if not _SCRIPT.exists():
    raise WorkerError(
      "The TPU compiler wants an environment of its own, and this is not a"
      " checkout, which would make it. Make one and name it:\n"
      "  python3.11 -m venv tpu\n"
      "  tpu/bin/pip install 'flan-tf[tpu-plan]'\n"
      "  tpu/bin/pip uninstall -y tensorflow   # tensorflow-tpu's place\n"
      "  tpu/bin/pip install --no-deps --force-reinstall"
      " tensorflow-tpu==2.20.0\n"
      "  export FLAN_TPU_PYTHON=$PWD/tpu/bin/python"
    )
  if not is_made():
    print(
      f"Plans need the TPU compiler. Making {_VENV.name} for it, with the"
      " versions of tools/python/requirements-tpu.txt: minutes and 3 GB, once,"
      " from the network. It is apart from .venv, as tensorflow-tpu takes the"
      " place of tensorflow.",
      file=sys.stderr,
      flush=True,
    )
  # FLAN_VENV names the ordinary environment's place.
  env = {k: v for k, v in os.environ.items() if k != "FLAN_VENV"}
  line = f"source {_SCRIPT} tpu >&2 && printf %s $VIRTUAL_ENV/bin/python"
  made = subprocess.run(
    ["bash", "-c", line], env=env, stdout=subprocess.PIPE, text=True
  )
  if made.returncode:
    raise WorkerError(
      f"{_VENV.name} could not be made (see above). Put it right and start"
      " again, or name a Python with the packages of"
      " tools/python/requirements-tpu.txt as FLAN_TPU_PYTHON=PATH."
    )
  return made.stdout


def variables() -> dict[str, str]:
  """What a process in that environment is started with."""
  env = os.environ | {
    # No metadata server here: without this every start waits for it.
    "TPU_SKIP_MDS_QUERY": "1",
    # Another plan may run.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
  }
  if _SCRIPT.exists():
    # A checkout lends its source. An installed copy lies among packages that
    # must not come along: the environment has a copy of its own.
    env["PYTHONPATH"] = str(_ROOT)
  return env


def compiled(asked: request.CompileRequest) -> request.CompileReport:
  """Asks a process in that environment.

  Raises:
    WorkerError: it failed; the message has the end of what it wrote.
  """
  (answer,) = all_compiled([asked])
  return answer


def all_compiled(
  asked: Sequence[request.CompileRequest],
) -> list[request.CompileReport]:
  """The same for several requests, one after another in one process."""
  done = subprocess.run(
    [python(), "-m", _WORKER],
    input="\n".join(one.to_json() for one in asked),
    env=variables(),
    capture_output=True,
    text=True,
  )
  lines = done.stdout.strip().splitlines()
  try:
    if done.returncode == 0:
      return [
        request.CompileReport.from_json(lines[-index])
        for index in range(len(asked), 0, -1)
      ]
    why = f"ended with status {done.returncode}"
  except (ValueError, IndexError) as error:
    why = f"gave no answer ({error})"
  end = "\n".join((done.stdout + done.stderr).splitlines()[-_LINES:])
  what = f"{len(asked)} requests" if len(asked) > 1 else _name(asked[0])
  raise WorkerError(
    f"The worker ({_WORKER}) {why} for {what}. Its last lines:\n{end}"
  )


def _name(asked: request.CompileRequest) -> str:
  mesh = asked.run.mesh.shape or "one core"
  return f"{asked.program} on {asked.topology}, mesh {mesh}"
