"""Renders a chat template in a process of its own, with limits.

A template of a stranger can ask for any amount of time and memory:
`{{ 'x' * 10**9 }}`, a loop in a loop, and every filter that repeats or pads a
text. Jinja's sandbox has no limit for that, but the operating system has. The
sandbox keeps the template from everything but its own values.

This file is run as a script and imports nothing of the project. It reads one
JSON object from the standard input and writes one to the standard output:

  {"template": text, "names": {name: text}, "conversations": [[message, ...]]}
  {"texts": [text, ...]}, or {"failure": why}
"""

import datetime
import json
import resource
import sys
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import sandbox

# Seconds of computing, bytes of memory, and characters of all texts together.
# Templates of real models take a hundredth of each.
SECONDS, MEMORY, CHARACTERS = 3, 256 << 20, 100_000


class _LimitError(Exception):
  """The template needs more than it may have."""


class _Generation(jinja2.ext.Extension):
  """Renders {% generation %}, which only marks the text to train on."""

  tags = {"generation"}

  def parse(self, parser):
    next(parser.stream)
    return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def render(
  template: str, names: dict[str, str], conversations: list[list[dict]]
) -> list[str]:
  """Writes conversations in a sandbox that has what `transformers` offers.

  Args:
    template: a Jinja template.
    names: further texts that the template may write, by name: "bos_token".
    conversations: the messages of each, which have a "role" and a "content".
  """

  def raise_exception(message):
    raise jinja2.TemplateError(message)

  environment = sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[_Generation, jinja2.ext.loopcontrols],
  )
  environment.filters["tojson"] = lambda value, **options: json.dumps(
    value, **{"ensure_ascii": False, **options}
  )
  environment.globals["raise_exception"] = raise_exception
  environment.globals["strftime_now"] = datetime.datetime.now().strftime
  compiled = environment.from_string(template)
  texts = []
  left = CHARACTERS
  for messages in conversations:
    parts = []
    for part in compiled.generate(
      messages=messages,
      add_generation_prompt=messages[-1]["role"] != "assistant",
      tools=None,
      documents=None,
      **names,
    ):
      left -= len(part)
      if left < 0:
        raise _LimitError(f"it writes more than {CHARACTERS:,} characters")
      parts.append(part)
    texts.append("".join(parts))
  return texts


def _set_limits() -> None:
  """Limits this process; the operating system ends it after SECONDS."""
  resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
  try:
    with open("/proc/self/statm", encoding="ascii") as file:
      used = int(file.read().split()[0]) * resource.getpagesize()
  except OSError:  # No Linux.
    used = 0
  resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def main() -> None:
  request = json.load(sys.stdin)
  _set_limits()
  answer: dict[str, Any]
  try:
    answer = {"texts": render(**request)}
  except _LimitError as error:
    answer = {"failure": str(error)}
  except MemoryError:
    answer = {"failure": f"it needs more than {MEMORY >> 20} MB of memory"}
  # Whatever is wrong with a template, the model can still be converted.
  except Exception as error:
    answer = {"failure": f"{type(error).__name__}: {error}"[:1000]}
  print(json.dumps(answer))


if __name__ == "__main__":
  main()
