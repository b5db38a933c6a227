"""Runs requests in the TPU compiler's process and its own environment.

tensorflow-tpu replaces tensorflow, so the TPU packages cannot be installed
beside those of the project. A checkout makes the environment `.venv-tpu` at
first use, with the versions in tools/python/requirements-tpu.txt. An installed
copy of the project uses the interpreter that FLAN_TPU_PYTHON names.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from flan_tf.tpu_plan.request import CompileReport, CompileRequest

_ROOT = pathlib.Path(__file__).parents[3]
_SCRIPT = _ROOT / "tools/python/environment.sh"
_VENV = _ROOT / ".venv-tpu"
_WORKER = "flan_tf.tpu_plan.compiler.worker"
# Lines of the worker's output that an error message shows.
_SHOWN_LINES = 15


class WorkerError(RuntimeError):
  """The compiler's environment cannot be made, or its process failed."""


def is_installed() -> bool:
  """Returns whether the compiler's environment exists already."""
  if os.environ.get("FLAN_TPU_PYTHON"):
    return True
  return any(_VENV.glob(".flan-tpu"))


def interpreter() -> str:
  """Returns the path of the environment's Python; makes the environment first.

  Raises:
    WorkerError: the environment does not exist and cannot be made.
  """
  named = os.environ.get("FLAN_TPU_PYTHON")
  if named:
    if not os.access(named, os.X_OK):
      raise WorkerError(
        f"FLAN_TPU_PYTHON={named} is not an executable file. Set it to the"
        " Python interpreter of an environment with flan-tf[tpu-plan]."
      )
    return named
  if not _SCRIPT.exists():
    raise WorkerError(
      "The TPU compiler needs a virtual environment of its own. In a checkout"
      " of the project it is made automatically, but this is an installed copy."
      " Make the environment and set FLAN_TPU_PYTHON to its interpreter:\n"
      "  python3.11 -m venv tpu\n"
      "  tpu/bin/pip install 'flan-tf[tpu-plan]'\n"
      "  # tensorflow-tpu replaces tensorflow:\n"
      "  tpu/bin/pip uninstall -y tensorflow\n"
      "  tpu/bin/pip install --no-deps --force-reinstall"
      " tensorflow-tpu==2.20.0\n"
      "  export FLAN_TPU_PYTHON=$PWD/tpu/bin/python"
    )
  if not is_installed():
    print(
      f"Plans need the TPU compiler. Making {_VENV.name} for it, with the"
      " versions in tools/python/requirements-tpu.txt: once, some minutes, 3 GB"
      " from the network. It is separate from .venv because tensorflow-tpu"
      " replaces tensorflow.",
      file=sys.stderr,
      flush=True,
    )
  return _make_environment()


def environment_variables() -> dict[str, str]:
  """Returns the environment variables of a process of the TPU compiler."""
  variables = os.environ | {
    # There is no metadata server here; without this, each start waits for one.
    "TPU_SKIP_MDS_QUERY": "1",
    # Several plans may run at the same time.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
  }
  if _SCRIPT.exists():
    # The worker imports the source of this checkout. An installed copy is
    # among packages that must not be imported there; that environment has its
    # own copy of the project.
    variables["PYTHONPATH"] = str(_ROOT)
  return variables


def run_request(request: CompileRequest) -> CompileReport:
  """Runs one request in a new process.

  Raises:
    WorkerError: the process failed; the message shows the end of its output.
  """
  (report,) = run_requests([request])
  return report


def run_requests(requests: Sequence[CompileRequest]) -> list[CompileReport]:
  """Runs several requests, one after another, in one new process.

  Raises:
    WorkerError: the process failed; the message shows the end of its output.
  """
  done = subprocess.run(
    [interpreter(), "-m", _WORKER],
    input="\n".join(request.to_json() for request in requests),
    env=environment_variables(),
    capture_output=True,
    text=True,
  )
  lines = done.stdout.strip().splitlines()
  try:
    if done.returncode == 0:
      return [
        CompileReport.from_json(lines[-index])
        for index in range(len(requests), 0, -1)
      ]
    problem = f"ended with status {done.returncode}"
  except (ValueError, IndexError) as error:
    problem = f"printed no report ({error})"
  output = (done.stdout + done.stderr).splitlines()
  last_lines = "\n".join(output[-_SHOWN_LINES:])
  task = f"{len(requests)} requests"
  if len(requests) == 1:
    task = _describe(requests[0])
  raise WorkerError(
    f"The worker ({_WORKER}) {problem} for {task}. Its last lines:\n"
    f"{last_lines}"
  )


def _make_environment() -> str:
  """Makes the environment, or brings it up to date; returns its Python."""
  # FLAN_VENV gives the place of the ordinary environment.
  variables = {k: v for k, v in os.environ.items() if k != "FLAN_VENV"}
  # The path is an argument of the command, so that bash does not read it as a
  # part of the command.
  command = 'source "$1" tpu >&2 && printf %s "$VIRTUAL_ENV/bin/python"'
  done = subprocess.run(
    ["bash", "-c", command, "bash", str(_SCRIPT)],
    env=variables,
    stdout=subprocess.PIPE,
    text=True,
  )
  if done.returncode:
    raise WorkerError(
      f"{_VENV.name} could not be made; its output is above. Mend the cause and"
      " start again, or set FLAN_TPU_PYTHON to a Python interpreter that has"
      " the packages of tools/python/requirements-tpu.txt."
    )
  return done.stdout


def _describe(request: CompileRequest) -> str:
  mesh = request.run.mesh.shape or "one core"
  return f"{request.program} on {request.topology}, mesh {mesh}"
