"""What a run would need and take on a TPU slice that is not at hand.

  python -m launch.plan --config=launch/configs/flan_137b.py --topology=v3:8x8
  python -m launch.plan --config=launch/configs/flan_8b.py --topology=v3:4x4 \
      --search
  python -m launch.plan --config=launch/configs/flan_8b.py --topology=v4:2x2x2 \
      --config.mesh.shape='data:2;model:8' --programs=train --json
  python -m launch.plan --table=v3 [--compile]

Lowers the very programs that training, scoring and decoding run on every core,
compiles them with the TPU compiler for the slice, and says what it answered:
memory by kind against the limit, work, what the cores exchange, and an estimate
of the time. Nothing runs on a TPU. Where something does not fit, the exit
status is 1, and what would fit is looked for.

--search tries other meshes and layouts and ranks them; --execute runs the
programs on virtual cores of this machine and compares them with one device (a
large model's with few layers, and a large mesh's on 16 cores, which it says);
--table prints the paper's sizes against numbers of cores: what was planned
before as the compiler answered, the rest estimated by hand and marked so;
--compile asks the compiler for the rest, hours in all, and may be stopped and
called again. The compiler has an environment of its own, .venv-tpu, which is
made at first use. Answers are kept below $FLAN_CACHE (~/.cache/flan_tf), so
that a second call is instant.
"""

import os
import sys
from typing import Any

from absl import flags

from flan_tf import name_lists
from flan_tf.tpu_plan import chips, reduced_run, request
from flan_tf.tpu_plan.planner import (
  answer_cache,
  compiler_process,
  flop_counts,
  ranking,
  scaling,
  scaling_table,
  search,
  suggestions,
  summary,
)
from launch import cli, own_rows
from launch.configs import paper

_CONFIG = cli.define_config()
_TOPOLOGY = flags.DEFINE_string(
  "topology", "", "The slice: generation and chips, e.g. v3:8x8 or v4:4x4x4."
)
_PROGRAMS = flags.DEFINE_list(
  "programs", list(request.PROGRAMS), "What to plan; --search takes the first."
)
_ROWS = flags.DEFINE_integer(
  "rows", 16, "Prompts that are scored, or gone on with, at once.", 1
)
_SEARCH = flags.DEFINE_bool(
  "search", False, "Try the meshes and layouts that divide, and rank them."
)
_SEARCH_LIMIT = flags.DEFINE_integer(
  "search_limit",
  None,
  "Most candidates to compile, the likeliest first: 8 for --search; 3 in each"
  " cell of --table --compile, which stops at the first that fits.",
  1,
)
_EXECUTE = flags.DEFINE_bool(
  "execute", False, "Run the programs on virtual cores, beside one device."
)
_TABLE = flags.DEFINE_string(
  "table", "", "Sizes against cores of a TPU generation, e.g. v3 or v4."
)
_COMPILE = flags.DEFINE_bool(
  "compile",
  False,
  "Compile what --table has no answer for yet, instead of an estimate by hand.",
)
_SIZES = flags.DEFINE_list("sizes", list(paper.SIZES), "Of --table.")
_CORES = flags.DEFINE_list("cores", list(scaling.CORES), "Of --table.")
_JSON = flags.DEFINE_bool("json", False, "Answer as one JSON object.")


def main() -> None:
  if _TABLE.value:
    _table()
    return
  if _COMPILE.value:
    raise ValueError(
      "--compile is what --table does with cells that it has no answer for:"
      " give --table, e.g. --table=v3. Else everything is compiled anyway."
    )
  run = cli.resolve(_CONFIG.value)
  if not _TOPOLOGY.value:
    raise ValueError("--topology is missing, e.g. v3:8x8 for 128 cores of v3.")
  where = chips.parse_topology(_TOPOLOGY.value)
  if not run.model.vocab:
    _say(f"model.vocab is 0: planned with {request.VOCAB:,} tokens.")
  what = "execute" if _EXECUTE.value else "compile"
  asked = [
    request.ask(run, str(where), program, what, _ROWS.value)
    for program in _PROGRAMS.value
  ]
  if not asked:
    raise ValueError("--programs names none; known: train, score, decode.")
  if _SEARCH.value and _EXECUTE.value:
    raise ValueError(
      "--search ranks what the compiler says, --execute runs one mesh: give one"
      " of them."
    )
  if _SEARCH.value:
    _search(asked[0], run.train.steps)
  else:
    _plan(asked, run.train.steps)


def _plan(asked: list[request.CompileRequest], steps: int) -> None:
  """Each program as the run has it; exits with 1 unless all fit."""
  for one in asked:
    _check_divides(one)
  compiled = _cache()
  verdicts = []
  for one in asked:
    answer = compiled(one)
    estimate = flop_counts.estimate(one, answer, steps)
    verdicts.append(summary.Verdict(one, answer, estimate))
  refused = [v for v in verdicts if not v.answer.fits]
  remedies = [_remedy(v.asked, compiled, steps) for v in refused]
  if _JSON.value:
    whole = summary.to_dict(verdicts)
    print(summary.to_json(whole | {"would_fit": [d for d, _ in remedies]}))
  else:
    print(summary.to_text(verdicts, steps))
    for _, text in remedies:
      print(f"\n{text}")
  if refused or any(v.differs for v in verdicts):
    sys.exit(1)


def _remedy(
  asked: request.CompileRequest, compiled: answer_cache.AnswerCache, steps: int
) -> tuple[dict[str, Any], str]:
  """What would fit in a program's place, for programs and for people."""
  _say(f"{asked.program} does not fit. Looking for what does: two tries.")
  best, tried = suggestions.would_fit(asked, compiled, steps)
  if best is None:
    text = (
      f"{asked.program}: nothing that fits was found in {len(tried)} tries."
      " --search looks further."
    )
    return {"program": asked.program, "found": False, "tried": len(tried)}, text
  would = best.candidate.asked
  flags_text = search.flags(would)
  text = (
    f"{asked.program}: this would fit"
    f" ({best.answer.hbm_bytes_per_core / 2**30:.2f} GiB a core,"
    f" {best.answer.estimated_step_seconds:.3g} s):\n"
    f"  --topology={would.topology} {flags_text}"
  )
  return {
    "program": asked.program,
    "found": True,
    "tried": len(tried),
    "topology": would.topology,
    "flags": flags_text,
    "hbm_bytes_per_core": best.answer.hbm_bytes_per_core,
    "estimated_step_seconds": best.answer.estimated_step_seconds,
  }, text


def _search(asked: request.CompileRequest, steps: int) -> None:
  """Ranks meshes and layouts; exits with 1 if none fits."""
  found = search.search(asked, _cache(), _SEARCH_LIMIT.value or 8, steps)
  if _JSON.value:
    print(summary.to_json(ranking.to_dict(found)))
  else:
    print(ranking.to_text(found))
  if found.best is None:
    sys.exit(1)


def _table() -> None:
  """The scaling table, row by row; what was planned before is not again."""
  plans = _cache()
  if _TABLE.value not in chips.GENERATIONS:
    raise ValueError(
      name_lists.unknown_name("TPU generation", _TABLE.value, chips.GENERATIONS)
    )
  for size in _SIZES.value:
    if size not in paper.SIZES:
      raise ValueError(name_lists.unknown_name("size", size, paper.SIZES))
  if not all(str(cores).isdecimal() for cores in _CORES.value):
    raise ValueError(f"--cores: expected numbers, got {_CORES.value}.")
  cells = scaling.cells(
    {size: paper.run(size) for size in _SIZES.value},
    chips.GENERATIONS[_TABLE.value],
    plans,
    [int(cores) for cores in _CORES.value],
    _SEARCH_LIMIT.value or 3,
    None if _COMPILE.value else plans.known,
  )
  told = _say if _JSON.value else lambda line: print(line, flush=True)
  made = scaling_table.to_markdown(cells, told)
  if _JSON.value:
    print(summary.to_json(scaling_table.to_dict(made)))


def _check_divides(asked: request.CompileRequest) -> None:
  """Raises ValueError, with meshes that divide, if this one does not."""
  why = search.why_not(asked)
  if not why:
    return
  mesh = asked.run.mesh
  candidates, _ = search.enumerate_all(asked)
  shapes = dict.fromkeys(c.asked.run.mesh.shape for c in candidates)
  fit = ", ".join(f"'{shape}'" for shape in list(shapes)[:5]) or "none"
  hint = "" if asked.program == "train" else " or --rows"
  raise ValueError(
    f"{asked.program}: mesh.shape {mesh.shape!r} with mesh.layout"
    f" {mesh.layout!r} does not divide on {asked.topology}: {why}. Meshes that"
    f" do, the likeliest first: {fit}. Set --config.mesh.shape{hint}, or let"
    " --search look."
  )


def _cache() -> answer_cache.AnswerCache:
  folder = os.path.join(own_rows.cache(), "plans")
  return answer_cache.AnswerCache(folder, compiler_process.compiled, _tell)


def _tell(asked: request.CompileRequest) -> None:
  if asked.what == "execute":
    _say(
      f"Executing {asked.program} as {reduced_run.describe(asked)}: a minute."
    )
    return
  train = asked.run.train
  options = ""
  if asked.program == "train":
    options = f", {train.batch} rows"
    options += f", recomputes {train.recompute}"
    if train.microbatches > 1:
      options += f", {train.microbatches} microbatches"
  _say(
    f"Compiling {asked.program} for {asked.topology}, mesh"
    f" {asked.run.mesh.shape or 'one core'}"
    f" [{asked.run.mesh.layout}]{options}: minutes for large models."
  )


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


def run() -> None:
  """Entry point of `flan-plan`."""
  cli.run(main, tensorflow=False)


if __name__ == "__main__":
  run()
