"""Byte characters: the printable character that spells each byte (GPT-2).

Printable bytes spell themselves. All other bytes take the characters from
U+0100 on, in order. A blank is "Ġ", a newline "Ċ".
"""


def _byte_characters() -> tuple[str, ...]:
  printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
  others = iter(range(256, 512))
  return tuple(chr(b if b in printable else next(others)) for b in range(256))


# The character of each byte, 0 to 255.
CHARACTERS = _byte_characters()
_BYTE_OF = {character: byte for byte, character in enumerate(CHARACTERS)}


def to_bytes(piece: str) -> bytes:
  """Returns the bytes of a piece.

  A piece with characters that spell no byte is taken as plain text.
  """
  try:
    return bytes(_BYTE_OF[character] for character in piece)
  except KeyError:
    return piece.encode()
