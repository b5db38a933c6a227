"""A cost model: estimates a program's time and memory without the compiler.

For one core and one run of a program (a training step, a scoring call, or a
decode step):

  HBM seconds = HBM bytes / HBM bandwidth
  seconds     = max(FLOPs / peak + 0.82 x HBM seconds, HBM seconds)
                + wire bytes / bandwidth of the links
  HBM size    = weights + gradients + saved activations + one layer

Wire bytes that a core sends for a tensor of S bytes over a ring of n cores:

  all-reduce                    2 (n - 1) / n S
  all-gather, reduce-scatter      (n - 1) / n S

The model ranks the candidates of a search, and fills table cells that nobody
has compiled; those are marked. Everything else that a plan shows is from the
compiler.

The factors below are fitted to training steps on v3 and v4. For the training
steps that the compiler has answered for, (cost model) / (compiler):

                                            seconds     HBM size    wire bytes
  24 without split rows, 422M to 137B       0.91-1.08   0.76-1.24   0.64-1.21
  15 with rows in 2 to 8 shards             0.75-1.01   0.52-1.53   1.07-1.27
   7 with rows in more shards               0.54-0.77   0.94-1.12   1.19-1.31
   4 on v5e, v5p and v6e                    0.75-1.37   0.71-0.86   0.69-1.06

After these, attention was changed to save its weights only once, in bfloat16.
The cost model does not know of the change. For five answers with it:

   4 on v3 and v4, 8B to 137B               0.85-1.02   0.99-1.03   1.06-1.18
   1 on v5e                                 1.17        0.82        0.95
"""

import dataclasses
import math
from typing import NamedTuple

from flan_tf.tpu_plan import chips, parameter_count
from flan_tf.tpu_plan.planner import flop_counts
from flan_tf.tpu_plan.planner.tensor_sizes import BYTES_PER_ELEMENT, TensorSizes
from flan_tf.tpu_plan.request import CompileReport, CompileRequest


class _RematPasses(NamedTuple):
  """Passes over the layers in a training step, by rematerialization policy.

  A policy without rematerialization has two: forward and backward.

  Attributes:
    wire: passes that send the wire bytes of a forward pass.
    hbm: passes that access HBM as a forward pass does. Most of that traffic is
      attention's; of the policies that save some activations, only "light"
      computes attention again.
  """

  wire: float
  hbm: int


_REMAT_PASSES = {
  "nothing": _RematPasses(wire=2.0, hbm=2),
  "inputs": _RematPasses(wire=2.5, hbm=2),
  "light": _RematPasses(wire=2.5, hbm=3),
  "layers": _RematPasses(wire=3.0, hbm=3),
}
# HBM accesses of a layer's tensors in one pass over it. Fitted.
_ATTENTION_ACCESSES = 5
# With split rows, queries are multiplied with all keys, even those after them.
_ATTENTION_ACCESSES_OF_SPLIT_ROWS = 10
_ACTIVATION_ACCESSES = 3
_WEIGHT_ACCESSES = 2
# The residual stream is added to, and normalized in float32.
_STREAM_ACCESSES = 24
# Share of the HBM seconds that does not overlap with matrix products. Fitted.
_NOT_OVERLAPPED = 0.82
# Share of the attention weights that is saved: for a block of queries, weights
# of the keys after the block are zero and not saved.
_SAVED_ATTENTION_WEIGHTS = 0.7
# Bytes for each trained parameter beside weights and gradients: padding and
# temporaries of the optimizer. Fitted.
_EXTRA_BYTES_PER_PARAMETER = 1
# A candidate may need this share of a core's HBM and still count as fitting,
# since the estimate of HBM is wrong by about as much.
_HBM_TOLERANCE = 1.15


@dataclasses.dataclass(frozen=True)
class CostEstimate:
  """The cost of one run of a program on one core.

  Attributes:
    seconds: time of one run; collectives overlap with nothing.
    hbm_bytes: HBM that the program needs.
    hbm_limit_bytes: HBM of a core.
  """

  seconds: float
  hbm_bytes: float
  hbm_limit_bytes: int

  @property
  def fits(self) -> bool:
    """True if the program may fit, given the error of the estimate."""
    return self.hbm_bytes <= self.hbm_limit_bytes * _HBM_TOLERANCE

  @property
  def sort_key(self) -> tuple[bool, float, float]:
    """Sorts those that may fit by time, then the others by HBM."""
    if self.fits:
      return (False, self.seconds, self.hbm_bytes)
    return (True, self.hbm_bytes, self.seconds)


def splittable_sizes(request: CompileRequest) -> dict[str, int]:
  """Returns the sizes of the dimensions that a layout may split.

  A size of 0 stands for a dimension that the program does not split.
  """
  run, model = request.run, request.run.model
  rows = request.rows
  if request.program == "train":
    rows = run.train.batch // run.train.microbatches
  length = request.length if request.program == "train" else 0
  return {
    "batch": rows,
    "length": length,
    "stream": length,
    "d_model": model.d_model,
    # Heads of keys and values are split like those of queries.
    "heads": math.gcd(model.heads, model.kv_heads or model.heads),
    "d_ff": model.d_ff,
    "vocab": model.vocab,
  }


def estimate_cost(request: CompileRequest) -> CostEstimate:
  """Returns the cost of a request whose mesh divides all dimensions."""
  report = estimate_report(request)
  seconds = report.estimated_step_seconds + report.collective_seconds
  return CostEstimate(
    seconds, report.hbm_bytes_per_core, report.hbm_limit_bytes
  )


def estimate_report(request: CompileRequest) -> CompileReport:
  """Returns the cost in the form of a compiler's report.

  Kinds of HBM and kinds of collectives are left empty.
  """
  program = _ProgramCost(request)
  tpu_slice = chips.parse_topology(request.topology)
  generation = tpu_slice.generation
  flops, hbm_traffic = program.flops(), program.hbm_traffic()
  product_seconds = flops / generation.peak_flops
  hbm_seconds = hbm_traffic / generation.hbm_bandwidth
  hbm_bytes = int(program.hbm_bytes())
  return CompileReport(
    program=request.program,
    parameters=parameter_count.count_parameters(request.run.model),
    cores=tpu_slice.cores,
    fits=hbm_bytes <= generation.hbm_bytes,
    hbm_bytes_per_core=hbm_bytes,
    hbm_limit_bytes=generation.hbm_bytes,
    flops_per_core=flops,
    bytes_accessed_per_core=hbm_traffic,
    estimated_step_seconds=max(
      product_seconds + _NOT_OVERLAPPED * hbm_seconds, hbm_seconds
    ),
    collective_seconds=program.wire_bytes() / generation.wire_bandwidth,
  )


class _ProgramCost:
  """FLOPs and bytes of one core in one run of a program."""

  def __init__(self, request: CompileRequest):
    self._request = request
    self._train = request.run.train
    self._is_training = request.program == "train"
    self._sizes = TensorSizes(request)
    self._shards = self._sizes.mesh.shards
    self._layers = request.run.model.layers
    self._passes = _REMAT_PASSES[self._train.recompute]

  def flops(self) -> float:
    """Returns executed FLOPs, rematerialization included."""
    total = flop_counts.model_flops(self._request)
    if self._is_training and self._train.recompute == "layers":
      total *= 4 / 3
    if self._is_training and self._train.recompute == "light":
      total += flop_counts.attention_flops(self._request)
    # Heads are split over the axis of d_ff, so d_ff stands for both.
    return total / self._shards("batch", "length", "d_ff")

  def hbm_traffic(self) -> float:
    """Returns bytes to and from HBM: weights, activations, caches."""
    sizes = self._sizes
    layers = self._layers * self._layer_traffic()
    if self._is_training:
      microbatches = self._train.microbatches
      # Each microbatch accesses the weights three times in `mesh.precision`,
      # and the optimizer accesses six float32 values for each parameter.
      bytes_per_parameter = (
        3 * microbatches * sizes.element_bytes
        + 6 * BYTES_PER_ELEMENT["float32"]
      )
      layers *= microbatches * self._passes.hbm
      return sizes.parameters * bytes_per_parameter + layers
    cache = 0.0 if self._request.program == "score" else sizes.cache
    return sizes.parameters * sizes.element_bytes + layers + cache

  def wire_bytes(self) -> float:
    """Returns bytes sent: activations, weights, gradients, keys and values."""
    sizes, shards = self._sizes, self._shards
    passes = self._passes.wire if self._is_training else 1
    # After attention and after the MLP, partial sums of `hidden` are
    # all-reduced over the heads' axis, or reduce-scattered and all-gathered.
    hidden = passes * self._layers * 2 * sizes.hidden
    hidden *= _all_reduce_factor(shards("heads"))
    # If d_model is split, each pass all-gathers the weights.
    d_model_shards = shards("d_model")
    gathered = sizes.parameters * sizes.element_bytes * d_model_shards
    weights = passes * gathered * _all_reduce_factor(d_model_shards) / 2
    if not self._is_training:
      return hidden + weights
    # Gradients are all-reduced over the rows, or reduce-scattered if d_model
    # is split.
    length_shards = shards("length")
    gradients = gathered * _all_reduce_factor(shards("batch"))
    gradients *= 0.5 if d_model_shards > 1 else 1
    gradients += (
      sizes.parameters * sizes.element_bytes * _all_reduce_factor(length_shards)
    )
    # If rows are split, each pass all-gathers the keys and values of a row, or
    # reduce-scatters their gradients.
    keys = passes * self._layers * sizes.keys_and_values
    keys *= _all_reduce_factor(length_shards) / 2
    return self._train.microbatches * (hidden + weights + gradients + keys)

  def hbm_bytes(self) -> float:
    """Returns the largest number of HBM bytes in use at one time."""
    sizes = self._sizes
    if self._is_training:
      return self._training_hbm_bytes()
    weights = sizes.parameters * sizes.element_bytes
    activations = sizes.layer + sizes.logits
    cache = sizes.cache if self._request.program == "decode" else 0.0
    return weights + activations + cache

  def _training_hbm_bytes(self) -> float:
    sizes = self._sizes
    weights = sizes.parameters * BYTES_PER_ELEMENT["float32"]
    # Clipping by the global norm needs all gradients at the same time.
    gradient_bytes = sizes.element_bytes
    if self._train.microbatches > 1:
      gradient_bytes += BYTES_PER_ELEMENT["float32"]
    gradients = sizes.parameters * (gradient_bytes + _EXTRA_BYTES_PER_PARAMETER)
    saved = self._layers * self._saved_bytes_per_layer()
    working = sizes.layer + 2 * sizes.logits
    if self._train.recompute in ("inputs", "light"):
      # Gradients reuse the memory of saved activations. The weights in
      # `mesh.precision` exist during the whole step.
      weights += sizes.parameters * sizes.element_bytes
      return weights + max(gradients, saved) + working
    return weights + gradients + saved + working

  def _saved_bytes_per_layer(self) -> float:
    """Returns bytes that a layer saves for the backward pass."""
    sizes = self._sizes
    if self._train.recompute == "layers":
      return sizes.stream
    # The results of products with weights.
    light = 3 * sizes.stream + sizes.projections
    if self._train.recompute == "light":
      return light
    if self._train.recompute == "inputs":
      return light + _SAVED_ATTENTION_WEIGHTS * sizes.attention_weights
    # The gathered inputs of products, and the weights in `mesh.precision`.
    return light + 2 * sizes.hidden + sizes.layer_weights

  def _layer_traffic(self) -> float:
    """Returns HBM bytes of one pass over one layer."""
    sizes = self._sizes
    attention_accesses = _ATTENTION_ACCESSES
    if self._shards("length") > 1:
      attention_accesses = _ATTENTION_ACCESSES_OF_SPLIT_ROWS
    traffic = attention_accesses * sizes.attention_matrices
    traffic += _ACTIVATION_ACCESSES * (sizes.hidden + sizes.projections)
    traffic += _WEIGHT_ACCESSES * sizes.layer_weights
    return traffic + _STREAM_ACCESSES * sizes.stream


def _all_reduce_factor(cores: int) -> float:
  """Returns the bytes that a core sends to all-reduce one byte in a ring."""
  return 2 * (cores - 1) / cores
