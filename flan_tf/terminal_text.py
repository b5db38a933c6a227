"""Shows control characters of texts on a terminal, so that it does not obey.

Prompts, answers and results can be made by strangers. An escape sequence in
them could move the cursor, rename the window or hide what stands before it.
"""

import re

# C0 but newline and tab, DEL, C1, marks that turn the writing direction, and
# lone surrogates, which no terminal can take.
_CONTROL = re.compile(
  "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: object) -> str:
  r"""Returns a text in which control characters are written as `\u001b`.

  Newlines and tabs stay as they are. JSON with control characters in its texts
  remains JSON of the same value. Files get the exact text, not this one.

  Args:
    text: a text, or a value whose `str` is shown.
  """
  return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))
