"""Lines of a file of prompts and answers: those that train, and wrong ones."""

import json
import pathlib

from absl.testing import absltest, parameterized

from flan_tf import json_lines
from flan_tf.data import prompt_file


def lines(count: int, **more):
  """Yields lines that can train."""
  for i in range(count):
    answer = ("yes", "no", "it is")[i % 3]
    yield {"prompt": f"Question {i}: say {answer}.", "answer": answer, **more}


class ReadTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def write(self, name: str, *values) -> str:
    """Writes values as JSON lines, and texts unchanged; returns the path."""
    path = self.folder / name
    texts = [v if isinstance(v, str) else json.dumps(v) for v in values]
    path.write_text("".join(text + "\n" for text in texts), "utf-8")
    return str(path)

  def test_lines_are_rows(self):
    path = self.write(
      "a.jsonl",
      {"prompt": " Is\n{it} so?", "answer": " yes ", "log_prob": -1, "n": 7},
      "",
      {"answer": "é", "prompt": "è", "cluster": "nli", "task": "rte"},
    )
    found = prompt_file.read_prompt_file(path)
    self.assertEqual(found.prompts, [b" Is\n{it} so?", "è".encode()])
    self.assertEqual(found.answers, [b" yes ", "é".encode()])
    self.assertEqual(found.origins, {("", ""): (1, 1), ("rte", "nli"): (3, 1)})

  def test_a_fingerprint_names_the_contents(self):
    path = self.write("a.jsonl", *lines(3))
    same = self.write("b.jsonl", *lines(3))
    other = self.write("c.jsonl", *lines(4))
    names = [
      prompt_file.read_prompt_file(p).fingerprint for p in (path, same, other)
    ]
    self.assertEqual(names[0], names[1])
    self.assertNotEqual(names[0], names[2])
    self.assertRegex(names[0], "^[0-9a-f]{8}$")

  @parameterized.parameters(
    ('{"prompt": "a", "answ', "line 2: expected a JSON object, got "),
    ([1], "line 2: expected a JSON object, got .*1"),
    ({"answer": "a"}, 'line 2: expected an object whose "prompt" is a text'),
    ({"prompt": 3, "answer": "a"}, 'line 2: expected an object whose "prompt"'),
    (
      {"prompt": "a"},
      'line 2: expected "answer" to be a text, got None. To generate answers'
      " for prompts, run python -m launch.generate --checkpoint",
    ),
    (
      {"prompt": "a", "answer": 3},
      'line 2: expected "answer" to be a text, got 3',
    ),
    (
      '{"prompt": "a", "answer": "\\ud83d"}',
      'line 2: "answer" is not text in UTF-8: .*half a character',
    ),
    (
      '{"prompt": "\\ud83d", "answer": "a"}',
      'line 2: "prompt" is not text in UTF-8',
    ),
    (
      {"prompt": "a", "answer": "b", "task": ["rte"]},
      r"line 2: expected \"task\" to be a text, got \['rte'\]",
    ),
    (
      {"prompt": "a", "answer": "b", "cluster": 3},
      'line 2: expected "cluster" to be a text, got 3',
    ),
    (
      {"prompt": "a", "answer": "b", "cluster": "sentimnet"},
      "line 2: \"cluster\" is 'sentimnet'. Did you mean 'sentiment'",
    ),
    (
      {"prompt": "a", "answer": "b", "ended": "false"},
      'line 2: expected "ended" to be true or false, without quotation marks',
    ),
    (
      {"prompt": "a", "answer": "b", "ended": 0},
      'line 2: expected "ended" to be true or false, .* got 0',
    ),
    (
      '{"prompt": "a", "answer": "b", "more": ' + "[" * 100_000,
      "line 2: expected JSON of at most 100 levels",
    ),
    (
      '{"prompt": "a", "answer": "b", "more": ' + "[" * 200 + "]" * 200 + "}",
      "line 2: expected JSON of at most 100 levels",
    ),
  )
  def test_lines_that_cannot_be_used(self, line, message):
    path = self.write("a.jsonl", *lines(1), line)
    with self.assertRaisesRegex(ValueError, "a.jsonl, " + message):
      prompt_file.read_prompt_file(path)

  def test_bytes_that_are_not_utf_8(self):
    path = self.folder / "a.jsonl"
    path.write_bytes(b'{"prompt": "a", "answer": "\xff"}\n')
    with self.assertRaisesRegex(
      ValueError, r"a.jsonl, line 1: expected UTF-8, but byte \d+ is \\xff"
    ):
      prompt_file.read_prompt_file(str(path))

  def test_nothing_to_read(self):
    with self.assertRaisesRegex(ValueError, "a.jsonl is empty: expected JSON"):
      prompt_file.read_prompt_file(self.write("a.jsonl", "", "  "))
    cut = self.write("b.jsonl", *lines(2, ended=False))
    with self.assertRaisesRegex(
      ValueError, "has only lines whose answer was cut .2.: expected"
    ):
      prompt_file.read_prompt_file(cut)
    empty = self.write("c.jsonl", {"prompt": "", "answer": "a"})
    with self.assertRaisesRegex(ValueError, "lines whose prompt is empty .1."):
      prompt_file.read_prompt_file(empty)
    for path in (self.folder / "none.jsonl", self.folder):
      with self.assertRaisesRegex(
        FileNotFoundError, "there is no file .*launch.generate writes such"
      ):
        prompt_file.read_prompt_file(str(path))

  def test_answers_that_were_cut_are_left_out_with_a_note(self):
    ended, cut = lines(2, ended=True), lines(3, ended=False)
    found = prompt_file.read_prompt_file(self.write("a.jsonl", *ended, *cut))
    self.assertLen(found, 2)
    self.assertIn(
      "3 lines are left out, as their answers were cut", found.notes[1]
    )

  def test_empty_prompts_are_left_out_with_a_note(self):
    empty = [{"prompt": text, "answer": "yes"} for text in ("", " \n")]
    found = prompt_file.read_prompt_file(
      self.write("a.jsonl", *lines(3, cluster="nli"), *empty)
    )
    self.assertLen(found, 3)
    self.assertEqual(found.origins, {("", "nli"): (1, 3)})
    self.assertEqual(
      found.notes[1:], ("2 lines are left out, as their prompts are empty",)
    )

  def test_a_line_that_was_cut_short_can_be_continued(self):
    path = pathlib.Path(self.write("a.jsonl", *lines(2)))
    path.write_text(path.read_text()[:-5])
    with self.assertRaisesRegex(
      ValueError, "line 2: .* If launch.generate was interrupted, run it again"
    ):
      prompt_file.read_prompt_file(str(path))

  def test_a_byte_order_mark_and_lines_of_blanks(self):
    path = pathlib.Path(self.write("a.jsonl", *lines(2)))
    content = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n \t\r\n"))
    found = prompt_file.read_prompt_file(str(path))
    self.assertEqual(found.prompts[0], b"Question 0: say yes.")
    self.assertEqual(found.origins, {("", ""): (1, 2)})
    # launch.generate reads the same lines.
    self.assertEqual(json_lines.read_jsonl(str(path)), list(lines(2)))


if __name__ == "__main__":
  absltest.main()
