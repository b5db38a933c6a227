"""Decoding with a cache gives what scoring every token anew would give."""

import dataclasses
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from flan_tf import sampling
from flan_tf.inference import language_model
from flan_tf.mesh import program
from flan_tf.model import dims
from tests.helpers import toys

MODELS = {
  "t5": toys.MODEL,
  "rotary": dataclasses.replace(
    toys.MODEL,
    mlp="swiglu",
    positions="rotary",
    shared_embedding=False,
    scale_embedding=False,
  ),
  **{name: toys.one_layer(model) for name, model in toys.FAMILIES.items()},
  "gemma2": toys.FAMILIES["gemma2"],
}
MAX_NEW = 12
LENGTH = 48
VOCAB = toys.MODEL.vocab
DISPATCH = program.Program.dispatch


def setUpModule():
  toys.open_cores()


class Naive:
  """Runs whole rows for each new token, without a cache."""

  def __init__(self, model: language_model.LanguageModel):
    config, devices = model.run.model, toys.mesh("")
    d = dims.dims_for(config, 1, LENGTH)
    self._bos = model.vocabulary.bos_id
    self._pieces = config.pieces or config.vocab
    table = "embedding" if config.shared_embedding else "unembedding"
    self._table, self._tokens = model.weights.gather(table), d.tokens

    def step(core, *features):
      tokens = [core.feed(x, d.tokens) for x in features]
      hidden = toys.hidden_states(config, d, core.read(model.weights), *tokens)
      core.lower()
      return core.value(hidden)

    self._program = program.Program(*devices, step)

  def next(self, ids: list[int]) -> int:
    """The most likely token after ids."""
    return int(np.argmax(self.log_probs(ids)))

  def value(self, prompt: list[int], new: list[int]) -> float:
    """The log-probability of new ids."""
    return sum(
      self.log_probs([*prompt, *new[:at]])[token]
      for at, token in enumerate(new)
    )

  def log_probs(self, ids: list[int]) -> np.ndarray:
    """Of all tokens after ids."""
    size = len(ids) + 1
    inputs = np.zeros([1, LENGTH], np.int32)
    inputs[0, :size] = [self._bos, *ids]
    segments = np.int32(np.arange(LENGTH) < size)[np.newaxis]
    positions = np.arange(LENGTH, dtype=np.int32)[np.newaxis]
    feeds = [
      self._program.shard(x, self._tokens)
      for x in (inputs, segments, positions)
    ]
    hidden = np.asarray(self._program(*feeds)[0])[0, size - 1]
    logits = (self._table @ hidden)[: self._pieces]
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

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

  def model(self, name: str) -> tuple[language_model.LanguageModel, Naive]:
    if name not in self.made:
      run = dataclasses.replace(toys.run_config(), model=MODELS[name])
      vocabulary = toys.Vocabulary(bos_id=2)
      model = language_model.LanguageModel(run, vocabulary, 4, toys.mesh("")[0])
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
    """No token is made behind the last end."""
    rows, _ = self.generate("t5", eos_id=-1)
    model, _ = self.model("t5")
    model.vocabulary = dataclasses.replace(model.vocabulary, eos_id=rows[0][0])
    with mock.patch.object(
      program.Program, "dispatch", autospec=True
    ) as dispatch:
      dispatch.side_effect = DISPATCH
      (made,) = model.generate(prompts()[:1], MAX_NEW)
    self.assertEmpty(made)
    self.assertEqual(dispatch.call_count, 1)  # The prompts alone.

  def test_beams_find_what_trying_everything_finds(self):
    """The best text of two tokens begins with one of the likelier half."""
    model, naive = self.model("rotary")
    model.vocabulary = dataclasses.replace(model.vocabulary, eos_id=-1)
    prompt = prompts()[0]
    how = sampling.Sampling(beams=VOCAB // 2)
    (found,) = model.generate([prompt], 2, sampling=how)
    one = naive.log_probs([*prompt])
    two = [naive.log_probs([*prompt, token]) for token in range(VOCAB)]
    sums = one[:, np.newaxis] + np.array(two)
    best = np.unravel_index(np.argmax(sums), sums.shape)
    self.assertEqual(found.tolist(), list(map(int, best)))

  def test_a_search_of_two_beams_is_no_worse_than_greedy(self):
    model, naive = self.model("t5")
    model.vocabulary = dataclasses.replace(model.vocabulary, eos_id=-1)
    greedy = model.generate(prompts(), 4)
    found = model.generate(prompts(), 4, sampling=sampling.Sampling(beams=2))
    values = [
      [
        naive.value(prompt.tolist(), ids.tolist())
        for prompt, ids in zip(prompts(), made, strict=True)
      ]
      for made in (greedy, found)
    ]
    self.assertTrue((np.array(values[1]) >= np.array(values[0]) - 1e-4).all())
    self.assertNotEqual(
      [ids.tolist() for ids in greedy], [ids.tolist() for ids in found]
    )


WAYS = {
  "greedy": sampling.GREEDY,
  "drawn": sampling.Sampling(temperature=1.0, top_k=20, top_p=0.8, seed=3),
  "beams": sampling.Sampling(beams=2),
}


class InvarianceTest(parameterized.TestCase):
  def continued(self, mesh: str, batch: int, way: str, asked, numbers=()):
    run = dataclasses.replace(toys.run_config(mesh), model=MODELS["llama3"])
    vocabulary = toys.Vocabulary(bos_id=2, eos_id=7)
    model = language_model.LanguageModel(
      run, vocabulary, batch, toys.mesh(mesh)[0]
    )
    toys.assign(model.weights, toys.random_weights(model.weights.specs, seed=4))
    with toys.unoptimized_graphs():
      made = model.generate(asked, 6, sampling=WAYS[way], numbers=numbers)
    return [ids.tolist() for ids in made]

  @parameterized.parameters(*WAYS)
  def test_neither_mesh_nor_batch_nor_order_changes_a_text(self, way):
    asked = prompts()[:5]
    plain = self.continued("", 4, way, asked)
    split = self.continued("data:2;model:2", 4, way, asked)
    self.assertEqual(split, plain)
    order = [3, 0, 4, 2, 1]
    other = self.continued("", 2, way, [asked[i] for i in order], order)
    self.assertEqual(other, [plain[i] for i in order])

  def test_another_seed_draws_other_texts(self):
    run = dataclasses.replace(toys.run_config(), model=MODELS["llama3"])
    model = language_model.LanguageModel(
      run, toys.Vocabulary(bos_id=2), 4, toys.mesh("")[0]
    )
    toys.assign(model.weights, toys.random_weights(model.weights.specs, seed=4))
    made = [
      np.concatenate(
        model.generate(
          prompts()[:4],
          6,
          sampling=sampling.Sampling(temperature=2.0, seed=seed),
        )
      ).tolist()
      for seed in (0, 0, 1)
    ]
    self.assertEqual(made[0], made[1])
    self.assertNotEqual(made[0], made[2])


if __name__ == "__main__":
  absltest.main()
