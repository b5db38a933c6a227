"""Settings of a model in another format, and those that are not supported."""

from collections.abc import Iterable, Mapping
from typing import Any

from flan_tf.bridges.model_source import SourceError


class Settings:
  """Named settings that describe a model.

  What the model of this project does not have is collected with `refuse`, so
  that one error can name all of it.

  Args:
    origin: the file that the settings come from, for messages.
    values: the settings; null counts as absent.
    prefix: precedes each name in `values`, e.g. "llama.".
  """

  def __init__(self, origin: str, values: Mapping[str, Any], prefix: str = ""):
    self.origin = origin
    self._values = values
    self._prefix = prefix
    self._unsupported: list[str] = []

  def get(self, name: str, default: Any = None) -> Any:
    """Returns a setting, or the default if it is absent."""
    value = self._values.get(self._prefix + name)
    return default if value is None else value

  def require(self, name: str) -> Any:
    """Returns a setting.

    Raises:
      SourceError: it is absent.
    """
    value = self.get(name)
    if value is None:
      raise SourceError(f"{self.origin} has no {self._prefix + name!r}.")
    return value

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
