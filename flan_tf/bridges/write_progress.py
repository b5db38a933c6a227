"""Reports how far a writer of a model has come."""

from collections.abc import Callable

# Called after each tensor with its name, the bytes written so far, and the
# bytes of all tensors.
WriteProgress = Callable[[str, int, int], object]


def no_progress(tensor: str, done: int, total: int) -> None:
  """Reports nothing; the default of every writer."""
  del tensor, done, total
