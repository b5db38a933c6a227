"""Prompts that are typed, one on each line of standard input."""

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from flan_tf import json_lines

if TYPE_CHECKING:
  from flan_tf.inference.conversation import Conversation


def answer_lines(
  answer: Callable[[str], None], conversation: "Conversation"
) -> None:
  """Answers each line until the input ends.

  The line /new starts a new conversation. Empty lines are ignored. A line that
  is not UTF-8 gets a message on standard error, and the next line is read.

  Args:
    answer: prints the answer to a prompt.
    conversation: the conversation that `answer` continues.
  """
  if sys.stdin.isatty():
    new = "; /new starts a new conversation" if conversation.has_memory else ""
    print(
      "Type a prompt and press Enter; \\n in it stands for a newline"
      f"{new}; Ctrl-D ends."
    )
  if isinstance(sys.stdin, io.TextIOWrapper):
    # Else a byte that is not UTF-8 would end the input.
    sys.stdin.reconfigure(errors="surrogateescape")
  for line in sys.stdin:
    prompt = line.strip().replace("\\n", "\n")
    if prompt == "/new":
      conversation.forget()
    elif prompt and _is_utf8(prompt):
      answer(prompt)


def _is_utf8(prompt: str) -> bool:
  """Returns whether a prompt can be answered, and says why if it cannot."""
  try:
    json_lines.check_text("This line", prompt)
  except ValueError as error:
    print(f"{error} It is not answered.", file=sys.stderr, flush=True)
    return False
  return True
