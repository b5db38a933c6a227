"""Prompt formats: prompt and target as one text, or with ids around them."""

import re
import typing
from typing import Any

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf import config
from flan_tf.data import ragged, requests
from flan_tf.data.prompt_format import Overflow, PromptFormat, Separator
from flan_tf.vocab.load import load_vocabulary
from tests.helpers import byte_pairs, tiny, toys

TEXTS = ("noyes noyes noyes oyes", "Is it so? It is not.", "OPTIONS:\n- yes\n")
PROMPTS = ("Is it so?\n- no", "OPTIONS:\n- yes\n- no", "It is", "", "so. ")
OPTIONS = ("yes", "oyes", "it is not", ".", "\nno")
GLUED = {"plain": "", "newline": "\n", "blank": " "}
TINY = tiny.Tiny()


def setUpModule():
  global VOCABULARIES
  TINY.open()
  VOCABULARIES = {
    "byte pairs": byte_pairs.train(TEXTS * 9, size=320),
    "llama3": byte_pairs.train(TEXTS * 9, "llama3", size=320),
    "sentencepiece": load_vocabulary(TINY.vocabulary),
  }


tearDownModule = TINY.close


def format_of(pieces, separator: str, **lengths) -> PromptFormat:
  return PromptFormat(
    pieces,
    separator=Separator(separator),
    **{"input_length": 64, "target_length": 32, "row_length": 96, **lengths},
  )


KINDS = ("byte pairs", "llama3", "sentencepiece")


class PromptFormatTest(parameterized.TestCase):
  @parameterized.product(kind=KINDS, separator=list(GLUED))
  def test_a_joint_text_has_the_ids_of_the_whole_text(self, kind, separator):
    pieces = VOCABULARIES[kind]
    tokenizer = format_of(pieces, separator).tokenizer
    few = [OPTIONS] * len(PROMPTS)
    found = tokenizer.encode_options(PROMPTS, few)
    for prompt, (asked, options) in zip(PROMPTS, found, strict=True):
      for text, ids in zip(OPTIONS, options, strict=True):
        self.assertNotEmpty(ids)
        whole = pieces.encode([prompt + GLUED[separator] + text])[0]
        self.assertEqual([*asked, *ids], whole.tolist())

  @parameterized.product(kind=KINDS, separator=list(GLUED))
  def test_the_graph_gives_the_same_ids(self, kind, separator):
    tokenizer = format_of(VOCABULARIES[kind], separator).tokenizer
    pairs = [(p, o) for p in PROMPTS for o in (*OPTIONS, "")]
    texts = [tf.constant(column) for column in zip(*pairs, strict=True)]
    for run in (tokenizer.tokenize, tf.function(tokenizer.tokenize)):
      ids = run(*texts).to_list()
      prompts, answers = ids[: len(pairs)], ids[len(pairs) :]
      for pair, asked, answer in zip(pairs, prompts, answers, strict=True):
        prompt, text = pair
        if not text:
          self.assertEmpty(answer)
          continue
        ((want, (option,)),) = tokenizer.encode_options([prompt], [[text]])
        self.assertEqual((asked, answer), (want.tolist(), option.tolist()))

  def test_only_the_end_of_a_long_prompt_is_tokenized_for_each_option(self):
    pieces = VOCABULARIES["byte pairs"]
    prompt = "It is not so, is it? " * 50 + "Is it so, or no"
    cut = pieces.last_safe_cut(prompt)
    self.assertEqual(prompt[cut:], " no")
    head, tail = pieces.encode([prompt[:cut], prompt[cut:]])
    self.assertEqual([*head, *tail], pieces.encode([prompt])[0].tolist())
    self.assertEqual(pieces.last_safe_cut("noyes"), 0)
    self.assertEqual(VOCABULARIES["sentencepiece"].last_safe_cut(prompt), 0)

  def test_a_piece_over_the_border_belongs_to_every_option(self):
    """ "no" + "yes" has the piece "oyes", so "o" is part of every option."""
    pieces = VOCABULARIES["byte pairs"]
    tokenizer = format_of(pieces, "plain").tokenizer
    ((prompt, options),) = tokenizer.encode_options(["- no"], [["yes", "."]])
    asked = pieces.encode(["- no"])[0]
    self.assertLess(len(prompt), len(asked))
    spelt = ["".join(pieces.pieces(ids)) for ids in options]
    border = "".join(pieces.pieces(asked[len(prompt) :]))
    self.assertEqual(spelt, [border + "yes", border + "."])

  @parameterized.product(kind=KINDS, separator=list(GLUED))
  def test_a_prompt_to_continue_ends_without_a_space(self, kind, separator):
    pieces = VOCABULARIES[kind]
    tokenizer = format_of(pieces, separator).tokenizer
    cue = "\n" if separator == "newline" else ""
    wanted = pieces.encode([p + cue for p in PROMPTS])
    for one, two, three in zip(
      tokenizer.encode_prompts(PROMPTS),
      tokenizer.tokenize_prompts(tf.constant(PROMPTS)).to_list(),
      wanted,
      strict=True,
    ):
      self.assertEqual((one.tolist(), two), (three.tolist(), three.tolist()))

  def test_long_prompts_and_options_are_cut(self):
    pieces = VOCABULARIES["byte pairs"]
    example = requests.Example(0, ("no",), ("yes " * 50, "no"), 0)
    asked = [requests.Request(example, "so " * 90)]
    for separator in GLUED:
      short = format_of(pieces, separator, target_length=8)
      (item,) = requests.encode_requests(asked, short)
      self.assertTrue(item.trimmed)
      self.assertLessEqual(len(item.prompt), 64)
      self.assertLessEqual(max(map(len, item.options)), 8)

  def test_an_option_without_tokens_is_an_error(self):
    example = requests.Example(3, ("yes",), ("yes", ""), 0)
    asked = [requests.Request(example, "Is it so?")]
    for separator in (*GLUED, "flan"):
      with self.assertRaisesRegex(ValueError, "Row 3: option '' has no tokens"):
        requests.encode_requests(
          asked, format_of(VOCABULARIES["llama3"], separator)
        )

  def test_flan_tokenizes_prompt_and_option_separately(self):
    pieces = VOCABULARIES["byte pairs"]
    tokenizer = format_of(pieces, "flan").tokenizer
    ((prompt, (option,)),) = tokenizer.encode_options(["- no"], [["yes"]])
    np.testing.assert_array_equal(prompt, pieces.encode(["- no"])[0])
    np.testing.assert_array_equal(option, pieces.encode(["yes"])[0])

  @parameterized.parameters(*Separator)
  def test_an_answer_is_decoded_without_the_ids_that_end_it(self, separator):
    pieces = VOCABULARIES["llama3"]
    chat = config.ChatConfig("user: ", "\nmodel:", "\n")
    prompt_format = PromptFormat(pieces, separator=separator, chat=chat)
    ((_, (option,), trimmed),) = prompt_format.encode_options(
      ["Is it so?"], [["it is"]]
    )
    self.assertFalse(trimmed)
    self.assertEqual(prompt_format.decode(option).strip(), "it is")
    ended = np.append(option, prompt_format.end_ids)
    self.assertEqual(prompt_format.decode(ended).strip(), "it is")

  @parameterized.parameters(
    (True, 0, [7, 8, 9], [3, 7, 8, 9]),
    (True, 2, [7, 8, 9], [3, 0, 0, 7, 8, 9]),
    (False, 0, [7, 8, 9], [7, 8, 9]),
    (False, 2, [7, 8, 9], [3, 0, 0, 7, 8, 9]),
    (True, 0, [], [3]),
    (False, 0, [], [3]),
    (False, 2, [], [3, 0, 0]),
  )
  def test_inputs_before_the_first_answer_token(
    self, has_start, soft_prompt, prompt, expected
  ):
    """A soft prompt, and the first token of an answer, need an input before."""
    pieces = toys.Vocabulary(bos_id=3, has_start=has_start)
    prompt_format = PromptFormat(
      typing.cast(Any, pieces), soft_prompt=soft_prompt
    )
    context = prompt_format.context_tokens(np.int32(prompt))
    self.assertEqual(context.tolist(), expected)
    self.assertEqual(context.dtype, np.int32)
    starts = has_start or soft_prompt > 0
    self.assertEqual(prompt_format.start_id, 3 if starts else None)

  def test_a_run_has_one_format(self):
    chat = config.ChatConfig("[", "]", ".")
    run = config.RunConfig(
      data=config.DataConfig(
        input_length=20,
        target_length=9,
        length=30,
        separator="chat",
        overflow="end",
      ),
      adapter=config.AdapterConfig(soft_prompt=3),
      chat=chat,
    )
    pieces = VOCABULARIES["byte pairs"]
    prompt_format = PromptFormat.from_run(run, pieces)
    expected = PromptFormat(
      pieces, 20, 9, 30, Overflow.END, Separator.CHAT, chat, soft_prompt=3
    )
    self.assertEqual(prompt_format, expected)
    self.assertEqual(prompt_format.example_length, 27)


class RaggedTest(absltest.TestCase):
  def test_the_drawing(self):
    lines = ragged.concatenate_parts.__doc__ or ""
    flat, result = (
      [int(number) for number in re.findall(r"\d+", line)]
      for line in lines.splitlines()
      if line.strip().startswith(("flat  ", "gives "))
    )
    ids, lengths = ragged.concatenate_parts(
      np.int32(flat),
      [ragged.Slices(np.array([0, 3]), np.array([2, 1])), np.array([99])],
      count=2,
    )
    self.assertEqual([*ids, *lengths], result)


if __name__ == "__main__":
  absltest.main()
