r"""Pre-tokenizer: splits a text into words, which byte-pair merges never cross.

A byte-pair model comes with a pattern that splits texts. There are two
implementations of each pattern here: one for Hugging Face `tokenizers`, with
which the models were trained, and one for the TensorFlow graph, which has RE2
only.

All patterns use a look-ahead, `\s+(?!\S)`: of several blanks before a word, the
last one belongs to the word. RE2 has no look-ahead. So the graph first inserts
a mark before that blank, then a mark after each word, and splits at the marks.
The mark is a byte that no UTF-8 text has. With _ for blanks and | for marks:

  "two__words\n"  ->  "two_|_words\n"  ->  two  _  _words  \n

The splitting of KerasHub's BytePairTokenizer (0.32) is none of these patterns.
It marks places with letters of real languages, which then get lost, and it
joins digits for every model.
"""

import dataclasses
import functools
import re
from typing import Any

import tensorflow as tf
import tokenizers
from tokenizers import pre_tokenizers

from flan_tf import name_lists
from flan_tf.foreign_values import ForeignValues

# Character classes as in `tokenizers`. RE2's \s has ASCII only, and RE2 does
# not know the letters and numbers of Unicode 15.1 and later.
_SPACE = (
  r"\t\n\x0b\f\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}"
  r"\x{202f}\x{205f}\x{3000}"
)
_LETTER = (
  r"\p{L}\x{1c89}-\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}"
  r"\x{105c0}-\x{105f3}\x{10d4a}-\x{10d65}\x{10d6f}-\x{10d85}"
  r"\x{10ec2}-\x{10ec4}\x{11380}-\x{11389}\x{1138b}\x{1138e}"
  r"\x{11390}-\x{113b5}\x{113b7}\x{113d1}\x{113d3}\x{11bc0}-\x{11be0}"
  r"\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c}\x{18cff}"
  r"\x{1e5d0}-\x{1e5ed}\x{1e5f0}\x{2ebf0}-\x{2ee5d}"
)
_NUMBER = (
  r"\p{N}\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}"
  r"\x{16130}-\x{16139}\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}"
  r"\x{1e5f1}-\x{1e5fa}"
)
# For single digits, `tokenizers` uses another table than in its patterns.
_DIGIT = _NUMBER + r"\x{11de0}-\x{11de9}\x{16ff4}-\x{16ff6}"
_CLASSES = {r"\s": _SPACE, r"\p{L}": _LETTER, r"\p{N}": _NUMBER}
# No UTF-8 text has this byte, and no class of RE2 matches it.
_MARK = b"\xff"

_GPT2 = (
  r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
_LLAMA3 = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
  r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_LOOK_AHEAD = r"|\s+(?!\S)"


@dataclasses.dataclass(frozen=True)
class Pattern:
  """A way to split texts into words.

  Attributes:
    regex: the pattern in the syntax of `tokenizers`; each match is a word.
    digits: whether each digit becomes a word before the pattern is applied.
    lines: whether a line break belongs to the blanks before it, and not to the
      word after it.
  """

  regex: str
  digits: bool = False
  lines: bool = False


PATTERNS = {
  "gpt2": Pattern(_GPT2),
  "llama3": Pattern(_LLAMA3, lines=True),
  "qwen2": Pattern(_QWEN2, lines=True),
  "smollm": Pattern(_GPT2, digits=True),
}


def check_pattern(name: str) -> None:
  """Raises ValueError, with a suggestion, unless PATTERNS has that name."""
  if name not in PATTERNS:
    raise ValueError(name_lists.unknown_name("pattern", name, PATTERNS))


def build_pre_tokenizer(name: str) -> Any:
  """Builds the `tokenizers` pre-tokenizer: text to words of byte characters."""
  pattern = PATTERNS[name]
  digits = [pre_tokenizers.Digits(individual_digits=True)]
  split = pre_tokenizers.Split(tokenizers.Regex(pattern.regex), "isolated")
  level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  return pre_tokenizers.Sequence(
    [*(digits if pattern.digits else []), split, level]
  )


def split_words(texts: Any, name: str) -> Any:
  """Splits texts in the graph: strings [n] -> ragged strings [n, None].

  Args:
    texts: UTF-8. The words of a text, joined without a separator, give the
      text back.
    name: a name in PATTERNS.
  """
  pattern = PATTERNS[name]
  if pattern.digits:
    digit = f"([{_DIGIT}])".encode()
    texts = tf.strings.regex_replace(texts, digit, _MARK + rb"\1" + _MARK)
  # Marks the last blank before a word. With `lines`, a line break is not taken
  # for such a blank.
  no_line_break = _SPACE.replace(r"\n", "").replace(r"\r", "")
  last = no_line_break if pattern.lines else _SPACE
  texts = tf.strings.regex_replace(
    texts, f"([{_SPACE}])([{last}][^{_SPACE}])", rb"\1" + _MARK + rb"\2"
  )
  # tensorflow_text.regex_split would end a text at its first NUL.
  texts = tf.strings.regex_replace(
    texts, f"({_to_re2(pattern.regex)})", rb"\1" + _MARK
  )
  words = tf.strings.split(texts, _MARK)
  # Two marks side by side and a mark at the end give empty words.
  return tf.ragged.boolean_mask(words, words != "")


def find_pattern(spec: ForeignValues) -> str | None:
  """Returns the name of a tokenizer.json's pattern; None if it is unknown.

  Args:
    spec: the entry "pre_tokenizer" of the file.
  """
  steps = [spec] if spec.names() else []
  if "pretokenizers" in spec.names():
    steps = spec.sections("pretokenizers")
  parts: list[Any] = []
  for step in steps:
    kind = step.text("type", "")
    if kind == "Digits" and step.flag("individual_digits", False):
      parts.append("digits")
    elif kind == "Split" and step.text("behavior", "") == "Isolated":
      parts.append(step.section("pattern").text("Regex", ""))
    elif kind == "ByteLevel" and not step.flag("add_prefix_space", False):
      parts += [_GPT2] if step.flag("use_regex", True) else []
    else:
      return None
  for name, pattern in PATTERNS.items():
    if parts == [*(["digits"] if pattern.digits else []), pattern.regex]:
      return name
  return None


@functools.cache
def _to_re2(regex: str) -> str:
  """Returns a pattern with classes spelled out and without its look-ahead."""

  def spell_out(match):
    text, alone = match[0], "%s" if match[0][0] == "[" else "[%s]"
    for escape, members in _CLASSES.items():
      text = text.replace(escape, alone % members)
    return text

  escapes = "|".join(map(re.escape, _CLASSES))
  return re.sub(
    rf"\[[^]]*\]|{escapes}", spell_out, regex.replace(_LOOK_AHEAD, "")
  )
