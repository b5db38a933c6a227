"""How the next token is chosen: greedily, by chance, or by beam search."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Ways of choosing tokens.

  Attributes:
    temperature: 0 takes the most likely token. Above 0, tokens are drawn, with
      logits divided by it first.
    top_k: only the k most likely tokens are drawn; 0 for all.
    top_p: of these, only the fewest that have this share of the probability
      (the nucleus of Holtzman et al. 2020).
    beams: above 1, a beam search of so many beams instead.
    length_penalty: a beam's value is its log-probability / tokens ^ this.
    seed: of the draws. The same seed gives the same texts on any mesh and in
      any batch.

  Raises:
    ValueError: a value is out of its range, or two do not go together.
  """

  temperature: float = 0.0
  top_k: int = 0
  top_p: float = 1.0
  beams: int = 1
  length_penalty: float = 1.0
  seed: int = 0

  def __post_init__(self):
    for name, fits, wanted in (
      ("temperature", self.temperature >= 0, "0 (greedy) or more"),
      ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
      ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1 (all tokens)"),
      ("beams", self.beams >= 1, "1 (no search) or more"),
      ("seed", self.seed >= 0, "0 or more"),
    ):
      if not fits:
        raise ValueError(f"{name} is {getattr(self, name)}; expected {wanted}.")
    if self.beams > 1 and self.temperature:
      raise ValueError(
        f"beams={self.beams} searches for the most likely text, and"
        f" temperature={self.temperature} draws one. Choose one of them."
      )
    if not self.temperature and (self.top_k or self.top_p < 1):
      raise ValueError(
        "top_k and top_p say what is drawn from, but temperature is 0, which"
        " draws nothing. Set temperature, for example to 1."
      )

  @property
  def draws(self) -> bool:
    """Whether tokens are drawn."""
    return self.temperature > 0


GREEDY = Sampling()
