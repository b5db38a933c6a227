"""What an error of TensorFlow says, in a line.

An error from within a function comes with the places where its operations were
made; the words that help a user stand behind them.
"""

_ABOUT = (
  *("Graph execution error", "Detected at node", "File ", "<stack traces"),
  *("Original stack trace", "Errors may have originated"),
)


def first_line(error: BaseException) -> str:
  """The first line that says what happened; the error's type if none does."""
  for line in str(error).splitlines():
    line = line.strip()
    if line and not line.startswith(_ABOUT) and "root error(s)" not in line:
      return line
  return type(error).__name__
