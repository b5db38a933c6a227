"""Files of strangers: each is opened, or refused with a sentence about it."""

import hashlib
import json
import os
import pathlib
import struct
from unittest import mock

import h5py
import numpy as np
from absl.testing import absltest, parameterized

from flan_tf.bridges import (
  chat_template_renderer,
  chat_template_worker,
  source_digests,
)
from flan_tf.bridges.gguf import gguf_source
from flan_tf.bridges.hugging_face import folder_source
from flan_tf.bridges.keras_hub import preset_source
from flan_tf.bridges.model_source import SourceError
from flan_tf.bridges.native import checkpoint_writer
from flan_tf.vocab.base import VocabularyError
from tests.helpers import byte_pairs, foreign_models, gguf_files

TEXTS = ("The lighthouse counted 12 ships, isn't it?", "OPTIONS:\n- yes\n- no")
BAD_NAMES = (
  "../model.EXT",
  "/etc/model.EXT",
  "folder/model.EXT",
  "folder\\model.EXT",
  "a\0.EXT",
  "..",
  "",
  5,
  None,
  ["../model.EXT"],
  {"model.EXT": 1},
)


def render_here(template, names, conversations):
  """Renders without the start of a process, for many templates."""
  try:
    return chat_template_worker.render(template, dict(names), conversations)
  except Exception as error:
    raise chat_template_renderer.TemplateFailure(str(error)) from error


class ForeignModelsTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.made = byte_pairs.train(TEXTS * 20, "llama3", 300, adds_bos=True)
    cls.plain = byte_pairs.train(TEXTS * 20, "gpt2", 300)

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path, "model")

  def open_folder(self):
    return folder_source.open_source(str(self.folder))

  def open_preset(self):
    return preset_source.open_source(str(self.folder))

  def open_gguf(self):
    return gguf_source.open_source(self.folder / "toy.gguf")

  def write_gguf(self, **options):
    self.folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    gguf_files.write(
      str(self.folder / "toy.gguf"),
      "llama",
      gguf_files.llama_tensors(self.made.size, rng),
      self.made,
      template=foreign_models.CHAT_TEMPLATE,
      **options,
    )

  def change(self, name: str, **values) -> None:
    path = self.folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

  def check_mutations(self, open_source, seed: int, values: int, bytes_: int):
    """Opens many damaged copies; returns how many were refused."""
    refused = 0
    with mock.patch.object(chat_template_renderer, "render", render_here):
      open_source()
      for what in foreign_models.mutations(self.folder, seed, values, bytes_):
        try:
          open_source()
        except (SourceError, VocabularyError) as error:
          self.assertIn(str(self.folder), str(error), what)
          refused += 1
        except BaseException as error:
          raise AssertionError(what) from error
    return refused


class MutationTest(ForeignModelsTest):
  def test_a_hugging_face_folder(self):
    foreign_models.write_folder(self.folder, self.made)
    self.assertGreater(self.check_mutations(self.open_folder, 1, 100, 50), 50)

  def test_a_keras_hub_preset(self):
    foreign_models.write_preset(self.folder, self.plain)
    self.assertGreater(self.check_mutations(self.open_preset, 2, 60, 40), 50)

  def test_a_gguf_file(self):
    self.write_gguf()
    self.assertGreater(self.check_mutations(self.open_gguf, 3, 0, 60), 20)

  def test_a_sentencepiece_tokenizer(self):
    foreign_models.write_sentencepiece_folder(self.folder, TEXTS)

    def open_vocabulary():
      return folder_source.open_vocabulary(str(self.folder)).special_pieces

    self.assertGreater(self.check_mutations(open_vocabulary, 4, 40, 40), 20)


class NamedFilesTest(ForeignModelsTest):
  @parameterized.parameters(*((name,) for name in BAD_NAMES))
  def test_an_index_names_files_of_its_folder_only(self, name):
    for write, open_source, index, made, ending in (
      (
        foreign_models.write_folder,
        self.open_folder,
        "model.safetensors.index.json",
        self.made,
        "safetensors",
      ),
      (
        foreign_models.write_preset,
        self.open_preset,
        "model.weights.json",
        self.plain,
        "h5",
      ),
    ):
      self.folder = pathlib.Path(self.create_tempdir().full_path, "model")
      write(self.folder, made)
      file = json.loads(json.dumps(name).replace("EXT", ending))
      self.change(index, weight_map={"some.tensor": file})
      with self.assertRaisesRegex(
        SourceError,
        rf"{index}: weight_map: 'some.tensor' is .*; expected the name of a"
        " file in the same folder",
      ):
        open_source()

  def test_other_kinds_of_files_are_refused(self):
    foreign_models.write_folder(self.folder, self.made)
    index = "model.safetensors.index.json"
    self.change(index, weight_map={"t": "pytorch_model.bin"})
    with self.assertRaisesRegex(
      SourceError, "'pytorch_model.bin'; expected .* ends in .safetensors"
    ):
      self.open_folder()
    for weight_map in ({}, [], None, "model.safetensors"):
      self.change(index, weight_map=weight_map)
      with self.assertRaisesRegex(SourceError, f"{index}.*weight_map"):
        self.open_folder()

  def test_links_of_a_cache_are_followed(self):
    """Hugging Face's cache keeps files as ../../blobs/DIGEST."""
    foreign_models.write_folder(self.folder, self.made)
    blobs = self.folder.parent / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(self.folder.iterdir())):
      path.rename(blobs / str(number))
      path.symlink_to(f"../blobs/{number}")
    self.assertEqual(self.open_folder().model.layers, 2)

  def test_a_tensor_of_a_preset_lies_in_the_preset(self):
    foreign_models.write_preset(self.folder, self.plain)
    secret = self.create_tempfile(content=b"x" * 64).full_path
    path = self.folder / "model_00000.weights.h5"
    with h5py.File(path, "r+") as file:
      group = file.create_group("layers/reversible_embedding/secret")
      group.create_dataset("a", (16,), "float32", external=[(secret, 0, 64)])
    with self.assertRaisesRegex(
      SourceError,
      r"model_00000.weights.h5: the numbers of '.*/secret/a' lie in",
    ):
      self.open_preset()

  def test_a_part_of_a_gguf_file(self):
    self.write_gguf(parts=3)
    with self.assertRaisesRegex(SourceError, "one of 3 files of a model"):
      self.open_gguf()


class SizesTest(ForeignModelsTest):
  @parameterized.parameters(
    ({"num_hidden_layers": 99999999}, "from 1 to 1000"),
    ({"hidden_size": "16"}, "'16'; expected a whole number from 1"),
    ({"hidden_size": 10**15}, "expected a whole number from 1"),
    ({"num_attention_heads": 0}, "is 0; expected a whole number from 1"),
    ({"num_attention_heads": True}, "is True; expected a whole number"),
    ({"num_key_value_heads": 3}, "do not divide evenly"),
    ({"rope_scaling": ["llama3"]}, "rope_scaling holds .*expected names"),
    ({"rope_scaling": {"rope_type": "linear"}}, "rope_scaling has no 'factor'"),
    ({"rope_theta": 0}, "'rope_theta' is 0; expected a number from 1e-06"),
    ({"rms_norm_eps": "1e-5"}, "'rms_norm_eps' is '1e-5'; expected a number"),
    ({"tie_word_embeddings": "false"}, "expected true or false"),
    ({"layer_types": [1]}, r"'layer_types\[0\]' is 1; expected a text"),
    ({"model_type": ["llama"]}, "'model_type' is .*expected a text"),
    ({"hidden_size": None}, "has no 'hidden_size'"),
  )
  def test_settings(self, values, message):
    foreign_models.write_folder(self.folder, self.made)
    self.change("config.json", **values)
    with self.assertRaisesRegex(
      SourceError, rf"{self.folder}/config.json(.|\n)*{message}"
    ):
      self.open_folder()

  @parameterized.parameters(
    ("[1]", "holds .*; expected names with values"),
    ("null", "holds None; expected names with values"),
    ('{"a": ' * 100_000, "nested too deeply|no JSON"),
    ('{"a": "\\ud83d"}', "half a character"),
    ("\xff", "no JSON"),
  )
  def test_files_of_another_shape(self, content, message):
    foreign_models.write_folder(self.folder, self.made)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
      path = self.folder / name
      whole = path.read_bytes()
      path.write_bytes(content.encode("latin-1"))
      with self.assertRaisesRegex(
        (SourceError, VocabularyError), f"{name} .*({message})"
      ):
        self.open_folder()
      path.write_bytes(whole)

  def test_ids_of_pieces(self):
    foreign_models.write_folder(self.folder, self.made)
    vocab = {token: i for i, token in enumerate(self.made.tokens)}
    for number in (10**12, -1, 1.5, "7"):
      model = {"type": "BPE", "vocab": {**vocab, "x": number}, "merges": []}
      self.change("tokenizer.json", model=model)
      with self.assertRaisesRegex(
        VocabularyError, r"tokenizer.json: model: vocab: 'x' is .* to 2097151"
      ):
        self.open_folder()

  def test_ids_of_a_preset(self):
    foreign_models.write_preset(self.folder, self.plain)
    self.change("assets/tokenizer/vocabulary.json", x=10**12)
    with self.assertRaisesRegex(SourceError, "vocabulary.json: 'x' is 1000000"):
      self.open_preset()

  def test_a_tensor_that_fills_the_memory(self):
    foreign_models.write_preset(self.folder, self.plain)
    with h5py.File(self.folder / "model_00000.weights.h5", "r+") as file:
      file.create_dataset("layers/big", (1 << 20, 1 << 20), "f4", chunks=True)
    with self.assertRaisesRegex(SourceError, "'layers/big' .* the file holds"):
      self.open_preset()

  def test_the_length_of_an_array_in_a_gguf_file(self):
    self.write_gguf()
    path = self.folder / "toy.gguf"
    whole = path.read_bytes()
    name = b"tokenizer.ggml.token_type"
    at = whole.index(name) + len(name) + 8
    path.write_bytes(whole[:at] + struct.pack("<Q", 1 << 60) + whole[at + 8 :])
    with self.assertRaisesRegex(SourceError, "toy.gguf is no GGUF file"):
      self.open_gguf()


class ChatTemplateTest(ForeignModelsTest):
  @parameterized.parameters(
    ("{{ 'x' * 10**9 }}", "more than 256 MB of memory"),
    ("{{ 'x'.center(10**11) }}", "more than 256 MB of memory"),
    (
      "{% set n = namespace(x='x') %}{% for i in range(60) %}"
      "{% set n.x = n.x ~ n.x %}{% endfor %}",
      "more than 256 MB of memory",
    ),
    (
      "{% for i in range(99999) %}{{ 'x' * 9 }}{% endfor %}",
      "more than 100,000 characters",
    ),
    ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
    ("{{ range(10**9) }}", "Range too big"),
  )
  def test_limits(self, template, message):
    foreign_models.write_folder(self.folder, self.made)
    (self.folder / "chat_template.jinja").write_text(template)
    found = self.open_folder()
    self.assertFalse(found.chat.is_set)
    self.assertRegex(
      found.no_chat_reason, rf"\(chat_template.jinja\) fails: .*{message}"
    )

  def test_loops_that_write_nothing_end(self):
    loop = "{% for i in range(99999) %}"
    with (
      mock.patch.object(chat_template_renderer, "_PATIENCE", 100),
      self.assertRaisesRegex(
        chat_template_renderer.TemplateFailure, "more than 3 seconds"
      ),
    ):
      chat_template_renderer.render(
        loop * 3 + "{% endfor %}" * 3, {}, [[{"role": "user", "content": ""}]]
      )

  def test_a_process_that_dies(self):
    with (
      mock.patch.object(
        chat_template_renderer, "_command", lambda: ["sh", "-c", "exit 9"]
      ),
      self.assertRaisesRegex(
        chat_template_renderer.TemplateFailure, "ended with status 9"
      ),
    ):
      chat_template_renderer.render("", {}, [])

  @parameterized.parameters((5,), ({"a": "b"},), ([{"name": 1}],), ([[]],))
  def test_other_shapes(self, template):
    foreign_models.write_folder(self.folder, self.made)
    self.change("tokenizer_config.json", chat_template=template)
    with self.assertRaisesRegex(
      SourceError, "tokenizer_config.json.*chat_template"
    ):
      self.open_folder()


class DigestsTest(ForeignModelsTest):
  def digests(self, source) -> dict[str, str]:
    """Converts a source; returns what its checkpoint says of the files."""
    target = self.create_tempdir().full_path
    checkpoint_writer.write(source, os.path.join(target, "new"))
    with open(os.path.join(target, "new", "data.json")) as file:
      return json.load(file)[source_digests.KEY]

  def expected(self, *names: str) -> dict[str, str]:
    return {
      name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
      for name in names
    }

  def test_of_a_hugging_face_folder(self):
    foreign_models.write_folder(self.folder, self.made)
    expected = self.expected(*(path.name for path in self.folder.iterdir()))
    self.assertLen(expected, 7)
    self.assertEqual(self.digests(self.open_folder()), expected)

  def test_of_a_preset(self):
    foreign_models.write_preset(self.folder, self.plain)
    self.assertEqual(
      self.digests(self.open_preset()),
      self.expected(
        "config.json",
        "model.weights.json",
        "model_00000.weights.h5",
        "model_00001.weights.h5",
        "tokenizer.json",
        "assets/tokenizer/vocabulary.json",
        "assets/tokenizer/merges.txt",
      ),
    )

  def test_of_a_gguf_file(self):
    self.write_gguf()
    self.assertEqual(self.digests(self.open_gguf()), self.expected("toy.gguf"))


if __name__ == "__main__":
  absltest.main()
