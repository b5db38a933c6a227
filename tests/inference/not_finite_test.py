"""A model with NaN in its weights gets no score, no text and no target."""

import os
import pathlib
from typing import Any
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

import flan_tf as flan
from flan_tf import config
from flan_tf.bridges import convert, model_source
from flan_tf.bridges.native import checkpoint_writer
from flan_tf.data.requests import Example, Request
from flan_tf.inference.language_model import LanguageModel
from flan_tf.inference.predictions import Prediction
from flan_tf.mesh import finite
from flan_tf.sampling import GREEDY, Sampling
from flan_tf.vocab.load import load_vocabulary
from tests.helpers import tiny, toys

TINY = tiny.Tiny()
PROMPTS = [np.array([5, 6, 7]), np.array([8, 9])]
OPTIONS = [[np.array([3]), np.array([4, 5])]] * 2
NORM = "layer_000/mlp/norm"


def setUpModule():
  toys.open_cores()
  TINY.open()


tearDownModule = TINY.close


def toy(family: str = "llama3", mesh: str = "") -> LanguageModel:
  run = config.replace(toys.run_config(mesh), "data", length=96)
  model = toys.FAMILIES.get(family, toys.MODEL)
  run = config.RunConfig(data=run.data, model=model, mesh=run.mesh)
  vocabulary: Any = toys.Vocabulary(eos_id=-1)
  return LanguageModel(run, vocabulary, 4, toys.mesh(mesh)[0])


def spoiled_model(
  name: str, value: float = np.nan, family: str = "llama3", mesh: str = ""
) -> LanguageModel:
  """Returns a model with one value of one tensor set."""
  model = toy(family, mesh)
  values = toys.random_weights(model.weights.specs)
  values[name][(0,) * values[name].ndim] = value
  toys.assign(model.weights, values)
  model.origin = "runs/a"
  return model


class NotFiniteTest(parameterized.TestCase):
  @parameterized.product(
    value=(np.nan, np.inf), mesh=("", "data:2;model:2"), family=("t5", "qwen2")
  )
  def test_options_get_no_score(self, value, mesh, family):
    model = spoiled_model(NORM, value, family, mesh)
    kind = "NaN" if np.isnan(value) else "infinite"
    with self.assertRaisesRegex(
      finite.NotFiniteError,
      f"weights of runs/a are not finite: tensor {NORM}.* has 1 {kind} of 32",
    ):
      model.score_options(PROMPTS, OPTIONS)

  @parameterized.product(
    sampling=(
      GREEDY,
      Sampling(temperature=1.0),
      Sampling(temperature=0.7, top_k=4, top_p=0.9),
      Sampling(beams=2),
    ),
    # The rows of qwen2's table that are no tokens have finite logits.
    case=(("t5", ""), ("qwen2", ""), ("qwen2", "model:2")),
  )
  def test_nothing_is_generated(self, sampling, case):
    model = spoiled_model(NORM, np.nan, *case)
    with self.assertRaisesRegex(finite.NotFiniteError, f"tensor {NORM}"):
      model.continuations(PROMPTS, 4, sampling=sampling)

  @parameterized.parameters(GREEDY, Sampling(beams=2))
  def test_one_token_without_a_logit_is_enough(self, sampling):
    model = spoiled_model("unembedding")
    with self.assertRaisesRegex(
      finite.NotFiniteError, "tensor unembedding has 1 NaN of 4,096 values"
    ):
      model.continuations(PROMPTS, 4, sampling=sampling)

  def test_a_tensor_is_named_with_its_shard(self):
    model = spoiled_model("layer_000/mlp/in", mesh="model:2")
    with self.assertRaisesRegex(
      finite.NotFiniteError, r"mlp/in, shard \[0:32, 0:32\], has 1 NaN of 1,024"
    ):
      model.score_options(PROMPTS, OPTIONS)

  def test_numbers_that_become_too_large(self):
    model = toy()
    values = toys.random_weights(model.weights.specs)
    values["final_norm"][:] = 1e20
    values["unembedding"] *= np.float32(1e20)
    toys.assign(model.weights, values)
    with self.assertRaisesRegex(
      finite.NotFiniteError,
      r"option 0 of prompt 0 is (nan|-inf), although all weights of the model",
    ):
      model.score_options(PROMPTS, OPTIONS)

  def test_what_comes_after_the_end_of_a_text_does_not_count(self):
    """Token 9 ends every text; the rows that only pad it are never shown."""
    model = toy()
    toys.assign(model.weights, toys.random_weights(model.weights.specs))
    (first,) = model.continuations(PROMPTS[:1], 1)
    (again,) = model.continuations(PROMPTS[:1], 9, ends=first.tolist())
    self.assertEqual(again.tolist(), first.tolist())

  @parameterized.parameters(np.nan, -np.inf, np.inf)
  def test_no_prediction_has_such_a_number(self, value):
    request = Request(Example(7, ("no",), ("yes", "no"), 1), "Is it so?")
    with self.assertRaisesRegex(
      finite.NotFiniteError, r"Row 7: .*'yes', 'no'.* are not finite"
    ):
      Prediction(request, "no", False, 1, (-1.0, value), (-1.0, -2.0))

  @parameterized.parameters(0, -3, 1 << 21)
  def test_the_number_of_new_tokens(self, max_new):
    with self.assertRaisesRegex(ValueError, f"max_new: .* got {max_new}"):
      toy().continuations(PROMPTS, max_new)

  def test_more_beams_than_the_vocabulary_has_tokens(self):
    with self.assertRaisesRegex(
      ValueError, "beams=100: .* 200 tokens of each beam, .* has 101. .* 50 be"
    ):
      toy("qwen2").continuations(PROMPTS, 2, sampling=Sampling(beams=100))

  @parameterized.parameters(
    (0, "batch: expected a positive number, got 0"),
    (1 << 30, "batch: 1,073,741,824 rows of 16 tokens .* expected 134,217,728"),
  )
  def test_the_rows_that_are_computed_at_once(self, batch, message):
    vocabulary: Any = toys.Vocabulary()
    with self.assertRaisesRegex(ValueError, message):
      LanguageModel(toys.run_config(), vocabulary, batch)


class CheckpointTest(absltest.TestCase):
  """A checkpoint whose last step made a weight NaN."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.path = str(self.folder / "spoiled")
    vocabulary = load_vocabulary(TINY.vocabulary)
    model = TINY.run(model__vocab=384, model__positions="rotary").model
    tensors = {}
    for name, shape in model_source.weight_shapes(model).items():
      value = np.full(shape, np.nan, np.float32)
      tensors[name] = model_source.SourceTensor(shape, value.copy)
    source = model_source.ModelSource(model, vocabulary, tensors, "a toy", 80)
    with mock.patch.object(checkpoint_writer, "check_value"):
      checkpoint_writer.write(source, self.path)

  def assert_refused(self, call, *arguments, **more):
    with self.assertRaisesRegex(
      finite.NotFiniteError,
      f"weights of {self.path} are not finite: tensor embedding has 12,288 NaN",
    ):
      call(*arguments, **more)

  def test_it_is_not_evaluated(self):
    output = str(self.folder / "evaluation")
    for task in ("cb", "trivia_qa"):
      self.assert_refused(
        flan.evaluate, self.path, tasks=task, max_examples=2, output=output
      )
    self.assertEmpty(list((self.folder / "evaluation").rglob("*.jsonl")))

  def test_it_answers_no_prompt(self):
    model = flan.load(self.path)
    self.assert_refused(model.generate, "Is it so?", max_new=3)
    self.assert_refused(model.score, "Is it so?", ["yes", "no"])

  def test_it_is_not_converted(self):
    for target in convert.TARGET_FORMATS:
      folder = str(self.folder / target)
      with self.assertRaisesRegex(
        model_source.SourceError,
        r"embedding has values that are not finite: 12,288 NaN of 12,288 value",
      ):
        flan.convert(f"native:{self.path}", f"{target}:{folder}")
      self.assertFalse(os.path.exists(folder))


if __name__ == "__main__":
  absltest.main()
