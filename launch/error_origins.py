"""Tells where an error was raised: in this project, a library, or user code."""

import dis
import os
import pathlib
import site
import sysconfig
import traceback
import types

import flan_tf

_PROJECT = tuple(
  str(pathlib.Path(flan_tf.__file__).parents[1] / name) + os.sep
  for name in ("flan_tf", "launch", "tasks")
)
_LIBRARIES = tuple(
  os.path.abspath(folder) + os.sep
  for folder in (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    sysconfig.get_path("platlib"),
    *site.getsitepackages(),
  )
)
_RAISE = dis.opmap["RAISE_VARARGS"]


def is_raised_by_project(error: BaseException) -> bool:
  """Returns whether a `raise` statement of this project raised an error.

  Errors that Python raises in the same lines, such as that of `int("x")`, have
  messages that nobody wrote for the user.
  """
  last = _last(error.__traceback__)
  if last is None or not _is_of_project(last.tb_frame.f_code.co_filename):
    return False
  return last.tb_frame.f_code.co_code[last.tb_lasti] == _RAISE


def is_raised_by(error: BaseException, package: types.ModuleType) -> bool:
  """Returns whether a file of a package raised an error."""
  last = _last(error.__traceback__)
  folder = os.path.dirname(package.__file__ or "") + os.sep
  return last is not None and last.tb_frame.f_code.co_filename.startswith(
    folder
  )


def code_of_user(error: BaseException) -> str:
  """Returns "FILE, line N" if the code of a user raised an error, else "".

  That is code of a run file, of a task file, or of a module that was imported
  for the user, such as the data sets of `launch.prepare --imports`. An error
  inside a library belongs to the code that called the library.
  """
  for frame in reversed(traceback.extract_tb(error.__traceback__)):
    if _is_of_project(frame.filename):
      return ""
    if os.path.isfile(frame.filename) and not _is_of_library(frame.filename):
      return f"{frame.filename}, line {frame.lineno}"
  return ""


def _last(step: types.TracebackType | None) -> types.TracebackType | None:
  while step is not None and step.tb_next is not None:
    step = step.tb_next
  return step


def _is_of_project(file: str) -> bool:
  return os.path.abspath(file).startswith(_PROJECT)


def _is_of_library(file: str) -> bool:
  return os.path.abspath(file).startswith(_LIBRARIES)
