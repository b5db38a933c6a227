"""Files for random command lines: good ones, damaged ones and odd paths."""

import json
import os
import pathlib
import random
import re
import shutil
from collections.abc import Sequence

from tests.helpers import tiny

RUN = "run.py"

# Paths that exist in every folder that `build` made, and make sense.
GOOD = (
  RUN,
  "vocabulary.model",
  "ref",
  "ref/checkpoints",
  "eval",
  "eval/results.json",
  "prompts.jsonl",
  "answers.jsonl",
  "my_tasks.py",
  "td",
  "model.gguf",
  "corpus.txt",
  "empty",
)
# Paths of files that are damaged or of another kind, and paths that cannot be
# used: the folder below a file, a dangling link, names that are too long.
BAD = (
  "syntax.py",
  "raises.py",
  "nothing.py",
  "bytes.bin",
  "zero",
  "cut.model",
  "cut.gguf",
  "cut.jsonl",
  "deep.jsonl",
  "surrogate.jsonl",
  "array.jsonl",
  "bad_index",
  "bad_data",
  "bad_run",
  "bad_eval",
  "bad_td",
  "answers.jsonl/below",
  "dangling",
  "loop",
  "missing/file",
  "/proc/nothing",
  "/dev/null",
  "/dev/full",
  "n" * 300,
  "a/" * 2500,
  "nötig und ☃",
  "new\nline",
  "es\x1b[2Jcape",
  "\udcff",
  "~nobody/x",
  "file://x",
  "s3://bucket/x",
  "gs://",
  "-",
  " ",
  "",
)

# Ways to damage a file, and contents that take its place.
DAMAGES = (
  *("bit", "bytes", "cut", "grown", "gone", "folder"),
  *("null", "[]", "{}", "[1]", '{"a": 1}', "[" * 100_000, "\ud83d", "nan"),
)


def build(folder: str) -> None:
  """Makes the files in an empty folder; starts TensorFlow.

  A tiny model is trained and evaluated.
  """
  tiny_files = tiny.Tiny()
  tiny_files.open()
  try:
    _build(pathlib.Path(folder), tiny_files)
  finally:
    tiny_files.close()


def damage(folder: str, kind: str, seed: str, arguments: Sequence[str]) -> str:
  """Damages a random file below a folder; returns its path in the folder.

  Args:
    folder: a copy of what `build` made.
    kind: one of DAMAGES.
    seed: equal seeds damage equally.
    arguments: flags; the file is one that they name or lies in a folder that
      they name, if there is any.
  """
  draw = random.Random(seed)
  root = pathlib.Path(folder)
  words = {word for text in arguments for word in re.split("[=:,/]", text)}
  all_files = [
    path
    for path in sorted(root.rglob("*"))
    if path.is_file() and "tensorboard" not in path.parts
  ]
  named = [
    path for path in all_files if path.relative_to(root).parts[0] in words
  ]
  files = named or all_files
  path = draw.choice(files)
  content = bytearray(path.read_bytes())
  if kind == "bit" and content:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
  elif kind == "bytes" and content:
    for _ in range(20):
      content[draw.randrange(len(content))] = draw.randrange(256)
  elif kind == "cut":
    del content[draw.randrange(len(content) + 1) :]
  elif kind == "grown":
    content += content[:100] or b"x"
  elif kind not in ("bit", "bytes"):
    content = bytearray(kind.encode(errors="surrogatepass"))
  path.unlink()
  if kind == "folder":
    path.mkdir()
  elif kind != "gone":
    path.write_bytes(content)
  return str(path.relative_to(root))


def _build(folder: pathlib.Path, tiny_files: tiny.Tiny) -> None:
  from flan_tf import config
  from flan_tf.api import evaluation

  shutil.copy(tiny_files.vocabulary, folder / "vocabulary.model")
  shutil.copytree(tiny_files.data_dir, folder / "cache_rows")
  run = tiny_files.run(
    data__vocabulary="vocabulary.model",
    data__tasks="cb",
    data__length=48,
    train__steps=2,
    train__batch=2,
    train__save_every=2,
  )
  _write_run_file(folder / RUN, run)
  from_here = config.replace(run, "data", vocabulary=tiny_files.vocabulary)
  tiny_files.train(from_here, folder / "ref", ["cb"])
  result = evaluation.evaluate(
    str(folder / "ref"),
    tasks="cb",
    data_dir=tiny_files.data_dir,
    output=str(folder / "eval"),
    max_examples=2,
    batch=2,
  )
  result.report(str(folder / "eval"))
  _write_texts(folder)
  _write_gguf(folder / "model.gguf")
  _write_damaged(folder)
  os.symlink("nowhere", folder / "dangling")
  os.symlink("loop", folder / "loop")
  (folder / "empty").mkdir()


def _write_run_file(path: pathlib.Path, run) -> None:
  from flan_tf import config

  path.write_text(
    "from flan_tf import config\n\n\ndef get_config():\n  values ="
    f" {config.to_dict(run)!r}\n"
    "  return config.to_config_dict(config.from_mapping(values))\n"
  )


def _write_texts(folder: pathlib.Path) -> None:
  from tests.helpers import own_tasks

  prompts = [{"prompt": "one"}, {"prompt": "two", "options": ["yes", "no"]}]
  answers = [{"prompt": "one", "answer": "two"}] * 8
  for name, lines in (("prompts", prompts), ("answers", answers)):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / f"{name}.jsonl").write_text(text)
  (folder / "corpus.txt").write_text("some text\n\nmore text of a corpus\n")
  (folder / "my_tasks.py").write_text(
    own_tasks.FILE.format(name="my_rte", cluster="nli")
  )
  (folder / "syntax.py").write_text("def get_config(:\n")
  (folder / "raises.py").write_text("TASKS = 1 / 0\n")
  (folder / "nothing.py").write_text("")
  (folder / "bytes.bin").write_bytes(bytes(range(256)) * 8)
  (folder / "zero").write_bytes(b"")
  (folder / "cut.jsonl").write_text('{"prompt": "one"}\n{"prompt": "t')
  (folder / "deep.jsonl").write_text("[" * 100_000)
  (folder / "surrogate.jsonl").write_text('{"prompt": "\\ud83d"}\n')
  (folder / "array.jsonl").write_text('[1]\nnull\n"x"\n')


def _write_gguf(path: pathlib.Path) -> None:
  import numpy as np

  from tests.helpers import byte_pairs, gguf_files

  made = byte_pairs.train(["one two three four"] * 4)
  tensors = gguf_files.llama_tensors(made.size, np.random.default_rng(0))
  gguf_files.write(str(path), "llama", tensors, made)


def _write_damaged(folder: pathlib.Path) -> None:
  """Writes damaged copies of the good files."""
  rows = folder / "cache_rows" / "super_glue" / "cb"
  shutil.copytree(rows, folder / "td" / "super_glue" / "cb")
  shutil.move(folder / "cache_rows", folder / "cache" / "rows")
  for name in ("vocabulary.model", "model.gguf"):
    content = (folder / name).read_bytes()
    cut = folder / f"cut{pathlib.Path(name).suffix}"
    cut.write_bytes(content[: len(content) // 2])
  for name, file, text in (
    ("bad_index", "*.index", None),
    ("bad_data", "data.json", "{}"),
    ("bad_run", "run.json", "null"),
  ):
    shutil.copytree(folder / "ref", folder / name)
    for path in (folder / name).rglob(file):
      path.write_bytes(b"\xff" * 64 if text is None else text.encode())
  shutil.copytree(folder / "eval", folder / "bad_eval")
  (folder / "bad_eval" / "results.json").write_text("[]")
  shutil.copytree(folder / "td", folder / "bad_td")
  for path in (folder / "bad_td").rglob("dataset_info.json"):
    path.write_text("")
