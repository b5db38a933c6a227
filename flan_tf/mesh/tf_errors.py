"""Short texts for TensorFlow's errors.

The message of an error inside a function begins with the places in the source
where the operations were created. The cause stands after them.
"""

_SOURCE_LINES = (
  "Graph execution error",
  "Detected at node",
  'File "',
  "<stack traces",
  "Original stack trace",
  "Errors may have originated",
)


def error_summary(error: BaseException) -> str:
  """Returns the first line that states a cause, or the error's type."""
  for line in str(error).splitlines():
    line = line.strip()
    is_source = line.startswith(_SOURCE_LINES) or "root error(s)" in line
    if line and not is_source:
      return line
  return type(error).__name__
