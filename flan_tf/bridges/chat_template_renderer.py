"""Renders the chat template of a stranger without harm to this process.

`flan_tf.bridges.chat_template_worker` does it, in a process of its own that may
take little time and memory.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from flan_tf.bridges import chat_template_worker

# Seconds that the process may take on a machine that is busy with other work.
_PATIENCE = 120


class TemplateFailure(ValueError):
  """A template cannot be rendered; the message says why."""


def render(
  template: str,
  names: Mapping[str, str],
  conversations: Sequence[Sequence[Mapping[str, str]]],
) -> list[str]:
  """Returns the text that a template writes for each conversation.

  Args:
    template: a Jinja template.
    names: further texts that the template may write, by name: "bos_token".
    conversations: the messages of each, which have a "role" and a "content".

  Raises:
    TemplateFailure: the template fails, or needs more time, memory or
      characters than it may have.
  """
  request = {
    "template": template,
    "names": dict(names),
    "conversations": [list(map(dict, turns)) for turns in conversations],
  }
  try:
    done = subprocess.run(
      _command(),
      input=json.dumps(request),
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
      timeout=_PATIENCE,
    )
  except OSError as error:
    raise TemplateFailure(
      f"no process can be started for it: {error}"
    ) from error
  except subprocess.TimeoutExpired as error:
    raise TemplateFailure(_too_slow()) from error
  if -done.returncode in (signal.SIGKILL, signal.SIGXCPU):
    raise TemplateFailure(_too_slow())
  try:
    answer = json.loads(done.stdout)
  except ValueError as error:
    raise TemplateFailure(
      f"its process ended with status {done.returncode}"
    ) from error
  if "failure" in answer:
    raise TemplateFailure(answer["failure"])
  return answer["texts"]


def _command() -> list[str]:
  """Returns a command that imports Jinja only, from where it was found here."""
  packages = [
    pathlib.Path(str(sys.modules[name].__file__)).absolute().parents[1]
    for name in ("jinja2", "markupsafe")  # Jinja imports markupsafe.
  ]
  start = (
    "import runpy, sys; sys.path += sys.argv[2:];"
    " runpy.run_path(sys.argv[1], run_name='__main__')"
  )
  worker = os.path.abspath(chat_template_worker.__file__)
  return [sys.executable, "-I", "-S", "-c", start, worker, *map(str, packages)]


def _too_slow() -> str:
  return f"it needs more than {chat_template_worker.SECONDS} seconds"
