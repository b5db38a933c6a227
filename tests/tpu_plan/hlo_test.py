"""Cycles and wire bytes that are read from the text of compiled programs."""

from absl.testing import absltest, parameterized

from flan_tf.tpu_plan.compiler import hlo

_GROUPS = "replica_groups={{0,1,2,3},{4,5,6,7}}, channel_id=1"


class HloTest(parameterized.TestCase):
  @parameterized.parameters(
    # Bytes that a core sends in a ring of its group of four.
    ("f32[1024]{0:T(1024)} all-reduce(%x)", "all-reduce", 2 * 4096 * 3 / 4),
    (
      "(f32[256]{0}, bf16[8,128]{1,0}, /*index=2*/f32[]) all-reduce(%x, %y)",
      "all-reduce",
      2 * (1024 + 2048 + 4) * 3 / 4,
    ),
    ("bf16[8,1024]{1,0} all-gather(%x)", "all-gather", 16384 * 3 / 4),
    ("f32[256]{0} reduce-scatter(%x)", "reduce-scatter", 4096 * 3 / 4),
    ("s32[256]{0} all-to-all(%x)", "all-to-all", 1024 * 3 / 4),
    ("pred[256]{0} collective-permute(%x)", "collective-permute", 256),
    (
      "(f32[256]{0}, f32[1024]{0}, u32[], u32[]) all-gather-start(%x)",
      "all-gather",
      4096 * 3 / 4,
    ),
  )
  def test_wire_bytes(self, operation, kind, wire_bytes):
    text = (
      f"ENTRY %main (x: f32[]) -> f32[] {{\n  %a.1 = {operation}, {_GROUPS}"
    )
    cost = hlo.read_cost(text)
    self.assertEqual(cost.wire_bytes, {kind: wire_bytes})
    self.assertEqual(cost.collectives, {kind: 1})

  def test_without_groups_all_cores_form_one(self):
    text = (
      "HloModule main, is_scheduled=true, replica_count=8\n"
      "  %a.1 = f32[8]{0} all-reduce(%x), replica_groups={}, to_apply=%add"
    )
    cost = hlo.read_cost(text)
    self.assertEqual(cost.wire_bytes, {"all-reduce": 2 * 32 * 7 / 8})

  def test_groups_by_count(self):
    line = "  ROOT %a = f32[8]{0} all-reduce(%x), replica_groups=[4,2]<=[8]"
    cost = hlo.read_cost(line)
    self.assertEqual(cost.wire_bytes, {"all-reduce": 2 * 32 / 2})

  def test_a_reduce_scatter_that_is_written_as_an_all_reduce(self):
    text = (
      "%all-reduce-scatter (input: f32[1024]) -> f32[256] {\n"
      f"  %all-reduce.8 = f32[1024]{{0}} all-reduce(%pad.34), {_GROUPS}\n}}"
    )
    cost = hlo.read_cost(text)
    self.assertEqual(cost.wire_bytes, {"reduce-scatter": 4096 * 3 / 4})
    self.assertEqual(cost.collectives, {"reduce-scatter": 1})

  def test_cycles_inside_of_fusions_do_not_count(self):
    def operation(name, cycles):
      backend_config = f'backend_config={{"estimated_cycles":"{cycles}"}}'
      return f"  %{name}.1 = f32[8]{{0}} {name}(%x), {backend_config}\n"

    text = (
      "%fused_computation.1 (x: f32[8]) -> f32[8] {\n"
      + operation("add", 1000)
      + "}\n\n%body.2 (x: f32[8]) -> f32[8] {\n"
      + operation("fusion", 200)
      + "}\n\nENTRY %main (x: f32[8]) -> f32[8] {\n"
      + operation("copy", 30)
      + operation("fusion", 4)
      + "  %done.1 = f32[8]{0} all-reduce-done(%x)\n}"
    )
    self.assertEqual(hlo.read_cost(text), hlo.HloCost(234, {}, {}))


if __name__ == "__main__":
  absltest.main()
