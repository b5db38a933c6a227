"""SavedModels give the answers of their model, with TensorFlow alone."""

import dataclasses
import functools
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
from unittest import mock

import numpy as np
import sentencepiece
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.bridges import model_source
from flan_tf.bridges.native import checkpoint_source, checkpoint_writer
from flan_tf.bridges.saved_model import (
  padded_rows,
  saved_model_writer,
)
from flan_tf.data import requests
from flan_tf.inference import prompt_answers
from flan_tf.inference.language_model import LanguageModel
from flan_tf.model import dims
from flan_tf.model.weights import weight_specs
from flan_tf.task import wordings
from flan_tf.vocab.base import Vocabulary
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary
from tests.helpers import byte_pairs, tiny, toys

TINY = tiny.Tiny()
TEXTS = ("the cat sat on the mat. What is it? Is it so?\n\n- yes\n- no", "é 12")
PROMPTS = (
  "",
  "What is it?",
  "the cat sat",
  "Is it so?\n\nOPTIONS:\n- yes\n- no",
  "a trailing blank \n\u3000",
  "naïve café 😀",
  "12345 678",
  "x",
  "\n\ny",
  *(f"{'the cat sat on ' * n}it" for n in range(1, 10)),
  "What? " * 40,
  "no " * 90,
)
ANSWERS = ("yes", "no", "the mat. " * 9, "é")


@dataclasses.dataclass(frozen=True)
class Case:
  """A model family with a vocabulary and settings of its run."""

  model: config.ModelConfig
  vocabulary: str
  data: dict
  chat: config.ChatConfig = config.ChatConfig()


CASES = {
  "t5": Case(toys.one_layer(toys.MODEL), "plain pieces", {"separator": "flan"}),
  "gpt2": Case(
    dataclasses.replace(toys.FAMILIES["gpt2"], layers=1, max_positions=160),
    "gpt2",
    {"separator": "plain", "markers": "flan", "overflow": "end"},
  ),
  "llama3": Case(
    toys.one_layer(toys.FAMILIES["llama3"]),
    "llama3",
    {"separator": "chat"},
    config.ChatConfig("<|start|>user ", "\n<|start|>it\n", "<|pad|>\n"),
  ),
  "gemma2": Case(
    toys.FAMILIES["gemma2"], "start pieces", {"separator": "flan"}
  ),
  "mistral": Case(toys.FAMILIES["mistral"], "smollm", {"separator": "flan"}),
}

SMALL = dataclasses.replace(
  CASES["mistral"], model=dataclasses.replace(CASES["mistral"].model, layers=1)
)
ENDED: set[bool] = set()  # of all families, whether answers came to an end


def setUpModule():
  toys.open_cores()


def tearDownModule():
  # A test of its own could run before the others.
  if len(ENDED) == 1:
    raise AssertionError(f"All answers of all families: ended is {ENDED}.")


@functools.cache
def vocabulary_of(kind: str) -> Vocabulary:
  if kind == "plain pieces":
    return SentencePieceVocabulary.train(TEXTS * 9, 300)
  if kind == "start pieces":
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter([text.replace("\n", " ") for text in TEXTS * 9]),
      model_writer=model,
      vocab_size=300,
      hard_vocab_limit=False,
      model_type="bpe",
      byte_fallback=True,
      pad_id=0,
      eos_id=1,
      bos_id=2,
      unk_id=3,
      minloglevel=2,
    )
    return SentencePieceVocabulary(model.getvalue())
  return byte_pairs.train(
    TEXTS,
    kind,
    300,
    adds_bos=kind == "llama3",
    ignore_merges=kind == "llama3",
    normalizer="nfc" if kind == "smollm" else None,
  )


def checkpoint_of(case: Case, folder: str) -> str:
  """Writes a checkpoint with random weights, some of whose answers end."""
  vocabulary = vocabulary_of(case.vocabulary)
  model = dataclasses.replace(
    case.model,
    vocab=dims.padded_vocab(vocabulary.size),
    pieces=vocabulary.size,
  )
  specs = weight_specs(model, dims.dims_for(model))
  values = toys.random_weights(specs, seed=3)
  table = "embedding" if model.shared_embedding else "unembedding"
  values[table][vocabulary.eos_id] *= 1.5
  run = config.RunConfig(
    name="toy",
    data=config.DataConfig(
      **{"input_length": 90, "target_length": 12, "length": 110, **case.data}
    ),
    model=model,
    chat=case.chat,
    mesh=config.MeshConfig(platform="cpu"),
  )
  source = model_source.ModelSource(
    model,
    vocabulary,
    {
      name: model_source.SourceTensor(value.shape, value.copy)
      for name, value in values.items()
    },
    "random weights",
  )
  return checkpoint_writer.write(
    source,
    folder,
    files={
      "run.json": config.to_json(run).encode(),
      "data.json": json.dumps({"step": 0, "seen": {}}).encode(),
      "vocabulary.model": vocabulary.serialized,
    },
  )


def expected_scores(model: LanguageModel, prompts, answers):
  """Scores as an evaluation does: (log_prob, tokens, trimmed) of each."""
  around = wordings.markers(model.run.data.markers)
  items = requests.encode_requests(
    [
      requests.Request(
        requests.Example(i, (answer,), (answer,), 0), around.join(prompt)
      )
      for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ],
    model.prompt_format,
  )
  scores = model.score_options(
    [item.prompt for item in items], [item.options for item in items]
  )
  return [
    (score[0], len(item.options[0]), item.trimmed)
    for score, item in zip(scores, items, strict=True)
  ]


class SavedModelTestCase(parameterized.TestCase):
  def assert_answers(
    self, loaded, model: LanguageModel, prompts, max_new: int = 0
  ):
    """Compares with `prompt_answers`; returns the answers."""
    wanted = prompt_answers.answer_prompts(model, prompts, max_new)
    found = loaded.signatures["generate"](
      prompt=tf.constant(prompts), max_new=tf.constant(max_new)
    )
    found = {name: value.numpy() for name, value in found.items()}
    self.assertEqual(
      [text.decode() for text in found["answer"]], [a.text for a in wanted]
    )
    for name in ("tokens", "ended", "trimmed"):
      self.assertEqual(
        found[name].tolist(), [getattr(a, name) for a in wanted], name
      )
    np.testing.assert_allclose(
      found["log_prob"], [a.log_prob for a in wanted], rtol=1e-5, atol=1e-5
    )
    return wanted

  def assert_scores(self, loaded, model: LanguageModel, prompts, answers):
    found = loaded.signatures["score"](
      prompt=tf.constant(prompts), answer=tf.constant(answers)
    )
    log_prob, tokens, trimmed = zip(
      *expected_scores(model, prompts, answers), strict=True
    )
    np.testing.assert_allclose(
      found["log_prob"], log_prob, rtol=1e-5, atol=1e-5
    )
    self.assertEqual(found["tokens"].numpy().tolist(), list(tokens))
    self.assertEqual(found["trimmed"].numpy().tolist(), list(trimmed))


class DetokenizeTest(parameterized.TestCase):
  @parameterized.parameters("plain pieces", "start pieces", "llama3", "smollm")
  def test_ids_spell_the_same_text_in_the_graph(self, kind):
    vocabulary = vocabulary_of(kind)
    rng = np.random.default_rng(1)
    # Cut characters and special pieces are among them.
    rows = [rng.integers(0, vocabulary.size, n) for n in range(60)]
    rows += vocabulary.encode(PROMPTS)
    found = vocabulary.detokenize(tf.ragged.constant(rows, tf.int32))
    self.assertEqual(
      [text.decode() for text in found.numpy()],
      list(map(vocabulary.decode, rows)),
    )


class FamiliesTest(SavedModelTestCase):
  @parameterized.parameters("t5", "gpt2", "llama3", "gemma2")
  def test_answers_and_scores_are_those_of_the_model(self, name):
    if name != "llama3":  # One family runs as TensorFlow Serving runs it.
      self.enterContext(toys.unoptimized_graphs())
    folder = pathlib.Path(self.create_tempdir().full_path)
    path = checkpoint_of(CASES[name], str(folder / "native"))
    target = str(folder / "models" / "1")
    # Several lengths cost time, so only these have them.
    shortest = 40 if name in ("t5", "llama3") else 64
    with mock.patch.object(padded_rows, "_FEWEST_COLUMNS", shortest):
      saved_model_writer.write(checkpoint_source.open_source(path), target)
    loaded, model = (
      tf.saved_model.load(target),
      LanguageModel.load(path, batch=8),
    )
    wanted = self.assert_answers(loaded, model, list(PROMPTS))
    ENDED.update(answer.ended for answer in wanted)
    self.assertLen({answer.trimmed for answer in wanted}, 2)
    self.assert_answers(loaded, model, ["What is it?"], max_new=3)
    if name == "t5":
      self.assert_answers(loaded, model, ["What is it?"], max_new=99)
    answers = [ANSWERS[i % len(ANSWERS)] for i in range(len(PROMPTS))]
    self.assert_scores(loaded, model, list(PROMPTS), answers)
    self.assert_scores(loaded, model, ["What is it?"], ["no"])
    if name == "t5":
      self.check_limits(loaded)

  def check_limits(self, loaded):
    """Checks which requests are valid and which are refused."""
    default = loaded.signatures["serving_default"]
    generate, score = (loaded.signatures[n] for n in ("generate", "score"))
    one = tf.constant(["What is it?"])
    same = default(prompt=one)
    for key, value in generate(prompt=one, max_new=tf.constant(0)).items():
      np.testing.assert_array_equal(value, same[key])
    nothing = default(prompt=tf.zeros([0], tf.string))
    self.assertEqual({tuple(x.shape) for x in nothing.values()}, {(0,)})
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "max_new: exp"):
      generate(prompt=one, max_new=tf.constant(-1))
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "one answer"):
      score(prompt=one, answer=tf.constant(["yes", "no"]))
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "no tokens"):
      score(prompt=one, answer=tf.constant([""]))


# Runs where the project is not: an import of it, or of what it needs, fails.
ALONE = """
import json, sys

class Refuse:
  def find_spec(self, name, path=None, target=None):
    if name.partition(".")[0] in REFUSED:
      raise ImportError("refused: " + name)

REFUSED = ("flan_tf", "launch", "tasks", "tests", "mesh_tensorflow",
           "keras_hub", "tokenizers", "sentencepiece", "transformers")
sys.meta_path.insert(0, Refuse())
import tensorflow as tf
import tensorflow_text

answers = []
for folder in json.loads(sys.argv[1]):
  model = tf.saved_model.load(folder)
  out = model.signatures["generate"](
    prompt=tf.constant(json.loads(sys.argv[2])), max_new=tf.constant(0)
  )
  answers.append([text.decode() for text in out["answer"].numpy()])
found = [name for name in REFUSED if name in sys.modules]
print(json.dumps({"answers": answers, "found": found}))
"""


def ask_alone(folders, prompts) -> list[list[str]]:
  """Returns answers of a process with TensorFlow and tensorflow-text only."""
  project = pathlib.Path(tiny.ROOT).resolve()
  path = [p for p in sys.path if p and project != pathlib.Path(p).resolve()]
  path = [p for p in path if pathlib.Path(p).resolve() != project / "tests"]
  process = subprocess.run(
    [sys.executable, "-c", ALONE, json.dumps(folders), json.dumps(prompts)],
    cwd=folders[0],
    env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    capture_output=True,
    text=True,
    timeout=300,
  )
  if process.returncode:
    raise RuntimeError(process.stderr)
  said = json.loads(process.stdout.splitlines()[-1])
  if said["found"]:
    raise RuntimeError(f"These were imported: {said['found']}")
  return said["answers"]


class FolderTest(SavedModelTestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    path = checkpoint_of(SMALL, str(self.folder / "native"))
    self.source = checkpoint_source.open_source(path)

  def test_errors_leave_nothing_behind(self):
    target = self.folder / "models"
    with mock.patch.object(
      tf.saved_model, "save", side_effect=KeyboardInterrupt
    ):
      with self.assertRaises(KeyboardInterrupt):
        saved_model_writer.write(self.source, str(target))
    tensors = dict(self.source.tensors)

    def broken():
      raise model_source.SourceError("It is damaged.")

    tensors["final_norm"] = dataclasses.replace(
      tensors["final_norm"], read=broken
    )
    damaged = dataclasses.replace(self.source, tensors=tensors)
    with self.assertRaisesRegex(model_source.SourceError, "damaged"):
      saved_model_writer.write(damaged, str(target))
    self.assertEqual(os.listdir(self.folder), ["native"])

  def test_nothing_is_written_over(self):
    with self.assertRaisesRegex(model_source.SourceError, "There is something"):
      saved_model_writer.write(self.source, str(self.folder / "native"))

  def test_a_chat_needs_a_chat_template(self):
    source = dataclasses.replace(self.source, separator="chat")
    with self.assertRaisesRegex(ValueError, "there is no chat template"):
      saved_model_writer.write(source, str(self.folder / "models"))

  def test_other_models_answer_as_the_checkpoint_that_they_would_become(self):
    source = model_source.ModelSource(
      **{
        field.name: getattr(self.source, field.name)
        for field in dataclasses.fields(model_source.ModelSource)
      }
    )
    path = checkpoint_writer.write(source, str(self.folder / "converted"))
    run = checkpoint_source.open_source(path).run
    self.assertEqual(saved_model_writer.exported_run(source), run)


class CommandTest(SavedModelTestCase):
  """A soft prompt with LoRA is exported and answers outside the project."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    TINY.open()
    cls.addClassCleanup(TINY.close)

  def test_a_moved_folder_answers_with_tensorflow_alone(self):
    folder = TINY.folder
    TINY.train(TINY.run(train__steps=2), folder / "base")
    tuned = TINY.run(
      train__init_from=str(folder / "base"),
      train__steps=2,
      adapter__soft_prompt=3,
      adapter__lora_rank=2,
    )
    TINY.train(tuned, folder / "tuned")
    with self.assertRaisesRegex(
      model_source.SourceError, "become a SavedModel"
    ):
      checkpoint_source.open_source(str(folder / "tuned"))
    process = tiny.start(
      "-m",
      "launch.convert",
      f"--source=native:{folder / 'tuned'}",
      f"--target=saved_model:{folder / 'models' / '1'}",
    )
    out, err = process.communicate(timeout=300)
    self.assertEqual(process.returncode, 0, err)
    self.assertIn("Written: ", out)

    # One with byte pairs, too.
    path = checkpoint_of(SMALL, str(folder / "native"))
    target = str(folder / "models" / "2")
    saved_model_writer.write(checkpoint_source.open_source(path), target)
    card = pathlib.Path(target, "README.md").read_text()
    self.assertIn("# toy: a SavedModel", card)
    self.assertIn("`score` (prompt, answer)", card)

    shutil.move(folder / "models", folder / "moved")
    folders = [str(folder / "moved" / number) for number in "12"]
    prompts = list(PROMPTS[1:4])
    soft = LanguageModel.load(str(folder / "tuned"), batch=4)
    models = [soft, LanguageModel.load(path, batch=4)]
    self.assertEqual(
      ask_alone(folders, prompts),
      [
        [a.text for a in prompt_answers.answer_prompts(m, prompts)]
        for m in models
      ],
    )
    loaded = tf.saved_model.load(folders[0])
    self.assert_answers(loaded, soft, list(PROMPTS))
    self.assert_scores(loaded, soft, list(PROMPTS[:4]), list(ANSWERS))


if __name__ == "__main__":
  absltest.main()
