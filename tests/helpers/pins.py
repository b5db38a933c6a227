"""Fingerprints of everything that a refactoring must leave as it is.

  python -m tests.helpers.pins --record=FILE
  python -m tests.helpers.pins --compare=FILE [--only=token_ids,small_run]
  python -m tests.helpers.pins --update_golden

Each pin is a function that returns plain JSON values:

tpu_programs  programs for TPUs: a digest of their StableHLO, and the compiler's
              memory, cycles, FLOPs and bytes. Needs .venv-tpu.
cpu_program   digests of the TensorFlow graphs that train, score and decode
token_ids     ids of training examples and of evaluation requests
small_run     the files of a small run and of its evaluation

`--compare` demands equality and prints each difference. Between two types of
CPU floats differ, so that files are compared on the machine that wrote them.
What `tests/project/pins_test.py` compares with `tests/golden/pins.json` leaves
out the digests of floats and allows for rounding; see `differences`.
"""

import argparse
import collections
import dataclasses
import functools
import graphlib
import hashlib
import json
import math
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).absolute().parents[2]
sys.path[:0] = [str(ROOT)]
# The order of a sum depends on the number of threads.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.helpers import tiny  # noqa: E402, I001, it sets variables for TensorFlow
import numpy as np  # noqa: E402
from tests.helpers import toys  # noqa: E402

import tasks  # noqa: E402
from flan_tf import config  # noqa: E402
from flan_tf.task import registry  # noqa: E402
from flan_tf import sampling  # noqa: E402
from flan_tf.mesh.devices import Devices  # noqa: E402
from flan_tf.tpu_plan.planner import compiler_process  # noqa: E402
from flan_tf.tpu_plan import request  # noqa: E402
from flan_tf.tpu_plan import reduced_run  # noqa: E402
from launch.configs import paper  # noqa: E402

GOLDEN = ROOT / "tests" / "golden" / "pins.json"
# Values that depend on the machine: digests of floats, installed versions.
_OF_THE_MACHINE = ("sha256", "packages")
_TOLERANCE = 1e-3


# Programs for TPUs.

_HEADS = "batch:data;heads:model;d_ff:model;vocab:model"
_ALL = f"{_HEADS};d_model:data;stream:model"
_LENGTH = f"{_HEADS};length:sequence"
_EIGHT = dataclasses.replace(toys.MODEL, heads=8)
_GROUPED = dataclasses.replace(toys.FAMILIES["gemma2"], heads=8, kv_heads=4)
# Mesh, layout, model, other settings, programs.
_LAYOUTS: dict[str, tuple] = {
  "rows": ("data:8", _HEADS, _EIGHT, {}, "train"),
  "rows, light": ("data:8", _HEADS, _EIGHT, {"train.recompute": "light"}, ""),
  "rows, layers": ("data:8", _HEADS, _EIGHT, {"train.recompute": "layers"}, ""),
  "rows, LoRA": ("data:8", _HEADS, _EIGHT, {"adapter.lora_rank": 2}, ""),
  "rows, prompt": ("data:8", _HEADS, _EIGHT, {"adapter.soft_prompt": 3}, ""),
  "model": ("model:8", _HEADS, _EIGHT, {"train.microbatches": 2}, "train"),
  "both": ("data:2;model:4", _HEADS, _GROUPED, {}, "train score decode"),
  "weights": ("data:8", f"{_HEADS};d_model:data", _EIGHT, {}, "train decode"),
  "everything": (
    "data:2;model:4",
    _ALL,
    _EIGHT,
    {"train.recompute": "layers", "train.microbatches": 2},
    "train score decode",
  ),
  "everything, adapters": (
    "data:2;model:4",
    _ALL,
    dataclasses.replace(toys.FAMILIES["qwen2"], heads=8, kv_heads=4),
    {"adapter.lora_rank": 2, "adapter.soft_prompt": 3},
    "train score",
  ),
  "stream": (
    "data:2;model:4",
    f"{_HEADS};stream:model",
    dataclasses.replace(toys.FAMILIES["gpt2"], max_positions=128),
    {"train.recompute": "inputs"},
    "train",
  ),
  "length": (
    "data:2;sequence:2;model:2",
    _LENGTH,
    toys.FAMILIES["llama3"],
    {"train.recompute": "light"},
    "train score",
  ),
  "length, weights": (
    "data:2;sequence:2;model:2",
    f"{_LENGTH};stream:sequence;d_model:data",
    toys.FAMILIES["mistral"],
    {"train.microbatches": 2},
    "train",
  ),
}
# Run files at a reduced size, on as many cores as that leaves of their meshes.
_PAPER = {
  "422m": ("v6e:2x2", "train"),
  "2b": ("v5e:4x4", "train"),
  "8b": ("v3:2x4", "train score decode"),
  "137b": ("v3:2x4", "train score decode"),
}


def tpu_programs() -> dict[str, Any]:
  """Programs for TPUs: digests, and what the compiler says.

  All are compiled in one process of the TPU tools' environment.
  """
  asked = tpu_requests()
  variables = compiler_process.environment_variables()
  variables.pop("XLA_FLAGS", None)  # tests/conftest.py sets it.
  done = subprocess.run(
    [
      compiler_process.interpreter(),
      "-c",
      "from tests.helpers import pins; pins.compile_all()",
    ],
    input="\n".join(one.to_json() for one in asked.values()),
    env=variables,
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  if done.returncode:
    raise RuntimeError(f"The compiler failed:\n{done.stderr[-4000:]}")
  lines = done.stdout.strip().splitlines()[-len(asked) :]
  found = [json.loads(line) for line in lines]
  return dict(zip(asked, found, strict=True))


def tpu_requests() -> dict[str, request.CompileRequest]:
  """The requests by name: layouts at toy size, and reduced run files."""
  made = {}
  for layout, (*_, programs) in _LAYOUTS.items():
    for program in (programs or "train").split():
      made[f"{layout}: {program}"] = _toy_request(layout, program)
  for size, (topology, programs) in _PAPER.items():
    for program in programs.split():
      made[f"run file {size}: {program}"] = _paper_request(
        size, topology, program
      )
  return made


def _toy_request(layout: str, program: str) -> request.CompileRequest:
  mesh, rules, model, more, _ = _LAYOUTS[layout]
  run = config.RunConfig(
    data=config.DataConfig(input_length=96, target_length=32, length=128),
    model=dataclasses.replace(model, vocab=128),
    mesh=config.MeshConfig(mesh, rules),
    train=config.TrainConfig(batch=16, weight_decay=0.1),
  )
  for name, value in more.items():
    part, _, key = name.partition(".")
    run = config.replace(run, part, **{key: value})
  return request.make_request(run, "v3:2x2", program, rows=8)


def _paper_request(
  size: str, topology: str, program: str
) -> request.CompileRequest:
  one = request.make_request(paper.run(size), topology, program, "execute")
  run = config.replace(
    reduced_run.reduce_request(one).run, "mesh", precision="bfloat16"
  )
  return request.make_request(run, topology, program, rows=8)


def compile_all() -> None:
  """Answers the requests on stdin, one JSON line each; in .venv-tpu."""
  answers = [
    _compile(request.CompileRequest.from_json(line))
    for line in sys.stdin.read().splitlines()
  ]
  print()
  for answer in answers:
    print(json.dumps(answer), flush=True)


def _compile(asked: request.CompileRequest) -> list[dict[str, Any]]:
  """The programs of a request, lowered and compiled."""
  from flan_tf.model.run_mesh import run_layout
  from flan_tf.tpu_plan.compiler import compile, programs
  from flan_tf.tpu_plan.compiler.abstract_devices import open_abstract_devices
  from flan_tf.tpu_plan.compiler.lower import lower_program

  layout = run_layout(asked.run.mesh)
  devices = open_abstract_devices(layout.cores)
  specs, _ = programs.request_programs(asked, devices)
  answers = []
  for spec in specs:
    lowered = lower_program(devices, spec.program, spec.feeds)
    compiled = compile.compile_program(lowered, asked.topology, layout)
    answers.append(
      {
        "times": spec.times,
        **_stablehlo_digests(compile.to_stablehlo(lowered)),
        "refused": compiled.refused,
        "hbm": dict(compiled.hbm),
        "flops": compiled.flops,
        "bytes_accessed": compiled.bytes_accessed,
        "cycles": compiled.cost.cycles,
        "sent": dict(sorted(compiled.cost.wire_bytes.items())),
        "collectives": dict(sorted(compiled.cost.collectives.items())),
      }
    )
  return answers


def _stablehlo_digests(serialized: bytes) -> dict[str, Any]:
  """Digests of a module, without metadata and without its names.

  "program" is of its text, with symbols numbered in their order. "structure"
  does not depend on the order of operations that do not depend on each other.
  "operations" are counts, which tell two programs apart at a glance.
  """
  from jax._src.interpreters import mlir
  from jax._src.lib.mlir import ir  # pyright: ignore

  with mlir.make_ir_context():
    module = ir.Module.parse(serialized)
    text = module.operation.get_asm(enable_debug_info=False)
    structure = _Structure(module.body.operations, ir)
    return {
      "program": _digest(without_names(text)),
      "structure": structure.of_function("main"),
      "operations": _counts(structure.operations),
    }


def without_names(text: str) -> str:
  """The text of a module, its symbols numbered in order of appearance."""
  numbers: dict[str, int] = {}

  def number(found: re.Match) -> str:
    return f"@{numbers.setdefault(found.group(), len(numbers))}"

  return re.sub(r'@(?:"[^"]*"|[\w.$-]+)', number, text)


class _Structure:
  """Digests of MLIR functions in which the order of operations is free.

  Attributes:
    operations: how many of each kind there are.
  """

  def __init__(self, functions: Iterable, ir):
    self._ir = ir
    self._functions = {f.attributes["sym_name"].value: f for f in functions}
    self._known: dict[str, str] = {}
    self.operations: collections.Counter[str] = collections.Counter()

  def of_function(self, name: str) -> str:
    if name not in self._known:
      function = self._functions[name]
      given = [
        str(function.attributes[key])
        for key in ("function_type", "arg_attrs")
        if key in function.attributes
      ]
      inside = map(self._region, function.regions)
      self._known[name] = _digest(*given, *inside)
    return self._known[name]

  def _region(self, region, outer: Mapping[Any, str] | None = None) -> str:
    found = []
    for block in region.blocks:
      values = dict(outer or {})
      values |= {x: f"argument {i}" for i, x in enumerate(block.arguments)}
      found += [self._operation(op, values) for op in block.operations]
    # The last operation, which returns, hangs on the results' order.
    return _digest(*sorted(found))

  def _operation(self, op, values: dict[Any, str]) -> str:
    op = op.operation
    self.operations[op.name] += 1
    made = _digest(
      op.name,
      *sorted(self._attributes(op)),
      *(str(result.type) for result in op.results),
      *(values[operand] for operand in op.operands),
      *(self._region(region, values) for region in op.regions),
    )
    values |= {x: f"{made} {i}" for i, x in enumerate(op.results)}
    return made

  def _attributes(self, op) -> Iterator[str]:
    for name in op.attributes:
      name = getattr(name, "name", name)
      value = op.attributes[name]
      if self._ir.FlatSymbolRefAttr.isinstance(value):
        symbol = self._ir.FlatSymbolRefAttr(value).value
        yield f"{name}={self.of_function(symbol)}"
      elif name != "channel_handle":
        yield f"{name}={value}"


# Graphs for CPUs.


@dataclasses.dataclass(frozen=True)
class _Noting(Devices):
  """Devices that keep the graphs of all programs that run on them."""

  graphs: list = dataclasses.field(default_factory=list)

  def compile_program(self, made, jit_compile: bool) -> Callable:
    run = super().compile_program(made, jit_compile)

    def call(*args):
      graph = run.get_concrete_function(*args)
      if all(graph is not known for known in self.graphs):
        self.graphs.append(graph)
      return run(*args)

    return call


def cpu_program() -> dict[str, Any]:
  """Digests of the graphs that train, score and decode on CPUs."""
  light = {"recompute": "light", "weight_decay": 0.1}
  adapted = config.AdapterConfig(lora_rank=2, soft_prompt=3)
  qwen, gemma = toys.FAMILIES["qwen2"], toys.FAMILIES["gemma2"]
  return {
    "train, data:2;model:2": _train_graphs("data:2;model:2", toys.MODEL),
    "train, one core": _train_graphs("", gemma, **light),
    "train, adapters": _train_graphs("", qwen, adapted, microbatches=2),
    "score": _answer_graphs(_score),
    "decode": _answer_graphs(_decode),
    "decode, drawn": _answer_graphs(_decode, temperature=0.7, top_k=5),
    "decode, beams": _answer_graphs(_decode, beams=2),
  }


def _train_graphs(
  mesh: str,
  model: config.ModelConfig,
  adapter: config.AdapterConfig = config.AdapterConfig(),  # noqa: B008, frozen
  **train,
) -> list[dict[str, Any]]:
  from flan_tf.training.step import TrainStep

  run = config.replace(toys.run_config(mesh, **train), "model", layers=1)
  model = dataclasses.replace(model, layers=1)
  run = dataclasses.replace(run, model=model, adapter=adapter)
  devices = _noting(mesh)
  step = TrainStep(devices, toys.mesh(mesh)[1], run)
  step(toys.batch(8, 16), 1, 1e-2)
  return [_graph_digest(graph) for graph in devices.graphs]


def _answer_graphs(ask: Callable, **how) -> list[dict[str, Any]]:
  from flan_tf.inference import language_model

  devices = _noting("")
  run = config.replace(toys.run_config(), "data", length=192)
  vocabulary = toys.Vocabulary(bos_id=2)
  # The graphs need the model's variables, so it must outlive their digests.
  model = language_model.LanguageModel(run, vocabulary, 4, devices)
  ask(model, **how)
  return [_graph_digest(graph) for graph in devices.graphs]


def _score(model) -> None:
  """Scores options behind short prompts, and behind long ones that share."""
  shared = np.arange(2, 82)
  prompts = [np.append(shared, shared[:n]) for n in range(12, 20)]
  model.score_options([shared[:7], shared[:3]], [[shared[:2]]] * 2)
  options = [[shared[:2], shared[3:4]]] * len(prompts)
  model.score_options(prompts, options)


def _decode(model, **how) -> None:
  ids = np.arange(2, 9)
  wanted = sampling.Sampling(**how)
  model.continuations([ids, ids[:3]], 4, (-1,), sampling=wanted)


def _noting(mesh: str) -> _Noting:
  devices, _ = toys.mesh(mesh)
  return _Noting(devices.strategy, devices.platform, devices.cores)


def _graph_digest(concrete) -> dict[str, Any]:
  """What a traced function computes, without names and order."""
  made = concrete.graph.as_graph_def()
  library = _Library(made.library)
  names = {
    id(variable.handle): variable.name for variable in concrete.variables
  }
  leaves = {}
  for number, tensor in enumerate(concrete.inputs):
    leaves[tensor.op.name] = f"input {number}"
  for outer, inner in concrete.graph.captures:
    leaves[inner.op.name] = names.get(id(outer), "captured")
  nodes = library.digests(made.node, leaves)
  outputs = [_reference(x.name, nodes) for x in concrete.outputs]
  return {
    "nodes": len(made.node),
    "graph": _digest(*sorted(nodes.values()), *outputs),
    "operations": _counts(collections.Counter(node.op for node in made.node)),
  }


class _Library:
  """Digests of graphs and of the functions that they call."""

  def __init__(self, library):
    self._functions = {f.signature.name: f for f in library.function}

  @functools.cache  # noqa: B019, a library lives as long as its digests
  def of_function(self, name: str) -> str:
    made = self._functions[name]
    arguments = made.signature.input_arg
    leaves = {arg.name: f"input {i}" for i, arg in enumerate(arguments)}
    nodes = self.digests(made.node_def, leaves)
    returned = [
      _reference(made.ret[arg.name], nodes) for arg in made.signature.output_arg
    ]
    return _digest(*sorted(nodes.values()), *returned)

  def digests(self, nodes, leaves: Mapping[str, str]) -> dict[str, str]:
    """Each node by its name; it hangs on all that leads to it."""
    by_name = {node.name: node for node in nodes}
    found = dict(leaves)
    below = {name: map(_node_of, node.input) for name, node in by_name.items()}
    for name in graphlib.TopologicalSorter(below).static_order():
      if name not in found:
        found[name] = self._node(by_name[name], found)
    return found

  def _node(self, node, found: Mapping[str, str]) -> str:
    data = [x for x in node.input if not x.startswith("^")]
    control = [x for x in node.input if x.startswith("^")]
    attributes = [
      f"{name}={self._attribute(value)}"
      for name, value in sorted(node.attr.items())
      if not name.startswith("_")
    ]
    return _digest(
      node.op,
      node.device,
      *attributes,
      *(_reference(x, found) for x in data),
      *sorted(_reference(x, found) for x in control),
    )

  def _attribute(self, value) -> str:
    kind = value.WhichOneof("value")
    called = value.list.func if kind == "list" else []
    called = [value.func] if kind == "func" else called
    if called:
      return _digest(*(self.of_function(f.name) for f in called))
    return value.SerializeToString(deterministic=True).hex()


def _node_of(reference: str) -> str:
  return reference.lstrip("^").partition(":")[0]


def _reference(reference: str, found: Mapping[str, str]) -> str:
  """An output of a node: "^n" is its end, "n" and "n:0" are its first."""
  node, _, output = reference.lstrip("^").partition(":")
  end = "end" if reference.startswith("^") else output or "0"
  return f"{found[node]} {end}"


# Token ids.

SEPARATORS = ("flan", "plain", "newline", "blank", "chat")
CHAT = config.ChatConfig("User: ", "\nAnswer: ", "\n")
_ROWS = 2
_LENGTHS = {"input_length": 64, "target_length": 16, "length": 80}
_LONG = ("Is it so? " * 30, "It is not. " * 30)


def token_ids() -> dict[str, Any]:
  """Ids of training examples and of evaluation requests, as texts."""
  from flan_tf.vocab.load import load_vocabulary
  from tests.helpers import byte_pairs

  with _opened() as made:
    texts = _texts(made)
    vocabularies = {
      "sentencepiece": load_vocabulary(made.vocabulary),
      "byte pairs": byte_pairs.train(texts),
      "byte pairs, start": byte_pairs.train(texts, "llama3", adds_bos=True),
    }
    return {
      f"{kind}, {separator}, soft prompt of {soft_prompt}": {
        "training": _training_ids(made, pieces, separator, soft_prompt),
        "evaluation": _evaluation_ids(made, pieces, separator, soft_prompt),
      }
      for kind, pieces in vocabularies.items()
      for separator in SEPARATORS
      for soft_prompt in (0, 3)
    }


def _texts(made: tiny.Tiny) -> list[str]:
  from flan_tf.data import language_model

  chosen = registry.TaskRegistry(tasks.ALL).select(tiny.TASKS)
  return list(language_model.read_training_texts(chosen, made.data_dir))


def _id_run(separator: str, soft_prompt: int) -> config.RunConfig:
  run = config.replace(toys.run_config(), "model", layers=1, vocab=512)
  return dataclasses.replace(
    run,
    data=config.DataConfig(separator=separator, **_LENGTHS),
    adapter=config.AdapterConfig(soft_prompt=soft_prompt),
    chat=CHAT if separator == "chat" else config.ChatConfig(),
  )


def _training_ids(
  made: tiny.Tiny, vocabulary, separator: str, soft_prompt: int
) -> dict[str, Any]:
  """The first examples of a task, and the first row of packed ones."""
  from flan_tf.training import starting_point, training_data

  run = _id_run(separator, soft_prompt)
  resolved = starting_point.ResolvedRun(run, vocabulary, None, False)
  chosen = registry.TaskRegistry(tasks.ALL).select(tiny.TASKS)
  tables, report = training_data.load_tables(resolved, chosen, made.data_dir)
  table = tables["rte"]
  batch = next(iter(training_data.open_batches(resolved, tables, report)))
  features = {name: _spelt(x) for name, x in sorted(batch.features.items())}
  return {
    "examples": [_spelt(table.example(index)) for index in range(_ROWS)],
    "prompt_lengths": _spelt(table.prompt_lengths),
    "all": _digest(_spelt(table.ids)),
    "row": _spelt(batch.features["inputs"][0]),
    "features": {name: _digest(x)[:16] for name, x in features.items()},
    "counts": {task.name: _counts(task.counts) for task in report.tasks},
  }


def _evaluation_ids(
  made: tiny.Tiny, vocabulary, separator: str, soft_prompt: int
) -> list[dict[str, Any]]:
  """Prompts as the model reads them, and their options."""
  from flan_tf.data import requests
  from flan_tf.inference import loaded_model

  run = _id_run(separator, soft_prompt)
  model = loaded_model.LoadedModel(run, vocabulary, 2, toys.mesh("")[0])
  prompt_format = model.prompt_format
  asked = _asked(made)
  return [
    {
      "prompt": _spelt(prompt_format.context_tokens(item.prompt)),
      "options": [_spelt(ids) for ids in item.options],
      "trimmed": bool(item.trimmed),
    }
    for item in requests.encode_requests(asked, prompt_format)
  ]


def _asked(made: tiny.Tiny) -> list:
  """Requests with options and without, the last of them too long."""
  from flan_tf.data import opened_tasks, requests

  asked = []
  for name in ("rte", "gigaword"):
    task = registry.TaskRegistry(tasks.ALL).get(name)
    (item,), _ = opened_tasks.open_tasks([task], made.data_dir)
    rows = requests.read_evaluation_rows(task, item.dataset, item.ranges.test)
    asked += requests.render_requests(task, rows.rows[:_ROWS], 0)
  prompt, option = _LONG
  long = requests.Request(
    requests.Example(0, (option,), (option, "no"), 0), prompt
  )
  return [*asked, long]


# Files of a small run.

_STEPS, _KEPT_EVERY, _EXAMPLES = 4, 2, 3
# Takes the place of a checkpoint's fingerprint, which depends on its folder.
_WEIGHTS = "(fingerprint)"
# In a log of predictions and in data.json; they depend on the folder, too.
_CHECKSUM = re.compile(r'("(?:sha256|base_fingerprint)": ")[0-9a-f]+')


def small_run() -> dict[str, Any]:
  """The files of two short trainings, and of evaluations of the second.

  The second trains adapters on top of the first one's weights.
  """
  with _opened() as made:
    base, tuned = made.folder / "base", made.folder / "tuned"
    steps = {"train__steps": _STEPS, "train__save_every": _KEPT_EVERY}
    adapters = {"adapter__lora_rank": 2, "adapter__soft_prompt": 2}
    made.train(made.run(**steps), base)
    made.train(made.run(**steps, **adapters, train__init_from=str(base)), tuned)
    few = {"shots": 1, "score": "unconditional", "wording": "no_template"}
    return {
      "base": _saved(made, base),
      "tuned": _saved(made, tuned),
      "evaluated": _evaluated(made, base, "base"),
      "evaluated, tuned": _evaluated(made, tuned, "tuned", **few),
    }


def _saved(made: tiny.Tiny, workdir: pathlib.Path) -> dict[str, Any]:
  """The newest checkpoint of a workdir."""
  import tensorflow as tf

  from flan_tf.checkpoints import checkpoint_dirs

  path = pathlib.Path(checkpoint_dirs.find(str(workdir)))
  reader = tf.train.load_checkpoint(str(path / "state"))
  files = (p for p in workdir.rglob("*") if "logs" not in p.parts)
  return {
    "files": sorted(
      re.sub(r"tfevents\..*", "tfevents", str(p.relative_to(workdir)))
      for p in files
      if p.is_file()
    ),
    "shapes": {
      name: str(shape)
      for name, shape in sorted(reader.get_variable_to_shape_map().items())
    },
    "sha256": {
      name: _digest(reader.get_tensor(name).tobytes())
      for name in sorted(reader.get_variable_to_shape_map())
    },
    "run.json": _read(path / "run.json", made),
    "data.json": _read(path / "data.json", made),
  }


def _evaluated(
  made: tiny.Tiny, workdir: pathlib.Path, label: str, **settings
) -> dict[str, Any]:
  """results.json, and the log of predictions."""
  from flan_tf.checkpoints import checkpoint_dirs
  from flan_tf.eval import evaluation_config, protocol
  from flan_tf.inference import language_model

  output = made.folder / f"evaluated {label}"
  found = protocol.evaluate(
    language_model.LanguageModel.load(str(workdir), batch=8),
    label,
    checkpoint_dirs.find(str(workdir)),
    registry.TaskRegistry(tasks.ALL).select(["rte", "sst2", "gigaword"]),
    made.data_dir,
    evaluation_config.EvaluationConfig(
      max_examples=_EXAMPLES, templates=(0, 3), **settings
    ),
    str(output),
  )
  found.write_json(str(output / "results.json"))
  results = _read(output / "results.json", made)
  del results["time"]
  weights = results["run"]["weights"]
  results["run"]["weights"] = _WEIGHTS
  logs = {
    str(path.relative_to(output)): [
      json.loads(line.replace(weights, _WEIGHTS))
      for line in _plain(path, made).splitlines()
    ]
    for path in sorted(output.rglob("*.jsonl"))
  }
  return {"results.json": results, **logs}


def _read(path: pathlib.Path, made: tiny.Tiny) -> Any:
  return json.loads(_plain(path, made))


def _plain(path: pathlib.Path, made: tiny.Tiny) -> str:
  """The text of a file without what depends on the temporary folder."""
  text = path.read_text(encoding="utf-8").replace(str(made.folder), "FOLDER")
  return _CHECKSUM.sub(r"\1(digest)", text)


# What the pins share.


class _opened:
  """A context with prepared rows and a vocabulary in a temporary folder."""

  def __enter__(self) -> tiny.Tiny:
    toys.open_cores()
    self._made = tiny.Tiny()
    self._made.open()
    return self._made

  def __exit__(self, *unused) -> None:
    self._made.close()


def _digest(*parts: str | bytes) -> str:
  whole = hashlib.sha256()
  for part in parts:
    part = part.encode() if isinstance(part, str) else part
    whole.update(hashlib.sha256(part).digest())
  return whole.hexdigest()


def _spelt(values: Any) -> str:
  return " ".join(f"{value:g}" for value in np.ravel(values).tolist())


def _counts(of: Mapping[str, int]) -> str:
  return ", ".join(f"{count} {name}" for name, count in sorted(of.items()))


PINS: dict[str, Callable[[], dict[str, Any]]] = {
  "token_ids": token_ids,
  "cpu_program": cpu_program,
  "small_run": small_run,
  "tpu_programs": tpu_programs,
}


def measure(names: Sequence[str]) -> dict[str, Any]:
  """The pins of these names, as they are read back from JSON."""
  toys.open_cores()
  return {name: json.loads(json.dumps(PINS[name]())) for name in names}


def differences(
  before: Any, now: Any, exact: bool = True, path: str = ""
) -> Iterator[str]:
  """A line for each value that differs, with the keys that lead to it.

  Args:
    before: JSON values.
    now: JSON values.
    exact: whether floats must be equal, and what depends on the machine too.
    path: the keys that lead to both.
  """
  if isinstance(before, dict) and isinstance(now, dict):
    for key in dict.fromkeys([*before, *now]):
      if exact or key not in _OF_THE_MACHINE:
        one, other = (x.get(key, "(missing)") for x in (before, now))
        yield from differences(one, other, exact, f"{path} > {key}")
  elif isinstance(before, list) and isinstance(now, list):
    if len(before) != len(now):
      yield f"{path}: {len(before)} items before, {len(now)} now"
    for index, (one, other) in enumerate(zip(before, now, strict=False)):
      yield from differences(one, other, exact, f"{path} > {index}")
  elif not _equal(before, now, exact):
    yield f"{path}\n    before: {before!r}\n    now:    {now!r}"


def _equal(before: Any, now: Any, exact: bool) -> bool:
  if exact or not isinstance(before, float) or not isinstance(now, float):
    return before == now
  return math.isclose(before, now, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def write(path: str | os.PathLike, values: Any) -> None:
  text = json.dumps(values, indent=1, ensure_ascii=False)
  pathlib.Path(path).write_text(f"{text}\n", encoding="utf-8")


def read(path: str | os.PathLike) -> Any:
  return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--record", help="the file to write")
  parser.add_argument("--compare", help="a file that --record wrote")
  parser.add_argument("--update_golden", action="store_true")
  parser.add_argument("--only", default=",".join(PINS), help="pins to measure")
  given = parser.parse_args()
  names = given.only.split(",")
  record = GOLDEN if given.update_golden else given.record
  if unknown := set(names) - set(PINS):
    parser.error(f"unknown pins {sorted(unknown)}; known: {', '.join(PINS)}")
  if bool(record) == bool(given.compare):
    parser.error("give one of --record, --compare and --update_golden")
  found = measure(names)
  if record:
    kept = given.update_golden and GOLDEN.exists()
    write(record, {**(read(GOLDEN) if kept else {}), **found})
    return
  before = read(given.compare)
  lines = list(differences({name: before[name] for name in names}, found))
  print(*lines, f"{len(lines)} differences", sep="\n")
  sys.exit(bool(lines))


if __name__ == "__main__":
  main()
