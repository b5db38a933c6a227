"""Prompts that cannot be read are named before any is answered.

Control characters of prompts and answers are shown on a terminal, not obeyed.
"""

import contextlib
import io
import json
import pathlib
from unittest import mock

from absl.testing import absltest, parameterized

from flan_tf.inference import answer_file, conversation, prompt_answers
from launch import cli, generate, typed_prompts
from tests.helpers import binaries

_DEEP = b"[" * 100_000 + b"]" * 100_000


def answer_upper(prompts, options, first):
  """Answers a batch of prompts without a model."""
  del options, first
  return [
    prompt_answers.PromptAnswer(prompt, prompt.upper(), -1.5, 2, True, False)
    for prompt in prompts
  ]


class PromptFileTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.target = self.folder / "out.jsonl"

  def answer(self, content: bytes):
    (self.folder / "in.jsonl").write_bytes(content)
    return answer_file.answer_file(
      answer_upper, str(self.folder / "in.jsonl"), str(self.target), batch=1
    )

  @parameterized.named_parameters(
    ("half_a_character", rb'{"prompt": "\ud83d"}', '"prompt" is not text in'),
    (
      "half_a_character_in_an_option",
      rb'{"prompt": "a", "options": ["yes", "\udc00"]}',
      'option 2 of "options" is not text in UTF-8: .* half a character',
    ),
    ("deep", b'{"prompt": "a", "more": %s}' % _DEEP, "at most 100 levels"),
    ("bad_utf8", b'{"prompt": "\xff"}', r"byte 13 is \\xff"),
    ("a_list", b'["a"]', "expected a JSON object"),
    ("no_prompt", b'{"text": "a"}', 'expected an object with a "prompt"'),
    ("no_json", b"What is it?", "expected a JSON object, got 'What is it"),
  )
  def test_a_line_is_named_before_any_is_answered(self, line, message):
    for end in (b"\n", b'\n{"prompt": "c"}\n'):
      with self.assertRaisesRegex(ValueError, f"in.jsonl, line 4: .*{message}"):
        self.answer(b'{"prompt": "a"}\n\n \n' + line + end)
    self.assertFalse(self.target.exists())

  def test_a_byte_order_mark_and_lines_of_blanks(self):
    content = b'\xef\xbb\xbf{"prompt": "a"}\r\n\n \t\n{"prompt": "b"}\n\n'
    self.assertEqual(self.answer(content), (2, 0))
    self.assertEqual(self.answer(content), (0, 2))
    lines = list(map(json.loads, self.target.read_text().splitlines()))
    self.assertEqual([line["answer"] for line in lines], ["A", "B"])

  def test_files_keep_the_exact_text(self):
    prompt, emoji = "\x1b[31m\u202e", "\U0001f600"
    both = json.dumps({"prompt": prompt, emoji: "\ud83d"})
    self.assertEqual(self.answer(both.encode()), (1, 0))
    line = json.loads(self.target.read_text())
    self.assertEqual((line["prompt"], line[emoji]), (prompt, "\ud83d"))

  def test_a_damaged_line_of_the_output_is_named(self):
    self.answer(b'{"prompt": "a"}\n')
    for damaged in (b"\xff\n", b"[1]\n"):
      self.target.write_bytes(damaged)
      with self.assertRaisesRegex(ValueError, "out.jsonl, line 1: expected "):
        self.answer(b'{"prompt": "a"}\n')

  def test_a_full_disk_leaves_the_answers_before(self):
    self.answer(b'{"prompt": "a"}\n')
    before = self.target.read_bytes()
    full = OSError(28, "No space left on device")
    with mock.patch("os.fsync", side_effect=full), self.assertRaises(OSError):
      self.answer(b'{"prompt": "a"}\n{"prompt": "b"}\n')
    self.assertEqual(self.target.read_bytes(), before)


class FlagTest(absltest.TestCase):
  def test_a_byte_of_a_flag(self):
    bad = b"no\xff|yes".decode(errors="surrogateescape")
    for flag in ("prompt", "score", "stop"):
      status, _, err = binaries.call(
        generate, "--checkpoint=missing", f"--{flag}={bad}"
      )
      self.assertEqual(status, 1)
      self.assertIn(
        f"--{flag} is not text in UTF-8: character 3 is the byte \\xff", err
      )


class TypedPromptsTest(absltest.TestCase):
  def typed(self, stdin) -> tuple[list[str], str, mock.Mock]:
    asked, talk, err = [], mock.Mock(), io.StringIO()
    with (
      mock.patch("sys.stdin", stdin),
      contextlib.redirect_stderr(err),
    ):
      typed_prompts.answer_lines(asked.append, talk)
    return asked, err.getvalue(), talk

  def test_lines_are_answered_and_new_begins_afresh(self):
    asked, err, talk = self.typed(io.StringIO("one\n\n/new\na\\nb\n"))
    self.assertEqual((asked, err), (["one", "a\nb"], ""))
    talk.forget.assert_called_once_with()

  def test_a_bad_byte_spoils_its_line_only(self):
    content = io.BytesIO(b"one\nt\xffwo\nthr\xc3\xa9e\n")
    asked, err, _ = self.typed(io.TextIOWrapper(content, encoding="utf-8"))
    self.assertEqual(asked, ["one", "thrée"])
    self.assertRegex(err, r"character 2 is the byte \\xff.* not answered\.\n$")


class TerminalTest(absltest.TestCase):
  def test_an_answer(self):
    def answer(prompt, write):
      write("a\x1b[2J\nb")
      return conversation.Reply(prompt, True, False)

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
      generate._print_answer(mock.Mock(answer=answer), "?")
    self.assertEqual(out.getvalue(), "a\\u001b[2J\nb\n")

  def test_options(self):
    table = generate.score_table({"\x9byes": -1.0, "no": -2.0})
    self.assertIn("\n\\u009byes  -1.000", table)

  def test_a_message(self):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), self.assertRaises(SystemExit):
      cli._end("bad line: \x1b[31m", 1)
    self.assertEqual(err.getvalue(), "bad line: \\u001b[31m\n")


if __name__ == "__main__":
  absltest.main()
