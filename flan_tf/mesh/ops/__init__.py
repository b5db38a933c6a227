"""Mesh-TF operations that the library lacks, or that it does too slowly.

Each one runs TensorFlow code on the shards of one core, and communicates only
as described:

local            any TensorFlow function of the shards; no communication
concatenate      several tensors along one dimension; no communication
split            the inverse of `concatenate`; no communication
reshard          changes the mesh axis that a dimension is split over
embed            rows of a table, which may be split over its rows
token_log_probs  log p(target), without ever holding all logits
reduce_sums      sums of many tensors, one all-reduce for each set of axes
"""

from flan_tf.mesh.ops.concatenation import concatenate, split
from flan_tf.mesh.ops.embedding import embed
from flan_tf.mesh.ops.local_op import local
from flan_tf.mesh.ops.log_probs import token_log_probs
from flan_tf.mesh.ops.logit_head import MASKED_LOGIT, Head
from flan_tf.mesh.ops.resharding import reshard
from flan_tf.mesh.ops.sums import reduce_sums

__all__ = [
  "MASKED_LOGIT",
  "Head",
  "concatenate",
  "embed",
  "local",
  "reduce_sums",
  "reshard",
  "split",
  "token_log_probs",
]
