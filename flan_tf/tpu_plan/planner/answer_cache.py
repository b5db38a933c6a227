"""Answers by content: the same question of the same source is answered once.

  FOLDER/<fingerprint>.json   {"request": ..., "answer": ...}

The fingerprint is of the request, of the source that the worker imports and of
its pinned environment, so that nothing has to be thrown away by hand. A refusal
is an answer too; an error is not kept.
"""

import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable

from flan_tf.tpu_plan import request


class AnswerCache:
  """Asks once.

  Args:
    folder: where answers lie; may not exist yet.
    compiled: asks the compiler.
    told: called with a request before the compiler is asked.

  Attributes:
    hits: how many answers were there already.
    asked: how many were not.
  """

  def __init__(
    self,
    folder: str,
    compiled: Callable[[request.CompileRequest], request.CompileReport],
    told: Callable[[request.CompileRequest], None] = lambda asked: None,
  ):
    self._folder = pathlib.Path(folder)
    self._compiled, self._told = compiled, told
    self.hits = self.asked = 0

  def __call__(self, asked: request.CompileRequest) -> request.CompileReport:
    answer = self.known(asked)
    if answer is not None:
      self.hits += 1
      return answer
    self._told(asked)
    answer = self._compiled(asked)
    self.asked += 1
    _write(self._path(asked), asked, answer)
    return answer

  def known(
    self, asked: request.CompileRequest
  ) -> request.CompileReport | None:
    """The answer that lies there; None if none does. Asks nobody."""
    return _read(self._path(asked))

  def _path(self, asked: request.CompileRequest) -> pathlib.Path:
    return self._folder / f"{asked.fingerprint}.json"


def _read(path: pathlib.Path) -> request.CompileReport | None:
  if not path.exists():
    return None
  try:
    text = json.dumps(json.loads(path.read_text())["answer"])
    return request.CompileReport.from_json(text)
  except (ValueError, KeyError, TypeError) as error:
    print(f"{path} cannot be read ({error}): asking again.", file=sys.stderr)
    return None


def _write(
  path: pathlib.Path,
  asked: request.CompileRequest,
  answer: request.CompileReport,
) -> None:
  """In one go: who is stopped here leaves no half a file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  both = {
    "request": json.loads(asked.to_json()),
    "answer": json.loads(answer.to_json()),
  }
  with tempfile.NamedTemporaryFile(
    "w", dir=path.parent, suffix=".part", delete=False
  ) as file:
    json.dump(both, file, indent=2)
  os.replace(file.name, path)
