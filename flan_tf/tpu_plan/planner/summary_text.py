"""The plan of a run's programs as text for a terminal: one screen."""

from collections.abc import Iterator, Sequence

from flan_tf.tpu_plan import chips, parameter_count, reduced_run
from flan_tf.tpu_plan.planner.summary import ProgramSummary
from flan_tf.tpu_plan.request import CompileReport, CompileRequest

_GIB = 2**30
_BAR_WIDTH = 40  # Characters.
# One character for each kind of HBM. A program that does not fit has only the
# kind "all".
_BAR_MARKS = {
  "all": "#",
  "arguments": "#",
  "outputs": "o",
  "temporaries": "=",
  "code": "c",
}
# One run of each program, in words.
_RUNS = {
  "train": "a training step",
  "score": "a scoring call",
  "decode": "a decode step (one token for each row)",
}


def to_text(summaries: Sequence[ProgramSummary], steps: int) -> str:
  """Returns the plan of a run.

  Args:
    summaries: the programs of one run on one slice.
    steps: training steps of the run.
  """
  paragraphs = [_heading(summaries[0].request)]
  paragraphs += ["\n".join(_lines(summary, steps)) for summary in summaries]
  return "\n\n".join([*paragraphs, summaries[0].note])


def hbm_bar(report: CompileReport) -> str:
  """Draws HBM bytes by kind against the limit: |####===c   |.

  The last character is > if they exceed the limit.
  """
  scale = _BAR_WIDTH / max(report.hbm_limit_bytes, 1)
  bar, end = "", 0.0
  for kind, mark in _BAR_MARKS.items():
    size = report.hbm.get(kind, 0)
    if kind == "outputs":
      size -= report.hbm.get("aliased", 0)
    end += max(size, 0) * scale
    bar += mark * (round(end) - len(bar))
  border = ">" if len(bar) > _BAR_WIDTH else "|"
  return f"|{bar[:_BAR_WIDTH]:<{_BAR_WIDTH}}{border}"


def _heading(request: CompileRequest) -> str:
  run, model = request.run, request.run.model
  tpu_slice = chips.parse_topology(request.topology)
  parameters = parameter_count.count_parameters(model)
  return (
    f"{parameters:,} parameters: {model.layers} layers, d_model"
    f" {model.d_model:,}, {model.heads} heads of {model.d_kv}, d_ff"
    f" {model.d_ff:,}, {model.vocab:,} tokens; {run.mesh.precision}, weights"
    " float32\n"
    f"{tpu_slice} = {tpu_slice.accelerator_type}: {tpu_slice.chips:,} chips,"
    f" {tpu_slice.cores:,} cores, hosts {tpu_slice.hosts:,}; mesh"
    f" {run.mesh.shape or 'one core'} [{run.mesh.layout}]"
  )


def _lines(summary: ProgramSummary, steps: int) -> Iterator[str]:
  request, report = summary.request, summary.report
  if report.differences:
    yield from _execution_lines(summary)
    return
  fits = "fits" if report.fits else "DOES NOT FIT"
  yield f"{request.program} ({_describe_rows(summary)}): {fits}"
  if not report.fits:
    yield f"  compiler   {report.refused.strip()}"
  if report.hbm:
    used, limit = report.hbm_bytes_per_core, report.hbm_limit_bytes
    yield (
      f"  HBM        {_gib(used)} of {_gib(limit)} GiB per core "
      f" {hbm_bar(report)}"
    )
    kinds = (f"{kind} {_gib(size)}" for kind, size in report.hbm.items())
    yield f"             {', '.join(kinds)}"
  if report.estimated_step_seconds:
    yield from _time_lines(summary, steps)


def _execution_lines(summary: ProgramSummary) -> Iterator[str]:
  request, report = summary.request, summary.report
  verdict = "DIFFERS FROM" if summary.differs else "equals"
  yield f"{request.program}: {verdict} one device, executed as"
  description = reduced_run.describe_reduced_run(request)
  yield f"  {description}, {report.cores} virtual cores"
  for name, difference in report.differences.items():
    yield f"    {name:<20} differs by at most {difference:.1e}"


def _describe_rows(summary: ProgramSummary) -> str:
  request = summary.request
  text = f"{summary.rows:,} rows of {request.length:,} tokens"
  if request.program == "train":
    train = request.run.train
    if train.microbatches > 1:
      text += f" in {train.microbatches} microbatches"
    if train.recompute != "nothing":
      text += f", {train.recompute} recomputed"
  return text


def _time_lines(summary: ProgramSummary, steps: int) -> Iterator[str]:
  request, report = summary.request, summary.report
  estimate = summary.estimate
  yield (
    f"  compute    {report.flops_per_core / 1e12:.2f} TFLOP per core,"
    f" {report.bytes_accessed_per_core / 1e9:.1f} GB to and from HBM"
  )
  wire_bytes = ", ".join(
    f"{kind} {size / 1e9:.2f} GB"
    for kind, size in report.collective_bytes_per_core.items()
  )
  yield f"  sent       {wire_bytes or 'nothing'} per core"
  yield (
    f"  time       {_seconds(report.estimated_step_seconds)} for"
    f" {_RUNS[request.program]}, {estimate.tokens_per_second:,.0f} tokens/s;"
    f" serial {_seconds(estimate.serial_seconds)},"
    f" {estimate.serial_tokens_per_second:,.0f} tokens/s"
  )
  yield (
    f"  of peak    MFU {estimate.mfu:.3f}, HFU {estimate.hfu:.3f}; serial MFU"
    f" {estimate.serial_mfu:.3f}"
  )
  if estimate.days:
    yield (
      f"  {steps:,} steps: {estimate.days:.2f} days; serial"
      f" {estimate.serial_days:.2f}"
    )
  if report.seconds:
    phases = (f"{phase} {took:.0f} s" for phase, took in report.seconds.items())
    yield f"  startup    {', '.join(phases)}, measured here"


def _gib(size: float) -> str:
  return f"{size / _GIB:.2f}"


def _seconds(seconds: float) -> str:
  return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1e3:.2f} ms"
