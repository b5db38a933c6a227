"""The cache compiles a request once for each state of the source."""

import contextlib
import io
import os
import pathlib
from unittest import mock

from absl.testing import absltest

from flan_tf.tpu_plan import source_digest
from flan_tf.tpu_plan.planner import compiler_process, report_cache
from tests.helpers.fake_compiler import REFUSED, FakeCompiler, paper_request


class ReportCacheTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.compiler = FakeCompiler()

  def open_cache(self) -> report_cache.ReportCache:
    return report_cache.ReportCache(
      os.path.join(self.folder, "new"), self.compiler
    )

  def test_a_request_is_compiled_once(self):
    first, second = self.open_cache(), self.open_cache()
    report = first(paper_request())
    self.assertEqual(second(paper_request()), report)
    self.assertLen(self.compiler.requests, 1)
    self.assertEqual((first.hits, first.misses), (0, 1))
    self.assertEqual((second.hits, second.misses), (1, 0))

  def test_a_refusal_is_kept(self):
    large = paper_request("137b", mesh__shape="model:32")
    self.assertFalse(self.open_cache()(large).fits)
    self.assertEqual(self.open_cache()(large).refused, REFUSED)
    self.assertLen(self.compiler.requests, 1)

  def test_an_error_is_not_kept(self):
    def fail(request):
      raise compiler_process.WorkerError("no")

    with self.assertRaises(compiler_process.WorkerError):
      report_cache.ReportCache(self.folder, fail)(paper_request())
    self.assertEmpty(os.listdir(self.folder))

  def test_changed_source_is_compiled_again(self):
    self.open_cache()(paper_request())
    with mock.patch.object(
      source_digest, "module_digest", return_value=b"changed"
    ):
      self.open_cache()(paper_request())
    self.assertLen(self.compiler.requests, 2)

  def test_a_broken_file_is_reported_and_compiled_again(self):
    self.open_cache()(paper_request())
    (path,) = pathlib.Path(self.folder, "new").iterdir()
    for text in ("{", "{}", '{"answer": {"no": 1}}', '{"answer": {}}'):
      path.write_text(text)
      with contextlib.redirect_stderr(io.StringIO()) as err:
        self.assertTrue(self.open_cache()(paper_request()).fits)
      self.assertRegex(err.getvalue(), "cannot be read .*: compiling again")


if __name__ == "__main__":
  absltest.main()
