"""Settings of generation: greedy decoding, sampling or beam search."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sampling:
  """The method that chooses the next token.

  Attributes:
    temperature: 0 takes the most likely token. Above 0, tokens are drawn at
      random from the logits divided by the temperature.
    top_k: draws only from the k most likely tokens; 0 for all tokens.
    top_p: draws only from the smallest set of most likely tokens, within
      `top_k`, that has this share of the probability (nucleus sampling,
      Holtzman et al. 2020); 1 for all tokens.
    beams: 1 for no beam search; above 1, the number of beams.
    length_penalty: a beam's score is its log-probability divided by
      tokens ** length_penalty.
    seed: seed of the draws. Equal seeds give equal texts on any mesh and in any
      batch.

  Raises:
    ValueError: a value is out of its range, or two settings exclude each other.
  """

  temperature: float = 0.0
  top_k: int = 0
  top_p: float = 1.0
  beams: int = 1
  length_penalty: float = 1.0
  seed: int = 0

  def __post_init__(self):
    for name, is_valid, expected in (
      ("temperature", self.temperature >= 0, "0 (greedy) or more"),
      ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
      ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1 (all tokens)"),
      ("beams", self.beams >= 1, "1 (no search) or more"),
      ("seed", self.seed >= 0, "0 or more"),
    ):
      if not is_valid:
        raise ValueError(
          f"{name} is {getattr(self, name)}; expected {expected}."
        )
    if self.beams > 1 and self.temperature:
      raise ValueError(
        f"beams={self.beams} searches for the most likely text, but"
        f" temperature={self.temperature} draws texts at random. Set only one"
        " of the two."
      )
    if not self.temperature and (self.top_k or self.top_p < 1):
      raise ValueError(
        "top_k and top_p limit which tokens are drawn, but temperature is 0,"
        " which draws nothing. Set temperature, for example to 1."
      )

  @property
  def draws(self) -> bool:
    """True if tokens are drawn at random."""
    return self.temperature > 0


GREEDY = Sampling()
