"""Byte pairs: the graph and `tokenizers` give equal ids, and keep each text.

The tests also read genuine rows, if there is a prepared directory
($FLAN_TFDS_DATA).
"""

import functools
import json
import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
import tokenizers
from absl.testing import absltest, parameterized
from tokenizers import models, pre_tokenizers, processors

import tasks
from flan_tf import foreign_values
from flan_tf.data import language_model, packing
from flan_tf.task import registry
from flan_tf.vocab import byte_characters, byte_pair, pretokenize
from flan_tf.vocab.base import VocabularyError
from flan_tf.vocab.hugging_face_tokenizer import load_hugging_face_tokenizer
from flan_tf.vocab.load import load_vocabulary, vocabulary_from_bytes
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary
from tests.helpers import byte_pairs, tiny

TINY = tiny.Tiny()
GENUINE = os.environ.get("FLAN_TFDS_DATA") or str(
  tiny.ROOT.parent / "shared" / "tfds_data"
)
PATTERNS = sorted(pretokenize.PATTERNS)
VOCABULARIES: dict[str, byte_pair.BytePairVocabulary] = {}

TEXTS = (
  "",
  " ",
  "  ",
  "a\nb",
  "OPTIONS:\n- yes\n- no",
  "  two  blanks ",
  "\n\nlines\n",
  "lines \n \n  and  \n\n\n blanks   ",
  "tab\tand\r\nreturn\t\t end\t",
  "é 漢字かな 😀👍🏽 {braces} ६ Ĵ",
  "don't, we'LL, 'tis: ''s  's I'Ve 'ſ",
  "1 22  333   4444 55555 1234567890 ½Ⅷ १२३",
  "no\u00a0break\u00a0\u00a0 wide\u3000\u3000x\u2028y\u0085z\x1c",
  "e\u0301 and \u00e9, \ufeffmark",
  "<|endoftext|> is a text, <|start|>too",
  "nul\x00 in\x00",
  "-----=====-----     ....!!!\n\n\nx",
)


def setUpModule():
  TINY.open()
  chosen = registry.TaskRegistry(tasks.ALL).select(tiny.TASKS)
  texts = list(language_model.read_training_texts(chosen, TINY.data_dir))
  for pattern in PATTERNS:
    VOCABULARIES[pattern] = byte_pairs.train(
      texts,
      pattern,
      size=700,
      adds_bos=pattern == "llama3",
      ignore_merges=pattern == "llama3",
      normalizer="nfc" if pattern == "qwen2" else None,
    )


tearDownModule = TINY.close


@functools.cache
def shipped_texts() -> list[str]:
  """Every third text: all of them would take a minute with four patterns."""
  texts = language_model.read_training_texts(tasks.ALL, TINY.data_dir)
  return list(texts)[::3]


def random_texts(count: int, seed: int) -> list[str]:
  """Returns short texts of characters that the patterns treat differently."""
  rng = np.random.default_rng(seed)
  characters = [
    *"aZé漢1२½'sStTlLreVEmd.,-😀",
    *"        \n\n\n\r\t\f\v\x00\x1f\u0085\u00a0\u3000\u2009",
    *"\u0301\u200d\ufeff\U0001e5f1\U00011de0\U0002ebf0६ſ",
  ]
  lengths = rng.integers(1, 14, count)
  return [
    "".join(characters[i] for i in rng.integers(0, len(characters), n))
    for n in lengths
  ]


class BytePairTest(parameterized.TestCase):
  def assert_agree(self, made, texts):
    graph = tf.function(
      made.tokenize, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    found = graph(tf.constant(texts, tf.string))
    self.assertEqual(found.dtype, tf.int32)
    pairs = zip(texts, made.encode(texts), found.to_list(), strict=True)
    for text, outside, inside in pairs:
      self.assertEqual(outside.tolist(), inside, repr(text))

  @parameterized.parameters(*PATTERNS)
  def test_graph_and_tokenizers_agree(self, pattern):
    made = VOCABULARIES[pattern]
    self.assert_agree(made, [*TEXTS, *random_texts(4_000, seed=1)])

  @parameterized.parameters(*PATTERNS)
  def test_on_the_shipped_rows(self, pattern):
    self.assertGreater(len(shipped_texts()), 100)
    self.assert_agree(VOCABULARIES[pattern], shipped_texts())

  def test_on_genuine_rows(self):
    if not os.path.isdir(GENUINE):
      self.skipTest(f"There is no {GENUINE}; set FLAN_TFDS_DATA.")
    texts = []
    for path in sorted(pathlib.Path(GENUINE).rglob("dataset_info.json")):
      builder = tfds.builder_from_directory(path.parent)
      split = next(iter(builder.info.splits))
      for row in tfds.as_numpy(builder.as_dataset(split=split).take(8)):
        for leaf in tf.nest.flatten(row):
          values = np.asarray(leaf, object).ravel()
          texts += [v.decode() for v in values if isinstance(v, bytes)]
    self.assertGreater(len(texts), 500)
    for made in VOCABULARIES.values():
      self.assert_agree(made, texts)

  @parameterized.parameters("gpt2", "smollm")
  def test_every_character_is_cut_alike(self, pattern):
    """RE2 and `tokenizers` implement different versions of Unicode."""
    characters = [chr(c) for c in range(0x33480) if not 0xD800 <= c < 0xE000]
    texts = [
      "".join(f"a{c} {c}1" for c in characters[start : start + 500])
      for start in range(0, len(characters), 500)
    ]
    cut = pretokenize.split_words(tf.constant(texts), pattern).to_list()
    outside = pretokenize.build_pre_tokenizer(pattern)
    spelt = dict(zip(range(256), byte_characters.CHARACTERS, strict=True))
    for text, words in zip(texts, cut, strict=True):
      expected = [word for word, _ in outside.pre_tokenize_str(text)]
      got = ["".join(spelt[b] for b in word) for word in words]
      self.assertEqual(got, expected)

  @parameterized.parameters(*PATTERNS)
  def test_round_trip(self, pattern):
    made = VOCABULARIES[pattern]
    for text, ids in zip(TEXTS, made.encode(TEXTS), strict=True):
      if made.normalizer is None:
        self.assertEqual(made.decode(ids), text)
      end = [made.bos_id, *ids, made.eos_id, made.pad_id, made.size + 1]
      self.assertEqual(made.decode(end), made.decode(ids))

  def test_a_special_piece_in_a_text_is_text(self):
    for made in VOCABULARIES.values():
      (ids,) = made.encode(["yes<|endoftext|><|start|>"])
      self.assertEmpty({0, 1, 2} & set(ids.tolist()))

  def test_eager_and_mapped_agree(self):
    made = VOCABULARIES["smollm"]
    texts = tf.constant(TEXTS)
    (mapped,) = tf.data.Dataset.from_tensors(texts).map(made.tokenize)
    self.assertEqual(made.tokenize(texts).to_list(), mapped.to_list())
    self.assertEqual(made.tokenize(tf.constant([], tf.string)).to_list(), [])

  def test_bytes_that_are_no_text(self):
    made = VOCABULARIES["gpt2"]
    bad = b"a\xffb\xc3(\xf0\x9f"
    (ids,) = made.encode([bad.decode(errors="replace")])
    self.assertEqual(made.tokenize(tf.constant([bad]))[0].numpy().tolist(),
                     ids.tolist())  # fmt: skip

  def test_the_first_of_the_merges_is_done_first(self):
    tokens = ["<e>", "a", "b", "ab", "ba", "aba"]
    special = {"eos": 0}
    for merges, pieces in (
      (["a b", "b a"], ["ab", "a"]),
      (["b a", "a b"], ["a", "ba"]),
      (["a b", "ab a"], ["aba"]),
    ):
      made = byte_pair.BytePairVocabulary.from_parts(
        tokens, merges, "gpt2", special
      )
      (ids,) = made.encode(["aba"])
      self.assertEqual(made.pieces(ids), pieces)
      # Bytes without a piece are left out, such as "x" here.
      self.assert_agree(made, ["aba", "abab abba", "aaa", "xaxb", "x", ""])

  def test_a_word_that_is_a_piece(self):
    tokens = ["<e>", "a", "b", "aba"]
    for ignore, pieces in ((True, ["aba"]), (False, ["a", "b", "a"])):
      made = byte_pair.BytePairVocabulary.from_parts(
        tokens, [], "gpt2", {"eos": 0}, ignore_merges=ignore
      )
      (ids,) = made.encode(["aba"])
      self.assertEqual(made.pieces(ids), pieces)
      self.assert_agree(made, ["aba", "abaa"])

  def test_long_words(self):
    made = VOCABULARIES["gpt2"]
    self.assert_agree(made, ["the" * 400, "=" * 900, "漢字" * 200])

  def test_special_ids(self):
    made = VOCABULARIES["llama3"]
    self.assertEqual((made.bos_id, made.eos_id, made.pad_id), (1, 0, 2))
    self.assertEqual(made.start_id, 1)
    # Without a start piece, nothing comes before a text.
    made = VOCABULARIES["gpt2"]
    self.assertEqual((made.bos_id, made.eos_id, made.pad_id), (0, 0, 2))
    self.assertIsNone(made.start_id)

  def test_the_file_says_what_it_is(self):
    made = VOCABULARIES["qwen2"]
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, "toy.model")
      made.save(path)
      loaded = load_vocabulary(path)
    self.assertIsInstance(loaded, byte_pair.BytePairVocabulary)
    self.assertEqual(loaded.fingerprint, made.fingerprint)
    self.assertEqual(
      loaded.encode(TEXTS)[4].tolist(), made.encode(TEXTS)[4].tolist()
    )
    self.assertIsInstance(
      load_vocabulary(TINY.vocabulary),
      SentencePieceVocabulary,
    )

  @parameterized.parameters(
    (b"{}", 'no "kind"'),
    (b"{", "cannot be read: JSONDecodeError"),
    (b'{"kind": "byte_pair"}', "KeyError: 'tokens'"),
  )
  def test_other_bytes(self, model, message):
    with self.assertRaisesRegex(VocabularyError, message):
      vocabulary_from_bytes(model)

  @parameterized.parameters(
    ({"pattern": "gpt4"}, "Unknown pattern 'gpt4'. Did you mean 'gpt2'"),
    ({"special": {}}, "no end-of-text piece"),
    ({"special": {"eos": 9}}, r"special ids \[9\] in 3 pieces"),
    ({"merges": ["ab"]}, "'ab' is no merge"),
    ({"merges": ["a c"]}, "c"),
    ({"tokens": ["<e>", "a", "a"]}, "a piece is there twice"),
    ({"adds_bos": True}, "special.bos is null"),
    ({"normalizer": "nfkc"}, "'nfkc'"),
  )
  def test_parts_that_do_not_fit(self, changes, message):
    parts = {
      "tokens": ["<e>", "a", "b"],
      "merges": [],
      "pattern": "gpt2",
      "special": {"eos": 0},
    }
    with self.assertRaisesRegex(VocabularyError, message):
      byte_pair.BytePairVocabulary.from_parts(**(parts | changes))


class HuggingFaceTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def write(self, made, **files):
    """Writes a tokenizer.json, as `tokenizers` does, and its configuration."""
    tokenizer = tokenizers.Tokenizer(
      models.BPE(
        {t: i for i, t in enumerate(made.tokens)},
        [tuple(merge.split(" ")) for merge in made.merges],
        ignore_merges=made.ignore_merges,
      )
    )
    tokenizer.pre_tokenizer = pretokenize.build_pre_tokenizer(made.pattern)
    if made.normalizer:
      tokenizer.normalizer = tokenizers.normalizers.NFC()
    tokenizer.add_special_tokens(list(byte_pairs.SPECIAL))
    if made.has_start:
      start = byte_pairs.SPECIAL[1]
      tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, 1)]
      )
    tokenizer.save(str(self.folder / "tokenizer.json"))
    settings = {
      "bos_token": {"content": "<|start|>"},
      "eos_token": "<|endoftext|>",
      "pad_token": "<|pad|>",
    }
    for name, values in {"tokenizer_config": settings, **files}.items():
      (self.folder / f"{name}.json").write_text(json.dumps(values))

  @parameterized.parameters(*PATTERNS)
  def test_tokenizer_json(self, pattern):
    made = VOCABULARIES[pattern]
    self.write(made)
    found = load_hugging_face_tokenizer(self.folder)
    for name in (
      "pattern",
      "normalizer",
      "ignore_merges",
      "has_start",
      "size",
      "tokens",
      "merges",
      "bos_id",
      "eos_id",
      "pad_id",
    ):
      self.assertEqual(getattr(found, name), getattr(made, name), name)
    theirs = tokenizers.Tokenizer.from_file(str(self.folder / "tokenizer.json"))
    texts = [t for t in TEXTS if "<|" not in t]
    expected = theirs.encode_batch(texts, add_special_tokens=False)
    for row, ids in zip(expected, found.encode(texts), strict=True):
      self.assertEqual(row.ids, ids.tolist())

  def test_byte_level_with_its_own_pattern(self):
    """The pre-tokenizers in the tokenizer.json of GPT-2 and SmolLM2."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for spec, name in (
      (level, "gpt2"),
      (pre_tokenizers.Sequence([digits, level]), "smollm"),
    ):
      tokenizer = tokenizers.Tokenizer(models.BPE())
      tokenizer.pre_tokenizer = spec
      values = json.loads(tokenizer.to_str())["pre_tokenizer"]
      step = foreign_values.ForeignValues("pre_tokenizer", values)
      self.assertEqual(pretokenize.find_pattern(step), name)

  def test_gpt2_files(self):
    made = VOCABULARIES["gpt2"]
    vocab = {t: i for i, t in enumerate(made.tokens)}
    (self.folder / "vocab.json").write_text(json.dumps(vocab))
    lines = ["#version: 0.2", *made.merges, ""]
    (self.folder / "merges.txt").write_text("\n".join(lines))
    found = load_hugging_face_tokenizer(self.folder)
    self.assertEqual(found.pattern, "gpt2")
    self.assertEqual((found.eos_id, found.pad_id, found.start_id), (0, 0, None))
    name = self.folder / "tokenizer_config.json"
    name.write_text('{"tokenizer_class": "Qwen2Tokenizer"}')
    with self.assertRaisesRegex(
      VocabularyError, "how a Qwen2Tokenizer splits texts"
    ):
      load_hugging_face_tokenizer(self.folder)

  def test_sentencepiece(self):
    model = pathlib.Path(TINY.vocabulary).read_bytes()
    (self.folder / "tokenizer.model").write_bytes(model)
    found = load_hugging_face_tokenizer(self.folder)
    self.assertIsInstance(found, SentencePieceVocabulary)

  def test_what_is_not_known(self):
    with self.assertRaisesRegex(VocabularyError, "no tokenizer"):
      load_hugging_face_tokenizer(self.folder)
    self.write(VOCABULARIES["gpt2"])
    path = self.folder / "tokenizer.json"
    for change, message in (
      (
        {"pre_tokenizer": {"type": "Whitespace"}},
        "Whitespace.*Supported:.* gpt2",
      ),
      ({"normalizer": {"type": "NFKC"}}, "NFKC"),
    ):
      values = json.loads(path.read_text()) | change
      changed = self.folder / "changed"
      changed.mkdir(exist_ok=True)
      (changed / "tokenizer.json").write_text(json.dumps(values))
      with self.assertRaisesRegex(VocabularyError, message):
        load_hugging_face_tokenizer(changed)
    path.write_text("{")
    with self.assertRaisesRegex(VocabularyError, "is no JSON"):
      load_hugging_face_tokenizer(self.folder)


class WithoutStartTest(absltest.TestCase):
  def test_packed_rows(self):
    """The first tokens of [5 6 1] and [7 1] are read, but not predicted."""

    class Table:
      prompt_lengths = [1, 1]

      def example(self, i):
        return np.array(([5, 6, 1], [7, 1])[i])

    row = packing.fill_packed_rows(
      [[0, 1]], [Table()], np.zeros(2, int), np.arange(2), 6, None, 9
    )
    for name, values in {
      "inputs": [9, 5, 6, 9, 7, 9],
      "targets": [9, 6, 1, 9, 1, 9],
      "loss_weights": [0, 1, 1, 0, 1, 0],
      "segment_ids": [0, 1, 1, 0, 2, 0],
    }.items():
      self.assertEqual(row[name][0].tolist(), values, name)
    self.assertEqual(row["positions"][0, [1, 2, 4]].tolist(), [0, 1, 0])

  def test_train_and_evaluate(self):
    from flan_tf.checkpoints.bundle import Bundle
    from flan_tf.inference import language_model

    path = str(TINY.folder / "bytes.model")
    VOCABULARIES["smollm"].save(path)
    workdir = str(TINY.folder / "run")
    run = TINY.run(
      data__vocabulary=path,
      model__positions="rotary",
      train__steps=4,
      train__save_every=4,
    )
    opened = TINY.train(run, workdir)
    self.assertEqual(opened.config.model.vocab, 768)
    saved = Bundle.open(workdir).vocabulary
    self.assertEqual(saved.serialized, VOCABULARIES["smollm"].serialized)
    model = language_model.LanguageModel.load(workdir, batch=2)
    made = model.vocabulary
    self.assertIsInstance(made, byte_pair.BytePairVocabulary)
    self.assertEqual(made.fingerprint, opened.vocabulary.fingerprint)
    prompt, answer = made.encode(["Is it so?\n- yes", "yes, it is"])
    whole = np.concatenate([prompt, answer])
    Example = language_model.ScoredExample
    together = Example(whole, len(answer))
    # Scoring token by token gives the same sum, in whatever packed row.
    single = [
      Example(whole[: len(prompt) + i + 1], 1) for i in range(len(answer))
    ]
    scores = model.score([together, *single])
    self.assertAlmostEqual(scores[0], scores[1:].sum(), places=4)
    # To score the first token of a text, the model needs a token before it.
    started, rest, first = model.score(
      [
        Example(whole, len(whole)),
        Example(np.append(made.bos_id, whole), len(whole)),
        Example(whole[:1], 1),
      ]
    )
    self.assertAlmostEqual(started, rest, places=4)
    self.assertLess(first, 0)
    # Greedy decoding takes the token with the best score.
    (reply,) = model.generate([prompt], 3)
    if len(reply):
      found = Example(np.append(prompt, reply[0]), 1)
      others = [Example(np.append(prompt, i), 1) for i in range(3, 60)]
      scores = model.score([found, *others])
      self.assertGreaterEqual(scores[0], scores[1:].max() - 1e-5)


if __name__ == "__main__":
  absltest.main()
