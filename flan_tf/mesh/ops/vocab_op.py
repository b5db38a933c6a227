"""Base class of operations on a table whose rows may be split over cores."""

import tensorflow as tf

from flan_tf.mesh.compat import mtf
from flan_tf.mesh.op import CoreOp


class VocabOp(CoreOp):
  """A Mesh-TF operation on a table [vocab, ...].

  Attributes:
    vocab: the first dimension of the table.
  """

  vocab: mtf.Dimension

  def _vocab_axes(self, lowering) -> set[int]:
    """Returns the mesh axes over which the vocabulary is split."""
    return self._mesh_axes(lowering, mtf.Shape([self.vocab]))

  def _first_row(self, lowering, table) -> tf.Tensor:
    """Returns the id of the first row of this core's shard of the table."""
    impl = lowering.mesh_impl(self)
    shard = impl.laid_out_slice_num(mtf.Shape([self.vocab])).one_slice
    return shard * table.shape[0]

  def _local_ids(self, lowering, ids, table) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts ids from the first row of this core's shard of the table.

    Returns:
      The local ids, and a bool tensor: True where the row is on this core.
    """
    rows = table.shape[0]
    local_ids = ids - self._first_row(lowering, table)
    return local_ids, (local_ids >= 0) & (local_ids < rows)
