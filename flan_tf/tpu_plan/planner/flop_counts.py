"""FLOPs that a model needs, by the usual convention.

For each token, with N parameters that take part in matrix products:

  training   6 N + 12 layers heads d_kv length
  scoring    2 N +  4 layers heads d_kv length
  decoding   2 N +  4 layers heads d_kv length    one token after `length`

The second term is attention's two matrix products with all keys of a row. It is
not halved for causal attention and not reduced for sliding windows. The
embedding table counts once, as the output projection. Where only adapters
train, the model's weights have no gradients: 4 N in place of 6 N.
Rematerialization does not count: it is work of the program, not of the model.
"""

from flan_tf.tpu_plan import parameter_count
from flan_tf.tpu_plan.request import CompileRequest


def model_flops(request: CompileRequest) -> float:
  """Returns the model's FLOPs in one run of a program, over all cores."""
  model = request.run.model
  parameters = parameter_count.count_matmul_parameters(model)
  attention = attention_flops(request)
  if request.program != "train":
    return 2.0 * parameters * request.tokens + attention
  flops_per_parameter = 4.0 if request.run.adapter.trains else 6.0
  return flops_per_parameter * parameters * request.tokens + 3 * attention


def attention_flops(request: CompileRequest) -> float:
  """Returns FLOPs of attention's products in a forward pass, over all cores."""
  model = request.run.model
  width = model.layers * model.heads * model.d_kv
  return 4.0 * width * request.length * request.tokens
