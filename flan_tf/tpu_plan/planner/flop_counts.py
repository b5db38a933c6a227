"""Work and shares that follow from sizes, and from what the compiler says.

FLOPs of a model, by the usual convention, for each token and N parameters:

  training   6 N + 12 layers heads d_kv length
  scoring    2 N +  4 layers heads d_kv length
  decoding   2 N +  4 layers heads d_kv length    one token behind `length`

The second part is attention's two products, with all of a row's keys: causal
attention is not counted as half, nor windows as less. N are the parameters
that a product multiplies with: an embedding counts once, as the output's. Where
adapters train, the model's own weights have no gradients: 4 N.

  estimated_mfu   these FLOPs / (seconds x peak of all cores)
  estimated_hfu   the FLOPs that the compiled program executes, layers that it
                  computes again among them, / (the same)

Both are estimates since the seconds are the compiler's: nothing has run. In
those seconds collectives take no time, as if all of them were hidden behind
other work. The other bound is "serial": collectives one after another behind
all else, at the peak of all links of a chip. A real step lies between the two,
or above where the links of a chip cannot all be used.
"""

import dataclasses
from collections.abc import Mapping

from flan_tf.tpu_plan import chips, parameter_count, request

_SECONDS_A_DAY = 24 * 3600


@dataclasses.dataclass(frozen=True)
class StepEstimate:
  """What an answer means; seconds and shares are estimates.

  Attributes:
    tokens: of one run of the program: trained on, scored, or new ones.
    model_flops: of one run, over all cores, by the convention above.
    mfu: see above.
    hfu: see above.
    serial_mfu: the same with the serial seconds.
    serial_seconds: of one run, collectives included.
    tokens_per_second: over all cores.
    serial_tokens_per_second: the same with the serial seconds.
    collective_seconds: that the links take for the collectives' bytes.
    collectives_share: that, of the serial seconds.
    days: for all steps of the run; 0 for programs that do not train.
    serial_days: the same with the serial seconds.
  """

  tokens: int
  model_flops: float
  mfu: float
  hfu: float
  serial_mfu: float
  serial_seconds: float
  tokens_per_second: float
  serial_tokens_per_second: float
  collective_seconds: float
  collectives_share: float
  days: float
  serial_days: float


def estimate(
  asked: request.CompileRequest, answer: request.CompileReport, steps: int = 0
) -> StepEstimate:
  """Shares of peak and the like; `steps` of training give the days."""
  where = chips.parse_topology(asked.topology)
  seconds = answer.estimated_step_seconds
  work = model_flops(asked)
  on_wire = answer.collective_seconds or wire_seconds(
    answer.collective_bytes_per_core, where.generation
  )
  serial = seconds + on_wire if seconds else 0.0
  peak = where.generation.peak_flops
  days = steps / _SECONDS_A_DAY if asked.program == "train" else 0.0
  return StepEstimate(
    tokens=asked.tokens,
    model_flops=work,
    mfu=_share(work / where.cores, seconds * peak),
    hfu=_share(answer.flops_per_core, seconds * peak),
    serial_mfu=_share(work / where.cores, serial * peak),
    serial_seconds=serial,
    tokens_per_second=_share(asked.tokens, seconds),
    serial_tokens_per_second=_share(asked.tokens, serial),
    collective_seconds=on_wire,
    collectives_share=_share(on_wire, serial),
    days=seconds * days,
    serial_days=serial * days,
  )


def wire_seconds(
  bytes_by_kind: Mapping[str, float], generation: chips.TpuGeneration
) -> float:
  """That a core's links take for its collectives, if all of them are used."""
  return sum(bytes_by_kind.values()) / generation.wire_bandwidth


def model_flops(asked: request.CompileRequest) -> float:
  """Of one run of a program over all cores; see the module's docstring."""
  model = asked.run.model
  multiplied = parameter_count.matrix_parameters(model)
  attention = attention_flops(asked)
  if asked.program != "train":
    return 2.0 * multiplied * asked.tokens + attention
  each = 4.0 if asked.run.adapter.trains else 6.0
  return each * multiplied * asked.tokens + 3 * attention


def attention_flops(asked: request.CompileRequest) -> float:
  """Of attention's two products in one forward pass, over all cores."""
  model = asked.run.model
  width = model.layers * model.heads * model.d_kv
  return 4.0 * width * asked.length * asked.tokens


def _share(part: float, whole: float) -> float:
  return part / whole if whole else 0.0
