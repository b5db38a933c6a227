"""Conversational question answering, in the cluster "misc": CoQA and QuAC.

In both, people ask several questions about one text. A row of CoQA has all
questions of a conversation, a row of QuAC has one.
"""

from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

# Traces of the extraction from Wikipedia: brackets whose content in another
# script was lost, "Rome () is", "Rome (; Italian: Roma) is", and stray tags.
_WIKI_RESIDUE = (
  (r" ?\(\s*\)", ""),
  (r"\(\s*[;,]\s*", "("),
  (r"</?ref[^<>]*>", ""),
)

_clean_story = fields.cleaner(
  *_WIKI_RESIDUE,
  (r"[ \t\r]*\n", "\n"),  # Most lines end in a blank.
  (r"\n{3,}", "\n\n"),
)


def _numbered(texts):
  """Numbers lines: ["Who?", "Why?"] becomes "1. Who?\\n2. Why?"."""
  import tensorflow as tf

  numbers = tf.strings.as_string(tf.range(1, tf.size(texts) + 1))
  lines = tf.strings.join([numbers, texts], ". ")
  return tf.strings.reduce_join(lines, separator="\n")


def _coqa_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a CoQA row: a story, and numbered lines.

  `questions` has all questions and `answer` all answers. Rows without an answer
  to every question are left out.
  """
  import tensorflow as tf

  story = _clean_story(row["story"])
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
  fields=_coqa_fields,
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

# The answer to questions without an answer, which QuAC marks as "CANNOTANSWER".
# Every template that asks for an answer explains it.
_NOT_STATED = "not stated"

_clean_article = fields.cleaner(*_WIKI_RESIDUE, (r"\s+", " "))


def _quac_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a QuAC row: one question on a section of an article.

  Removes the mark "CANNOTANSWER" at the end of the context, the word "Edit"
  after the title of a section, and a comma or an opening bracket at the end of
  a quotation.
  """
  import tensorflow as tf

  quoted = tf.concat(
    [row["orig_answer"]["text"][tf.newaxis], row["answers"]["text"]], 0
  )
  quoted = tf.strings.regex_replace(_clean_article(quoted), r"[\s,;:(\[]+$", "")
  quoted = tf.where(quoted == "CANNOTANSWER", _NOT_STATED, quoted)
  answers = tf.unique(tf.boolean_mask(quoted, quoted != "")).y
  mark = r"\s*CANNOTANSWER\s*$"
  out = {
    "title": _clean_article(row["title"]),
    "background": _clean_article(row["background"]),
    "context": tf.strings.regex_replace(
      _clean_article(row["context"]), mark, ""
    ),
    "section": tf.strings.regex_replace(
      _clean_article(row["section_title"]), r"([a-z0-9)])Edit$", r"\1"
    ),
    "question": fields.one_line(row["question"]),
    "answer": tf.concat([answers, [""]], 0)[0],
  }
  keep = tf.reduce_all(tf.stack(list(out.values())) != "")
  return {**out, "references": answers, "keep": keep}


# Some questions have no question mark, so that each ends a line in templates.
QUAC = Task(
  name="quac",
  dataset="quac",
  cluster="misc",
  kind=TaskKind.GENERATION,
  source=Source("quac", "1.0.0", Splits(dev="train", test="validation")),
  fields=_quac_fields,
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
