"""Files of JSON lines: strange bytes get a message with file and line."""

import pathlib

from absl.testing import absltest, parameterized

from flan_tf import json_lines

_DEEP = "[" * 100_000 + "]" * 100_000


class ReadTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = pathlib.Path(self.create_tempdir().full_path, "a.jsonl")

  def read(self, content: bytes, **how) -> list[dict]:
    self.path.write_bytes(content)
    return json_lines.read_jsonl(str(self.path), **how)

  def test_lines_are_objects(self):
    self.assertEqual(self.read(b'{"a": 1}\n{"a": 2}\n'), [{"a": 1}, {"a": 2}])
    self.assertEqual(self.read(b""), [])
    self.path.unlink()
    self.assertEqual(json_lines.read_jsonl(str(self.path)), [])

  def test_a_byte_order_mark_and_lines_of_blanks_are_ignored(self):
    content = b'\xef\xbb\xbf{"a": 1}\r\n  \t\r\n\n{"a": 2}\n \n'
    self.assertEqual(self.read(content, complete=True), [{"a": 1}, {"a": 2}])
    numbered = json_lines.read_numbered(str(self.path))
    self.assertEqual([line.number for line in numbered], [1, 4])

  @parameterized.named_parameters(
    ("a_list", b"[1]", r"expected a JSON object, got '\[1\]'"),
    ("null", b"null", "expected a JSON object, got 'null'"),
    ("half_a_line", b'{"a": ', "expected a JSON object, got .*Expecting value"),
    ("bad_utf8", b'{"a": "\xff"}', r"expected UTF-8, but byte 8 is \\xff"),
    ("utf16", '{"a": 1}'.encode("utf-16-le"), "expected a JSON object"),
    (
      "deep",
      _DEEP.encode(),
      r"at most 100 levels of brackets, got more: '\[\[",
    ),
    ("rather_deep", b'{"a": %s}' % (b"[" * 120 + b"]" * 120), "at most 100 le"),
    ("huge_number", b'{"a": 1%s}' % (b"0" * 5_000), "limit .* for integer"),
    ("an_escape_sequence", b"\x1b[31m", r"got '\\x1b\[31m'"),
  )
  def test_other_lines_are_refused(self, line, message):
    for content in (b'\n{"b": 1}\n%s\n{}', b'\n{"b": 1}\n%s'):
      with self.assertRaisesRegex(ValueError, f"a.jsonl, line 3: .*{message}"):
        self.read(content % line, complete=True)

  def test_only_the_last_line_may_be_cut(self):
    for cut in (b'{"a": ', b'{"a": "\xc3', b'{"a": 1', b"{"):
      self.assertEqual(self.read(b'{"a": 1}\n' + cut), [{"a": 1}])
      with self.assertRaisesRegex(ValueError, "a.jsonl, line 2: "):
        self.read(b'{"a": 1}\n' + cut + b"\n")

  def test_hundred_levels_are_read(self):
    line = b'{"a": %s}' % (b"[" * 99 + b"]" * 99)
    self.assertLen(self.read(line + b"\n"), 1)

  def test_keys_and_their_types(self):
    types = {"step": int, "loss": (float, type(None))}
    lines = b'{"step": 1, "loss": 0.5, "more": 1}\n{"step": 2, "loss": null}\n'
    self.assertLen(self.read(lines, types=types), 2)
    for line, message in (
      (b'{"loss": 1.5}', "key 'step' is missing; expected a whole number"),
      (b'{"step": "1", "loss": 1.5}', "key 'step' is '1'; expected a whole nu"),
      (
        b'{"step": 1, "loss": "x"}',
        "key 'loss' is 'x'; expected a number or null",
      ),
      (b"[1]", r"expected a JSON object, got '\[1\]'"),
    ):
      with self.assertRaisesRegex(ValueError, f"a.jsonl, line 3: {message}"):
        self.read(lines + line + b"\n", types=types)


class TextTest(absltest.TestCase):
  def test_texts_that_can_be_encoded(self):
    json_lines.check_text("x", "süß \U0001f600 \x1b \0")

  def test_half_a_character(self):
    with self.assertRaisesRegex(
      ValueError, r'^"prompt" is not .*character 2 is half a .*, \\ud83d\.'
    ):
      json_lines.check_text('"prompt"', "a\ud83d")

  def test_a_byte_of_a_command_line(self):
    with self.assertRaisesRegex(ValueError, r"^--prompt .* is the byte \\xff"):
      json_lines.check_text(
        "--prompt", b"\xff".decode(errors="surrogateescape")
      )


if __name__ == "__main__":
  absltest.main()
