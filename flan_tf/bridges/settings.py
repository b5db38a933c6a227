"""Settings of a model in another format, and those that are not supported."""

from collections.abc import Iterable
from typing import Any

from flan_tf import config
from flan_tf.bridges.model_source import SourceError
from flan_tf.foreign_values import ForeignValues

# The most layers, and the largest size of any dimension. The largest models in
# use have 126 layers and 256,000 pieces. The names of all tensors are made
# before they are compared with those of the file.
_MOST_LAYERS = 1000
_LARGEST_SIZE = 1 << 24


class Settings(ForeignValues):
  """Named settings that describe a model; see `ForeignValues` for the getters.

  What the model of this project does not have is collected with `refuse`, so
  that one error can name all of it.

  Args:
    origin: the file that the settings come from, for messages.
    values: the settings; null counts as absent.
    prefix: precedes each name in `values`, e.g. "llama.".

  Raises:
    SourceError: `values` is no mapping. So do all getters if a setting is
      absent or is not of the type or size that they expect.
  """

  def __init__(self, origin: str, values: Any, prefix: str = ""):
    super().__init__(origin, values, SourceError, prefix)
    self._unsupported: list[str] = []

  def layers(self, name: str) -> int:
    """Returns a number of layers."""
    return self.integer(name, low=1, high=_MOST_LAYERS)

  def size(self, name: str, **default: int) -> int:
    """Returns the size of a dimension; `default=SIZE` if it may be absent."""
    return self.integer(name, low=1, high=_LARGEST_SIZE, **default)

  def model(self, **options: Any) -> config.ModelConfig:
    """Returns the configuration with these options.

    Raises:
      SourceError: options do not go together; the message names the file.
    """
    try:
      return config.ModelConfig(**options)
    except ValueError as error:
      raise SourceError(f"{self.origin}: {error}") from error

  def refuse(self, option: str) -> None:
    """Notes an option that is not supported; `check_supported` raises."""
    self._unsupported.append(option)

  def check_supported(self) -> None:
    """Raises SourceError that names the refused options, if there are any."""
    check_supported(self.origin, self._unsupported)


def check_supported(origin: str, unsupported: Iterable[str]) -> None:
  """Raises SourceError that names all unsupported options, if there are any."""
  options = "; ".join(unsupported)
  if options:
    raise SourceError(
      f"{origin} needs options that are not supported here: {options}."
    )
