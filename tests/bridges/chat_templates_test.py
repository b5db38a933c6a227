"""Chat templates and start pieces: models read the ids of their training.

The ids are also compared with `transformers`, where it is installed.
"""

import dataclasses
import json
import pathlib
import tempfile
import unittest

import numpy as np
import sentencepiece
import tensorflow as tf
import tokenizers
from absl.testing import absltest, parameterized
from tokenizers import models as tokenizer_models

from flan_tf import config
from flan_tf.api import evaluation, loading
from flan_tf.bridges import chat_templates, convert, model_source
from flan_tf.bridges.native import checkpoint_source, checkpoint_writer
from flan_tf.checkpoints.bundle import Bundle
from flan_tf.data import example_table, packing, requests
from flan_tf.data.prompt_format import PromptFormat, Separator
from flan_tf.inference import language_model, prompt_answers
from flan_tf.mesh.compat import mtf
from flan_tf.model import dims
from flan_tf.model.weights import weight_specs
from flan_tf.vocab import byte_pair, pretokenize
from flan_tf.vocab.base import VocabularyError
from flan_tf.vocab.hugging_face_tokenizer import load_hugging_face_tokenizer
from flan_tf.vocab.load import vocabulary_from_bytes
from flan_tf.vocab.sentence_piece import SentencePieceVocabulary
from tests.helpers import byte_pairs, tiny, toys

TINY = tiny.Tiny()
TEXTS = (
  "The lighthouse counted 12 ships, isn't it?",
  "OPTIONS:\n- yes\n- no",
  "system user assistant",
  "You are kind.",
  "[INST] and [/INST]",
  "User: Hi",
)
SPECIAL = ("<|end|>", "<|start|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
CHATML = (
  "{% if messages[0]['role'] != 'system' %}"
  "<|im_start|>system\nYou are kind.<|im_end|>\n{% endif %}"
  "{% for message in messages %}"
  "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
  "{{ '<|im_end|>\n' }}{% endfor %}"
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_WRAPPER = config.ChatConfig(
  "<|im_start|>system\nYou are kind.<|im_end|>\n<|im_start|>user\n",
  "<|im_end|>\n<|im_start|>assistant\n",
  "<|im_end|>",
)
LLAMA2 = (
  "{% for message in messages %}{% if message['role'] == 'user' %}"
  "{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}"
  "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}"
  "{% endif %}{% endfor %}"
)


def setUpModule():
  toys.open_cores()
  TINY.open()


tearDownModule = TINY.close


def byte_pair_vocabulary(adds_bos: bool = False, size: int = 340):
  """Returns byte pairs whose first pieces are SPECIAL."""
  made = byte_pairs.train(TEXTS * 20, "gpt2", size, adds_bos=adds_bos)
  others = {"bos": 1, "eos": 0, "pad": 2, "others": [3, 4]}
  return byte_pair.BytePairVocabulary.from_parts(
    [*SPECIAL, *made.tokens[3:]], made.merges, "gpt2", others, adds_bos
  )


def sentencepiece_vocabulary(
  pad: bool = False, bos: bool = True
) -> SentencePieceVocabulary:
  """Returns a vocabulary like that of Llama: initial blank, <s>, and bytes."""
  with tempfile.TemporaryDirectory() as folder:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(TEXTS * 20),
      model_prefix=f"{folder}/m",
      vocab_size=340,
      hard_vocab_limit=False,
      model_type="bpe",
      byte_fallback=True,
      normalization_rule_name="identity",
      remove_extra_whitespaces=False,
      control_symbols=["<|im_start|>", "<|im_end|>"],
      pad_id=3 if pad else -1,
      bos_id=1 if bos else -1,
      minloglevel=2,
    )
    return SentencePieceVocabulary.load(f"{folder}/m.model")


def chat_format(
  made, wrapper: config.ChatConfig, *lengths: int
) -> PromptFormat:
  return PromptFormat(made, *lengths, separator=Separator.CHAT, chat=wrapper)


def ids_of(prompt: str, answer: str, made, wrapper) -> tuple[list, list]:
  """Returns the ids of a prompt and of an answer, with those around them."""
  asked = requests.Request(requests.Example(0, (answer,), (answer,), 0), prompt)
  prompt_format = chat_format(made, wrapper, 200, 100, 300)
  (found,) = requests.encode_requests([asked], prompt_format)
  return found.prompt.tolist(), found.options[0].tolist()


class TemplateTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.vocabulary = byte_pair_vocabulary()
    cls.starting = byte_pair_vocabulary(adds_bos=True)

  def wrapper(self, template, made=None, special=()):
    names = {"bos_token": "<|start|>", "eos_token": "<|end|>"}
    return chat_templates.from_jinja(
      template, made or self.vocabulary, names, special
    )

  def test_a_default_system_prompt_stays(self):
    self.assertEqual(self.wrapper(CHATML), (CHATML_WRAPPER, ""))

  def test_blanks_behind_an_answer_belong_to_nobody(self):
    found, _ = self.wrapper(LLAMA2)
    expected = "<|start|>[INST] {prompt} [/INST] {answer}<|end|>"
    self.assertEqual(str(found), expected)

  def test_a_text_starts_once(self):
    found, _ = self.wrapper(LLAMA2, self.starting)
    self.assertEqual(found.before, "[INST] ")

  def test_a_template_that_knows_of_no_cue(self):
    found, _ = self.wrapper(CHATML.partition("{% if add_gen")[0])
    self.assertEqual(found, CHATML_WRAPPER)

  def test_a_template_that_opens_the_answer(self):
    cue = CHATML.replace("assistant\n{% endif", "assistant\nHm.\n{% endif")
    found, _ = self.wrapper(cue)
    self.assertEqual(found.between, "<|im_end|>\n<|im_start|>assistant\nHm.\n")

  def test_what_transformers_lends_a_template(self):
    found, why = self.wrapper(
      "{% if tools %}{{ raise_exception('tools') }}{% endif %}"
      "{{ strftime_now('%Y') | length }}{{ {'a': '<é>'} | tojson }}\n"
      "    {% for m in messages %}\n"
      "{{ m.content }}{% generation %}!{% endgeneration %}"
      "{% if loop.index > 8 %}{% break %}{% endif %}{% endfor %}"
    )
    self.assertEqual(why, "")
    self.assertEqual(str(found), '4{"a": "<é>"}\n{prompt}!{answer}!')

  @parameterized.parameters(
    (None, (), "the model comes without one"),
    ("{{ messages[0].content }", (), "fails: TemplateSyntaxError"),
    ("{{ raise_exception('no') }}", (), "fails: TemplateError: no"),
    ("{{ messages.append(1) }}", (), "fails: SecurityError"),
    ("{{ ''.__class__.mro() }}", (), "fails: SecurityError"),
    ("Hello", (), "does not write a prompt and an answer once each"),
    (CHATML * 2, (), "does not write a prompt and an answer once each"),
    (
      "{{ messages | length }}{% for m in messages %}{{ m.content }}"
      "{% endfor %}",
      (),
      "writes '1' before a prompt and '' before an answer that is to come,"
      " but '2' and '' with the answer",
    ),
    (
      CHATML + "<|eot|>",
      ["<|im_end|>", "<|eot|>"],
      "special pieces that are not in the vocabulary: <|eot|>",
    ),
  )
  def test_there_is_no_wrapper_and_a_reason(self, template, special, message):
    found, why = self.wrapper(template, special=special)
    self.assertFalse(found.is_set)
    self.assertIn(message, why)

  def test_a_folder(self):
    folder = self.create_tempdir().full_path
    path = pathlib.Path(folder, "tokenizer_config.json")
    empty = (config.ChatConfig(), "the model comes without one")
    self.assertEqual(chat_templates.from_folder(folder, self.vocabulary), empty)
    path.write_text(
      json.dumps(
        {
          "chat_template": [
            {"name": "tool_use", "template": "no"},
            {"name": "default", "template": LLAMA2},
          ],
          "bos_token": {"content": "<|start|>"},
          "eos_token": "<|end|>",
          "pad_token": None,
        }
      )
    )
    found, _ = chat_templates.from_folder(folder, self.starting)
    self.assertEqual(found.after, "<|end|>")
    # A file of its own counts more.
    pathlib.Path(folder, "chat_template.jinja").write_text(CHATML)
    found, _ = chat_templates.from_folder(folder, self.vocabulary)
    self.assertEqual(found, CHATML_WRAPPER)


class FlagTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.vocabulary = byte_pair_vocabulary()

  def test_names(self):
    found = chat_templates.parse("chatml", self.vocabulary)
    self.assertEqual(found.after, "<|im_end|>")
    found = chat_templates.parse("mistral", self.vocabulary)
    self.assertEqual(str(found), "[INST] {prompt} [/INST] {answer}<|end|>")

  def test_spelt_out(self):
    text = "<|im_start|>\\n{prompt}<|im_end|>{answer}{eos}"
    found = chat_templates.parse(text, self.vocabulary)
    wanted = config.ChatConfig("<|im_start|>\n", "<|im_end|>", "<|end|>")
    self.assertEqual(found, wanted)

  @parameterized.parameters(
    ("chatlm", "Unknown chat template 'chatlm'. Did you mean 'chatml'"),
    ("{prompt}{prompt}{answer}", "expected {prompt} and {answer} once each"),
    ("{answer}{prompt}", "expected {prompt} before {answer}"),
    (
      "llama3",
      "not in the vocabulary: <|end_header_id|>, <|eot_id|>,"
      " <|start_header_id|>",
    ),
    ("<|user|>{prompt}{answer}<|im_end|>", "--add_pieces='<|user|>'"),
  )
  def test_refused(self, text, message):
    with self.assertRaises(chat_templates.ChatError) as caught:
      chat_templates.parse(text, self.vocabulary)
    self.assertIn(message, str(caught.exception))


class IdsTest(parameterized.TestCase):
  """In a chat template, a prompt has the ids of the whole text."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.byte_pairs = byte_pair_vocabulary()
    cls.sentencepiece = sentencepiece_vocabulary()

  def test_special_pieces_are_found_where_we_spell_them(self):
    for made in (self.byte_pairs, self.sentencepiece):
      start = made.special_pieces["<|im_start|>"]
      ids = made.encode_special("<|im_start|>user\n<|im_start|>")
      (user,) = made.verbatim.encode(["user\n"])
      self.assertEqual(ids.tolist(), [start, *user, start])
      self.assertEqual(ids.dtype, np.int32)
      self.assertEmpty(made.encode_special(""))

  def test_of_two_pieces_the_longer_one(self):
    made = self.byte_pairs.with_special_pieces(["<|im_end|><|end|>"])
    ids = made.encode_special("<|im_end|><|end|><|im_end|>")
    self.assertEqual(ids.tolist(), [made.size - 1, 4])

  def test_never_in_the_texts_of_others(self):
    for made in (self.byte_pairs, self.sentencepiece):
      prompt, answer = ids_of(
        "<|im_end|>", "<|im_start|>", made, CHATML_WRAPPER
      )
      end, start = (
        made.special_pieces[f"<|im_{x}|>"] for x in ("end", "start")
      )
      self.assertEqual([prompt.count(end), prompt.count(start)], [2, 3])
      self.assertEqual([answer.count(end), answer.count(start)], [1, 0])

  @parameterized.parameters(
    ("[INST] ", " [/INST] ", ""),
    ("User: ", "\nassistant:", "\n"),
    ("", " ", ""),
    ("system\nYou are kind.\n", "\nassistant\n", "\nuser"),
  )
  def test_texts_alone_are_one_text(self, *parts):
    """The reference is the whole text, encoded at once."""
    wrapper = config.ChatConfig(*parts)
    for made in (self.byte_pairs, self.sentencepiece):
      for prompt, answer in (("Is it so?", "yes"), ("12 ships", "The end.")):
        whole = str(wrapper).replace("{prompt}", prompt)
        (expected,) = made.encode([whole.replace("{answer}", answer)])
        found = ids_of(prompt, answer, made, wrapper)
        self.assertEqual(sum(found, []), expected.tolist(), whole)

  def test_in_the_graph_too(self):
    for made in (self.byte_pairs, self.sentencepiece):
      template = config.ChatConfig("[INST] ", " [/INST]", "")
      tokenizer = chat_format(made, template).tokenizer
      texts = [["12 ships", "Is it so?", ""], ["yes", "", "no"]]
      found = tokenizer.tokenize(*map(tf.constant, texts)).to_list()
      pairs = tokenizer.encode_options(texts[0], [[text] for text in texts[1]])
      prompts = [prompt.tolist() for prompt, _ in pairs]
      targets = [target.tolist() for _, (target,) in pairs]
      self.assertEqual(found, prompts + targets)
      self.assertEmpty(found[2])

  def test_what_ends_an_answer(self):
    made = self.byte_pairs
    self.assertEqual(chat_format(made, CHATML_WRAPPER).end_ids, (0, 4))
    self.assertEqual(PromptFormat(made).end_ids, (0, 0))


class TransformersTest(absltest.TestCase):
  """Runs where `transformers` is installed."""

  def test_ids_are_theirs(self):
    try:
      import transformers
    except ImportError as error:
      raise unittest.SkipTest("transformers is not installed.") from error
    made = byte_pair_vocabulary()
    texts = [*TEXTS, "é 漢字", "two  blanks", " 12", "x\ny"]
    backend = tokenizers.Tokenizer(
      tokenizer_models.BPE(
        {token: i for i, token in enumerate(made.tokens)},
        [tuple(merge.split(" ")) for merge in made.merges],
      )
    )
    backend.pre_tokenizer = pretokenize.build_pre_tokenizer(made.pattern)
    backend.add_special_tokens(list(SPECIAL))
    theirs = transformers.PreTrainedTokenizerFast(
      tokenizer_object=backend, eos_token=SPECIAL[0]
    )
    theirs.chat_template = CHATML
    for text in texts:
      turns = [{"role": "user", "content": text}]
      found = theirs.apply_chat_template(turns, add_generation_prompt=True)
      prompt, _ = ids_of(text, "yes", made, CHATML_WRAPPER)
      self.assertEqual(prompt, list(found["input_ids"]))


def toy_model(made, adds: bool, chat_of: config.ChatConfig | None = None):
  """Returns a random model with a vocabulary and rows of 64 tokens."""
  family = toys.FAMILIES["llama3"]
  run = dataclasses.replace(
    toys.run_config(),
    model=dataclasses.replace(family, vocab=384, pieces=made.size),
    data=config.DataConfig(
      input_length=44,
      target_length=20,
      length=64,
      separator="chat" if chat_of else "plain",
    ),
    chat=chat_of or config.ChatConfig(),
  )
  assert made.has_start == adds
  model = language_model.LanguageModel(run, made, 4, toys.mesh("")[0])
  toys.assign(model.weights, toys.random_weights(model.weights.specs))
  return model


def plain_log_probs(model, inputs: list[int]) -> np.ndarray:
  """Returns log-probabilities [length, pieces] after each input of one row."""
  d = dims.dims_for(model.run.model, 1, len(inputs))
  values = {n: model.weights.gather(n) for n in model.weights.specs}
  specs = weight_specs(model.run.model, d)
  row = np.array([inputs], np.int32)
  at = np.arange(len(inputs), dtype=np.int32)[np.newaxis]
  feeds = [(x, d.tokens.dims) for x in (row, np.ones_like(row), at)]
  feeds += [(values[n], specs[n].shape.dims) for n in specs]

  def build(ids, segments, positions, *weights):
    named = dict(zip(specs, weights, strict=True))
    hidden = toys.hidden_states(
      model.run.model, d, named, ids, segments, positions
    )
    table = toys.output_table(model.run.model, d, named)
    return [
      mtf.einsum([hidden, table], mtf.Shape([d.batch, d.length, d.vocab]))
    ]

  (logits,), _ = toys.run("", build, feeds)
  logits = logits[0, :, : model.run.model.pieces].astype(np.float64)
  logits -= logits.max(-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


class StartTest(parameterized.TestCase):
  """Packing, scoring and generation agree, with and without a start piece."""

  @parameterized.parameters(True, False)
  def test_every_way_to_a_probability(self, adds_bos):
    made = byte_pair_vocabulary(adds_bos)
    model = toy_model(made, adds_bos)
    rng = np.random.default_rng(0)
    pairs = [
      (rng.integers(5, made.size, n), rng.integers(5, made.size, m))
      for n, m in ((3, 2), (9, 1), (1, 4), (6, 3), (12, 2), (2, 2))
    ]
    start = [made.bos_id] if adds_bos else []
    expected = []
    for prompt, answer in pairs:
      # The input before each token; what is first is read only, if no start.
      whole = [*start, *prompt, *answer]
      found = plain_log_probs(model, whole[:-1])[-len(answer) :]
      expected.append(found[np.arange(len(answer)), answer].sum())
    joined = [
      language_model.ScoredExample(np.concatenate(pair), len(pair[1]))
      for pair in pairs
    ]
    together = model.score(joined)
    np.testing.assert_allclose(together, expected, rtol=1e-4)
    alone = [model.score([example])[0] for example in joined]
    np.testing.assert_allclose(alone, expected, rtol=1e-4)

    # Training's rows: the same inputs, so the same probabilities.
    writer = example_table.TableWriter()
    for prompt, answer in pairs:
      writer.add(np.concatenate([prompt, answer]), len(prompt), 0)
    table = writer.table()
    rows = packing.choose_packed_rows(table.lengths, 32)
    every = np.arange(len(pairs))
    filled = packing.fill_packed_rows(
      rows, [table], 0 * every, every, 32, made.start_id, made.pad_id
    )
    for number, row in enumerate(rows):
      for segment, index in enumerate(row, 1):
        here = filled["segment_ids"][number] == segment
        prompt, answer = pairs[index]
        whole = [*start, *prompt, *answer]
        inputs = filled["inputs"][number, here]
        self.assertEqual(inputs.tolist(), whole[:-1])
        weights = filled["loss_weights"][number, here]
        self.assertEqual(weights.sum(), len(answer))
        places = filled["positions"][number, here]
        self.assertEqual(places.tolist(), list(range(len(inputs))))
    for prompt, _ in pairs[:3]:
      (new,) = model.generate([prompt], 5, ends=(-1,))
      whole = [*start, *prompt]
      for token in new:
        self.assertEqual(plain_log_probs(model, whole)[-1].argmax(), token)
        whole.append(token)

  def test_sentencepiece_with_neither_start_nor_padding(self):
    made = sentencepiece_vocabulary()
    self.assertTrue(made.has_start)
    self.assertEqual(made.start_id, made.bos_id)
    without = made.without_start()
    self.assertFalse(without.has_start)
    self.assertIsNone(without.start_id)
    again = vocabulary_from_bytes(without.serialized)
    self.assertFalse(again.has_start)
    self.assertEqual(again.fingerprint, without.fingerprint)
    self.assertNotEqual(again.fingerprint, made.fingerprint)
    # Nothing else changes, and the start can still be spelt.
    for text in TEXTS:
      np.testing.assert_array_equal(again.encode([text]), made.encode([text]))
    self.assertEqual(again.encode_special("<s>").tolist(), [made.bos_id])
    padded = sentencepiece_vocabulary(pad=True, bos=False)
    self.assertEqual((padded.has_start, padded.start_id), (True, 3))

  def test_a_folder_says_that_nothing_is_added(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    made = sentencepiece_vocabulary()
    made.save(folder / "tokenizer.model")
    path = folder / "tokenizer_config.json"
    for adds in (True, False):
      path.write_text(json.dumps({"add_bos_token": adds}))
      found = load_hugging_face_tokenizer(folder)
      self.assertEqual(found.has_start, adds)

  def test_a_folder_adds_pieces_that_its_model_has_rows_for(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    made = sentencepiece_vocabulary()
    made.save(folder / "tokenizer.model")
    found = load_hugging_face_tokenizer(folder)
    self.assertEqual(found.fingerprint, made.fingerprint)
    (folder / "added_tokens.json").write_text(
      json.dumps({"<|a|>": made.size + 1, "<|b|>": made.size + 7})
    )
    decoder = {
      str(made.size + 2): {"content": "<|c|>"},
      "1": {"content": "<s>"},
    }
    (folder / "tokenizer_config.json").write_text(
      json.dumps({"added_tokens_decoder": decoder})
    )
    (folder / "config.json").write_text(
      json.dumps({"vocab_size": made.size + 5})
    )
    found = load_hugging_face_tokenizer(folder)
    self.assertEqual(found.size, made.size + 3)
    ids = found.encode_special("<|a|><|c|>") - made.size
    self.assertEqual(ids.tolist(), [1, 2])

  def test_tekken_is_refused(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    (folder / "tekken.json").write_text("{}")
    with self.assertRaisesRegex(
      VocabularyError, "tekken.json only, .* tokenizer.json"
    ):
      load_hugging_face_tokenizer(folder)


class AnswerTest(absltest.TestCase):
  def test_an_answer_ends_where_its_turn_does(self):
    made = byte_pair_vocabulary()
    model = toy_model(made, False, CHATML_WRAPPER)
    ids, _ = ids_of("Is it so?", "x", made, CHATML_WRAPPER)
    (free,) = model.generate([np.int32(ids)], 12, ends=(-1,))
    self.assertNotIn(made.eos_id, free)
    # Some token that the model comes to, and that can be spelt.
    at = next(
      i
      for i, x in enumerate(free)
      if i
      and x not in free[:i]
      and made.encode_special(made.decode([x])).tolist() == [x]
    )
    (whole,) = model.continuations([np.int32(ids)], 12, ends=(0, free[at]))
    self.assertEqual(whole.tolist(), free[: at + 1].tolist())
    (cut,) = model.generate([np.int32(ids)], 12, ends=(0, free[at]))
    self.assertEqual(cut.tolist(), free[:at].tolist())

    after = made.decode([free[at]])
    wrapper = dataclasses.replace(CHATML_WRAPPER, after=after)
    model.run = dataclasses.replace(model.run, chat=wrapper)
    (found,) = prompt_answers.answer_prompts(model, ["Is it so?"], max_new=12)
    self.assertEqual((found.ended, found.tokens), (True, at + 1))
    self.assertEqual(found.text, made.decode(free[:at]))
    example = language_model.ScoredExample(np.concatenate([ids, whole]), at + 1)
    (score,) = model.score([example])
    self.assertAlmostEqual(found.log_prob, score, places=4)
    (short,) = prompt_answers.answer_prompts(model, ["Is it so?"], max_new=at)
    self.assertFalse(short.ended)


class RunsTest(absltest.TestCase):
  """A converted checkpoint is tuned and answers prompts."""

  WRAPPER = "[INST] {prompt} [/INST] {answer}{eos}"

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def path(self, name: str) -> str:
    return str(self.folder / name)

  def test_convert_tune_and_ask(self):
    TINY.train(TINY.run(train__steps=1), self.path("base"))
    opened = checkpoint_source.open_source(self.path("base"))
    self.assertNotIn("Chat template", opened.describe())
    changed = convert.changed_source(opened, chat=self.WRAPPER)
    self.assertIn("Chat template: '[INST] {prompt}", changed.describe())
    convert.write_target(changed, f"native:{self.path('native')}")
    saved = Bundle.open(self.path("native")).run
    self.assertEqual(saved.chat, changed.chat)
    self.assertEqual(saved.data.separator, "flan")  # As it was trained.

    run = TINY.run(
      train__init_from=self.path("native"),
      train__steps=2,
      data__separator="chat",
      data__input_length=80,
      data__target_length=24,
      data__length=104,
    )
    tuned = TINY.train(run, self.path("tuned"))
    self.assertEqual(tuned.config.chat, saved.chat)
    ids = next(tuned.batches).features["targets"]
    head = tuned.vocabulary.encode_special(" [INST]")
    self.assertEqual(ids[0, : len(head)].tolist(), head.tolist())
    # It goes on, and refuses another wrapper.
    TINY.open_run(run, self.path("tuned"))
    other = dataclasses.replace(run, chat=config.ChatConfig("Q", "A", ""))
    with self.assertRaisesRegex(ValueError, "chat.before: 'Q' asked for"):
      TINY.open_run(other, self.path("tuned"))

    mesh = tuned.config.mesh
    ask = loading.load(self.path("tuned"), mesh=mesh, batch=1)
    same = loading.load(
      self.path("native"), mesh=mesh, batch=1, separator="chat"
    )
    for model in (ask, same):
      answers = model.generate(["Is it so?"], max_new=3)
      self.assertLen(answers, 1)
      self.assertLess(answers[0].log_prob, 0)
    evaluation.evaluate(
      self.path("native"),
      tasks="rte",
      data_dir=TINY.data_dir,
      separator="chat",
      max_examples=2,
      templates=(0,),
    ).report(self.path("evaluation"))
    path = pathlib.Path(self.path("evaluation"), "results.json")
    settings = json.loads(path.read_text())["settings"]
    self.assertEqual(settings["separator"], "chat")
    self.assertEqual(settings["chat"], str(saved.chat))

  def test_a_model_without_a_wrapper(self):
    TINY.train(TINY.run(train__steps=1), self.path("base"))
    with self.assertRaisesRegex(ValueError, "no chat template.*launch.convert"):
      loading.load(self.path("base"), batch=1, separator="chat")

  def test_nothing_brings_a_reason(self):
    made = byte_pair_vocabulary()
    model = toy_model(made, False)
    tensors = {
      name: model_source.SourceTensor(
        tuple(spec.shape.to_integer_list),
        lambda name=name: model.weights.gather(name),
      )
      for name, spec in model.weights.specs.items()
    }
    opened = model_source.ModelSource(
      model.run.model,
      made,
      tensors,
      "a toy",
      no_chat_reason="its template fails",
    )
    self.assertIn("No chat template: its template fails.", opened.describe())
    checkpoint_writer.write(opened, self.path("toy"))
    saved = Bundle.open(self.path("toy")).run
    self.assertFalse(saved.chat.is_set)
    self.assertEqual(saved.data.separator, "plain")

  def test_convert_says_how_the_target_is_asked(self):
    TINY.train(TINY.run(train__steps=1), self.path("base"))
    opened = convert.open_source(f"native:{self.path('base')}")
    self.assertEqual(opened.separator, "flan")
    with self.assertRaisesRegex(ValueError, "there is no chat template"):
      convert.changed_source(opened, separator="chat")
    spelt = "Q:{prompt} A:{answer}"
    for separator, given in (("newline", ""), ("chat", spelt)):
      changed = convert.changed_source(opened, chat=given, separator=separator)
      convert.write_target(changed, f"native:{self.path(separator)}")
      saved = Bundle.open(self.path(separator)).run
      self.assertEqual(saved.data.separator, separator)
      path = pathlib.Path(self.path(separator), "README.md")
      card = path.read_text()
      path.write_text(card + "\nMine.\n")  # A card may be changed.
      convert.open_source(f"native:{self.path(separator)}")
      self.assertIn(
        {
          "newline": "A newline stands between a prompt and its answer.",
          "chat": "Prompt and answer have the form 'Q:{prompt} A:{answer}'.",
        }[separator],
        card,
      )


if __name__ == "__main__":
  absltest.main()
