"""Converted models give the logits of the library that they come from."""

import dataclasses
import gc
import json
import os
import pathlib
import shutil
import tempfile
import unittest
import warnings
import weakref
from unittest import mock

from tests.helpers import tiny

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import h5py  # noqa: E402
import keras_hub  # noqa: E402
import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from absl.testing import absltest, parameterized  # noqa: E402
from safetensors import numpy as safetensors_numpy  # noqa: E402

from flan_tf import config  # noqa: E402
from flan_tf.bridges import model_source  # noqa: E402
from flan_tf.bridges.hugging_face import folder_source  # noqa: E402
from flan_tf.bridges.keras_hub import (
  preset_source,  # noqa: E402
  preset_vocabulary,  # noqa: E402
)
from flan_tf.bridges.native import checkpoint_writer  # noqa: E402
from flan_tf.checkpoints import (
  checkpoint_dirs,  # noqa: E402
  restore,  # noqa: E402
)
from flan_tf.checkpoints.bundle import Bundle  # noqa: E402
from flan_tf.inference.language_model import (
  LanguageModel,  # noqa: E402
  ScoredExample,  # noqa: E402
)
from flan_tf.mesh import (
  program,  # noqa: E402
  state,  # noqa: E402
)
from flan_tf.mesh.compat import mtf  # noqa: E402
from flan_tf.model import (
  dims,  # noqa: E402
)
from flan_tf.model.weights import weight_specs  # noqa: E402
from flan_tf.vocab import (
  byte_characters,  # noqa: E402
)
from flan_tf.vocab.base import (
  Vocabulary,  # noqa: E402
  VocabularyError,  # noqa: E402
)
from flan_tf.vocab.load import load_vocabulary  # noqa: E402
from launch import convert  # noqa: E402
from tests.helpers import (
  binaries,  # noqa: E402
  toys,  # noqa: E402
  transformers_models,  # noqa: E402
)

TINY = tiny.Tiny()
ROWS, LENGTH = 50, 12

_SIZES = {
  "vocabulary_size": ROWS,
  "num_layers": 3,
  "num_query_heads": 4,
  "num_key_value_heads": 2,
  "hidden_dim": 16,
  "intermediate_dim": 24,
}
# No option is at a value where leaving it out would change nothing.
KERAS_HUB = {
  "gpt2": (
    "GPT2Backbone",
    {
      "vocabulary_size": ROWS,
      "num_layers": 3,
      "num_heads": 4,
      "hidden_dim": 16,
      "intermediate_dim": 24,
      "max_sequence_length": LENGTH,
    },
  ),
  "llama": (
    "LlamaBackbone",
    {**_SIZES, "layer_norm_epsilon": 1e-2, "rope_max_wavelength": 500},
  ),
  "llama_3": (
    "Llama3Backbone",
    {
      **_SIZES,
      "tie_word_embeddings": True,
      "rope_max_wavelength": 500,
      "rope_frequency_adjustment_factor": 8.0,
      "rope_low_freq_factor": 1.0,
      "rope_high_freq_factor": 4.0,
      "rope_pretraining_sequence_length": 32,
    },
  ),
  "mistral": (
    "MistralBackbone",
    {**_SIZES, "sliding_window": 4, "head_dim": 6, "rope_scaling_factor": 2.0},
  ),
  "gemma": ("GemmaBackbone", {**_SIZES, "head_dim": 6}),
  "gemma_2": (
    "GemmaBackbone",
    {
      **_SIZES,
      "head_dim": 6,
      "use_post_ffw_norm": True,
      "use_post_attention_norm": True,
      "attention_logit_soft_cap": 1.0,
      "final_logit_soft_cap": 2.0,
      "use_sliding_window_attention": True,
      "sliding_window_size": 4,
    },
  ),
  "qwen": (
    "QwenBackbone",
    {
      **_SIZES,
      "tie_word_embeddings": False,
      "use_sliding_window_attention": True,
      "sliding_window_size": 4,
    },
  ),
}


@dataclasses.dataclass(frozen=True)
class SizedVocabulary:
  """The attributes of a vocabulary that a conversion reads."""

  size: int = ROWS
  has_start: bool = False
  bos_id: int = 0
  eos_id: int = 1
  pad_id: int = 0
  serialized: bytes = b"no vocabulary"


def setUpModule():
  toys.open_cores()
  TINY.open()


tearDownModule = TINY.close


def make(cls: str, settings) -> keras_hub.models.Backbone:
  """Builds a KerasHub model in which no weight has its initial value."""
  backbone = getattr(keras_hub.models, cls)(**settings)
  rng = np.random.default_rng(0)
  for weight in backbone.weights:
    weight.assign(weight + 0.3 * rng.standard_normal(weight.shape))
  return backbone


def ids(seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, ROWS, [2, LENGTH], np.int32)


def keras_logits(backbone, tokens: np.ndarray) -> np.ndarray:
  hidden = backbone({"token_ids": tokens, "padding_mask": np.ones_like(tokens)})
  return np.asarray(backbone.token_embedding(hidden, reverse=True))


def our_logits(
  path: str, tokens: np.ndarray, mesh: str = "", rules: str = toys.RULES
) -> np.ndarray:
  """Loads a checkpoint and returns its logits for rows of tokens."""
  path = checkpoint_dirs.find(path)
  model = Bundle.open(path).run.model
  devices, layout = toys.mesh(mesh, rules)
  d = dims.dims_for(model, *tokens.shape)
  weights = state.State(devices, layout, weight_specs(model, d))
  restore.restore_states(path, [weights])
  shape = mtf.Shape([d.batch, d.length, d.vocab])

  def step(core, *features):
    read = core.read(weights)
    tokens = [core.feed(x, d.tokens) for x in features]
    hidden = toys.hidden_states(model, d, read, *tokens)
    logits = mtf.einsum([hidden, toys.output_table(model, d, read)], shape)
    core.lower()
    return core.value(logits)

  run = program.Program(devices, layout, step)
  places = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
  feeds = [tokens, np.ones_like(tokens), places]
  fed = [run.shard(x.astype(np.int32), d.tokens) for x in feeds]
  logits = run.assemble(run(*fed), shape)
  if model.logit_cap:
    logits = model.logit_cap * np.tanh(logits / model.logit_cap)
  return logits[..., : model.pieces]


class BridgesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    # Keras 3.15 turns its variables into arrays in a way that NumPy 2.4 warns
    # of.
    self.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", "__array__ impl", DeprecationWarning)
    self.folder = pathlib.Path(
      self.enter_context(tempfile.TemporaryDirectory())
    )

  def path(self, name: str) -> str:
    return str(self.folder / name)

  def preset(self, name: str = "llama", **changes):
    """Saves a KerasHub model; returns the model and its folder."""
    cls, settings = KERAS_HUB[name]
    backbone = make(cls, {**settings, **changes})
    backbone.save_to_preset(self.path("preset"))
    return backbone, self.path("preset")

  def open(self, preset: str) -> model_source.ModelSource:
    return preset_source.open_source(preset, SizedVocabulary())


class KerasHubTest(BridgesTest):
  @parameterized.parameters(*KERAS_HUB)
  def test_logits(self, name):
    backbone, preset = self.preset(name)
    made = checkpoint_writer.write(self.open(preset), self.path("native"))
    expected = keras_logits(backbone, ids())
    self.assertGreater(np.std(expected), 0.5)
    np.testing.assert_allclose(our_logits(made, ids()), expected, atol=1e-4)

  @parameterized.parameters("data:2", "model:2", "data:2;model:2")
  def test_logits_on_a_mesh(self, mesh):
    backbone, preset = self.preset("gemma_2")
    made = checkpoint_writer.write(self.open(preset), self.path("native"))
    expected = keras_logits(backbone, ids())
    np.testing.assert_allclose(
      our_logits(made, ids(), mesh), expected, atol=1e-4
    )

  @parameterized.parameters(*sorted(set(KERAS_HUB) - {"gemma_2"}))
  def test_logits_of_the_others_on_a_mesh(self, name):
    backbone, preset = self.preset(name)
    made = checkpoint_writer.write(self.open(preset), self.path("native"))
    np.testing.assert_allclose(
      our_logits(made, ids(), "data:2;model:2"),
      keras_logits(backbone, ids()),
      atol=1e-4,
    )

  def test_heads_that_do_not_divide(self):
    """SmolLM2 has 9 query heads and 3 key/value heads."""
    backbone, preset = self.preset(
      "llama", num_query_heads=9, num_key_value_heads=3, hidden_dim=36
    )
    made = checkpoint_writer.write(self.open(preset), self.path("native"))
    expected = keras_logits(backbone, ids())
    with self.subTest("a mesh that fits"):
      np.testing.assert_allclose(
        our_logits(made, ids(), "model:3", "batch:data;heads:model"),
        expected,
        atol=1e-4,
      )
    with self.subTest("another dimension is split"):
      np.testing.assert_allclose(
        our_logits(made, ids(), "model:2", "d_ff:model;vocab:model"),
        expected,
        atol=1e-4,
      )
    with self.subTest("the error says what fits"):
      with self.assertRaisesRegex(
        ValueError,
        r"'heads' has size [93], .* of size 2. Sizes of 'model' that fit:"
        r" \[1\]. Set mesh.shape \(--mesh\), or take 'heads:model' out of"
        r" mesh.layout \(--layout\)",
      ):
        our_logits(made, ids(), "model:2")

  def test_scores_and_generations(self):
    backbone, preset = self.preset("qwen", vocabulary_size=400)
    vocabulary = load_vocabulary(TINY.vocabulary)
    opened = preset_source.open_source(preset, vocabulary)
    checkpoint_writer.write(opened, self.path("native"))
    model = LanguageModel.load(self.path("native"), batch=2)
    (prompt,) = vocabulary.encode(["What is it?"])
    whole = [vocabulary.bos_id, *prompt.tolist()]
    expected = keras_logits(backbone, np.array([whole[:-1]], np.int32))[0]
    log_probs = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
    scored = log_probs[np.arange(len(prompt)), prompt][-3:].sum()
    (score,) = model.score([ScoredExample(prompt, 3)])
    self.assertAlmostEqual(score, scored, places=3)
    new = []
    for _ in range(6):
      at = np.array([[*whole, *new]], np.int32)
      new.append(int(keras_logits(backbone, at)[0, -1].argmax()))
    self.assertNotIn(vocabulary.eos_id, new)
    (generated,) = model.generate([prompt], 6)
    self.assertEqual(generated.tolist(), new)

  def test_shards_hold_the_same(self):
    cls, settings = KERAS_HUB["llama"]
    backbone = make(cls, settings)
    backbone.save_to_preset(self.path("one"))
    backbone.save_to_preset(self.path("many"), max_shard_size=4e-6)
    self.assertGreater(len(os.listdir(self.path("many"))), 5)
    one, many = self.open(self.path("one")), self.open(self.path("many"))
    self.assertEqual(one.model, many.model)
    for name, tensor in one.tensors.items():
      np.testing.assert_array_equal(many.tensors[name].read(), tensor.read())

  def test_bfloat16(self):
    _, preset = self.preset("gemma")
    name = "layers/gemma_decoder_block_1/gating_ffw_2/vars/0"
    with h5py.File(f"{preset}/model.weights.h5", "r+") as file:
      stored = file[name][()].astype(ml_dtypes.bfloat16)
      del file[name]
      # As Keras does it.
      file.create_dataset(name, data=stored).attrs["dtype"] = "bfloat16"
    tensor = self.open(preset).tensors["layer_001/mlp/in"]
    np.testing.assert_array_equal(tensor.read(), stored.astype(np.float32))

  def test_names_are_fetched_without_their_model(self):
    _, preset = self.preset("gpt2")
    fetched = []

    def get_file(name, path):
      self.assertEqual(name, "hf://somebody/model")
      if not os.path.exists(os.path.join(preset, path)):
        raise FileNotFoundError(path)
      os.makedirs(self.path("cache"), exist_ok=True)
      fetched.append(path)
      return shutil.copy(os.path.join(preset, path), self.path("cache"))

    with mock.patch("keras_hub.src.utils.preset_utils.get_file", get_file):
      opened = self.open("hf://somebody/model")
    self.assertSameElements(fetched, ["config.json", "model.weights.h5"])
    self.assertIn("hf://somebody/model", opened.origin)

  def test_unknown_names(self):
    with self.assertRaisesRegex(
      model_source.SourceError, "no local folder, and KerasHub cannot get it"
    ):
      self.open("no_such_preset")

  @parameterized.parameters(
    ({"class_name": "T5Backbone"}, "Unknown backbone 'T5Backbone'"),
    ({"class_name": "LlamaBackbon"}, "Did you mean 'LlamaBackbone'"),
    ({"num_layers": 2}, r"unknown: layers/llama_.*_layernorm/vars/0 \(N = 2\)"),
    ({"num_layers": 4}, r"missing: layers/llama_.*_layernorm/vars/0 \(N = 3\)"),
    ({"hidden_dim": 8}, r"embedding/vars/0 is \[50, 16\], expected \[50, 8\]"),
    ({"hidden_dim": None}, "config.json has no 'hidden_dim'"),
  )
  def test_wrong_configurations(self, change, message):
    _, preset = self.preset("llama")
    path = pathlib.Path(preset, "config.json")
    values = json.loads(path.read_text())
    for name, value in change.items():
      part = values if name == "class_name" else values["config"]
      part[name] = value
    path.write_text(json.dumps(values))
    with self.assertRaisesRegex(model_source.SourceError, message):
      self.open(preset)

  def test_damaged_files(self):
    _, preset = self.preset("llama")
    path = pathlib.Path(preset, "model.weights.h5")
    whole = path.read_bytes()
    for size in (0, 1000, len(whole) // 2, len(whole) - 1):
      path.write_bytes(whole[:size])
      with self.assertRaisesRegex(
        model_source.SourceError, "damaged or cut short"
      ):
        self.open(preset)
    path.unlink()
    with self.assertRaisesRegex(model_source.SourceError, "has no weights"):
      self.open(preset)
    pathlib.Path(preset, "config.json").write_text("{")
    with self.assertRaisesRegex(model_source.SourceError, "cannot be read"):
      self.open(preset)

  def test_quantized_presets_are_refused(self):
    _, preset = self.preset("llama")
    name = "layers/llama_transformer_decoder_1/_feedforward_gate_dense/vars/0"
    with h5py.File(f"{preset}/model.weights.h5", "r+") as file:
      stored = file[name][()]
      del file[name]
      file[name] = stored.astype(np.int8)
    with self.assertRaisesRegex(
      model_source.SourceError, r"quantized.*\(int8\)"
    ):
      self.open(preset)


class KerasHubTokenizerTest(BridgesTest):
  def save(self, tokenizer) -> Vocabulary:
    tokenizer.save_to_preset(str(self.folder))
    return preset_vocabulary.read_vocabulary(str(self.folder))

  @parameterized.parameters("Llama", "Mistral", "Gemma")
  def test_sentencepiece(self, family):
    pieces = {"Gemma": ("<pad>", "<bos>", "<eos>")}.get(family)
    path = sentencepiece(self.path("made"), *(pieces or (None, "<s>", "</s>")))
    cls = getattr(keras_hub.tokenizers, f"{family}Tokenizer")
    model = pathlib.Path(path).read_bytes()
    self.assertEqual(self.save(cls(proto=model)).serialized, model)

  @parameterized.parameters("GPT2", "Llama3", "Qwen")
  def test_byte_pairs(self, family):
    special = {
      "Llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"],
    }.get(family, ["<|endoftext|>"])
    special += ["<|start_header_id|>", "<|end_header_id|>"]
    tokens, merges = byte_pairs()
    # As in Llama 3, ids that belong to no piece lie between the special ones.
    places = {token: len(tokens) + 2 * i for i, token in enumerate(special)}
    ids_of = {token: i for i, token in enumerate(tokens)} | places
    cls = getattr(keras_hub.tokenizers, f"{family}Tokenizer")
    read = self.save(cls(vocabulary=ids_of, merges=merges))
    self.assertEqual(read.size, max(places.values()) + 1)
    (made,) = read.encode(["the then 'the' <|endoftext|>"])
    self.assertEqual(read.decode(made), "the then 'the' <|endoftext|>")
    self.assertEqual(read.pieces(made[:2]), ["the", "Ġthe"])
    self.assertEqual(read.eos_id, places[special[family == "Llama3"]])
    bos = places["<|begin_of_text|>"] if family == "Llama3" else read.eos_id
    self.assertEqual(read.bos_id, bos)

  def test_other_models_with_the_class_of_llama_3(self):
    tokens, merges = byte_pairs()
    ids_of = {token: i for i, token in enumerate([*tokens, "<s>", "</s>"])}
    tokenizer = keras_hub.tokenizers.Llama3Tokenizer(
      ids_of,
      merges,
      bos_token="<s>",
      eos_token="</s>",
      misc_special_tokens=set(),
    )
    with self.assertRaisesRegex(
      model_source.SourceError, "Name a --vocabulary"
    ):
      self.save(tokenizer)

  def test_missing_or_unknown(self):
    with self.assertRaisesRegex(
      model_source.SourceError, "has no tokenizer.json"
    ):
      preset_vocabulary.read_vocabulary(str(self.folder))
    (self.folder / "tokenizer.json").write_text('{"class_name": "T5Tokenizer"}')
    with self.assertRaisesRegex(
      model_source.SourceError, "Unknown tokenizer 'T5Tok"
    ):
      preset_vocabulary.read_vocabulary(str(self.folder))


def sentencepiece(path: str, pad, bos, eos) -> str:
  """Trains a small model with these special pieces; returns its path."""
  import sentencepiece as library

  names = ["<unk>", bos, eos] if pad is None else [pad, eos, bos, "<unk>"]
  roles = {name: -1 for name in ("pad", "bos", "eos", "unk")}
  for role, name in {
    "pad": pad,
    "bos": bos,
    "eos": eos,
    "unk": "<unk>",
  }.items():
    if name is not None:
      roles[role] = names.index(name)
  library.SentencePieceTrainer.train(
    sentence_iterator=iter(["the quick brown fox jumps over the lazy dog"] * 9),
    model_prefix=path,
    vocab_size=40,
    hard_vocab_limit=False,
    minloglevel=2,
    **{f"{role}_id": i for role, i in roles.items()},
    **({"pad_piece": pad} if pad else {}),
    bos_piece=bos,
    eos_piece=eos,
  )
  return f"{path}.model"


def byte_pairs() -> tuple[list[str], list[str]]:
  """Returns the tokens of all bytes and of "the" and " the", and the merges."""
  merges = ["t h", "th e", "Ġ the"]
  return [*byte_characters.CHARACTERS, "th", "the", "Ġthe"], merges


def llama_folder(folder: str, **settings) -> dict[str, np.ndarray]:
  """Writes a Hugging Face folder without its library; returns the tensors."""
  values = {
    "model_type": "llama",
    "vocab_size": ROWS,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": False,
    **settings,
  }
  shapes = {
    "model.embed_tokens.weight": (ROWS, 16),
    "model.norm.weight": (16,),
    "lm_head.weight": (ROWS, 16),
  }
  for layer in range(2):
    for name, shape in {
      "input_layernorm": (16,),
      "self_attn.q_proj": (16, 16),
      "self_attn.k_proj": (8, 16),
      "self_attn.v_proj": (8, 16),
      "self_attn.o_proj": (16, 16),
      "post_attention_layernorm": (16,),
      "mlp.gate_proj": (24, 16),
      "mlp.up_proj": (24, 16),
      "mlp.down_proj": (16, 24),
    }.items():
      shapes[f"model.layers.{layer}.{name}.weight"] = shape
  rng = np.random.default_rng(0)
  tensors = {
    name: (0.3 * rng.standard_normal(shape) + ("norm" in name)).astype(
      np.float32
    )
    for name, shape in shapes.items()
  }
  write_folder(folder, values, tensors)
  return tensors


def write_folder(folder: str, values, tensors) -> None:
  os.makedirs(folder, exist_ok=True)
  pathlib.Path(folder, "config.json").write_text(json.dumps(values))
  path = os.path.join(folder, "model.safetensors")
  safetensors_numpy.save_file(
    {name: np.ascontiguousarray(x) for name, x in tensors.items()}, path
  )


class HuggingFaceTest(BridgesTest):
  def open(self, **settings) -> model_source.ModelSource:
    self.tensors = llama_folder(self.path("folder"), **settings)
    return self.again()

  def again(self) -> model_source.ModelSource:
    return folder_source.open_source(self.path("folder"), SizedVocabulary())

  def test_logits_as_keras_hub_gives_them(self):
    made = checkpoint_writer.write(self.open(), self.path("native"))
    backbone = keras_hub.models.Backbone.from_preset(self.path("folder"))
    expected = keras_logits(backbone, ids())
    np.testing.assert_allclose(our_logits(made, ids()), expected, atol=1e-4)
    # Also by the way that KerasHub would take.
    preset = preset_source.open_source(self.path("folder"), SizedVocabulary())
    self.assertEqual(preset.model, self.again().model)

  def test_epsilon_is_the_folders(self):
    # KerasHub 0.32 takes 1e-6 whatever the folder says.
    self.assertEqual(self.open(rms_norm_eps=1e-5).model.norm_epsilon, 1e-5)

  def test_a_chat_template_comes_with_it(self):
    self.assertIn(
      "No chat template: the model comes without", self.open().describe()
    )
    pathlib.Path(self.path("folder"), "chat_template.jinja").write_text(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    opened = self.again()
    self.assertEqual(str(opened.chat), "<user>{prompt}<assistant>{answer}")
    made = checkpoint_writer.write(opened, self.path("native"))
    self.assertEqual(Bundle.open(made).run.chat, opened.chat)

  def test_products_are_theirs(self):
    opened, x = self.open(), np.random.default_rng(1).random(16, np.float32)
    theirs = self.tensors["model.layers.1.self_attn.k_proj.weight"] @ x
    ours = np.einsum("i,ihk", x, opened.tensors["layer_001/attention/k"].read())
    np.testing.assert_allclose(ours.reshape(-1), theirs, rtol=1e-5)
    theirs = self.tensors["model.layers.1.self_attn.o_proj.weight"] @ x
    o = opened.tensors["layer_001/attention/o"].read()
    ours = np.einsum("hk,hkd", x.reshape(4, 4), o)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)

  @parameterized.parameters(np.float16, np.float64, ml_dtypes.bfloat16)
  def test_precisions(self, dtype):
    self.open()
    half = {name: x.astype(dtype) for name, x in self.tensors.items()}
    values = json.loads((self.folder / "folder/config.json").read_text())
    write_folder(self.path("folder"), values, half)
    read = self.again().tensors["embedding"].read()
    self.assertEqual((read.dtype, read.shape), (np.float32, (128, 16)))
    expected = half["model.embed_tokens.weight"].astype(np.float32)
    np.testing.assert_array_equal(read[:ROWS], expected)
    np.testing.assert_array_equal(read[ROWS:], 0)

  @parameterized.parameters(
    ({"model_type": "t5"}, "Unknown model_type 't5'"),
    ({"model_type": "lama"}, "Did you mean 'llama'"),
    ({"rope_scaling": {"type": "yarn", "factor": 2}}, "rope_type 'yarn'"),
    ({"hidden_act": "relu"}, r"hidden_act 'relu' \(known: silu,"),
    ({"quantization_config": {"bits": 4}}, "quantization_config {'bits': 4}"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
    (
      {"layer_types": ["full_attention", "sliding_attention"],
       "sliding_window": 4},
      "sliding windows in layers 1 of 2",
    ),
    ({"layer_types": ["chunked_attention"] * 2}, "layer_types chunked_attent"),
    ({"attention_bias": True}, "missing: model.layers.N.self_attn.q_proj.bias"
     r" \(N = 0, 1\)"),
    ({"num_attention_heads": 2, "head_dim": 8, "hidden_size": None},
     "has no 'hidden_size'"),
    ({"num_key_value_heads": 4},
     r"layers.N.self_attn.k_proj.weight is \[8, 16\], expected \[16, 16\]"),
  )  # fmt: skip
  def test_what_is_refused(self, settings, message):
    with self.assertRaisesRegex(model_source.SourceError, message):
      self.open(**settings)

  def test_unknown_settings_are_told(self):
    with self.assertLogs(level="WARNING") as logs:
      self.open(shiny_new_scale=3.0, unused=None)
    self.assertIn("shiny_new_scale 3.0", logs.output[0])
    self.assertNotIn("unused", logs.output[0])

  def test_all_that_differs_is_named(self):
    self.open()
    values = json.loads((self.folder / "folder/config.json").read_text())
    del self.tensors["lm_head.weight"]
    self.tensors["score.weight"] = np.zeros([2, 16], np.float32)
    self.tensors["model.norm.weight"] = np.zeros(15, np.float32)
    write_folder(self.path("folder"), values, self.tensors)
    with self.assertRaises(model_source.SourceError) as caught:
      self.again()
    for part in (
      "missing: lm_head.weight",
      "unknown: score.weight",
      "model.norm.weight is [15], expected [16]",
    ):
      self.assertIn(part, str(caught.exception))

  def test_a_shared_embedding_may_be_there_twice(self):
    opened = self.open(tie_word_embeddings=True)
    self.assertNotIn("unembedding", opened.tensors)

  def test_integers_are_refused(self):
    self.open()
    values = json.loads((self.folder / "folder/config.json").read_text())
    name = "model.layers.1.mlp.up_proj.weight"
    self.tensors[name] = self.tensors[name].astype(np.int8)
    write_folder(self.path("folder"), values, self.tensors)
    with self.assertRaisesRegex(
      model_source.SourceError, r"layers.N.mlp.up_proj.*I8"
    ):
      self.again()

  def test_damaged_files(self):
    self.open()
    path = self.folder / "folder/model.safetensors"
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
      path.write_bytes(whole[:size])
      with self.assertRaisesRegex(
        model_source.SourceError, "damaged or cut short"
      ):
        self.again()
    path.rename(self.folder / "folder/pytorch_model.bin")
    with self.assertRaisesRegex(
      model_source.SourceError, "only pytorch_model.bin"
    ):
      self.again()
    with self.assertRaisesRegex(
      model_source.SourceError, "There is no .*config.json"
    ):
      folder_source.open_source(self.path("nowhere"))

  def test_files_of_an_index(self):
    self.open()
    folder = self.folder / "folder"
    names = sorted(self.tensors)
    files = {name: f"part-{i % 2}.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
      part = {n: self.tensors[n] for n in names if files[n] == file}
      safetensors_numpy.save_file(part, str(folder / file))
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    read = self.again().tensors["final_norm"].read()
    np.testing.assert_array_equal(read, self.tensors["model.norm.weight"])
    files["lm_head.weight"] = files["model.norm.weight"]
    files["model.norm.weight"] = "part-9.safetensors"
    index.write_text(json.dumps({"weight_map": files}))
    with self.assertRaisesRegex(model_source.SourceError, "no file .*part-9"):
      self.again()

  def test_tokenizers_that_do_not_match(self):
    llama_folder(self.path("folder"))
    with self.assertRaisesRegex(
      model_source.SourceError, "tokenizer has 51 pieces, .* has 50 rows"
    ):
      folder_source.open_source(self.path("folder"), SizedVocabulary(51))
    with self.assertRaises(VocabularyError):
      folder_source.open_source(self.path("folder"))


class TransformersTest(BridgesTest):
  """Runs where PyTorch and transformers are installed."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.temporary = cls.enterClassContext(tempfile.TemporaryDirectory())
    made = tiny.start(
      transformers_models.__file__, cls.temporary, CUDA_VISIBLE_DEVICES=""
    )
    _, errors = made.communicate()
    if "ModuleNotFoundError" in errors:
      last = errors.strip().splitlines()[-1]
      raise unittest.SkipTest(f"No models to convert: {last}")
    if made.returncode:
      raise RuntimeError(errors)

  @parameterized.parameters(*transformers_models.MODELS)
  def test_logits(self, name):
    folder = os.path.join(self.temporary, name)
    opened = folder_source.open_source(folder, SizedVocabulary())
    made = checkpoint_writer.write(opened, self.path("native"))
    tokens = np.load(os.path.join(self.temporary, "ids.npy"))
    expected = np.load(os.path.join(self.temporary, f"{name}.npy"))
    made = our_logits(made, tokens.astype(np.int32))
    np.testing.assert_allclose(made, expected, atol=1e-4)


class NativeTest(BridgesTest):
  def source(self, **changes) -> model_source.ModelSource:
    llama_folder(self.path("folder"))
    opened = folder_source.open_source(self.path("folder"), SizedVocabulary())
    return dataclasses.replace(opened, **changes)

  def test_what_is_saved(self):
    opened = self.source()
    seen = []
    made = checkpoint_writer.write(
      opened, self.path("native"), lambda *args: seen.append(args)
    )
    self.assertEqual(checkpoint_dirs.find(made), made)
    self.assertEqual(Bundle.open(made).run.model, opened.model)
    self.assertEqual(Bundle.open(made).tasks_seen, {})
    data = json.loads(checkpoint_dirs.read_file(made, "data.json"))
    self.assertIn("folder", data["source"])
    stored = tf.train.load_checkpoint(os.path.join(made, "state"))
    self.assertSameElements(stored.get_variable_to_shape_map(), opened.tensors)
    for name, tensor in opened.tensors.items():
      np.testing.assert_array_equal(stored.get_tensor(name), tensor.read())
    self.assertFalse(os.path.exists(os.path.join(made, "parts")))
    self.assertEqual(seen[-1][1], seen[-1][2])

  def test_large_tensors_are_written_in_parts(self):
    opened = self.source()
    with mock.patch.object(checkpoint_writer, "_FILE_BYTES", 3000):
      made = checkpoint_writer.write(opened, self.path("native"))
    stored = tf.train.load_checkpoint(os.path.join(made, "state"))
    for name, tensor in opened.tensors.items():
      np.testing.assert_array_equal(stored.get_tensor(name), tensor.read())
    checkpoint_writer.write(opened, self.path("whole"))
    np.testing.assert_array_equal(
      our_logits(made, ids(), "model:2"),
      our_logits(self.path("whole"), ids(), "model:2"),
    )

  def test_tensors_are_held_one_at_a_time(self):
    opened = self.source()
    alive, most = {}, []

    def watched(tensor: model_source.SourceTensor) -> model_source.SourceTensor:
      def read():
        value = tensor.read().copy()
        alive[id(value)] = value.nbytes
        weakref.finalize(value, alive.pop, id(value))
        gc.collect()
        most.append(sum(alive.values()))
        return value

      return model_source.SourceTensor(tensor.shape, read)

    tensors = {name: watched(x) for name, x in opened.tensors.items()}
    sizes = [4 * np.prod(x.shape) for x in tensors.values()]
    limit = 4000
    with mock.patch.object(checkpoint_writer, "_FILE_BYTES", limit):
      checkpoint_writer.write(
        dataclasses.replace(opened, tensors=tensors), self.path("native")
      )
    self.assertLess(max(most), max(sizes) + limit + 1)
    self.assertLess(max(most), sum(sizes) / 2)

  @parameterized.parameters(OSError("disk"), KeyboardInterrupt())
  def test_errors_leave_nothing(self, error):
    opened = self.source()
    tensors = dict(opened.tensors)
    last = list(tensors)[-1]

    def fail():
      self.assertTrue(os.path.exists(self.path("native")))
      raise error

    tensors[last] = model_source.SourceTensor(tensors[last].shape, fail)
    broken = dataclasses.replace(opened, tensors=tensors)
    with (
      mock.patch.object(checkpoint_writer, "_FILE_BYTES", 2000),
      self.assertRaises(type(error)),
    ):
      checkpoint_writer.write(broken, self.path("native"))
    self.assertFalse(os.path.exists(self.path("native")))

  @parameterized.parameters(np.nan, np.inf)
  def test_values_that_are_not_finite(self, value):
    tensors = llama_folder(self.path("folder"))
    tensors["model.norm.weight"][3] = value
    values = json.loads((self.folder / "folder/config.json").read_text())
    write_folder(self.path("folder"), values, tensors)
    opened = folder_source.open_source(self.path("folder"), SizedVocabulary())
    with self.assertRaisesRegex(
      model_source.SourceError, "final_norm .* not finite"
    ):
      checkpoint_writer.write(opened, self.path("native"))
    self.assertFalse(os.path.exists(self.path("native")))

  def test_nothing_is_overwritten(self):
    (self.folder / "native").mkdir()
    (self.folder / "native/mine").write_text("dear to me")
    with self.assertRaisesRegex(
      model_source.SourceError, "something at .* already"
    ):
      checkpoint_writer.write(self.source(), self.path("native"))
    self.assertTrue((self.folder / "native/mine").exists())

  def test_names_and_shapes_are_the_models(self):
    opened = self.source()
    tensors = dict(opened.tensors)
    extra = tensors.pop("layer_001/mlp/in")
    tensors["layer_001/mlp/out"] = tensors["layer_001/attention/q"]
    tensors["layer_009/mlp/in"] = extra
    with self.assertRaises(model_source.SourceError) as caught:
      dataclasses.replace(opened, tensors=tensors)
    for part in (
      "missing: layer_N/mlp/in (N = 001)",
      "unknown: layer_N/mlp/in (N = 009)",
      "mlp/out is [16, 4, 4], expected [24, 16]",
    ):
      self.assertIn(part, str(caught.exception))


class RunsTest(BridgesTest):
  """Runs can start from a converted checkpoint."""

  def convert(self) -> str:
    """Converts a preset with the launcher; returns the checkpoint."""
    cls, settings = KERAS_HUB["llama"]
    settings = {**settings, "vocabulary_size": 384}
    make(cls, settings).save_to_preset(self.path("preset"))
    self.launch(
      "convert",
      f"--source=keras_hub:{self.path('preset')}",
      f"--vocabulary={TINY.vocabulary}",
      f"--target=native:{self.path('native')}",
    )
    return self.path("native")

  def launch(self, name: str, *arguments: str) -> str:
    done = tiny.start("-m", f"launch.{name}", *arguments)
    output, errors = done.communicate()
    self.assertEqual(done.returncode, 0, errors)
    return output

  def test_convert_evaluate_and_tune(self):
    path = self.convert()
    table = self.launch(
      "evaluate",
      f"--checkpoint={path}",
      "--tasks=rte",
      "--max_examples=2",
      f"--output={self.path('evaluation')}",
    )
    self.assertIn("rte", table)
    run = TINY.run(train__init_from=path, train__learning_rate=1e-3)
    run = dataclasses.replace(run, model=config.ModelConfig())
    opened = TINY.train(run, self.path("tuned"))
    self.assertEqual(opened.config.model, Bundle.open(path).run.model)
    self.assertIn(path, opened.started_from)
    self.assertContainsSubset(
      Bundle.open(self.path("tuned")).tasks_seen, tiny.TASKS
    )

  def test_messages(self):
    for source_flag, message in (
      ("gguf", "The source 'gguf' is not of the form FORMAT:PATH"),
      ("onnx:a.onnx", "Unknown format 'onnx'"),
      ("hugging_face:nowhere", "There is no file nowhere/config.json"),
    ):
      status, _, errors = binaries.call(
        convert,
        f"--source={source_flag}",
        f"--target=native:{self.path('native')}",
      )
      self.assertEqual(status, 1)
      self.assertIn(message, errors)
      self.assertNotIn("Traceback", errors)
      self.assertFalse(os.path.exists(self.path("native")))


if __name__ == "__main__":
  absltest.main()
