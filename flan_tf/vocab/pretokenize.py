r"""How a text is cut into words before byte pairs are merged.

A byte-pair model comes with a pattern that cuts texts; merges never cross a
cut. Each pattern stands here twice: as Hugging Face `tokenizers` runs it, which
is what models were trained with, and for the graph, where only RE2 is to be
had. RE2 cannot look ahead, and all patterns do: of several blanks before a word
the last one belongs to the word (`\s+(?!\S)`). So a mark is put before that
blank first, a byte that is in no text, and marks are taken out again after the
cut. With _ for blanks and | for marks:

  "two__words\n"  ->  "two_|_words\n"  ->  two  _  _words  \n

KerasHub's own cut (`BytePairTokenizer`, 0.32) is none of these patterns: it
uses letters of real languages as marks, so that they get lost, and joins digits
for every model.
"""

import dataclasses
import functools
import re
from typing import Any

import tensorflow as tf
import tokenizers
from tokenizers import pre_tokenizers

from flan_tf import name_lists

# Classes of characters, as `tokenizers` has them. RE2's \s is ASCII only, and
# it does not know the letters and numbers of Unicode 15.1 and later.
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
# `tokenizers` finds single digits with another table than its patterns.
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
  """One way to cut texts.

  Attributes:
    regex: what cuts, as `tokenizers` reads it.
    digits: whether each digit is cut out first.
    lines: whether line breaks stay with the blanks before them, not with the
      word behind.
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


def check(name: str) -> None:
  """Raises ValueError, with a suggestion, unless there is such a pattern."""
  if name not in PATTERNS:
    raise ValueError(name_lists.unknown_name("pattern", name, PATTERNS))


def pre_tokenizer(name: str) -> Any:
  """The pattern for `tokenizers`: a text to words of byte characters."""
  pattern = PATTERNS[name]
  digits = [pre_tokenizers.Digits(individual_digits=True)]
  split = pre_tokenizers.Split(tokenizers.Regex(pattern.regex), "isolated")
  level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  return pre_tokenizers.Sequence(
    [*(digits if pattern.digits else []), split, level]
  )


def split(texts: Any, name: str) -> Any:
  """Cuts texts in the graph: strings [n] -> ragged [n, None] of words.

  Joined, the words of a text are the text. It must be UTF-8.
  """
  pattern = PATTERNS[name]
  if pattern.digits:
    digit = f"([{_DIGIT}])".encode()
    texts = tf.strings.regex_replace(texts, digit, _MARK + rb"\1" + _MARK)
  # The blank that goes with the next word, unless it breaks a line.
  last = _SPACE.replace(r"\n", "").replace(r"\r", "")
  last = last if pattern.lines else _SPACE
  texts = tf.strings.regex_replace(
    texts, f"([{_SPACE}])([{last}][^{_SPACE}])", rb"\1" + _MARK + rb"\2"
  )
  # Not tensorflow_text.regex_split: a text would end at its first NUL.
  texts = tf.strings.regex_replace(
    texts, f"({_for_re2(pattern.regex)})", rb"\1" + _MARK
  )
  words = tf.strings.split(texts, _MARK)
  # Between two marks, and after the last one, there is nothing.
  return tf.ragged.boolean_mask(words, words != "")


def name_of(spec: dict | None) -> str | None:
  """The pattern that a tokenizer.json asks for, if it is one of ours.

  Args:
    spec: its "pre_tokenizer".
  """
  steps = (spec or {}).get("pretokenizers", [spec]) if spec else []
  found: list[Any] = []
  for step in steps:
    kind = step.get("type")
    if kind == "Digits" and step.get("individual_digits"):
      found.append("digits")
    elif kind == "Split" and step.get("behavior") == "Isolated":
      found.append(step.get("pattern", {}).get("Regex"))
    elif kind == "ByteLevel" and not step.get("add_prefix_space"):
      found += [_GPT2] if step.get("use_regex", True) else []
    else:
      return None
  for name, pattern in PATTERNS.items():
    if found == [*(["digits"] if pattern.digits else []), pattern.regex]:
      return name
  return None


@functools.cache
def _for_re2(regex: str) -> str:
  """A pattern with its classes spelt out, and without its look ahead."""

  def spell(match):
    part, alone = match[0], "%s" if match[0][0] == "[" else "[%s]"
    for escape, members in _CLASSES.items():
      part = part.replace(escape, alone % members)
    return part

  escapes = "|".join(map(re.escape, _CLASSES))
  return re.sub(rf"\[[^]]*\]|{escapes}", spell, regex.replace(_LOOK_AHEAD, ""))
