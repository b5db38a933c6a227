"""Applies a function to many items in threads, with a progress bar."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from flan_tf.progress_bars import shows_progress_bars

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_threads(
  function: Callable[[_Item], _Result],
  items: Sequence[_Item],
  unit: str,
  threads: int | None = None,
  progress: bool | None = None,
) -> list[_Result]:
  """Returns the function's results in the order of the items.

  After an error, items that have not been started are not started any more.

  Args:
    function: called with one item, in several threads at a time.
    items: what to call it with.
    unit: what the progress bar counts, e.g. "data set".
    threads: number of threads; None takes the number of CPU cores, 8 at most.
    progress: whether to draw a progress bar; None draws it
      if `progress_bars` are enabled.
  """
  if threads is None:
    threads = min(8, os.cpu_count() or 1)
  if progress is None:
    progress = shows_progress_bars()
  bar = None
  if progress and items:
    import keras

    bar = keras.utils.Progbar(len(items), unit_name=unit)
  pool = concurrent.futures.ThreadPoolExecutor(max(1, threads))
  futures = [pool.submit(function, item) for item in items]
  try:
    for done in concurrent.futures.as_completed(futures):
      done.result()
      if bar is not None:
        bar.add(1)
    return [future.result() for future in futures]
  finally:
    pool.shutdown(wait=True, cancel_futures=True)
