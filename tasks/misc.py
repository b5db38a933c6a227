"""Seven data sets of many kinds, and two more beside the published 62.

Questions asked one after another about a text (CoQA, QuAC), one word in two
sentences (WiC), linear equations, what a question is after (TREC), whether a
sentence is English (CoLA), and English from the web whose punctuation (counted
in the 62), capitals or blanks (not counted) have to be put back.
"""

import functools
from collections.abc import Mapping
from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import Fields, Source, Splits, Task, TaskKind, Template

Row = Mapping[str, Any]

# What the extraction from Wikipedia left behind: brackets whose foreign-script
# content was lost, "Rome () is", "Rome (; Italian: Roma) is", and stray tags.
_WIKI_RESIDUE = (
  (r" ?\(\s*\)", ""),
  (r"\(\s*[;,]\s*", "("),
  (r"</?ref[^<>]*>", ""),
)

_story = fields.replace(
  *_WIKI_RESIDUE,
  (r"[ \t\r]*\n", "\n"),  # most lines end in a blank
  (r"\n{3,}", "\n\n"),
)


def _numbered(texts):
  """["Who?", "Why?"] -> "1. Who?\\n2. Why?"."""
  import tensorflow as tf

  numbers = tf.strings.as_string(tf.range(1, tf.size(texts) + 1))
  lines = tf.strings.join([numbers, texts], ". ")
  return tf.strings.reduce_join(lines, separator="\n")


def _conversation(row: Row) -> dict[str, Any]:
  """A story, all questions about it, and as many answers: numbered lines.

  `keep` is False where an answer is missing.
  """
  import tensorflow as tf

  story = _story(row["story"])
  questions = fields.one_line(row["questions"])
  answers = fields.one_line(row["answers"]["input_text"])
  listed = _numbered(answers)
  keep = (story != "") & (tf.size(questions) > 0)
  keep &= tf.equal(tf.size(questions), tf.size(answers))
  keep &= tf.reduce_all(questions != "") & tf.reduce_all(answers != "")
  return {
    "story": story,
    "questions": _numbered(questions),
    "answer": listed,
    "references": listed[tf.newaxis],
    "keep": keep,
  }


COQA = Task(
  name="coqa",
  dataset="coqa",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("coqa", "1.0.0", Splits(dev="train", dev_rows=100)),
  fields=_conversation,
  slots=("story", "questions"),
  metrics=("turn_f1",),
  documents=("story",),
  published_rows=7_090,
  templates=(
    Template(
      '{story}\n\nAnswer each question about the text above, one numbered line per answer. Where the text does not tell, write "unknown".\n\n{questions}'
    ),
    Template("Questions:\n{questions}\n\nText:\n{story}\n\nNumbered answers:"),
    Template(
      "Two people talk about the passage below. One of them does all the asking, and a question may build on what was said before it.\n\n{story}\n\n{questions}\n\nGive the replies of the other one in the same order. Number them and keep them short."
    ),
    Template(
      "{story}\n\nA curious reader wants to know:\n{questions}\n\nReply in a numbered list, with a few words for each point."
    ),
    Template(
      "Here is a quiz on a text. The questions come first, so that you know what to look for.\n\n{questions}\n\nNow the text:\n\n{story}\n\nWhat goes on the answer sheet? Number your answers as the questions are numbered."
    ),
    Template("{story}\n\nQ:\n{questions}\n\nA:"),
    Template(
      'You are helping a friend who has not read the following.\n\n{story}\n\nThis is what your friend asks you, one thing after another:\n\n{questions}\n\nWrite down what you say each time, as a numbered list. (Say "unknown" if the text gives no answer.)'
    ),
    Template(
      "Answer briefly, in numbered lines, from the text below and from nothing else.\n\n{questions}\n\n{story}"
    ),
    Template(
      'Comprehension check. The questions at the bottom belong to one conversation, so an "it" or a "why" may refer back to an earlier line.\n\n{story}\n\n{questions}\n\nList the answers with their numbers.'
    ),
    Template(
      "{story}\n\nSomebody was questioned about this text and answered as follows.\n\n{answer}\n\nWrite out what was asked, numbered like the answers.",
      "{questions}",
    ),
  ),
)

# What QuAC's "CANNOTANSWER" becomes. Every template that asks for an answer
# says that this is the one to give where the text does not tell.
_NOT_STATED = "not stated"

_article = fields.replace(*_WIKI_RESIDUE, (r"\s+", " "))


def _teacher(row: Row) -> dict[str, Any]:
  """One question about a section of an article, and what annotators quoted.

  The context loses the mark "CANNOTANSWER" at its end; a section's title the
  "Edit" of the page it was taken from; a quotation what it was cut off at: a
  comma, or a bracket that opens.
  """
  import tensorflow as tf

  quoted = tf.concat(
    [row["orig_answer"]["text"][tf.newaxis], row["answers"]["text"]], 0
  )
  quoted = tf.strings.regex_replace(_article(quoted), r"[\s,;:(\[]+$", "")
  quoted = tf.where(quoted == "CANNOTANSWER", _NOT_STATED, quoted)
  right = tf.unique(tf.boolean_mask(quoted, quoted != "")).y
  mark = r"\s*CANNOTANSWER\s*$"
  out = {
    "title": _article(row["title"]),
    "background": _article(row["background"]),
    "context": tf.strings.regex_replace(_article(row["context"]), mark, ""),
    "section": tf.strings.regex_replace(
      _article(row["section_title"]), r"([a-z0-9)])Edit$", r"\1"
    ),
    "question": fields.one_line(row["question"]),
    "answer": tf.concat([right, [""]], 0)[0],
  }
  keep = tf.reduce_all(tf.stack(list(out.values())) != "")
  return {**out, "references": right, "keep": keep}


# Some questions lack their mark, so each ends a line or stands on its own.
QUAC = Task(
  name="quac",
  dataset="quac",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("quac", "1.0.0", Splits(dev="train", test="validation")),
  fields=_teacher,
  slots=("title", "background", "context", "section", "question"),
  metrics=("squad_f1", "squad_em"),
  documents=("background", "context"),
  published_rows=83_360,
  templates=(
    Template(
      '{title}: {section}\n\n{background}\n\n{context}\n\nAnswer this in the words of the text, or with "not stated" if it gives no answer.\n{question}'
    ),
    Template(
      'Topic: {title}\nIntroduction: {background}\nSection: {section}\nText: {context}\n\nQuestion: {question}\nAnswer (or "not stated"):'
    ),
    Template(
      'A student may ask anything about one section of an encyclopedia article, and is answered with a quotation from it. What the section leaves out gets the reply "not stated".\n\nArticle: {title}\nSection: {section}\n\n{context}\n\nThe student asks: {question}\n\nWhat is the reply?'
    ),
    Template(
      '{question}\n\nThat was asked by somebody who is reading about {title} for the first time. Find the words in this text that answer it, or reply "not stated" if none do.\n\n{context}'
    ),
    Template(
      'Background: {background}\n\nDetails: {context}\n\nUsing the details, quote what answers the question. Should they be silent on it, say "not stated" instead.\n\n{question}'
    ),
    Template(
      'Two friends talk about an article on {title} that only one of them can see. The other has heard no more than this:\n\n{background}\n\nThe one with the article has this part of it in front of her:\n\n{section}\n{context}\n\nShe is asked: {question}\n\nWhat does she read out in reply? If the page is no help, she just says "not stated".'
    ),
    Template(
      '{context}\n\n{question}\nCopy the answer out of the text above; if it is not there, put "not stated".'
    ),
    Template(
      'What does the article say? Quote the words that answer the question. If there are none, the right answer is "not stated".\n\nQuestion: {question}\n\nArticle about {title}:\n{background}\n\n{section}\n{context}'
    ),
    Template(
      "{background}\n\n{context}\n\nWhat is the title of the encyclopedia article that these paragraphs come from?",
      "{title}",
    ),
    Template(
      'Article: {title}\nSection: {section}\n\n{context}\n\nMake up a question that a reader might ask at this point and that has to be answered as follows. (The answer "not stated" means that the section does not say.)\n\n{answer}',
      "{question}",
    ),
  ),
)

# A sentence may hold the word in another form than the one given: "drank".
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

# Lines of the published files were once stored as Python shows bytes:
# "b'Solve 2*x = 4 for x.\\n'".
_shown_bytes = fields.replace((r"^b'(.*?)(?:\\n)?'$", r"\1"))


def _equation(row: Row) -> dict[str, Any]:
  """The question, and its equation and its unknown on their own."""
  import tensorflow as tf

  form = r"Solve (.+) for ([a-z])\."
  question = _shown_bytes(row["question"])
  answer = _shown_bytes(row["answer"])
  return {
    "question": question,
    "equation": tf.strings.regex_replace(question, f"^{form}$", r"\1"),
    "variable": tf.strings.regex_replace(question, f"^{form}$", r"\2"),
    "answer": answer,
    "references": answer[tf.newaxis],
    "keep": tf.strings.regex_full_match(question, form) & (answer != ""),
  }


# Every solution is an integer, most of them of one to three digits.
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
  fields=_equation,
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

# RE2's \s and \w know ASCII only. \pZ are all kinds of blanks, the no-break
# space among them; a combining mark (\pM) belongs to the letter before it.
_BLANKS = r"[\s\pZ]+"
_SIGNS = r"[^\pL\pM\pN\s\pZ]"


def _damaged(slot: str, damage: fields.Clean) -> Fields:
  """The English side of a pair, whole and damaged; `keep` if they differ."""

  def make(row: Row) -> dict[str, Any]:
    import tensorflow as tf

    text = fields.one_line(row["en"])
    broken = damage(text)
    return {
      slot: broken,
      "text": text,
      "answer": text,
      "references": text[tf.newaxis],
      "keep": (broken != text) & (broken != ""),
    }

  return make


def _lower(text):
  import tensorflow as tf

  return tf.strings.lower(text, encoding="utf-8")


# One data set for three tasks: each trains on a stretch of its own.
_web_text = functools.partial(Splits, test="train", test_rows=3_000, parts=3)

FIX_PUNCT = Task(
  name="fix_punct",
  dataset="fix_punct",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("para_crawl/enda", "1.2.0", _web_text(part=1)),
  # A sign that stood between two blanks leaves only one of them.
  fields=_damaged("bare", fields.replace((_SIGNS, ""), (_BLANKS, " "))),
  slots=("bare", "text"),
  metrics=("word_similarity",),
  documents=("text",),
  published_rows=28_070,
  templates=(
    Template("Put the punctuation back into this text.\n\n{bare}"),
    Template(
      "{bare}\n\nAll punctuation has been lost here. What did the text look like before?"
    ),
    Template("Without punctuation: {bare}\nWith punctuation:"),
    Template(
      "Add the commas, full stops, quotation marks, hyphens, apostrophes and other signs that are missing. Otherwise leave the words as they are.\n\n{bare}"
    ),
    Template(
      "A faulty printer drops every sign that is neither a letter nor a digit. This is what came out of it:\n\n{bare}\n\nRestore what the author had typed."
    ),
    Template("Punctuate: {bare}"),
    Template(
      "{bare}\n\nThis is hard to read, because somebody left out the punctuation. Write it again as it should be."
    ),
    Template(
      "You proofread lines taken from the web. In this one, the marks between and inside the words are gone. Insert them and change nothing else.\n\nLine: {bare}\n\nCorrected line:"
    ),
    Template(
      "What punctuation belongs in the text below? Reply with the whole text, punctuation included.\n{bare}"
    ),
    Template(
      "Delete all punctuation in the following, and any other sign that is not a letter or a digit.\n\n{text}",
      "{bare}",
    ),
  ),
)

# Its questions come with blanks around their punctuation: "What 's `` W '' ?"
_joined_up = fields.replace(
  (r"``\s*", '"'),
  (r"\s*''", '"'),
  (r"` ?", "'"),
  (r" '(s|t|d|m|ll|re|ve)\b", r"'\1"),
  (r" '( |$)", r"'\1"),
  (r"(\d) , (\d{3})\b", r"\1,\2"),
  (r" ([,.;:?!])", r"\1"),
  (r"\s+", " "),
)

# A few of them are requests ("Name a stimulant.") rather than questions.
TREC = Task(
  name="trec",
  dataset="trec",
  cluster="misc",
  kind=TaskKind.CLASSIFICATION,
  source=Source("trec", "1.0.0", Splits(dev="train", test="test")),
  fields=fields.slots(text="text", label="label-coarse", clean=_joined_up),
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

TRUE_CASE = Task(
  name="true_case",
  dataset="true_case",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("para_crawl/enda", "1.2.0", _web_text(part=0)),
  fields=_damaged("lower", _lower),
  slots=("lower", "text"),
  metrics=("word_similarity",),
  documents=("text",),
  published_rows=29_260,
  extra=True,
  templates=(
    Template(
      "Write this text with capital letters where they belong.\n\n{lower}"
    ),
    Template(
      "{lower}\n\nEverything above is in small letters. Restore the capitals."
    ),
    Template("Small letters only: {lower}\nWith capitals:"),
    Template(
      "The shift key was broken when somebody typed the following. How should it read?\n\n{lower}"
    ),
    Template(
      "Which letters have to be upper-case here? Answer with the corrected text.\n{lower}"
    ),
    Template(
      "Sentences and names begin with a capital, and many abbreviations consist of capitals, but this text has none. Mend that; touch nothing except the case of the letters.\n\n{lower}"
    ),
    Template("Capitalize correctly: {lower}"),
    Template(
      "A search engine stores its pages without capitals. Here is an entry:\n\n{lower}\n\nShow the line as it was on the original web page."
    ),
    Template(
      "Bring back the upper-case letters of the text in brackets.\n\n[{lower}]"
    ),
    Template(
      "Set the following text in small letters throughout.\n\n{text}",
      "{lower}",
    ),
  ),
)

WORD_SEGMENT = Task(
  name="word_segment",
  dataset="word_segment",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("para_crawl/enda", "1.2.0", _web_text(part=2)),
  fields=_damaged("joined", fields.replace((_BLANKS, ""))),
  slots=("joined", "text"),
  metrics=("word_similarity",),
  documents=("text",),
  published_rows=30_000,
  extra=True,
  templates=(
    Template(
      "{joined}\n\nThe spaces between the words have disappeared. Put them back."
    ),
    Template("Separate the words in this string: {joined}"),
    Template("Run together: {joined}\nSet apart:"),
    Template(
      "Where does one word end and the next begin? Write the text with a space in every such place.\n\n{joined}"
    ),
    Template(
      "A message has arrived from a machine that cannot send spaces:\n\n{joined}\n\nMake it readable."
    ),
    Template("Insert the missing spaces and change nothing else.\n{joined}"),
    Template(
      "Scribes in antiquity often left no gaps between words. Someone has done the same to a modern text. Rewrite it in the way that we are used to.\n\n{joined}"
    ),
    Template(
      "When this line was copied out of a document, its words got stuck together. What did it say?\n\n{joined}"
    ),
    Template("Take out all spaces.\n\n{text}", "{joined}"),
    Template(
      "How would this look if it had been typed without ever pressing the space bar?\n\n{text}",
      "{joined}",
    ),
  ),
)

TASKS = (
  COQA,
  QUAC,
  WIC,
  MATH_DATASET,
  FIX_PUNCT,
  TREC,
  COLA,
  TRUE_CASE,
  WORD_SEGMENT,
)
