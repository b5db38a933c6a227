"""Benchmark of ranking options: prompts that are read once, or per option.

flan_tf scores all options of a prompt together. The peer is flan_tf itself,
scoring one option at a time, so that it reads each prompt once per option.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from flan_tf import config
from launch.benches import turns

ROUNDS = 3
_OPTION_TOKENS = 4


def compare(
  checkpoint: str,
  precision: str,
  numbers: Sequence[int] = (2, 4, 8, 16),
  prompts: int = 16,
  length: int = 128,
  rounds: int = ROUNDS,
) -> Iterator[dict]:
  """Yields a line for each number of options.

  Args:
    checkpoint: folder of the model.
    precision: number format of the computation.
    numbers: numbers of options, each of four tokens.
    prompts: number of prompts.
    length: tokens of a prompt.
    rounds: turns of each system.
  """
  from flan_tf.inference.language_model import LanguageModel

  model = LanguageModel.load(
    checkpoint, config.MeshConfig(precision=precision), 8
  )
  rng = np.random.default_rng(0)
  pieces = model.vocabulary.size
  prompt_ids = [rng.integers(3, pieces, length) for _ in range(prompts)]
  first_seconds = None
  for number in numbers:
    option_ids = [
      list(rng.integers(3, pieces, [number, _OPTION_TOKENS]))
      for _ in prompt_ids
    ]

    def together(option_ids=option_ids):
      model.score_options(prompt_ids, option_ids)

    def one_by_one(option_ids=option_ids, number=number):
      for option in range(number):
        model.score_options(
          prompt_ids, [[of_prompt[option]] for of_prompt in option_ids]
        )

    seconds, peer_seconds = turns.time_in_turns(
      together, one_by_one, steps=1, rounds=rounds
    )
    first_seconds = first_seconds or seconds
    yield {
      "what": "options",
      "system": "flan_tf",
      "peer": "flan_tf, each option after its own copy of the prompt",
      "options": number,
      "value": prompts / seconds,
      "unit": "examples/s",
      "peer_value": prompts / peer_seconds,
      "ratio_to_peer": peer_seconds / seconds,
      "share_of_peak": None,
      "precision": precision,
      "seconds_to_first": seconds / first_seconds,
      "tokens": prompts * (length + _OPTION_TOKENS * number),
      "peer_tokens": prompts * number * (length + _OPTION_TOKENS),
      "size": {"prompts": prompts, "length": length},
    }
