"""Trains byte-pair vocabularies for tests."""

import json
from collections.abc import Sequence

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from flan_tf.vocab import byte_pair, pretokenize

SPECIAL = ("<|endoftext|>", "<|start|>", "<|pad|>")


def train(
  texts: Sequence[str], pattern: str = "gpt2", size: int = 420, **options
) -> byte_pair.BytePairVocabulary:
  """Trains a vocabulary whose first pieces are SPECIAL.

  Args:
    texts: training texts.
    pattern: a pre-tokenizer pattern.
    size: number of pieces.
    **options: further arguments of `BytePairVocabulary.from_parts`.
  """
  tokenizer = tokenizers.Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pretokenize.build_pre_tokenizer(pattern)
  trainer = trainers.BpeTrainer(
    vocab_size=size - len(SPECIAL),
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  tokenizer.train_from_iterator(texts, trainer)
  vocab = tokenizer.get_vocab()
  pieces = sorted(vocab, key=vocab.__getitem__)
  merges = json.loads(tokenizer.to_str())["model"]["merges"]
  special = {"bos": 1, "eos": 0, "pad": 2, "others": []}
  return byte_pair.BytePairVocabulary.from_parts(
    [*SPECIAL, *pieces],
    merges,
    pattern,
    options.pop("special", special),
    **options,
  )
