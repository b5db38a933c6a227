"""Prompt and answer as one text: tokenized together, whatever is between."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from flan_tf.data import prompt_format, requests
from flan_tf.vocab import vocabulary
from tests.helpers import byte_pairs, tiny

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
    "sentencepiece": vocabulary.load_vocabulary(TINY.vocabulary),
  }


tearDownModule = TINY.close


def limits(separator: str, **lengths) -> prompt_format.Limits:
  return prompt_format.Limits(
    separator=prompt_format.Separator(separator),
    **{"input_length": 64, "target_length": 32, "row_length": 96, **lengths},
  )


KINDS = ("byte pairs", "llama3", "sentencepiece")


class TogetherTest(parameterized.TestCase):
  @parameterized.product(kind=KINDS, separator=list(GLUED))
  def test_the_ids_are_those_of_the_whole_text(self, kind, separator):
    pieces = VOCABULARIES[kind]
    wrapper = limits(separator).wrapper(pieces)
    few = [OPTIONS] * len(PROMPTS)
    found = wrapper.encode_options(PROMPTS, few)
    for prompt, (asked, options) in zip(PROMPTS, found, strict=True):
      for text, ids in zip(OPTIONS, options, strict=True):
        self.assertNotEmpty(ids)
        whole = pieces.encode([prompt + GLUED[separator] + text])[0]
        self.assertEqual([*asked, *ids], whole.tolist())

  @parameterized.product(kind=KINDS, separator=list(GLUED))
  def test_in_the_graph_too(self, kind, separator):
    wrapper = limits(separator).wrapper(VOCABULARIES[kind])
    pairs = [(p, o) for p in PROMPTS for o in (*OPTIONS, "")]
    texts = tf.constant(list(zip(*pairs, strict=True)))
    for run in (wrapper.tokenize, tf.function(wrapper.tokenize)):
      ids = run(texts).to_list()
      prompts, answers = ids[: len(pairs)], ids[len(pairs) :]
      for pair, asked, answer in zip(pairs, prompts, answers, strict=True):
        prompt, text = pair
        if not text:
          self.assertEmpty(answer)
          continue
        ((want, (option,)),) = wrapper.encode_options([prompt], [[text]])
        self.assertEqual((asked, answer), (want.tolist(), option.tolist()))

  def test_only_the_end_of_a_long_prompt_is_tokenized_for_each_option(self):
    pieces = VOCABULARIES["byte pairs"]
    prompt = "It is not so, is it? " * 50 + "Is it so, or no"
    cut = pieces.border(prompt)
    self.assertEqual(prompt[cut:], " no")
    head, tail = pieces.encode([prompt[:cut], prompt[cut:]])
    self.assertEqual([*head, *tail], pieces.encode([prompt])[0].tolist())
    self.assertEqual(pieces.border("noyes"), 0)
    self.assertEqual(VOCABULARIES["sentencepiece"].border(prompt), 0)

  def test_a_piece_over_the_border_belongs_to_all_options(self):
    """ "no" + "yes" has the piece "oyes": the "o" is read by no option."""
    pieces = VOCABULARIES["byte pairs"]
    wrapper = limits("plain").wrapper(pieces)
    ((prompt, options),) = wrapper.encode_options(["- no"], [["yes", "."]])
    asked = pieces.encode(["- no"])[0]
    self.assertLess(len(prompt), len(asked))
    spelt = ["".join(pieces.pieces(ids)) for ids in options]
    border = "".join(pieces.pieces(asked[len(prompt) :]))
    self.assertEqual(spelt, [border + "yes", border + "."])

  @parameterized.product(kind=KINDS, separator=list(GLUED))
  def test_a_prompt_that_is_continued_ends_without_a_blank(
    self, kind, separator
  ):
    pieces = VOCABULARIES[kind]
    wrapper = limits(separator).wrapper(pieces)
    cue = "\n" if separator == "newline" else ""
    wanted = pieces.encode([p + cue for p in PROMPTS])
    for one, two, three in zip(
      wrapper.encode_prompts(PROMPTS),
      wrapper.tokenize_prompts(tf.constant(PROMPTS)).to_list(),
      wanted,
      strict=True,
    ):
      self.assertEqual((one.tolist(), two), (three.tolist(), three.tolist()))

  def test_what_is_too_long_is_cut(self):
    pieces = VOCABULARIES["byte pairs"]
    asked = [requests.Request(0, "so " * 90, ("yes " * 50, "no"), 0, ("no",))]
    for separator in GLUED:
      short = limits(separator, target_length=8)
      (item,) = requests.tokenize_requests(asked, pieces, short)
      self.assertTrue(item.trimmed)
      self.assertLessEqual(len(item.prompt), 64)
      self.assertLessEqual(max(map(len, item.options)), 8)

  def test_nothing_has_no_probability(self):
    asked = [requests.Request(3, "Is it so?", ("yes", ""), 0, ("yes",))]
    for separator in (*GLUED, "flan"):
      with self.assertRaisesRegex(ValueError, "Row 3: option '' has no tokens"):
        requests.tokenize_requests(
          asked, VOCABULARIES["llama3"], limits(separator)
        )

  def test_others_have_ids_between(self):
    pieces = VOCABULARIES["byte pairs"]
    wrapper = limits("flan").wrapper(pieces)
    ((prompt, (option,)),) = wrapper.encode_options(["- no"], [["yes"]])
    np.testing.assert_array_equal(prompt, pieces.encode(["- no"])[0])
    np.testing.assert_array_equal(option, pieces.encode(["yes"])[0])


if __name__ == "__main__":
  absltest.main()
