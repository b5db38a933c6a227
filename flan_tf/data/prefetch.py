"""Runs an iterator in a thread, a few items ahead of its reader."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

_ITEM, _END, _ERROR = "item", "end", "error"


class Prefetcher:
  """An iterator over the items of another one, which runs in a thread.

  An exception in the thread is raised in place of the item that it prevented.
  Close the prefetcher, or use it in a `with` statement, to stop the thread.
  """

  def __init__(
    self,
    items: Iterator[Any],
    size: int = 4,
    convert: Callable[[Any], Any] | None = None,
  ):
    """Starts the thread.

    Args:
      items: the iterator to run; nobody else may use it from now on.
      size: number of items that wait for the reader, 1 at least.
      convert: applied to each item in the thread.
    """
    self._queue: queue.Queue = queue.Queue(max(1, size))
    self._stop = threading.Event()
    self._done = False
    self._thread = threading.Thread(
      target=self._run, args=(items, convert), name="prefetch", daemon=True
    )
    self._thread.start()

  def __iter__(self) -> "Prefetcher":
    return self

  def __next__(self) -> Any:
    kind: str = _END
    value: Any = None
    while not self._done:
      try:
        kind, value = self._queue.get(timeout=0.1)
        break
      except queue.Empty:
        continue  # Another thread may have closed the prefetcher meanwhile.
    if kind == _ITEM:
      return value
    self._done = True
    if kind == _ERROR:
      raise value
    raise StopIteration

  def __enter__(self) -> "Prefetcher":
    return self

  def __exit__(self, *exc) -> None:
    self.close()

  def close(self) -> None:
    """Stops the thread and waits for it; may be called twice."""
    self._stop.set()
    self._done = True
    while self._thread.is_alive():
      try:
        self._queue.get_nowait()  # Makes room for a thread that waits for it.
      except queue.Empty:
        self._thread.join(0.02)

  def _run(
    self, items: Iterator[Any], convert: Callable[[Any], Any] | None
  ) -> None:
    try:
      for item in items:
        self._put(_ITEM, convert(item) if convert else item)
        if self._stop.is_set():
          return
      self._put(_END, None)
    except BaseException as error:  # Raised again in the reader's thread.
      self._put(_ERROR, error)

  def _put(self, kind: str, value: Any) -> None:
    while not self._stop.is_set():
      try:
        return self._queue.put((kind, value), timeout=0.1)
      except queue.Full:
        continue
