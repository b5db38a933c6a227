"""Short texts for TensorFlow's errors.

The message of an error inside a function begins with the places in the source
where the operations were created. The cause stands after them.
"""

import re

_SOURCE_LINES = (
  "Graph execution error",
  "Detected at node",
  'File "',
  "<stack traces",
  "Original stack trace",
  "Errors may have originated",
)
# Parts of a line that name places in a graph.
_GRAPH_PLACES = re.compile(r"\{\{[^{}]*\}\} ?| ?\[Op:.*")


def error_summary(error: BaseException) -> str:
  """Returns the first line that states a cause, or the error's type.

  Names of places in a graph are left out of the line.
  """
  for line in str(error).splitlines():
    line = line.strip()
    is_source = line.startswith(_SOURCE_LINES) or "root error(s)" in line
    if line and not is_source:
      return _GRAPH_PLACES.sub("", line).strip()
  return type(error).__name__
