"""Commonsense reasoning: the plausible one of two or four texts (four tasks).

COPA asks for causes and effects, HellaSwag for the continuation of a
description or an instruction, PIQA for practical advice, and Story Cloze for
the end of a story. The options differ from row to row, so that all field
functions give `choices`.
"""

from collections.abc import Mapping
from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import (
  Baseline,
  Source,
  Splits,
  Task,
  TaskKind,
  Template,
)


def _copa_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of a COPA row; asks for the cause or the effect."""
  import tensorflow as tf

  asked = tf.strings.strip(row["question"])  # "cause" or "effect".
  question = tf.where(
    asked == "cause",
    "Why was that?",
    "What did that lead to?",
  )
  choices = fields.one_line(tf.stack([row["choice1"], row["choice2"]]))
  return {
    "premise": fields.one_line(row["premise"]),
    "asked": asked,
    "question": question,
    "choice1": choices[0],
    "choice2": choices[1],
    "choices": choices,
    "answer_index": tf.cast(row["label"], tf.int64),
  }


# Premises and choices are complete sentences with a full stop.
COPA = Task(
  name="copa",
  dataset="copa",
  cluster="commonsense",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "super_glue/copa",
    "1.0.2",
    Splits(dev="train", dev_rows=50, test="validation"),
  ),
  fields=_copa_fields,
  slots=("premise", "asked", "question", "choice1", "choice2"),
  documents=("premise",),
  published_rows=350,
  baseline=Baseline("{premise} {question}"),
  templates=(
    Template("{premise}\n\n{question}\n\n{options_}"),
    Template(
      "Given: {premise}\nWanted: the {asked}.\n{options_}\nMore plausible:"
    ),
    Template(
      "{options_}\n\nOne of these is the likelier {asked} of the following.\n\n{premise}\n\nWhich one?"
    ),
    Template(
      "Things have causes, and they have effects. Take this one:\n\n{premise}\n\nIf you had to name its {asked}, which of these would you choose?\n\n{options_}"
    ),
    Template(
      "A torn note begins like this:\n{premise}\nThe rest, which told us the {asked}, is missing, and two people have tried to restore it. Which version should we believe?\n{options_}"
    ),
    Template(
      'You tell a child, "{premise}" The child asks, "{question}" Choose the better reply.\n\n{options_}'
    ),
    Template(
      "First, two statements.\n{options_}\nNow a third: {premise}\nOne of the first two tells us the {asked} of the third. Which one is it?"
    ),
    Template(
      "This much we know: {premise} {question} There are two possibilities.\n\nFirst: {choice1}\nSecond: {choice2}\n\nRepeat the possibility that is easier to believe."
    ),
    Template(
      "Think of something that may well have had this as its {asked}:\n\n{answer}\n\nSay in one sentence what it was.",
      "{premise}",
    ),
    Template(
      "Write two short sentences. The second should tell us the {asked} of what the first one says.",
      "{premise} {answer}",
    ),
  ),
)

# Half of the rows come from how-to articles. Tags mark their layout: "[header]
# How to bake [title] Heat the oven. [step] Turn". A header has no full stop, but
# the other parts have one. In all rows, punctuation stands between blanks that
# do not belong there: "$68 , 387", '" yes "'.
_clean_hellaswag = fields.cleaner(
  (r"\[header\]\s*([^\[]*[^.?!:\[\s])\s*\[title\]", r"\1. "),
  (r"\[(?:header|title|step|substeps?)\]", " "),
  (r"\s+", " "),
  (r"(\d) , (\d{3})\b", r"\1,\2"),
  (r'(^|[\s(])" ([^"]*) "', r'\1"\2"'),
  (r"\( ", "("),
  (r" \)", ")"),
  (r" ([.,;:?!])( |$)", r"\1\2"),
  (r"^[ ,.]+", ""),  # After a context that ends in "afterward".
)

# The other half are captions of videos. The last caption is cut off, and its
# capital letter is lost: "A man is on a roof. he".
_CUT_OFF = r"""(?s)^((?:.*[.?!]["')]* )?)([a-z])([^.?!]*)$"""


def _hellaswag_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of a HellaSwag row, without layout tags."""
  import tensorflow as tf

  context = _clean_hellaswag(row["context"])
  before, first, rest = (
    tf.strings.regex_replace(context, _CUT_OFF, rf"\{group}")
    for group in (1, 2, 3)
  )
  repaired = tf.strings.join([before, tf.strings.upper(first), rest])
  is_cut_off = tf.strings.regex_full_match(context, _CUT_OFF)
  return {
    "context": tf.where(is_cut_off, repaired, context),
    "choices": _clean_hellaswag(row["endings"]),
    "answer_index": tf.cast(row["label"], tf.int64),
  }


# A context may end within a sentence, so that it ends a line in every template.
HELLASWAG = Task(
  name="hellaswag",
  dataset="hellaswag",
  cluster="commonsense",
  kind=TaskKind.CLASSIFICATION,
  source=Source("hellaswag", "1.1.0", Splits(dev="train", test="validation")),
  fields=_hellaswag_fields,
  slots=("context",),
  documents=("context",),
  published_rows=39_700,
  baseline=Baseline("{context}"),
  templates=(
    Template(
      "{context}\n\nGo on with the most natural of these.\n\n{options_}"
    ),
    Template(
      "This is the beginning of a description or of some instructions:\n{context}\n\nChoose the words that carry it on best.\n{options_}"
    ),
    Template(
      "Which of these endings belongs to the text that is printed below them?\n\n{options_}\n\n{context}"
    ),
    Template(
      "You are editing a collection of short texts. One of them has lost its end:\n\n{context}\n\nFour endings have turned up, and three of them do not belong here. Put the right one back.\n\n{options_}"
    ),
    Template("Start: {context}\n{options_}\nLikeliest way on:"),
    Template(
      "{options_}\n\nAs a continuation of the lines that follow, three of these four will not do. Which one will?\n\n{context}"
    ),
    Template(
      "Imagine what is going on here as if you were there.\n\n{context}\n\nThe text stops at this point. Finish it.\n{options_}"
    ),
    Template(
      "Somebody reads aloud to you and is interrupted after these words:\n\n{context}\n\nWhat was the reader about to say?\n\n{options_}"
    ),
    Template(
      "Four people were shown the same text and asked to complete it. Only one of them knows how such things go in real life.\n\nThe text: {context}\n\n{options_}\n\nWhich of these did that person write?"
    ),
    Template(
      "Pick up the thread where this text drops it, in a way that fits what has been said so far.\n\n{context}"
    ),
  ),
)

_clean_piqa = fields.cleaner(
  (r"\s+", " "),
  (r"([a-z)])([.!?])([A-Z][a-z])", r"\1\2 \3"),
  (r"([a-z]),([a-z])", r"\1, \2"),
  (r"([^.])\.\.( |$)", r"\1.\2"),
  (r" ([.,;:?!])( |$)", r"\1\2"),
)


def _piqa_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of a PIQA row; the two solutions are the choices."""
  import tensorflow as tf

  return {
    "goal": _clean_piqa(row["goal"]),
    "choices": _clean_piqa(tf.stack([row["sol1"], row["sol2"]])),
    "answer_index": tf.cast(row["label"], tf.int64),
  }


# A goal is a question, a purpose, half a sentence, or the name of a thing
# ("hoe", with the solution "can break up soil"). It may end without a mark.
PIQA = Task(
  name="piqa",
  dataset="piqa",
  cluster="commonsense",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "piqa", "1.0.0", Splits(dev="train", dev_rows=100, test="validation")
  ),
  fields=_piqa_fields,
  slots=("goal",),
  documents=("goal",),
  published_rows=16_010,
  baseline=Baseline("Q: {goal}\nA:", stops=("Q:",)),
  templates=(
    Template("{goal}\n\nWhich of these makes sense?\n\n{options_}"),
    Template("Topic: {goal}\nPick the line that gets it right.\n{options_}"),
    Template(
      "{options_}\n\nOne of these is sound, and the other is not. Which would you put after the line below?\n\n{goal}"
    ),
    Template(
      "A neighbour who is good with her hands has been asked about this:\n\n{goal}\n\nOne of the following is what she said. The other would be of no use, or end badly. What did she say?\n\n{options_}"
    ),
    Template(
      "Think of how things behave: what bends, breaks, melts, sticks or floats. Then choose the better second line.\n\nFirst line: {goal}\n{options_}\nSecond line:"
    ),
    Template(
      "Hints from readers have to be checked before they are printed.\n\nHeading: {goal}\n\nThe hint has come in twice, once with a mistake in it. Print the version without the mistake.\n\n{options_}"
    ),
    Template(
      "If you had to try one of these out yourself, which would you trust?\n\n{options_}\n\nThis is what it is about: {goal}"
    ),
    Template(
      "Give some practical advice on this, or say what can be done with it.\n\n{goal}"
    ),
    Template(
      "A visitor to a help page typed in a few words and was shown this:\n\n{answer}\n\nWhat did the visitor type?",
      "{goal}",
    ),
    Template(
      "Here is the second half of a practical hint:\n\n{answer}\n\nSupply the first half: the question, the aim or the thing that it is about.",
      "{goal}",
    ),
  ),
)


def _story_cloze_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of a Story Cloze row; its labels are 1 and 2."""
  import tensorflow as tf

  label = tf.cast(row["label"], tf.int64)
  return {
    "context": fields.one_line(row["context"]),
    "choices": fields.one_line(row["endings"]),
    "answer_index": tf.maximum(label - 1, -1),  # A hidden label is -1 or 0.
  }


STORY_CLOZE = Task(
  name="story_cloze",
  dataset="story_cloze",
  cluster="commonsense",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "story_cloze/2016",
    "1.0.0",
    # The public training stories have one ending only.
    Splits(train="validation", dev="validation", test="test"),
    manual=(
      "Ask for the Story Cloze Test of Spring 2016 with the form at"
      " https://www.cs.rochester.edu/nlp/rocstories/; the links come by mail."
      " Save the validation file as"
      " <manual_dir>/cloze_test_val__spring2016.csv and the test file as"
      " <manual_dir>/cloze_test_test__spring2016.csv."
    ),
  ),
  fields=_story_cloze_fields,
  slots=("context",),
  documents=("context",),
  published_rows=1_670,
  baseline=Baseline("{context}"),
  templates=(
    Template("{context}\n\nWhat happened in the end?\n\n{options_}"),
    Template(
      "Four sentences of a story:\n{context}\n\nWhich fifth sentence would you expect?\n{options_}"
    ),
    Template(
      "{options_}\n\nOne of these sentences closes the story below, and the other does not fit. Which one closes it?\n\n{context}"
    ),
    Template(
      "A writing class was given this opening:\n\n{context}\n\nTwo pupils added a last sentence each. Only one of them had paid attention to what goes on in the story. What did that pupil write?\n\n{options_}"
    ),
    Template(
      "Story: {context}\nTwo endings, one of them wrong:\n{options_}\nRight ending:"
    ),
    Template(
      "You have read this far, and your thumb still hides the last line of the page.\n\n{context}\n\nWhat does it say under your thumb?\n{options_}"
    ),
    Template(
      "People do things for reasons, and what they do has consequences. Keep that in mind and choose an ending.\n{options_}\n\nThis is what happened before:\n\n{context}"
    ),
    Template(
      "{context}\n\nAdd one sentence that brings this little story to a fitting end."
    ),
    Template(
      "The last sentence of a story is this: {answer}\n\nWrite the four sentences that lead up to it.",
      "{context}",
    ),
    Template(
      "{answer}\n\nThat is how it all turned out. What had happened until then? Tell us in four short sentences.",
      "{context}",
    ),
  ),
)

TASKS = (COPA, HELLASWAG, PIQA, STORY_CLOZE)
