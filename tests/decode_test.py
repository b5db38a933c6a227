"""Decoding with a cache gives what scoring every token anew would give."""

import dataclasses
from unittest import mock

import numpy as np
import toys
from absl.testing import absltest, parameterized

from flan_tf.eval import model as model_lib
from flan_tf.mesh import program
from flan_tf.model import dims, transformer

MODELS = {
  "t5": toys.MODEL,
  "rotary": dataclasses.replace(
    toys.MODEL,
    mlp="swiglu",
    positions="rotary",
    shared_embedding=False,
    scale_embedding=False,
  ),
  **toys.FAMILIES,
}
MAX_NEW = 12  # More than the number of tokens between two looks at the ends.
LENGTH = 48


class Naive:
  """Runs whole rows for each new token, without a cache."""

  def __init__(self, model: model_lib.Model):
    config, devices = model.run.model, toys.mesh("")
    d = dims.dims_for(config, 1, LENGTH)
    self._bos = model.vocabulary.bos_id
    self._pieces = config.pieces or config.vocab
    table = "embedding" if config.shared_embedding else "unembedding"
    self._table, self._tokens = model.weights.gather(table), d.tokens

    def step(core, *features):
      tokens = transformer.Tokens(*(core.feed(x, d.tokens) for x in features))
      hidden = transformer.hidden_states(
        config, d, core.read(model.weights), tokens
      )
      core.lower()
      return core.value(hidden)

    self._program = program.Program(*devices, step)

  def next(self, ids: list[int]) -> int:
    """The most likely token after ids."""
    size = len(ids) + 1
    inputs = np.zeros([1, LENGTH], np.int32)
    inputs[0, :size] = [self._bos, *ids]
    segments = np.int32(np.arange(LENGTH) < size)[np.newaxis]
    positions = np.arange(LENGTH, dtype=np.int32)[np.newaxis]
    feeds = [
      self._program.split(x, self._tokens)
      for x in (inputs, segments, positions)
    ]
    hidden = np.asarray(self._program(*feeds)[0])[0, size - 1]
    return int(np.argmax((self._table @ hidden)[: self._pieces]))

  def generate(self, prompt: list[int], eos_id: int, max_new: int) -> list[int]:
    new: list[int] = []
    while len(new) < max_new:
      token = self.next([*prompt, *new])
      if token == eos_id:
        break
      new.append(token)
    return new


def prompts() -> list[np.ndarray]:
  """Of many lengths, so that some rows of a batch are mostly padding."""
  rng = np.random.default_rng(2)
  lengths = (7, 1, 20, 0, 13, 31, 4, 32, 2)  # 32 with BOS is one too many.
  return [rng.integers(2, toys.MODEL.vocab, n) for n in lengths]


class DecodeTest(parameterized.TestCase):
  made = {}

  def model(self, name: str) -> tuple[model_lib.Model, Naive]:
    if name not in self.made:
      run = dataclasses.replace(toys.run_config(), model=MODELS[name])
      vocabulary = toys.Vocabulary(bos_id=2)
      model = model_lib.Model(run, vocabulary, 4, toys.mesh("")[0])
      toys.assign(
        model.weights, toys.random_weights(model.weights.specs, seed=4)
      )
      self.made[name] = model, Naive(model)
    return self.made[name]

  def generate(self, name: str, eos_id: int, max_new=MAX_NEW):
    model, naive = self.model(name)
    model.vocabulary = dataclasses.replace(model.vocabulary, eos_id=eos_id)
    made = [ids.tolist() for ids in model.generate(prompts(), max_new)]
    expected = [
      naive.generate(prompt.tolist(), eos_id, max_new) for prompt in prompts()
    ]
    return made, expected

  @parameterized.parameters(*MODELS)
  def test_against_scoring_anew(self, name):
    made, expected = self.generate(name, eos_id=-1)
    self.assertEqual(made, expected)
    self.assertEqual([len(ids) for ids in made], [MAX_NEW] * len(made))
    # Not a model that says the same whatever it reads.
    self.assertGreater(len({tuple(ids) for ids in made}), 4)
    self.assertGreater(len(set(sum(made, []))), 3)

  @parameterized.parameters("t5", "rotary")
  def test_stops_at_the_end_of_text(self, name):
    """A token that some rows reach in the middle, and others never."""
    rows, _ = self.generate(name, eos_id=-1)
    eos_id = rows[0][5]
    made, expected = self.generate(name, eos_id)
    self.assertEqual(made, expected)
    self.assertNotIn(eos_id, sum(made, []))
    self.assertLess(len(made[0]), 6)
    self.assertEqual(max(len(ids) for ids in made), MAX_NEW)

  def test_one_token(self):
    made, expected = self.generate("t5", eos_id=-1, max_new=1)
    self.assertEqual(made, expected)

  def test_stops_early_when_all_rows_have_ended(self):
    """Not to the token, but long before the last column."""
    rows, _ = self.generate("t5", eos_id=-1)
    model, _ = self.model("t5")
    model.vocabulary = dataclasses.replace(model.vocabulary, eos_id=rows[0][0])
    _, more, _ = model._decoder._programs[32, MAX_NEW]
    with mock.patch.object(more, "start", wraps=more.start) as start:
      (made,) = model.generate(prompts()[:1], MAX_NEW)
    self.assertEmpty(made)
    self.assertLess(start.call_count, MAX_NEW - 1)


if __name__ == "__main__":
  absltest.main()
