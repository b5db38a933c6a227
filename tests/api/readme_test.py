"""The Python lines of the README run as they stand."""

import contextlib
import io
import os
import pathlib

from absl.testing import absltest

from tests.helpers import documents, tiny

TINY = tiny.Tiny()
setUpModule, tearDownModule = TINY.open, TINY.close


class ReadmeTest(absltest.TestCase):
  def test_python_blocks(self):
    """On the tiny model in the place of runs/tuned."""
    os.chdir(TINY.folder)
    self.addCleanup(os.chdir, documents.ROOT)
    run = TINY.run(held_out="nli", data__tasks="sst2")
    TINY.train(run, TINY.folder / "runs/tuned", names=("sst2",))
    text = documents.README.read_text(encoding="utf-8")
    programs = [
      content
      for info, content in documents.blocks(text)
      if info == "python tested"
    ]
    self.assertNotEmpty(programs)
    for program in programs:
      printed = io.StringIO()
      with contextlib.redirect_stdout(printed):
        exec(compile(program, "README.md", "exec"), {})
      _, scores, prompt, result = _split(printed.getvalue())
      self.assertEqual(len(scores.strip("[]()").split(",")), 2)
      self.assertIn("\n", prompt)
      mean, low, high = map(
        float, result.replace("(", "").replace(")", "").replace(",", "").split()
      )
      self.assertBetween(mean, low, high)
    self.assertTrue(pathlib.Path("runs/report/report.html").exists())


def _split(printed: str) -> tuple[str, str, str, str]:
  """Splits the output into the answer, scores, the prompt, and the result."""
  lines = printed.rstrip("\n").split("\n")
  at = next(
    i for i, line in enumerate(lines) if line.startswith(("[", "{", "("))
  )
  return (
    "\n".join(lines[:at]),
    lines[at],
    "\n".join(lines[at + 1 : -1]),
    lines[-1],
  )


if __name__ == "__main__":
  absltest.main()
