"""GGUF files: tensors and tokenizers are read, or the error says why not."""

import os
import pathlib

import gguf
import numpy as np
import sentencepiece
from absl.testing import absltest, parameterized

from flan_tf.bridges import model_source
from flan_tf.bridges.gguf import gguf_reader, gguf_source, gguf_tokenizer
from flan_tf.vocab import byte_pair
from flan_tf.vocab.base import VocabularyError
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary
from tests.helpers import byte_pairs, gguf_files

TEXTS = ("The lighthouse counted 12 ships, isn't it?", "OPTIONS:\n- yes\n- no")


class GgufTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.made = byte_pairs.train(TEXTS * 20, "smollm", size=300)

  def setUp(self):
    super().setUp()
    self.path = os.path.join(self.create_tempdir().full_path, "toy.gguf")
    self.rng = np.random.default_rng(0)

  def write(self, tensors, architecture="llama", made=None, **options):
    gguf_files.write(
      self.path, architecture, tensors, made or self.made, **options
    )

  def stored(self, tensors):
    """Returns tensors of a llama in the layout of the file."""
    heads = {"attn_q": gguf_files.HEADS, "attn_k": gguf_files.KV_HEADS}
    return {
      name: gguf_files.permuted(value, heads[name.split(".")[2]])
      if name.split(".")[-2] in heads
      else value
      for name, value in tensors.items()
    }

  @parameterized.parameters(True, False)
  def test_llama(self, tied):
    tensors = gguf_files.llama_tensors(self.made.size, self.rng, tied)
    self.write(self.stored(tensors))
    found = gguf_source.open_source(self.path)
    model = found.model
    self.assertEqual(
      (model.layers, model.d_model), (gguf_files.LAYERS, gguf_files.WIDTH)
    )
    self.assertEqual(
      (model.heads, model.kv_heads), (gguf_files.HEADS, gguf_files.KV_HEADS)
    )
    self.assertEqual((model.vocab, model.pieces), (384, self.made.size))
    self.assertEqual((model.norm_epsilon, model.rotary_base), (1e-5, 50_000.0))
    self.assertEqual(model.shared_embedding, tied)
    self.assertEqual((found.context_length, found.row_length), (64, 64))
    read = {name: tensor.read() for name, tensor in found.tensors.items()}
    q = tensors["blk.1.attn_q.weight"].T.reshape(
      gguf_files.WIDTH, gguf_files.HEADS, gguf_files.D_KV
    )
    np.testing.assert_array_equal(read["layer_001/attention/q"], q)
    k = tensors["blk.1.attn_k.weight"].T.reshape(
      gguf_files.WIDTH, gguf_files.KV_HEADS, gguf_files.D_KV
    )
    np.testing.assert_array_equal(read["layer_001/attention/k"], k)
    v = tensors["blk.0.attn_v.weight"].T.reshape(
      gguf_files.WIDTH, gguf_files.KV_HEADS, gguf_files.D_KV
    )
    np.testing.assert_array_equal(read["layer_000/attention/v"], v)
    o = tensors["blk.0.attn_output.weight"].T.reshape(
      gguf_files.HEADS, gguf_files.D_KV, gguf_files.WIDTH
    )
    np.testing.assert_array_equal(read["layer_000/attention/o"], o)
    for ours, theirs in (("gate", "gate"), ("in", "up"), ("out", "down")):
      np.testing.assert_array_equal(
        read[f"layer_001/mlp/{ours}"], tensors[f"blk.1.ffn_{theirs}.weight"].T
      )
    for ours, theirs in (
      ("embedding", "token_embd"),
      *([] if tied else [("unembedding", "output")]),
    ):
      table = tensors[f"{theirs}.weight"]
      np.testing.assert_array_equal(read[ours][: len(table)], table)
      self.assertFalse(read[ours][len(table) :].any())

  def test_gpt2(self):
    tensors = gguf_files.gpt2_tensors(self.made.size, self.rng)
    self.write(tensors, "gpt2")
    found = gguf_source.open_source(self.path)
    model = found.model
    self.assertEqual((model.norm, model.positions), ("layer", "learned"))
    self.assertEqual((model.max_positions, model.norm_epsilon), (64, 1e-5))
    read = {name: tensor.read() for name, tensor in found.tensors.items()}
    q, k, v = np.split(tensors["blk.1.attn_qkv.weight"], 3)
    biases = np.split(tensors["blk.1.attn_qkv.bias"], 3)
    for name, weight, bias in zip("qkv", (q, k, v), biases, strict=True):
      np.testing.assert_array_equal(
        read[f"layer_001/attention/{name}"],
        weight.T.reshape(gguf_files.WIDTH, gguf_files.HEADS, gguf_files.D_KV),
      )
      np.testing.assert_array_equal(
        read[f"layer_001/attention/{name}_bias"],
        bias.reshape(gguf_files.HEADS, gguf_files.D_KV),
      )
    np.testing.assert_array_equal(
      read["position_embedding"], tensors["position_embd.weight"]
    )
    np.testing.assert_array_equal(
      read["final_norm_bias"], tensors["output_norm.bias"]
    )

  @parameterized.parameters("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0")
  def test_types(self, kind):
    kind = gguf.GGMLQuantizationType[kind]
    tensors = self.stored(gguf_files.llama_tensors(self.made.size, self.rng))
    name = "blk.0.ffn_up.weight"
    self.write(tensors, kinds={name: kind})
    stored = gguf.quants.quantize(tensors[name], kind)
    expected = gguf.quants.dequantize(stored, kind)
    got = gguf_source.open_source(self.path).tensors["layer_000/mlp/in"].read()
    self.assertEqual(got.dtype, np.float32)
    np.testing.assert_array_equal(got, expected.T)
    self.assertLess(np.abs(got - tensors[name].T).max(), 0.5)

  @parameterized.parameters("gpt2", "llama3", "qwen2", "smollm")
  def test_byte_pairs(self, pattern):
    made = byte_pairs.train(
      TEXTS * 20,
      pattern,
      size=300,
      adds_bos=pattern == "llama3",
      ignore_merges=pattern == "llama3",
      normalizer="nfc" if pattern == "qwen2" else None,
    )
    self.write(
      self.stored(gguf_files.llama_tensors(made.size, self.rng)), made=made
    )
    found = gguf_source.open_source(self.path).vocabulary
    self.assertIsInstance(found, byte_pair.BytePairVocabulary)
    for name in ("bos_id", "eos_id", "pad_id", "start_id", "pattern", "size",
                 "ignore_merges", "normalizer"):  # fmt: skip
      self.assertEqual(getattr(found, name), getattr(made, name), name)
    for a, b in zip(found.encode(TEXTS), made.encode(TEXTS), strict=True):
      self.assertEqual(a.tolist(), b.tolist())

  @parameterized.parameters(None, True, False)
  def test_sentencepiece(self, add_bos):
    made = SentencePieceVocabulary.train(TEXTS * 20, 320)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=made.serialized)
    types = []
    for i in range(made.size):
      kind = 6 if pieces.IsByte(i) else 3 if pieces.IsControl(i) else 1
      kind = 2 if pieces.IsUnknown(i) else kind
      types.append(4 if pieces.IdToPiece(i) == "\n" else kind)
    writer = gguf.GGUFWriter(self.path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.IdToPiece(i) for i in range(made.size)])
    writer.add_token_scores([pieces.GetScore(i) for i in range(made.size)])
    writer.add_token_types(types)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(2)
    if add_bos is not None:
      writer.add_add_bos_token(add_bos)
    writer.add_tensor("x", np.zeros(1, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    reader = gguf_reader.GgufReader(self.path)
    found = gguf_tokenizer.read(reader.metadata, self.path)
    self.assertEqual((found.size, found.eos_id), (made.size, made.eos_id))
    self.assertEqual(found.has_start, add_bos is not False)
    if found.has_start:
      self.assertEqual((found.pad_id, found.bos_id), (made.pad_id, made.bos_id))
    texts = [*TEXTS, "  blanks  é 漢 😀\n\n", ""]
    for a, b in zip(found.encode(texts), made.encode(texts), strict=True):
      self.assertEqual(a.tolist(), b.tolist())

  def test_chat_templates(self):
    tensors = self.stored(gguf_files.llama_tensors(self.made.size, self.rng))
    self.write(tensors)
    found = gguf_source.open_source(self.path)
    self.assertIn(
      "No chat template: the model comes without one", found.describe()
    )
    template = (
      "{% for m in messages %}{{ '<|start|>' + m['content'] + eos_token }}"
      "{% endfor %}"
    )
    self.write(tensors, template=template)
    found = gguf_source.open_source(self.path)
    wrapper = "<|start|>{prompt}<|endoftext|><|start|>{answer}<|endoftext|>"
    self.assertEqual(str(found.chat), wrapper)
    # A vocabulary of one's own may lack its pieces.
    lacking = SentencePieceVocabulary.train(TEXTS * 20, 290)
    found = gguf_source.open_source(self.path, lacking)
    self.assertFalse(found.chat.is_set)
    self.assertRegex(
      found.no_chat_reason, r"not in the vocabulary: .*<\|start\|>"
    )

  def test_a_vocabulary_of_ones_own(self):
    self.write(
      self.stored(gguf_files.llama_tensors(self.made.size, self.rng)),
      tokenizer=False,
    )
    with self.assertRaisesRegex(VocabularyError, "no tokenizer"):
      gguf_source.open_source(self.path)
    found = gguf_source.open_source(self.path, self.made)
    self.assertIs(found.vocabulary, self.made)

  def test_stretched_rotary(self):
    tensors = self.stored(gguf_files.llama_tensors(self.made.size, self.rng))
    self.write(tensors, rope__scaling__type="linear", rope__scaling__factor=4.0)
    model = gguf_source.open_source(self.path).model
    self.assertEqual((model.rotary_scaling, model.rotary_factor), ("linear", 4))
    # As llama.cpp writes Llama 3.1's (base 500000, d_kv 8).
    base, low, high, length = 500_000.0, 8192 / 1.0, 8192 / 4.0, 8192
    divisors = []
    for i in range(gguf_files.D_KV // 2):
      wave = 2 * np.pi * base ** (2 * i / gguf_files.D_KV)
      smooth = (length / wave - 1) / (4 - 1)
      middle = 1 / ((1 - smooth) / 8 + smooth)
      divisors.append(1 if wave < high else 8 if wave > low else middle)
    tensors["rope_freqs.weight"] = np.array(divisors, np.float32)
    self.write(tensors, rope__freq_base=base)
    model = gguf_source.open_source(self.path).model
    self.assertEqual((model.rotary_scaling, model.rotary_factor), ("llama3", 8))
    tensors["rope_freqs.weight"] *= np.float32([1, 2, 1, 1])
    self.write(tensors, rope__freq_base=base)
    with self.assertRaisesRegex(
      model_source.SourceError, "not those of Llama 3.1"
    ):
      gguf_source.open_source(self.path)

  def test_files_that_are_none(self):
    with self.assertRaisesRegex(
      model_source.SourceError, "There is no file .*toy"
    ):
      gguf_source.open_source(self.path)
    path = pathlib.Path(self.path)
    self.write(self.stored(gguf_files.llama_tensors(self.made.size, self.rng)))
    whole = path.read_bytes()
    for content in (b"", b"no such file" * 99, whole[:1000], whole[:-2000]):
      path.write_bytes(content)
      with self.assertRaisesRegex(
        model_source.SourceError, "is no GGUF file, or is damaged or cut short"
      ):
        gguf_source.open_source(self.path)

  def test_it_shrinks_while_it_is_read(self):
    self.write(self.stored(gguf_files.llama_tensors(self.made.size, self.rng)))
    found = gguf_source.open_source(self.path)
    os.truncate(self.path, 1000)
    with self.assertRaisesRegex(
      model_source.SourceError, "ends within token_embd"
    ):
      found.tensors["embedding"].read()

  def test_unknown_architecture(self):
    self.write({}, "bloom")
    with self.assertRaisesRegex(
      model_source.SourceError,
      "Unknown architecture 'bloom'.*Known: gpt2, llama",
    ):
      gguf_source.open_source(self.path)

  @parameterized.parameters(
    ({"expert_count": 8}, "a mixture of experts"),
    ({"rope__scaling__type": "yarn"}, "rope.scaling.type 'yarn'"),
    ({"rope__dimension_count": 4}, "a part of each head"),
  )
  def test_options_that_are_not_known(self, metadata, message):
    tensors = self.stored(gguf_files.llama_tensors(self.made.size, self.rng))
    self.write(tensors, **metadata)
    with self.assertRaisesRegex(model_source.SourceError, message):
      gguf_source.open_source(self.path)

  def test_tensors_that_do_not_fit(self):
    whole = self.stored(gguf_files.llama_tensors(self.made.size, self.rng))
    lacking = dict(whole)
    del lacking["blk.1.attn_k.weight"], lacking["output_norm.weight"]
    extra = whole | {
      "blk.0.attn_q_norm.weight": np.ones(gguf_files.D_KV, np.float32)
    }
    small = whole | {"blk.0.ffn_norm.weight": np.ones(8, np.float32)}
    for tensors, message in (
      (lacking, r"missing: (?s:.*)blk.N.attn_k.weight \(N = 1\)"),
      (extra, r"unknown: blk.N.attn_q_norm.weight \(N = 0\)"),
      (small, r"ffn_norm.weight is \[8\], expected \[32\]"),
    ):
      self.write(tensors)
      with self.assertRaisesRegex(model_source.SourceError, message):
        gguf_source.open_source(self.path)

  def test_a_tokenizer_of_another_model(self):
    self.write(
      self.stored(gguf_files.llama_tensors(self.made.size - 9, self.rng))
    )
    size = self.made.size
    with self.assertRaisesRegex(
      model_source.SourceError, f"{size} pieces, .* {size - 9} rows"
    ):
      gguf_source.open_source(self.path)

  def test_types_that_are_not_known(self):
    tensors = self.stored(gguf_files.llama_tensors(self.made.size, self.rng))
    tensors["blk.0.ffn_norm.weight"] = np.ones(gguf_files.WIDTH, np.int32)
    self.write(tensors)
    with self.assertRaisesRegex(
      model_source.SourceError, "tensors of type I32"
    ):
      gguf_source.open_source(self.path)


if __name__ == "__main__":
  absltest.main()
