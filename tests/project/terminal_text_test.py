"""Control characters of texts are shown on a terminal, and not obeyed."""

import json
import unicodedata

from absl.testing import absltest

from flan_tf.terminal_text import visible


class VisibleTest(absltest.TestCase):
  def test_controls_are_shown(self):
    self.assertEqual(visible("\x1b[2J\x07"), "\\u001b[2J\\u0007")
    self.assertEqual(visible("a\rb\x9b31m"), "a\\u000db\\u009b31m")
    self.assertEqual(visible("abc\u202etxt.exe"), "abc\\u202etxt.exe")
    self.assertEqual(visible("\udcff"), "\\udcff")

  def test_every_control_but_newline_and_tab(self):
    codes = [c for c in map(chr, range(0x110000)) if visible(c) != c]
    categories = {unicodedata.category(c) for c in codes}
    self.assertEqual(categories, {"Cc", "Cf", "Cs"})
    controls = {c for c in map(chr, range(256)) if not c.isprintable()}
    # No-break space and soft hyphen are not controls.
    self.assertEqual(
      {c for c in codes if ord(c) < 256}, controls - {*"\n\t\xa0\xad"}
    )

  def test_other_texts_stay(self):
    for text in ("a\n\tb", "süß", "שלום", "👩‍👩‍👧", "\\u001b", ""):
      self.assertEqual(visible(text), text)

  def test_json_keeps_its_value(self):
    value = {"a\x1b": ["\x9b\x7f", "\u202e\u2066", "a\nb"]}
    text = visible(json.dumps(value, ensure_ascii=False, indent=2))
    self.assertEqual(json.loads(text), value)
    self.assertNotRegex(text, "[\x1b\x9b\x7f\u202e]")

  def test_a_value_that_is_no_text(self):
    self.assertEqual(visible(ValueError("\x1b")), "\\u001b")


if __name__ == "__main__":
  absltest.main()
