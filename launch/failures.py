"""Turns failures into messages: a sentence for people, or a bug report.

An expected failure is one that the person at the keyboard can mend: a wrong
flag, a file that is missing, damaged or cannot be written, a full disk, a
device or a network that is not there, too little memory. It is printed as one
message. With -v=1 it has its traceback, too. Every other error is a bug; it
keeps its traceback and ends with a request to report it.

Exit statuses of all binaries:

  0    finished
  1    a mistake, a failed check, or a bug; standard error says which
  75   stopped by SIGTERM or SIGHUP, or devices were lost: the same command is
       to be started again (EX_TEMPFAIL)
  130  stopped by Ctrl-C
"""

import json
import re
import shlex
import sys
import types

from flan_tf.api import cache
from launch import error_origins

# Words of an error (in small letters) -> what the reader can do.
_ADVICE = {
  r"no space left|disk quota": "Free some space there, or choose another place;"
  " the variables FLAN_CACHE and TMPDIR name the folders of the cache and of"
  " temporary files.",
  r"read-only file system|permission denied|operation not permitted": "Choose a"
  " place that you may write to and read, or change its permissions.",
  r"not a directory": "A file lies where a folder is needed. Choose another"
  " path, or remove the file.",
  r"is a directory": "A folder lies where a file is needed. Choose another"
  " path, or remove the folder.",
  r"file name too long": "Choose a shorter path.",
  r"file exists": "Something lies there that is no folder, such as a link to a"
  " place that is gone. Choose another path, or remove it.",
  r"symbolic links": "Links of the path lead back to themselves.",
  r"no such file": "Check the path, and where the links in it lead.",
  r"too many open files": "Raise the limit of open files: ulimit -n 8192.",
  r"file system scheme .* not implemented": "TensorFlow opens local paths and"
  " gs:// paths here.",
  r"resolve|name or service not known|connection refused|unreachable"
  r"|timed out|max retries|libcurl|no answer": "The network or the service"
  " cannot be reached. Check the connection and the variable https_proxy.",
}
_OUT_OF_MEMORY = (
  "There is not enough memory: {cause}. Smaller sizes need less:"
  " --config.train.batch, or more --config.train.microbatches;"
  " --config.data.length; --config.model.*; in the other commands --batch. A"
  " mesh of more devices splits the weights (--config.mesh.shape, --mesh)."
)


def message(error: BaseException) -> str | None:
  """Returns a message for an expected failure; None for a bug."""
  text = cause(error)
  return None if text is None else f"{type(error).__name__}: {text}"


def bug_note(error: BaseException) -> str:
  """Returns the text that ends the traceback of an error that is a bug."""
  command = shlex.join(sys.orig_argv)
  place = error_origins.code_of_user(error)
  if place:
    return (
      f"The error comes from {place}, which is not a file of flan_tf. The"
      f" command was:\n  {command}"
    )
  return (
    "This is a bug of flan_tf. Please report it with the lines above and the"
    f" command:\n  {command}"
  )


def cause(error: BaseException) -> str | None:
  """Returns the message of an expected failure without the error's type."""
  if type(error).__module__.startswith(("flan_tf.", "tasks.", "launch.")):
    return str(error)
  for describe in (
    _memory,
    _text_format,
    _python_code,
    _tensorflow,
    _operating_system,
  ):
    text = describe(error)
    if text is not None:
      return text
  if isinstance(error, ValueError) and error_origins.is_raised_by_project(
    error
  ):
    return str(error)
  return None


def _memory(error: BaseException) -> str | None:
  if isinstance(error, MemoryError):
    return _OUT_OF_MEMORY.format(cause=str(error) or "Python could not get any")
  return None


def _text_format(error: BaseException) -> str | None:
  """Describes text that is not what its format demands."""
  if isinstance(error, UnicodeEncodeError):
    return (
      f"The encoding {error.encoding} has no"
      f" {error.object[error.start : error.end]!r}. Set PYTHONIOENCODING=utf-8;"
      " half a pair of surrogates is no text in any encoding."
    )
  if isinstance(error, UnicodeDecodeError):
    bad = error.object[error.start : error.start + 1]
    return (
      f"A file is not text in {error.encoding}: it has the byte {bad!r} at"
      f" position {error.start}. {_WHICH_FILE}"
    )
  if isinstance(error, json.JSONDecodeError):
    return f"A file is not valid JSON: {error}. {_WHICH_FILE}"
  if isinstance(error, RecursionError) and error_origins.is_raised_by(
    error, json
  ):
    return f"A file has JSON that is nested too deeply. {_WHICH_FILE}"
  if type(error).__module__.startswith("google.protobuf."):
    return f"A file of TFDS or TensorFlow is damaged: {error}. {_WHICH_FILE}"
  return None


_WHICH_FILE = "With -v=1 the traceback shows which file."


def _python_code(error: BaseException) -> str | None:
  """Describes a file that is not Python, or a package that is missing."""
  if isinstance(error, SyntaxError) and error.filename:
    text = (error.text or "").strip()
    return f"{error.filename}, line {error.lineno}: {error.msg}: {text!r}"
  if isinstance(error, ModuleNotFoundError):
    package = (error.name or "").partition(".")[0]
    if package not in ("flan_tf", "launch", "tasks"):
      return f"{error}. Install the package that has it, or mend the import."
  return None


def _tensorflow(error: BaseException) -> str | None:
  """Describes an error of TensorFlow that comes from files or devices."""
  tf = sys.modules.get("tensorflow")
  if tf is None or not isinstance(error, tf.errors.OpError):
    return None
  from flan_tf.mesh import tf_errors

  text = str(getattr(error, "message", "") or "")
  summary = tf_errors.error_summary(error)
  if isinstance(error, tf.errors.ResourceExhaustedError):
    if "No space left" not in text and "quota" not in text:
      return _OUT_OF_MEMORY.format(cause=summary)
  elif not isinstance(error, _expected_types(tf.errors, "[Op:" in text)):
    return None
  return _with_advice(summary)


def _expected_types(
  errors: types.ModuleType, in_operation: bool
) -> tuple[type[Exception], ...]:
  """Returns the types of errors that files, devices and networks cause.

  Args:
    errors: tf.errors.
    in_operation: whether an operation on tensors raised the error. Its wrong
      arguments and missing kernels are bugs.
  """
  always = (
    errors.AbortedError,
    errors.DataLossError,
    errors.DeadlineExceededError,
    errors.NotFoundError,
    errors.PermissionDeniedError,
    errors.UnauthenticatedError,
    errors.UnavailableError,
  )
  if in_operation:
    return always
  return (
    *always,
    errors.AlreadyExistsError,
    errors.FailedPreconditionError,
    errors.InvalidArgumentError,
    errors.OutOfRangeError,
    errors.UnimplementedError,
    errors.UnknownError,
  )


def _operating_system(error: BaseException) -> str | None:
  if not isinstance(error, OSError):
    return None
  if error.errno is None or not error.strerror:
    return _with_advice(str(error))
  names = [str(name) for name in (error.filename, error.filename2) if name]
  place = f"{' -> '.join(names)}: " if names else ""
  return _with_advice(f"{place}{error.strerror}")


def _with_advice(cause: str) -> str:
  """Adds what the reader can do."""
  sentences = [cause if cause.endswith(".") else f"{cause}."]
  for words, advice in _ADVICE.items():
    if re.search(words, cause.lower()):
      sentences.append(advice)
      break
  if cache.folder() in cause:
    sentences.append("FLAN_CACHE=FOLDER moves this cache to another folder.")
  return " ".join(sentences)
