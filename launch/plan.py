r"""Plans a run on a TPU slice that is not at hand: memory, time, correctness.

  python -m launch.plan --config=launch/configs/flan_137b.py --topology=v3:8x8
  python -m launch.plan --config=launch/configs/flan_8b.py --topology=v3:4x4 \
      --search
  python -m launch.plan --config=launch/configs/flan_8b.py --topology=v4:2x2x2 \
      --config.mesh.shape='data:2;model:8' --programs=train --json
  python -m launch.plan --table=v3 [--compile]

Lowers the programs that training, scoring and decoding run on every core,
compiles them with the TPU compiler for the slice, and prints its results: HBM
by kind against the limit, FLOPs, bytes sent between cores, and estimated time.
Nothing runs on a TPU. If a program does not fit, the exit status is 1, and
settings that fit are suggested.

--search compiles other meshes and layouts and ranks them.

--execute runs the programs on virtual cores of this machine and compares the
results with those of one device. Large models are executed with few layers and
small dimensions, large meshes with at most 16 cores; the output says so.

--table prints the paper's model sizes against numbers of cores. Cells that were
compiled before show the compiler's results, the others an estimate of a cost
model, which is marked. --compile compiles those cells, too: hours in all. It
can be interrupted and started again.

The compiler has an environment of its own, .venv-tpu, which is made at first
use. Its results are kept below $FLAN_CACHE (~/.cache/flan_tf), so that the same
plan takes no time again.
"""

import os
import sys

from absl import flags

from flan_tf import name_lists
from flan_tf.api import cache
from flan_tf.tpu_plan import chips, reduced_run, request
from flan_tf.tpu_plan.planner import (
  compiler_process,
  ranking,
  report_cache,
  scaling,
  scaling_table,
  search,
  step_estimate,
  suggestions,
  summary,
  summary_text,
)
from flan_tf.tpu_plan.request import CompileRequest
from launch import cli
from launch.configs import paper

_CONFIG = cli.define_config()
_TOPOLOGY = flags.DEFINE_string(
  "topology",
  "",
  "TPU slice: generation and chips in each dimension, e.g. v3:8x8 or v4:4x4x4.",
)
_PROGRAMS = flags.DEFINE_list(
  "programs",
  list(request.PROGRAMS),
  "Programs to plan: train, score, decode. --search plans the first one.",
)
_ROWS = flags.DEFINE_integer(
  "rows", 16, "Batch size of the score and decode programs.", 1
)
_SEARCH = flags.DEFINE_bool(
  "search", False, "Compile other meshes and layouts, and rank them."
)
_SEARCH_LIMIT = flags.DEFINE_integer(
  "search_limit",
  None,
  "Number of candidates to compile at most, the most promising first. Default:"
  " 8 for --search; 3 for each cell of --table --compile, which stops at the"
  " first that fits.",
  1,
)
_EXECUTE = flags.DEFINE_bool(
  "execute",
  False,
  "Run the programs on virtual cores and compare the results with one device.",
)
_TABLE = flags.DEFINE_string(
  "table",
  "",
  "Print model sizes against numbers of cores of this TPU generation, e.g. v3.",
)
_COMPILE = flags.DEFINE_bool(
  "compile",
  False,
  "With --table: compile cells that were never compiled. Without it, they show"
  " an estimate of the cost model.",
)
_SIZES = flags.DEFINE_list(
  "sizes", list(paper.SIZES), "Model sizes of --table."
)
_CORES = flags.DEFINE_list(
  "cores", list(scaling.CORES), "Numbers of cores of --table."
)
_JSON = flags.DEFINE_bool("json", False, "Print the result as a JSON object.")


def main() -> None:
  if _TABLE.value:
    _print_table()
    return
  if _COMPILE.value:
    raise ValueError(
      "--compile belongs to --table, e.g. --table=v3 --compile. Other plans are"
      " always compiled."
    )
  run = cli.resolve(_CONFIG.value)
  if not _TOPOLOGY.value:
    raise ValueError("--topology is missing, e.g. v3:8x8 for 128 cores of v3.")
  tpu_slice = chips.parse_topology(_TOPOLOGY.value)
  if not run.model.vocab:
    _log(
      "model.vocab is 0. The plan uses a vocabulary of"
      f" {request.DEFAULT_VOCAB:,} tokens."
    )
  mode = "execute" if _EXECUTE.value else "compile"
  requests = [
    request.make_request(run, str(tpu_slice), program, mode, _ROWS.value)
    for program in _PROGRAMS.value
  ]
  if not requests:
    raise ValueError(
      "--programs is empty. Expected one or more of train, score, decode."
    )
  if _SEARCH.value and _EXECUTE.value:
    raise ValueError(
      "--search and --execute exclude each other: --search ranks compiled"
      " meshes, --execute runs the mesh of the run."
    )
  if _SEARCH.value:
    _print_search(requests[0], run.train.steps)
  else:
    _print_plan(requests, run.train.steps)


def _print_plan(requests: list[CompileRequest], steps: int) -> None:
  """Plans programs with the run's own mesh; exits with 1 unless all fit."""
  for one in requests:
    search.check_divides(one)
  compiler = _open_cache()
  summaries = []
  for one in requests:
    report = compiler(one)
    estimate = step_estimate.estimate_step(one, report, steps)
    summaries.append(summary.ProgramSummary(one, report, estimate))
  found = []
  for refused in (s for s in summaries if not s.report.fits):
    _log(
      f"{refused.request.program} does not fit. Compiling at most"
      f" {suggestions.MAX_COMPILED} other settings."
    )
    found.append(suggestions.suggest_fitting(refused.request, compiler, steps))
  if _JSON.value:
    values = summary.to_dict(summaries)
    values["would_fit"] = [suggestion.to_dict() for suggestion in found]
    print(summary.to_json(values))
  else:
    print(summary_text.to_text(summaries, steps))
    for suggestion in found:
      print(f"\n{suggestion.to_text()}")
  if found or any(s.differs for s in summaries):
    sys.exit(1)


def _print_search(one: CompileRequest, steps: int) -> None:
  """Ranks meshes and layouts; exits with 1 if none fits."""
  result = search.search_meshes(
    one, _open_cache(), _SEARCH_LIMIT.value or 8, steps
  )
  if _JSON.value:
    print(summary.to_json(ranking.to_dict(result)))
  else:
    print(ranking.to_text(result))
  if result.best is None:
    sys.exit(1)


def _print_table() -> None:
  """Prints the scaling table, each row as soon as it is known."""
  if _TABLE.value not in chips.GENERATIONS:
    raise ValueError(
      name_lists.unknown_name("TPU generation", _TABLE.value, chips.GENERATIONS)
    )
  for size in _SIZES.value:
    if size not in paper.SIZES:
      raise ValueError(name_lists.unknown_name("size", size, paper.SIZES))
  if not all(str(cores).isdecimal() for cores in _CORES.value):
    raise ValueError(
      f"--cores: expected whole numbers, e.g. 8,16, got {_CORES.value}."
    )
  compiler = _open_cache()
  cells = scaling.plan_cells(
    {size: paper.run(size) for size in _SIZES.value},
    chips.GENERATIONS[_TABLE.value],
    compiler=compiler,
    cores=[int(cores) for cores in _CORES.value],
    max_compiled=_SEARCH_LIMIT.value or 3,
    lookup=None if _COMPILE.value else compiler.lookup,
  )
  # With --json, the rows show the progress on stderr.
  made = scaling_table.to_markdown(cells, _log if _JSON.value else _print_now)
  if _JSON.value:
    print(summary.to_json(scaling_table.to_dict(made)))


def _open_cache() -> report_cache.ReportCache:
  folder = os.path.join(cache.folder(), "plans")
  return report_cache.ReportCache(
    folder, compiler_process.run_request, on_compile=_log_request
  )


def _log_request(one: CompileRequest) -> None:
  if one.mode == "execute":
    reduced = reduced_run.describe_reduced_run(one)
    _log(f"Executing {one.program} as {reduced}: about a minute.")
    return
  train = one.run.train
  options = ""
  if one.program == "train":
    options = f", {train.batch} rows, recomputes {train.recompute}"
    if train.microbatches > 1:
      options += f", {train.microbatches} microbatches"
  _log(
    f"Compiling {one.program} for {one.topology}, mesh"
    f" {one.run.mesh.shape or 'one core'} [{one.run.mesh.layout}]{options}:"
    " minutes for large models."
  )


def _log(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


def _print_now(text: str) -> None:
  print(text, flush=True)


def run() -> None:
  """Runs the console script `flan-plan`."""
  cli.run(
    main, tensorflow=False, again="compiles only what is not compiled yet"
  )


if __name__ == "__main__":
  run()
