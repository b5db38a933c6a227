"""Closed-book QA: answers from memory. Three data sets, four tasks.

ARC holds exercises from science tests at school, with four choices; many are
sentences that the right choice completes. Natural Questions are what people
typed into a search engine, in small letters. TriviaQA is from quizzes.
"""

import dataclasses
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

# Some texts hold blanks of other kinds: "54\u00a0Mbit/s", "\u200bwho is ...".
_BLANKS = (r"[\s\x{a0}\x{200b}]+", " ")
_ONE_LINE = fields.replace(_BLANKS)

# Formulas of ARC have the braces of LaTeX in them: "H_{2}O", "10^{8} J".
_SCIENCE = fields.replace(
  _BLANKS, (r"_\{([^{}]*)\}", r"\1"), (r"\^\{([^{}]*)\}", r"^\1")
)


def _science_item(row: Mapping[str, Any]) -> dict[str, Any]:
  """Slots of an ARC row; `keep` where there are four choices.

  A few rows have three or five. The key names a choice by its letter, so it is
  looked up among the letters of the choices.
  """
  import tensorflow as tf

  texts = _SCIENCE(row["choices"]["text"])
  letters = tf.cast(row["choices"]["label"], tf.int64)
  key = tf.cast(row["answerKey"], tf.int64)
  places = tf.where((letters == key) & (key >= 0))[:, 0]
  question = _SCIENCE(row["question"])
  return {
    "question": question,
    "choices": texts,
    "answer_index": tf.concat([places, [-1]], 0)[0],
    "keep": (tf.size(texts) == 4)
    & tf.reduce_all(texts != "")
    & (question != ""),
  }


# Where a question is a sentence to complete, it has no mark at its end, so it
# ends a line in every template.
ARC_CHALLENGE = Task(
  name="arc_challenge",
  dataset="arc",
  cluster="closed_book_qa",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "ai2_arc/ARC-Challenge", "1.0.0", Splits(dev="train", test="test")
  ),
  fields=_science_item,
  slots=("question",),
  metrics=("accuracy",),
  documents=("question",),
  published_rows=910,
  baseline=Baseline("Question: {question}\nAnswer:"),
  templates=(
    Template(
      "{question}\n\n{options_}\n\nOnly one of these choices is right. Write it down."
    ),
    Template(
      "Below is an item from a school science test. Give the answer that earns the point.\n\n{question}\n\n{options_}"
    ),
    Template("From the science test: {question}\n{options_}\nCorrect choice:"),
    Template(
      "{options_}\n\nOne of these answers the question below, or completes it if it breaks off. Which one?\n\n{question}"
    ),
    Template(
      "You are helping a younger cousin with science homework, and this is the last exercise on the sheet:\n\n{question}\n\nWhich box should your cousin tick?\n\n{options_}"
    ),
    Template(
      "If you remember your science lessons, you will know what to pick here.\n{question}\n{options_}"
    ),
    Template(
      "Three of these four are wrong. Find the one that is not.\n\n{options_}\n\nThe exercise itself reads:\n{question}"
    ),
    Template(
      "Science, multiple choice. Weigh every choice before you settle on one.\n\n{question}\n\n{options_}"
    ),
    Template(
      "Write an item for a multiple-choice test in science, but leave out the choices. The one below must be the right choice.\n\n{answer}",
      "{question}",
    ),
    Template(
      '"{answer}"\n\nThat is the right answer to an exercise in a school science book. What might the exercise have been?',
      "{question}",
    ),
  ),
)

ARC_EASY = dataclasses.replace(
  ARC_CHALLENGE,
  name="arc_easy",
  source=Source("ai2_arc/ARC-Easy", "1.0.0", Splits(dev="train", test="test")),
  published_rows=2_040,
)

# People leave out the question mark when they search, and some rows still have
# the number of a worksheet in front: "3. which two ...". The mark is put here,
# so no template adds one.
_SEARCHED = fields.replace(
  _BLANKS,
  (r"^ ?(?:\d+\. )?", ""),
  (r"[ ?]*$", "?"),
)
_SEARCHED_AND_FOUND = fields.generation(
  answer="answer", references="references", question="question"
)


def _search(row: Mapping[str, Any]) -> Mapping[str, Any]:
  """Slots of a Natural Questions row: the first answer, and all of them."""
  import tensorflow as tf

  answers = _ONE_LINE(row["answer"])
  return _SEARCHED_AND_FOUND(
    {
      "question": _SEARCHED(row["question"]),
      "answer": tf.concat([answers, [""]], 0)[0],
      "references": answers,
    }
  )


NATURAL_QUESTIONS = Task(
  name="natural_questions",
  dataset="natural_questions",
  cluster="closed_book_qa",
  kind=TaskKind.GENERATION,
  source=Source(
    "natural_questions_open", "1.0.0", Splits(dev="train", test="validation")
  ),
  fields=_search,
  slots=("question",),
  metrics=("trivia_qa_em", "trivia_qa_f1"),
  documents=("question",),
  published_rows=87_720,
  baseline=Baseline("Q: {question}\nA:", stops=("Q:",)),
  templates=(
    Template("Answer in a few words at most.\n\n{question}"),
    Template(
      'Somebody typed this into a search engine: "{question}" Reply with the piece of information that they are after and with nothing else.'
    ),
    Template("{question}\n\nKeep your reply as short as you can."),
    Template("Search query: {question}\nShort answer:"),
    Template(
      "Out of the blue, the assistant on a phone is asked the following.\n\n{question}\n\nWhat should it say, if it is to be both brief and right?"
    ),
    Template("No books, no internet: what do you reply to this?\n{question}"),
    Template(
      "Here is what a friend is wondering about tonight: {question}\n\nTell her. A name, a date, a number or a short phrase will do."
    ),
    Template(
      "My brother and I have been arguing about this all evening.\n\n{question}\n\nSettle it for us, and state nothing but the fact."
    ),
    Template("{question}\nAnswer from memory:"),
    Template(
      "Many people have looked this up before you. Can you tell without looking?\n\n{question}\n\nAnswer on a single line:"
    ),
  ),
)

# About one question in fifteen is still a field of a CSV file: in quotes, with
# the quotes inside it doubled.
_CSV_FIELD = r'^"(?:[^"]|"")*"$'
_QUIZ = fields.replace(
  _BLANKS,
  (r" ([?.,;:!])( |$)", r"\1\2"),
)


def _calm(value, aliases):
  """The spelling of a value among its aliases that is not all in capitals.

  Every fifth answer is written as "HENRY IV", and its aliases mostly have the
  usual spelling, too, next to "Henry Iv": the one with most capitals is right.
  Values of up to four characters may be acronyms, and stay.
  """
  import tensorflow as tf

  shouted = tf.strings.regex_full_match(value, r"\P{Ll}{5,}")
  same = tf.strings.lower(aliases, "utf-8") == tf.strings.lower(value, "utf-8")
  calm = tf.boolean_mask(
    aliases, same & tf.strings.regex_full_match(aliases, r".*\p{Ll}.*")
  )
  capitals = tf.strings.regex_replace(calm, r"\P{Lu}", "")
  counts = tf.concat([tf.strings.length(capitals), [-1]], 0)
  best = tf.concat([calm, [value]], 0)[tf.argmax(counts)]
  return tf.where(shouted, best, value)


# The test split's answers are hidden behind "<unk>".
_ASKED_AND_KNOWN = fields.generation(
  answer="answer",
  references="references",
  left_out="<unk>",
  question="question",
)


def _quiz(row: Mapping[str, Any]) -> Mapping[str, Any]:
  """Slots of a TriviaQA row.

  FLAN's target is the normalised value: small letters, no articles, no
  punctuation ("beatles"). We ask for the value as one would write it; scoring
  normalises both sides anyway, and every alias counts as right.
  """
  import tensorflow as tf

  known = row["answer"]
  value = _ONE_LINE(known["value"])
  aliases = _ONE_LINE(known["aliases"])
  normalized = _ONE_LINE(known["normalized_value"])
  asked = _ONE_LINE(row["question"])
  bare = tf.strings.regex_replace(
    tf.strings.regex_replace(asked, r'^"|"$', ""), '""', '"'
  )
  return _ASKED_AND_KNOWN(
    {
      "question": _QUIZ(
        tf.where(tf.strings.regex_full_match(asked, _CSV_FIELD), bare, asked)
      ),
      "answer": _calm(value, aliases),
      "references": tf.concat(
        [
          [value],
          aliases,
          [normalized],
          _ONE_LINE(known["normalized_aliases"]),
        ],
        0,
      ),
    }
  )


# Questions hold quotes and may end without a mark ("Name the river that ..."),
# so they stand in no quotes and within no sentence.
TRIVIA_QA = Task(
  name="trivia_qa",
  dataset="trivia_qa",
  cluster="closed_book_qa",
  kind=TaskKind.GENERATION,
  source=Source(
    "trivia_qa/rc", "1.1.0", Splits(dev="train", test="validation")
  ),
  fields=_quiz,
  slots=("question",),
  metrics=("trivia_qa_em", "trivia_qa_f1"),
  documents=("question",),
  published_rows=87_420,
  baseline=Baseline("Q: {question}\nA:", stops=("Q:",)),
  templates=(
    Template(
      "It is quiz night at the pub, and this comes up:\n\n{question}\n\nWhat do you write on your sheet?"
    ),
    Template("Trivia: {question}\nThe answer is:"),
    Template("{question}\n\nGive the answer alone, without any explanation."),
    Template(
      "The quizmaster clears her throat and reads out the next card.\n{question}\nYour hand is already on the buzzer. What do you say?"
    ),
    Template("How good is your general knowledge? Try this.\n\n{question}"),
    Template("Round two, for ten points.\n{question}\nThe team's answer:"),
    Template(
      "The back pages of a quiz book hold nothing but answers, each as short as it can be. Write the one that belongs to this question.\n\n{question}"
    ),
    Template("For the last point, and no looking it up: {question}"),
    Template(
      "I have been at this quiz for half an hour, and only one question is left.\n\n{question}\n\nDo you know what I should put down?"
    ),
    Template("Front of the card: {question}\nBack of the card:"),
  ),
)

TASKS = (ARC_CHALLENGE, ARC_EASY, NATURAL_QUESTIONS, TRIVIA_QA)
