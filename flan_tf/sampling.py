"""Settings of generation: greedy decoding, sampling or beam search."""

import dataclasses

MOST_BEAMS = 128
_LARGEST_PENALTY = 10
# Temperatures whose quotients of logits float32 can hold.
_LOWEST, _HIGHEST = 1e-30, 1e30


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
    beams: 1 for no beam search; above 1, the number of beams, at most 128: a
      step looks for the best tokens one after another.
    length_penalty: a beam's score is its log-probability divided by
      tokens ** length_penalty; -10 to 10.
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
      (
        "temperature",
        self.temperature == 0 or _LOWEST <= self.temperature <= _HIGHEST,
        f"0 (greedy), or {_LOWEST:g} to {_HIGHEST:g}",
      ),
      ("top_k", 0 <= self.top_k < 2**31, "0 (all tokens) or more, in 32 bits"),
      ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1 (all tokens)"),
      (
        "beams",
        1 <= self.beams <= MOST_BEAMS,
        f"1 (no search) or more, at most {MOST_BEAMS}",
      ),
      (
        "length_penalty",
        -_LARGEST_PENALTY <= self.length_penalty <= _LARGEST_PENALTY,
        f"a number from -{_LARGEST_PENALTY} to {_LARGEST_PENALTY}, such as 1",
      ),
      ("seed", 0 <= self.seed < 2**63, "0 or more, in 63 bits"),
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
