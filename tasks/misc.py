"""Seven data sets of many kinds, and two that the paper does not count.

`TASKS` lists all tasks of the cluster. Conversations and text repair are in
modules of their own. The tasks here ask for the meaning of one word in two
sentences (WiC), the solution of linear equations, the kind of answer that a
question expects (TREC), and whether a sentence is correct English (CoLA).
"""

from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

from . import misc_conversations, misc_text_repair

# A sentence may contain another form of the word, such as "drank" for "drink".
WIC = Task(
  name="wic",
  dataset="wic",
  cluster="misc",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "super_glue/wic", "1.0.2", Splits(dev="train", test="validation")
  ),
  fields=fields.slots(
    sentence1="sentence1", sentence2="sentence2", word="word", label="label"
  ),
  slots=("sentence1", "sentence2", "word"),
  options=("different meanings", "the same meaning"),
  documents=("sentence1", "sentence2"),
  published_rows=5_220,
  templates=(
    Template(
      '{sentence1}\n{sentence2}\n\nThe word "{word}", in one form or another, is in both of these lines. Does it have different meanings there, or the same meaning?\n\n{options_}'
    ),
    Template(
      'Compare the two uses of "{word}".\n1) {sentence1}\n2) {sentence2}\n{options_}'
    ),
    Template(
      'A good dictionary lists the senses of a word one by one. Would it place these two examples of "{word}" under a single sense (the same meaning) or under two (different meanings)?\n\n* {sentence1}\n* {sentence2}\n\n{options_}'
    ),
    Template(
      '{options_}\n\nWhich of the two does the word "{word}" have in the examples that follow?\n\nFirst: {sentence1}\nSecond: {sentence2}'
    ),
    Template(
      "Word: {word}\nExample A: {sentence1}\nExample B: {sentence2}\nIn the two examples, the word has:\n{options_}"
    ),
    Template(
      'A learner of English has come across "{word}" twice today.\n\nIn the morning: {sentence1}\nIn the evening: {sentence2}\n\nShe wonders if a single entry in her vocabulary book will do for both. Would you tell her that she has seen the same meaning twice, or different meanings?\n\n{options_}'
    ),
    Template(
      "One word, two uses. What do we see in them?\n{options_}\n\nThe word: {word}\nThe uses:\n{sentence1}\n{sentence2}"
    ),
    Template(
      'Whoever translates the lines below has to know whether "{word}" carries the same meaning in both of them, or has different meanings that may call for different words. How is it here?\n\n{sentence1}\n\n{sentence2}\n\n{options_}'
    ),
    Template(
      '{sentence1}\n{sentence2}\n\nSay whether "{word}" has "different meanings" or "the same meaning" in the two examples.'
    ),
    Template(
      'Plenty of words stand for more than one thing: a seal may live in the sea, or close an envelope. With that in mind, look at "{word}".\n\n> {sentence1}\n> {sentence2}\n\nWhat do you find?\n\n{options_}'
    ),
  ),
)

# Texts are the `repr` of Python bytes: "b'Solve 2*x = 4 for x.\\n'".
_clean_bytes = fields.cleaner((r"^b'(.*?)(?:\\n)?'$", r"\1"))


def _math_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of an equation: the question, and its parts."""
  import tensorflow as tf

  form = r"Solve (.+) for ([a-z])\."
  question = _clean_bytes(row["question"])
  answer = _clean_bytes(row["answer"])
  return {
    "question": question,
    "equation": tf.strings.regex_replace(question, f"^{form}$", r"\1"),
    "variable": tf.strings.regex_replace(question, f"^{form}$", r"\2"),
    "answer": answer,
    "references": answer[tf.newaxis],
    "keep": tf.strings.regex_full_match(question, form) & (answer != ""),
  }


# Every solution is an integer; most have one to three digits.
MATH_DATASET = Task(
  name="math_dataset",
  dataset="math_dataset",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source(
    "math_dataset/algebra__linear_1d",
    "1.0.0",
    Splits(dev="train", test="test"),
  ),
  fields=_math_fields,
  slots=("question", "equation", "variable"),
  metrics=("exact_match",),
  documents=("question",),
  published_rows=1_999_780,
  templates=(
    Template("{question}\nGive only the number."),
    Template("Find {variable}.\n\n{equation}"),
    Template("For which value of {variable} is this true?\n\n{equation}"),
    Template(
      "Homework, first exercise. {question} Write down nothing but the solution."
    ),
    Template(
      "{equation}\n\nThe unknown {variable} is an integer, possibly a negative one. Which?"
    ),
    Template("Equation: {equation}\nUnknown: {variable}\nSolution:"),
    Template(
      "Bring everything that has {variable} in it to one side and the rest to the other, then divide. What number do you arrive at?\n\n{equation}"
    ),
    Template(
      "In the following line, the letter {variable} stands for a number that has been hidden, and * means times.\n\n{equation}\n\nWhat is the hidden number?"
    ),
    Template(
      'A tutor writes this on the board:\n\n{equation}\n\n"Solve it for {variable}," she says, "and tell me just the result." What do you tell her?'
    ),
    Template(
      "The task below has exactly one correct answer, an integer. State it without the steps that lead to it.\n\n{question}"
    ),
  ),
)

# Removes the blanks around punctuation in TREC: "What 's `` W '' ?".
_clean_trec = fields.cleaner(
  (r"``\s*", '"'),
  (r"\s*''", '"'),
  (r"` ?", "'"),
  (r" '(s|t|d|m|ll|re|ve)\b", r"'\1"),
  (r" '( |$)", r"'\1"),
  (r"(\d) , (\d{3})\b", r"\1,\2"),
  (r" ([,.;:?!])", r"\1"),
  (r"\s+", " "),
)

# A few texts are requests ("Name a stimulant.") instead of questions.
TREC = Task(
  name="trec",
  dataset="trec",
  cluster="misc",
  kind=TaskKind.CLASSIFICATION,
  source=Source("trec", "1.0.0", Splits(dev="train", test="test")),
  fields=fields.slots(text="text", label="label-coarse", clean=_clean_trec),
  slots=("text",),
  options=(
    "description",
    "entity",
    "abbreviation",
    "human",
    "numeric",
    "location",
  ),
  documents=("text",),
  published_rows=5_250,
  templates=(
    Template("{text}\n\nWhat sort of answer is wanted here?\n\n{options_}"),
    Template(
      "A librarian files every question by the kind of thing that it asks for: a definition, a reason or a way of doing something (description), a thing, an animal, a product and the like (entity), a short form or its meaning (abbreviation), a person or a group (human), a count, a size or a date (numeric), a place (location).\n\nQuestion: {text}\nFile under:\n{options_}"
    ),
    Template("Question: {text}\nType of answer:\n{options_}"),
    Template(
      "{options_}\n\nTo which of these classes does the answer to the following question belong?\n{text}"
    ),
    Template(
      "You need not know the answer to this. Just choose the category that it falls into.\n\n{text}\n\n{options_}"
    ),
    Template(
      "Before a program can search for an answer, it has to know what it is looking for: somebody's name, a place, a figure, an explanation, a thing, or a short form. Decide for it.\n{options_}\n\nThe user has typed: {text}"
    ),
    Template(
      "Somebody asks the following. Are they after a description, an entity, an abbreviation, a human, something numeric, or a location?\n\n{text}"
    ),
    Template(
      "Name the type of the answer, not the answer itself.\n{options_}\n\n{text}"
    ),
    Template(
      "The quizmaster reads from a card: {text}\nBefore she tries to answer, a contestant tells her partner what kind of answer they need. What does she tell him?\n\n{options_}"
    ),
    Template(
      "Think of a question of the sort that people put to a search engine. The answer that it calls for should be of this kind: {answer}.",
      "{text}",
    ),
  ),
)

COLA = Task(
  name="cola",
  dataset="cola",
  cluster="misc",
  kind=TaskKind.CLASSIFICATION,
  source=Source("glue/cola", "2.0.0", Splits(dev="train", test="validation")),
  fields=fields.slots(sentence="sentence", label="label"),
  slots=("sentence",),
  options=("unacceptable", "acceptable"),
  metrics=("matthews", "accuracy"),
  documents=("sentence",),
  published_rows=8_350,
  templates=(
    Template(
      "{sentence}\n\nHow does the grammar of this sentence strike a native speaker of English?\n\n{options_}"
    ),
    Template(
      "Linguists collect sentences that speakers accept, and others that speakers reject as wrong. Which kind is the one below?\n\n{sentence}\n{options_}"
    ),
    Template("Sentence: {sentence}\nGrammar:\n{options_}"),
    Template(
      "{options_}\n\nThese are the two marks in a test of English grammar. Mark this sentence.\n\n{sentence}"
    ),
    Template(
      'A student has written: "{sentence}" Whatever you think of what it says, what is your verdict on its grammar?\n\n{options_}'
    ),
    Template(
      "Never mind whether this is likely, kind or true. Is it acceptable as English, or is it not?\n{sentence}\n{options_}"
    ),
    Template(
      "What would a careful editor say of the sentence at the end, as far as its form goes?\n{options_}\n\n{sentence}"
    ),
    Template(
      "{sentence}\n\nWould you call that acceptable or unacceptable English?"
    ),
    Template(
      "For a lesson on grammar, we need an example of a sentence that native speakers of English find {answer}. Please supply one.",
      "{sentence}",
    ),
    Template(
      "Write one English sentence. The verdict on its form should be this: {answer}.",
      "{sentence}",
    ),
  ),
)

TASKS = (
  misc_conversations.COQA,
  misc_conversations.QUAC,
  WIC,
  MATH_DATASET,
  misc_text_repair.FIX_PUNCT,
  TREC,
  COLA,
  misc_text_repair.TRUE_CASE,
  misc_text_repair.WORD_SEGMENT,
)
