"""The source digest follows imports, and ignores comments and docstrings."""

from absl.testing import absltest

from flan_tf.tpu_plan import source_digest


class SourceDigestTest(absltest.TestCase):
  def test_direct_and_indirect_imports_are_included(self):
    files = source_digest.imported_files(
      "flan_tf.tpu_plan.planner.step_estimate"
    )
    self.assertContainsSubset(
      [
        "flan_tf/tpu_plan/planner/step_estimate.py",
        "flan_tf/tpu_plan/chips.py",
        "flan_tf/tpu_plan/parameter_count.py",
      ],
      files,
    )
    self.assertIn("flan_tf/name_lists.py", files)
    self.assertIn("flan_tf/tpu_plan/__init__.py", files)
    self.assertNotIn("flan_tf/tpu_plan/planner/summary.py", files)

  def test_reports_depend_on_the_programs_but_not_on_the_planner(self):
    files = source_digest.imported_files("flan_tf.tpu_plan.compiler.worker")
    self.assertContainsSubset(
      [
        "flan_tf/mesh/program.py",
        "flan_tf/mesh/transport.py",
        "flan_tf/model/decoder.py",
        "flan_tf/tpu_plan/compiler/compile.py",
        "flan_tf/tpu_plan/compiler/execute.py",
        "flan_tf/tpu_plan/compiler/lower.py",
        "flan_tf/training/step.py",
      ],
      files,
    )
    for file in files:
      self.assertNotStartsWith(file, "flan_tf/tpu_plan/planner/")

  def test_the_lazy_public_interface_is_not_followed(self):
    files = source_digest.imported_files("flan_tf")
    self.assertEqual(files, ["flan_tf/__init__.py"])

  def test_another_module_has_another_digest(self):
    digest = source_digest.module_digest("flan_tf.tpu_plan.chips")
    self.assertEqual(
      digest, source_digest.module_digest("flan_tf.tpu_plan.chips")
    )
    self.assertNotEqual(
      digest, source_digest.module_digest("flan_tf.tpu_plan.parameter_count")
    )

  def test_comments_and_docstrings_change_nothing(self):
    digest = source_digest.code_digest(
      b'"""One."""\ndef f(x):\n  """Two."""\n  return x\n'
    )
    same = b"# Three.\ndef f(\n    x):\n  return (x)  # Four.\n"
    self.assertEqual(source_digest.code_digest(same), digest)
    self.assertNotEqual(
      source_digest.code_digest(same.replace(b"(x)", b"-x")), digest
    )


if __name__ == "__main__":
  absltest.main()
