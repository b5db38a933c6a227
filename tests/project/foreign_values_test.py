"""Values of files from elsewhere: their types, sizes and messages."""

import json
import pathlib

from absl.testing import absltest, parameterized

from flan_tf import foreign_values
from flan_tf.foreign_values import ForeignValues


class FileError(ValueError):
  """The error that a reader of such a file raises."""


def values(**entries) -> ForeignValues:
  return ForeignValues("a.json", entries, FileError)


class GetterTest(parameterized.TestCase):
  def test_values(self):
    found = values(
      size=3, share=1, name="x", on=True, ids=[1, 2], words=["a"], scores=[1, 2]
    )
    self.assertEqual(found.integer("size", low=3, high=3), 3)
    self.assertIsInstance(found.number("share"), float)
    self.assertEqual(found.text("name"), "x")
    self.assertIs(found.flag("on"), True)
    self.assertEqual(found.integers("ids"), [1, 2])
    self.assertEqual(found.texts("words"), ["a"])
    self.assertEqual(found.numbers("scores"), [1, 2])

  def test_null_counts_as_absent(self):
    found = values(size=None)
    self.assertEqual(found.integer("size", 7), 7)
    self.assertIsNone(found.texts("words", None))
    self.assertEmpty(found.section("settings").names())
    self.assertEmpty(found.sections("steps"))
    for getter in (found.integer, found.text, found.texts, found.flag):
      with self.assertRaisesRegex(FileError, "^a.json has no 'size'.$"):
        getter("size")

  @parameterized.parameters(
    ("integer", True, "a whole number from 0 to 9007199254740992"),
    ("integer", 1.0, "a whole number"),
    ("integer", "1", "a whole number"),
    ("integer", -1, "a whole number"),
    ("integer", 10**20, "a whole number"),
    ("number", float("nan"), "a number"),
    ("number", float("inf"), "a number"),
    ("number", 10**400, "a number"),
    ("number", False, "a number"),
    ("text", 1, "a text"),
    ("flag", 1, "true or false"),
    ("flag", "false", "true or false"),
    ("texts", "word", "a list"),
    ("integers", {}, "a list"),
    ("sections", {}, "a list"),
  )
  def test_other_types_are_refused(self, getter, value, expected):
    with self.assertRaisesRegex(
      FileError, rf"^a.json: 'key' is .*; expected {expected}"
    ):
      getattr(values(key=value), getter)("key")

  def test_members_of_lists_are_checked(self):
    with self.assertRaisesRegex(
      FileError, r"'key\[1\]' is None; expected a text"
    ):
      values(key=["a", None]).texts("key")
    with self.assertRaisesRegex(FileError, r"a.json: key\[0\] holds 'a'"):
      values(key=["a"]).sections("key")

  def test_limits(self):
    with self.assertRaisesRegex(FileError, "expected a number from 0 to 1"):
      values(share=1.5).number("share", low=0, high=1)
    with self.assertRaisesRegex(FileError, "'b' is 9; expected .* from 0 to 8"):
      values(a=1, b=9).all_integers(0, 8)

  def test_messages_name_the_place_and_stay_short(self):
    found = values(outer={"inner": "x" * 10**6})
    with self.assertRaisesRegex(
      FileError, "^a.json: outer: 'inner' is 'xxx.{1,80}; expected true or"
    ):
      found.section("outer").flag("inner")

  def test_a_prefix(self):
    found = ForeignValues("a.gguf", {"llama.size": 3}, FileError, "llama.")
    self.assertEqual(found.integer("size"), 3)
    with self.assertRaisesRegex(FileError, "a.gguf has no 'llama.other'"):
      found.integer("other")

  def test_names_of_files(self):
    found = values(one="a.h5", two=["a.h5", "b.h5"], up="../a.h5", other="a.x")
    self.assertEqual(found.file_names("one", ".h5"), ["a.h5"])
    self.assertEqual(found.file_names("two", ".h5"), ["a.h5", "b.h5"])
    with self.assertRaisesRegex(FileError, "'../a.h5'; expected the name of"):
      found.file_names("up", ".h5")
    with self.assertRaisesRegex(FileError, "a file that ends in .h5"):
      found.file_names("other", ".h5")


class ReadTest(parameterized.TestCase):
  def path(self, content: bytes) -> str:
    path = pathlib.Path(self.create_tempdir().full_path, "a.json")
    path.write_bytes(content)
    return str(path)

  def test_a_file(self):
    path = self.path(json.dumps({"a": "\U0001f600"}).encode())
    found = foreign_values.read_json(path, FileError)
    self.assertEqual((found.origin, found.text("a")), (path, "\U0001f600"))

  @parameterized.parameters(
    (b"", "is no JSON"),
    (b"{", "is no JSON"),
    (b'{"a": "\xff"}', "is no JSON"),
    (b'{"a": ' + b"9" * 5000 + b"}", "is no JSON"),
    (b"[]", r"holds \[\]; expected names with values"),
    (b"null", "holds None; expected names with values"),
    (b'{"a": ' * 100_000, "nested too deeply"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a": "\\ud83d"}', "holds half a character"),
    (b'{"a": "\\uDE00"}', "holds half a character"),
  )
  def test_other_content(self, content, message):
    path = self.path(content)
    with self.assertRaisesRegex(FileError, rf"{path} .*{message}"):
      foreign_values.read_json(path, FileError)

  def test_a_missing_file(self):
    path = self.path(b"") + "x"
    with self.assertRaisesRegex(FileError, f"no file {path}. Make one.$"):
      foreign_values.read_json(path, FileError, "Make one.")
    found = foreign_values.read_json_if_present(path, FileError)
    self.assertEmpty(found.names())

  def test_a_large_file(self):
    path = self.path(b"{}")
    with open(path, "r+b") as file:
      file.truncate(300 << 20)  # Takes no room on the disk.
    with self.assertRaisesRegex(FileError, "314,572,800 bytes; expected"):
      foreign_values.read_json(path, FileError)


if __name__ == "__main__":
  absltest.main()
