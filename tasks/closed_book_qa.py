"""Closed-book QA: questions without a text. Three data sets, four tasks.

ARC has questions of school science tests with four choices; many are the
beginning of a sentence that the right choice completes. Natural Questions are
queries to a search engine, in lower case. TriviaQA has quiz questions.
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

# Some texts have unusual blanks: "54\u00a0Mbit/s", "\u200bwho is ...".
_BLANKS = (r"[\s\x{a0}\x{200b}]+", " ")
_clean_line = fields.cleaner(_BLANKS)

# Formulas in ARC are written in LaTeX: "H_{2}O", "10^{8} J".
_clean_science = fields.cleaner(
  _BLANKS, (r"_\{([^{}]*)\}", r"\1"), (r"\^\{([^{}]*)\}", r"^\1")
)


def _arc_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of an ARC row; keeps rows with four choices only.

  A few rows have three or five. The key is a letter, which is looked up among
  the letters of the choices.
  """
  import tensorflow as tf

  texts = _clean_science(row["choices"]["text"])
  letters = tf.cast(row["choices"]["label"], tf.int64)
  key = tf.cast(row["answerKey"], tf.int64)
  places = tf.where((letters == key) & (key >= 0))[:, 0]
  question = _clean_science(row["question"])
  return {
    "question": question,
    "choices": texts,
    "answer_index": tf.concat([places, [-1]], 0)[0],
    "keep": (tf.size(texts) == 4)
    & tf.reduce_all(texts != "")
    & (question != ""),
  }


# A question may be the beginning of a sentence without a mark at its end, so
# that it ends a line in every template.
ARC_CHALLENGE = Task(
  name="arc_challenge",
  dataset="arc",
  cluster="closed_book_qa",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "ai2_arc/ARC-Challenge", "1.0.0", Splits(dev="train", test="test")
  ),
  fields=_arc_fields,
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

# Queries have no question mark, and some begin with the number of a worksheet:
# "3. which two ...". The mark is added here, so that no template adds one.
_clean_query = fields.cleaner(
  _BLANKS,
  (r"^ ?(?:\d+\. )?", ""),
  (r"[ ?]*$", "?"),
)
_query_fields = fields.generation(
  answer="answer", references="references", question="question"
)


def _natural_questions_fields(row: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns the slots of a Natural Questions row; all answers count."""
  import tensorflow as tf

  answers = _clean_line(row["answer"])
  return _query_fields(
    {
      "question": _clean_query(row["question"]),
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
  fields=_natural_questions_fields,
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

# About one question in fifteen is quoted like a field of a CSV file: it stands
# in quotation marks, and the marks inside it are doubled.
_CSV_FIELD = r'^"(?:[^"]|"")*"$'
_clean_quiz_question = fields.cleaner(
  _BLANKS,
  (r" ([?.,;:!])( |$)", r"\1\2"),
)


def _usual_spelling(value, aliases):
  """Returns the usual spelling of an answer that is in capital letters.

  Every fifth answer is written like "HENRY IV". Its aliases mostly contain the
  usual spelling "Henry IV" beside "Henry Iv", so that the alias with the most
  capitals is taken. Values of up to four characters may be acronyms and are not
  changed.
  """
  import tensorflow as tf

  is_in_capitals = tf.strings.regex_full_match(value, r"\P{Ll}{5,}")
  is_same = tf.strings.lower(aliases, "utf-8") == tf.strings.lower(
    value, "utf-8"
  )
  spellings = tf.boolean_mask(
    aliases, is_same & tf.strings.regex_full_match(aliases, r".*\p{Ll}.*")
  )
  capitals = tf.strings.regex_replace(spellings, r"\P{Lu}", "")
  counts = tf.concat([tf.strings.length(capitals), [-1]], 0)
  best = tf.concat([spellings, [value]], 0)[tf.argmax(counts)]
  return tf.where(is_in_capitals, best, value)


# The answers of the test split are hidden: "<unk>".
_quiz_fields = fields.generation(
  answer="answer",
  references="references",
  excluded="<unk>",
  question="question",
)


def _trivia_qa_fields(row: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns the slots of a TriviaQA row; all aliases are references.

  The target here is the usual spelling of the answer. That of the published code
  is the normalized value: lower case, without articles and punctuation
  ("beatles"). The metrics normalize both sides anyway.
  """
  import tensorflow as tf

  answer = row["answer"]
  value = _clean_line(answer["value"])
  aliases = _clean_line(answer["aliases"])
  normalized = _clean_line(answer["normalized_value"])
  question = _clean_line(row["question"])
  unquoted = tf.strings.regex_replace(
    tf.strings.regex_replace(question, r'^"|"$', ""), '""', '"'
  )
  return _quiz_fields(
    {
      "question": _clean_quiz_question(
        tf.where(
          tf.strings.regex_full_match(question, _CSV_FIELD), unquoted, question
        )
      ),
      "answer": _usual_spelling(value, aliases),
      "references": tf.concat(
        [
          [value],
          aliases,
          [normalized],
          _clean_line(answer["normalized_aliases"]),
        ],
        0,
      ),
    }
  )


# Questions may contain quotation marks and may end without a question mark
# ("Name the river that ..."), so that templates do not put them into quotes or
# sentences.
TRIVIA_QA = Task(
  name="trivia_qa",
  dataset="trivia_qa",
  cluster="closed_book_qa",
  kind=TaskKind.GENERATION,
  source=Source(
    "trivia_qa/rc", "1.1.0", Splits(dev="train", test="validation")
  ),
  fields=_trivia_qa_fields,
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
