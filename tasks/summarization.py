"""Summarization: short texts that say what a long text is about. Eleven tasks.

`TASKS` lists all tasks of the cluster. Those on news, messages and opinions are
in modules of their own. The one here is WikiLingua, which asks for the steps of
a how-to guide.
"""

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

from . import (
  summarization_messages,
  summarization_news,
  summarization_opinions,
)
from .summarization_helpers import ROUGE

# The summary consists of the headings of the steps, which the guide lacks.
WIKI_LINGUA_ENGLISH_EN = Task(
  name="wiki_lingua_english_en",
  dataset="wiki_lingua_english_en",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "gem/wiki_lingua_english_en",
    "1.1.0",
    Splits(dev="validation", test="test"),
  ),
  fields=fields.generation(
    answer="target",
    references="references",
    clean=fields.one_line,
    guide="source",
  ),
  slots=("guide",),
  metrics=ROUGE,
  documents=("guide",),
  published_rows=99_000,
  templates=(
    Template(
      "{guide}\n\nWhat are you told to do here? Name the main steps, each in one short sentence."
    ),
    Template("Shorten this advice to a few instructions.\n\n{guide}"),
    Template("Guide: {guide}\n\nThe same in brief:"),
    Template(
      "Whoever copied this how-to article left out the headings, which told the reader what to do. Restore them, one after another.\n\n{guide}"
    ),
    Template(
      "I do not need the details or the reasons. Just tell me what I should do, according to this text.\n\n{guide}"
    ),
    Template(
      "The directions below have to fit on a small card. What will the card say?\n\n{guide}"
    ),
    Template(
      'Reduce the text to its commands, in the manner of "Open the box. Read the label."\n\n{guide}'
    ),
    Template(
      "{guide}\n\nSay that again, but so briefly that I can keep it in mind while I do it."
    ),
    Template("Explain in detail how to go about this.\n\n{answer}", "{guide}"),
    Template(
      "A how-to article has been outlined: {answer}\n\nWrite the article itself, without headings.",
      "{guide}",
    ),
  ),
)

TASKS = (
  summarization_messages.AESLC,
  summarization_news.AG_NEWS_SUBSET,
  summarization_news.CNN_DAILYMAIL,
  summarization_news.GIGAWORD,
  summarization_news.MULTI_NEWS,
  summarization_news.NEWSROOM,
  summarization_opinions.OPINION_ABSTRACTS_IDEBATE,
  summarization_opinions.OPINION_ABSTRACTS_ROTTEN_TOMATOES,
  summarization_messages.SAMSUM,
  WIKI_LINGUA_ENGLISH_EN,
  summarization_news.XSUM,
)
