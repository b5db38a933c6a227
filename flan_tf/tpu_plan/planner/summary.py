"""What a plan says: for programs (`--json`), and for people, on one screen."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from flan_tf.tpu_plan import chips, parameter_count, reduced_run, request
from flan_tf.tpu_plan.planner import flop_counts

# How far an executed program may be off: nats, or of the largest element.
CLOSE = 1e-4

_GIB = 2**30
_BAR = 40  # Characters.
NOTE = (
  "Estimates of the TPU compiler, not measurements: nothing has run on a TPU."
  " In its seconds collectives take no time; with links, they take what their"
  " bytes need on all links of a chip, hidden behind nothing."
)
EXECUTED = (
  "Programs for TPUs, run by XLA on virtual cores of this machine: nothing has"
  " run on a TPU. Losses and log_probs differ in nats, everything else by its"
  " largest element. Biases of keys are left out of weights and slots unless"
  " positions are rotary: their gradients are rounding errors alone."
)
# How a person reads the programs' runs.
_RUNS = {
  "train": "a training step",
  "score": "a call of scoring",
  "decode": "a new token of each row",
}
# A program that is refused has no kinds, but "all".
_MARKS = {
  "all": "#",
  "arguments": "#",
  "outputs": "o",
  "temporaries": "=",
  "code": "c",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
  """One program of a run: what was asked, answered, and what that means."""

  asked: request.CompileRequest
  answer: request.CompileReport
  estimate: flop_counts.StepEstimate

  @property
  def differs(self) -> bool:
    """Whether it was executed, and something is off."""
    # What is not a number is not close.
    return not all(x <= CLOSE for x in self.answer.differences.values())


def to_dict(verdicts: list[Verdict]) -> dict[str, Any]:
  """The keys of one program, those of the first one also at the top."""
  programs = {v.asked.program: _program(v) for v in verdicts}
  return {**programs[verdicts[0].asked.program], "programs": programs}


def to_text(verdicts: list[Verdict], steps: int) -> str:
  """One screen for a terminal."""
  parts = [_heading(verdicts[0].asked)]
  parts += ["\n".join(_lines(verdict, steps)) for verdict in verdicts]
  return "\n\n".join([*parts, _note(verdicts[0].asked)])


def _program(verdict: Verdict) -> dict[str, Any]:
  asked, answer = verdict.asked, verdict.answer
  estimate = verdict.estimate
  by_kind = dict(answer.collective_bytes_per_core)
  mesh = asked.run.mesh
  return {
    "program": asked.program,
    "parameters": answer.parameters,
    "cores": answer.cores,
    "topology": asked.topology,
    "accelerator_type": chips.parse_topology(asked.topology).accelerator_type,
    "mesh": mesh.shape,
    "layout": mesh.layout,
    "recompute": asked.run.train.recompute,
    "microbatches": asked.run.train.microbatches,
    "rows": _rows(asked),
    "length": asked.length,
    "hbm_bytes_per_core": answer.hbm_bytes_per_core,
    "hbm_bytes_by_kind": dict(answer.hbm),
    "hbm_limit_bytes": answer.hbm_limit_bytes,
    "fits": answer.fits,
    "refused": answer.refused,
    "flops_per_core": answer.flops_per_core,
    "bytes_accessed_per_core": answer.bytes_accessed_per_core,
    "collective_bytes_per_core": sum(by_kind.values()),
    "collective_bytes_by_kind": by_kind,
    "collective_seconds": estimate.collective_seconds,
    "collectives_share": estimate.collectives_share,
    "estimated_step_seconds": answer.estimated_step_seconds,
    "estimated_hfu": estimate.hfu,
    "estimated_mfu": estimate.mfu,
    "estimated_tokens_per_second": estimate.tokens_per_second,
    "estimated_days": estimate.days,
    "serial_step_seconds": estimate.serial_seconds,
    "serial_mfu": estimate.serial_mfu,
    "serial_tokens_per_second": estimate.serial_tokens_per_second,
    "serial_days": estimate.serial_days,
    "seconds": dict(answer.seconds),
    "differences": dict(answer.differences),
    "executed": reduced_run.describe(asked) if asked.what == "execute" else "",
    "note": _note(asked),
  }


def _note(asked: request.CompileRequest) -> str:
  return EXECUTED if asked.what == "execute" else NOTE


def _heading(asked: request.CompileRequest) -> str:
  run, model = asked.run, asked.run.model
  where = chips.parse_topology(asked.topology)
  lines = [
    f"{parameter_count.parameters(model):,} parameters: {model.layers} layers, d_model"
    f" {model.d_model:,}, {model.heads} heads of {model.d_kv}, d_ff"
    f" {model.d_ff:,}, {model.vocab:,} tokens; {run.mesh.precision}, weights"
    " float32",
    f"{where} = {where.accelerator_type}: {where.chips:,} chips,"
    f" {where.cores:,} cores, hosts {where.hosts:,}; mesh"
    f" {run.mesh.shape or 'one core'} [{run.mesh.layout}]",
  ]
  return "\n".join(lines)


def _lines(verdict: Verdict, steps: int) -> Iterator[str]:
  asked, answer = verdict.asked, verdict.answer
  estimate = verdict.estimate
  rows = f"{_rows(asked):,} rows of {asked.length:,} tokens"
  if asked.program == "train":
    train = asked.run.train
    parts = train.microbatches
    rows += f" in {parts} microbatches" if parts > 1 else ""
    rows += (
      f", {train.recompute} recomputed" if train.recompute != "nothing" else ""
    )
  if answer.differences:
    equal = "DIFFERS FROM" if verdict.differs else "equals"
    yield f"{asked.program}: {equal} one device, executed as"
    yield f"  {reduced_run.describe(asked)}, {answer.cores} virtual cores"
    for what, difference in answer.differences.items():
      yield f"    {what:<20} differ by at most {difference:.1e}"
    return
  fits = "fits" if answer.fits else "DOES NOT FIT"
  yield f"{asked.program} ({rows}): {fits}"
  if not answer.fits:
    yield f"  the compiler: {answer.refused.strip()}"
  if answer.hbm:
    used, limit = answer.hbm_bytes_per_core, answer.hbm_limit_bytes
    yield (
      f"  memory     {_gib(used)} of {_gib(limit)} GiB a core  {_bar(answer)}"
    )
    kinds = (f"{kind} {_gib(size)}" for kind, size in answer.hbm.items())
    yield f"             {', '.join(kinds)}"
  if not answer.estimated_step_seconds:
    return
  yield (
    f"  work       {answer.flops_per_core / 1e12:.2f} TFLOP a core,"
    f" {answer.bytes_accessed_per_core / 1e9:.1f} GB to and from memory"
  )
  by_kind = answer.collective_bytes_per_core
  kinds = (f"{kind} {size / 1e9:.2f} GB" for kind, size in by_kind.items())
  yield f"  exchanged  {', '.join(kinds) or 'nothing'} a core"
  yield (
    f"  time       {_seconds(answer.estimated_step_seconds)} for"
    f" {_RUNS[asked.program]}, {estimate.tokens_per_second:,.0f} tokens/s;"
    f" with links {_seconds(estimate.serial_seconds)},"
    f" {estimate.serial_tokens_per_second:,.0f} tokens/s"
  )
  yield (
    f"  of peak    {estimate.hfu:.3f} with what is computed again (hfu),"
    f" {estimate.mfu:.3f} without (mfu); with links mfu"
    f" {estimate.serial_mfu:.3f}"
  )
  if estimate.days:
    yield (
      f"  {steps:,} steps: {estimate.days:.2f} days; with links"
      f" {estimate.serial_days:.2f}"
    )
  if answer.seconds:
    parts = (f"{what} {took:.0f} s" for what, took in answer.seconds.items())
    yield f"  startup    {', '.join(parts)}, measured here"


def _rows(asked: request.CompileRequest) -> int:
  if asked.program == "train":
    return asked.run.train.batch
  return asked.rows


def _bar(answer: request.CompileReport) -> str:
  """Memory against the limit, a letter for each kind: |####===c   |."""
  scale = _BAR / max(answer.hbm_limit_bytes, 1)
  out, upto = "", 0.0
  for kind, mark in _MARKS.items():
    size = answer.hbm.get(kind, 0)
    if kind == "outputs":
      size -= answer.hbm.get("aliased", 0)
    upto += max(size, 0) * scale
    out += mark * (round(upto) - len(out))
  over = ">" if len(out) > _BAR else "|"
  return f"|{out[:_BAR]:<{_BAR}}{over}"


def _gib(size: float) -> str:
  return f"{size / _GIB:.2f}"


def _seconds(seconds: float) -> str:
  return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1e3:.2f} ms"


def to_json(value: Any) -> str:
  return json.dumps(value, indent=2)
