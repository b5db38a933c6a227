"""Words of texts, as the contamination analysis compares them.

Words are separated by whitespace, in lower case, and without punctuation
(Brown et al. 2020, appendix C).
"""

import re

_PUNCTUATION = re.compile(r"[^\w\s]|_")
# For ASCII texts `str.translate` is faster than the regular expression.
_ASCII_PUNCTUATION = {
  code: None for code in range(128) if _PUNCTUATION.match(chr(code))
}


def split_words(text: str) -> list[str]:
  """Splits a text into words.

  >>> split_words("It's 9 o'clock - WAKE up!")
  ['its', '9', 'oclock', 'wake', 'up']
  """
  text = text.lower()
  if text.isascii():
    return text.translate(_ASCII_PUNCTUATION).split()
  return _PUNCTUATION.sub("", text).split()
