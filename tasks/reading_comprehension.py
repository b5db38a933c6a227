"""Reading comprehension: questions on a text. Six data sets, six tasks.

SQuAD asks for phrases of an article; in its second version, some questions have
no answer there. DROP asks for numbers and names that follow from a text.
MultiRC offers answers that may be right or wrong. OpenBookQA asks about
elementary science, and BoolQ has yes-or-no queries to a search engine.
"""

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

_SPLITS = Splits(dev="train", test="validation")


def _clean_prose(text: Any) -> Any:
  """Joins lines, and replaces the quotes of the Penn Treebank by plain ones."""
  import tensorflow as tf

  return fields.one_line(tf.strings.regex_replace(text, "``|''", '"'))


def _with_heading(heading: Any, text: Any) -> Any:
  """Puts a heading on a line before a text, unless the heading is empty."""
  import tensorflow as tf

  return tf.where(heading == "", text, tf.strings.join([heading, text], "\n"))


def _squad_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a SQuAD row; all annotators' answers are references.

  `page` is the passage with its title. Titles have underscores instead of
  blanks, texts have stray blanks, and a few questions end in "??". In the second
  version, some rows have no answer; their answer here is "unanswerable".
  """
  import tensorflow as tf

  context = fields.one_line(row["context"])
  title = fields.one_line(tf.strings.regex_replace(row["title"], "_", " "))
  question = tf.strings.regex_replace(row["question"], r"\?{2,}", "?")
  question = fields.one_line(question)
  answers = fields.one_line(row["answers"]["text"])
  answers = tf.unique(tf.boolean_mask(answers, answers != "")).y
  count = tf.size(answers)
  answers = tf.concat([answers, ["unanswerable"]], 0)[: tf.maximum(count, 1)]
  keep = (context != "") & (question != "")
  if "is_impossible" not in row:  # First version: all rows have one.
    keep &= count > 0
  return {
    "context": context,
    "page": _with_heading(title, context),
    "question": question,
    "answer": answers[0],
    "references": answers,
    "keep": keep,
  }


SQUAD_V1 = Task(
  name="squad_v1",
  dataset="squad",
  cluster="reading_comprehension",
  kind=TaskKind.GENERATION,
  source=Source("squad/v1.1", "3.0.0", _SPLITS),
  fields=_squad_fields,
  slots=("context", "page", "question"),
  metrics=("squad_f1", "squad_em"),
  documents=("context", "question"),
  published_rows=87_390,
  templates=(
    Template(
      "{context}\n\nAnswer this question about the passage in the passage's own words, as briefly as you can.\n\n{question}"
    ),
    Template(
      "Find the few words in the article below that answer the question, and give only those.\n\nQuestion: {question}\n\nArticle: {context}"
    ),
    Template(
      "{page}\n\nThe question is: {question}\nThe answer, copied from the text, is:"
    ),
    Template(
      "A trivia team may look things up, but only in this extract from an encyclopedia:\n\n{page}\n\nThe quizmaster reads out the next question.\n{question}\n\nWhat does the team write on its answer sheet?"
    ),
    Template(
      "{question}\n\nSomewhere in the lines below is the answer. What is it?\n\n{context}"
    ),
    Template(
      "Imagine running a highlighter over the shortest stretch of a text that settles a question. Which words would you mark here?\n\nText:\n{context}\n\nQuestion: {question}"
    ),
    Template(
      "While reading about a subject that is new to me, I lost track of one detail. This is what I read:\n\n{page}\n\nAnd this is what I would like to know: {question}\nA few words of the text will do."
    ),
    Template(
      "Passage: {context}\nQuestion: {question}\nExact words from the passage that answer it:"
    ),
    Template(
      "{context}\n\nA pupil who had read this was asked a question about it and gave the right answer:\n{answer}\n\nWhat was the question?",
      "{question}",
    ),
    Template(
      "Make up a comprehension question on the following text, one that can be answered with a word or a phrase from it. Put the answer on a second line.\n\n{page}",
      "{question}\n{answer}",
    ),
  ),
)

SQUAD_V2 = Task(
  name="squad_v2",
  dataset="squad",
  cluster="reading_comprehension",
  kind=TaskKind.GENERATION,
  source=Source("squad/v2.0", "3.0.0", _SPLITS),
  fields=_squad_fields,
  slots=("context", "page", "question"),
  metrics=("squad_f1", "squad_em"),
  documents=("context", "question"),
  published_rows=130_110,
  templates=(
    Template(
      '{context}\n\nAnswer the question from the passage above. If the passage does not say, answer "unanswerable".\n\n{question}'
    ),
    Template(
      '{question}\n\nTake the answer from this text, word for word. Should it not be there, write "unanswerable" instead.\n\n{context}'
    ),
    Template(
      'Be careful: some questions cannot be answered from the text that comes with them, and then "unanswerable" is the right reply.\n\nText:\n{page}\n\nQuestion: {question}\n\nReply:'
    ),
    Template(
      'At our reference desk we answer from the page in front of us and from nothing else. If the page holds no answer, we tell the caller "unanswerable" and do not guess.\n\nThe page in front of you:\n{page}\n\nThe caller asks: {question}'
    ),
    Template(
      'Passage: {context}\nQuestion: {question}\nAnswer (a phrase from the passage, or "unanswerable" if none fits):'
    ),
    Template(
      'You are reviewing the questions of an exam. Beside each one you note the words of the passage that answer it. A few questions have a slip in them, such as a wrong name or date, and the passage does not answer those; beside them you note "unanswerable".\n\n{context}\n\nExam question: {question}\n\nYour note:'
    ),
    Template(
      'Does the extract tell us? If so, quote the relevant words. If not, say "unanswerable".\n\nWhat we would like to know: {question}\n\nExtract: {context}'
    ),
    Template(
      '{page}\n\nA reader has written in about this article: "{question}" Send back the shortest answer that the article gives, or the single word "unanswerable" when it gives none.'
    ),
    Template(
      'Suppose that the paragraph below is all that anyone knows.\n\n{context}\n\nWhat, then, is the answer to the following question? Use "unanswerable" for anything that the paragraph leaves open.\n\n{question}'
    ),
    Template(
      'A search tool is given one document and one query. It returns the snippet of the document that answers the query; where no snippet does, it returns "unanswerable".\n\nDocument:\n{context}\n\nQuery: {question}\n\nThe tool returns:'
    ),
  ),
)

# One question in a thousand ends in "??".
_clean_drop = fields.cleaner((r"[\s\pZ]+", " "), (r"\?{2,}", "?"))

DROP = Task(
  name="drop",
  dataset="drop",
  cluster="reading_comprehension",
  kind=TaskKind.GENERATION,
  source=Source("drop", "2.0.0", Splits(dev="train", test="dev")),
  # The published code does not use the validated answers.
  fields=fields.generation(
    answer="answer",
    references="validated_answers",
    clean=_clean_drop,
    passage="passage",
    question="question",
  ),
  slots=("passage", "question"),
  metrics=("drop_f1", "drop_em"),
  documents=("passage", "question"),
  published_rows=77_200,
  templates=(
    Template(
      "{passage}\n\nWork out the answer to this question; it may take some counting, comparing or arithmetic.\n\n{question}"
    ),
    Template(
      "Question: {question}\n\nEverything you need is in this passage, although it may not be stated outright.\n\n{passage}\n\nAnswer:"
    ),
    Template(
      "A colleague is checking a report and needs one detail, which may have to be worked out from several places.\n\nReport: {passage}\n\nColleague: {question}\n\nYou:"
    ),
    Template(
      "{passage}\n\n{question}\nGive the answer alone, without the steps that lead to it."
    ),
    Template(
      "Read closely, keep track of who did what, when and how often, and then reply in as few words as possible.\n\n{question}\n\n{passage}"
    ),
    Template(
      "Paragraph: {passage}\nQuestion about the paragraph: {question}\nShort answer:"
    ),
    Template(
      "Here is a puzzle made out of an article. The article:\n\n{passage}\n\nThe puzzle: {question}\n\nWhat is the solution?"
    ),
    Template(
      'The teacher hands out a text and allows scratch paper, "because not every answer can simply be copied".\n\n{passage}\n\nThe first question on the sheet is this one.\n{question}\n\nWhat answer do you write down?'
    ),
    Template(
      "{passage}\n\nWrite a question on this passage that takes some thought. This should be the answer to it: {answer}",
      "{question}",
    ),
    Template(
      "A passage has come apart from its exercise. Only the exercise is left:\n\nQuestion: {question}\nAnswer: {answer}\n\nWrite a passage that it could belong to.",
      "{passage}",
    ),
  ),
)


def _multirc_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a MultiRC row: a question and a possible answer.

  The feature "answer", the possible answer, becomes the slot `response`, since
  the slot `answer` is "yes" or "no". `group` identifies the question, because a
  metric scores all answers to a question together.
  """
  import tensorflow as tf

  copy_slots = fields.slots(
    paragraph="paragraph",
    question="question",
    response="answer",
    label="label",
    clean=_clean_prose,
  )
  numbers = [tf.as_string(row["idx"][key]) for key in ("paragraph", "question")]
  out = copy_slots(row)
  texts = tf.stack(
    [out[name] for name in ("paragraph", "question", "response")]
  )
  return {
    **out,
    "group": tf.strings.join(numbers, "/"),
    "keep": tf.reduce_all(texts != ""),
  }


MULTIRC = Task(
  name="multirc",
  dataset="multirc",
  cluster="reading_comprehension",
  kind=TaskKind.CLASSIFICATION,
  source=Source("super_glue/multirc", "1.0.2", _SPLITS),
  fields=_multirc_fields,
  slots=("paragraph", "question", "response"),
  options=("no", "yes"),
  metrics=("f1", "group_exact_match"),
  documents=("paragraph", "question"),
  published_rows=27_040,
  baseline=Baseline(
    "{paragraph}\n\nQ: {question}\nA: {response}\n\nTrue or False:",
    options=("False", "True"),
  ),
  templates=(
    Template(
      "{paragraph}\n\nQuestion: {question}\nProposed answer: {response}\n\nIs the proposed answer right, as far as the text tells? A question may have more than one right answer.\n\n{options_}"
    ),
    Template(
      "Mark a pupil's answer. It counts as right if the text bears it out.\n\nText: {paragraph}\n\nQuestion: {question}\nPupil: {response}\n\nIs it right?\n{options_}"
    ),
    Template(
      "{options_}\n\nOf the two lines below, the second is meant to answer the first. Does it do so correctly, going by the text that comes after them?\n\n{question}\n{response}\n\n{paragraph}"
    ),
    Template(
      "{paragraph}\n\nSomebody asks: {question}\nSomebody else replies: {response}\nIs the reply correct?\n{options_}"
    ),
    Template(
      "In this quiz, several answers to a question can be ticked. You look at one at a time.\n\nRead this first:\n{paragraph}\n\nThe question: {question}\nOne of the answers: {response}\n\nShould it be ticked?\n\n{options_}"
    ),
    Template(
      "In the light of the text at the end, is it correct to answer the question in this way?\n\n{options_}\n\nQuestion: {question}\nAnswer: {response}\n\nText: {paragraph}"
    ),
    Template(
      "Q: {question}\nA: {response}\n\nCheck this answer against the source.\n\nSource: {paragraph}\n\nDoes it hold up?\n{options_}"
    ),
    Template(
      "Two friends have read the same page.\n\n{paragraph}\n\nOne of them wonders about this: {question}\nThe other suggests an answer: {response}\n\nDoes the page support what the second friend says? Answer yes or no."
    ),
    Template(
      '{paragraph}\n\nWrite a question about this text to which somebody might give the answer below. Asked if that answer is correct, a reader of the text should say "{answer}".\n\n{response}',
      "{question}",
    ),
    Template(
      'Text: {paragraph}\nQuestion: {question}\n\nAn exercise lists possible answers to this question. Those that the text supports are marked "yes", the others "no". Add an answer whose mark is "{answer}".',
      "{response}",
    ),
  ),
)


def _openbookqa_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of an OpenBookQA row.

  `item` is the question with a fact of the book before it. Facts have neither a
  capital letter nor a full stop; both are added. Some copies of the data set
  have no facts.
  """
  import tensorflow as tf

  question = fields.one_line(row["question"]["stem"])
  fact = tf.strings.regex_replace(fields.one_line(row["fact1"]), r"\.?$", ".")
  first = tf.strings.upper(tf.strings.substr(fact, 0, 1))
  rest = tf.strings.substr(fact, 1, tf.strings.length(fact))
  sentence = tf.where(fact == ".", "", tf.strings.join([first, rest]))
  choices = tf.stack([row["question"][f"choice_{c}"] for c in "ABCD"])
  choices = fields.one_line(choices)
  return {
    "question": question,
    "item": _with_heading(sentence, question),
    "choices": choices,
    "answer_index": tf.cast(row["answerKey"], tf.int64),
    "keep": (question != "") & tf.reduce_all(choices != ""),
  }


OPENBOOKQA = Task(
  name="openbookqa",
  dataset="openbookqa",
  cluster="reading_comprehension",
  kind=TaskKind.CLASSIFICATION,
  source=Source("openbookqa", "0.1.0", Splits(dev="validation", test="test")),
  fields=_openbookqa_fields,
  slots=("question", "item"),
  metrics=("accuracy",),
  documents=("item",),
  published_rows=4_950,
  # Most questions are sentences that the answer completes.
  baseline=Baseline("{question}"),
  templates=(
    Template(
      "Pick the option that best answers or completes this.\n\n{question}\n\n{options_}"
    ),
    Template(
      "{options_}\n\nWhich of the lines above correctly answers or finishes what follows?\n\n{question}"
    ),
    Template(
      "Science homework. There may be a hint first; then comes a question to answer or a sentence to complete.\n\n{item}\n\n{options_}"
    ),
    Template(
      "Elementary science, multiple choice:\n{question}\n{options_}\nThe correct choice is:"
    ),
    Template(
      "You and a friend are playing a game about how the world works, with plants, animals, weather, materials and energy as topics. Your friend draws a card and reads it out.\n\n{question}\n\nThese are the choices on the card.\n{options_}\n\nWhat do you say?"
    ),
    Template(
      "{item}\n\nThink of what you know about nature and everyday things. How is this best answered or continued?\n{options_}"
    ),
    Template(
      "Something is missing here: either the answer to a question or the end of a sentence. Supply it from the options.\n{options_}\n\n{question}"
    ),
    Template(
      "Open-book test. Where the book has something to say on an item, it is quoted first.\n\n{item}\n\nWhich choice is right?\n{options_}"
    ),
    Template(
      'Write one line for a science quiz: a question, or the beginning of a sentence. The right answer, or the right ending, has to be "{answer}".',
      "{question}",
    ),
    Template(
      "The back of a flash card on science and everyday life reads as follows.\n\n{answer}\n\nOn the front there is a question with that answer, or a sentence that breaks off just before it. Write the front.",
      "{question}",
    ),
  ),
)


def _bool_q_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a BoolQ row; adds the missing question mark.

  `page` is the passage with its title. Some copies of the data set have rows
  without a title.
  """
  import tensorflow as tf

  passage = _clean_prose(row["passage"])
  question = tf.strings.regex_replace(row["question"], r"[\s?]+$", "")
  question = _clean_prose(question)
  return {
    "passage": passage,
    "page": _with_heading(_clean_prose(row["title"]), passage),
    "question": tf.strings.join([question, "?"]),
    "answer_index": tf.cast(row["answer"], tf.int64),
    "keep": (passage != "") & (question != ""),
  }


BOOL_Q = Task(
  name="bool_q",
  dataset="bool_q",
  cluster="reading_comprehension",
  kind=TaskKind.CLASSIFICATION,
  source=Source("bool_q", "1.0.0", _SPLITS),
  fields=_bool_q_fields,
  slots=("passage", "page", "question"),
  options=("no", "yes"),
  metrics=("accuracy",),
  documents=("passage", "question"),
  published_rows=9_220,
  baseline=Baseline("{page}\n\nQ: {question}\nA:"),
  templates=(
    Template("{page}\n\nGoing by this text: {question}\n\n{options_}"),
    Template(
      'Somebody typed this into a search engine: "{question}"\n\nThe engine found the following page.\n\n{page}\n\nWhat is the answer?\n\n{options_}'
    ),
    Template(
      "Yes or no: {question}\nThe passage that decides it: {passage}\n{options_}"
    ),
    Template(
      "Reply with one of the two words here.\n{options_}\n\nQuestion: {question}\n\nText: {passage}"
    ),
    Template(
      "My daughter keeps asking me things, and today she came up with this: {question}\nI looked it up and found a paragraph about it.\n\n{passage}\n\nWhat do I tell her?\n{options_}"
    ),
    Template(
      "Passage: {passage}\nQuestion: {question}\nAnswer with yes or no, whichever the passage supports."
    ),
    Template(
      "Before you answer yes or no, read what an encyclopedia has to say.\n\n{page}\n\nQ: {question}\n{options_}"
    ),
    Template(
      "You write a newspaper column that clears up small doubts. This week a reader asks:\n\n{question}\n\nYour notes on the matter:\n\n{page}\n\nHow does the column decide?\n\n{options_}"
    ),
    Template(
      "{passage}\n\nA friend who has not read this wants to know: {question}\n{options_}\nThere is only time for a single word. Which one is it?"
    ),
    Template(
      "Consult the source and settle the question.\n\n{options_}\n\nTo settle: {question}\nSource:\n{page}"
    ),
  ),
)

TASKS = (SQUAD_V1, SQUAD_V2, DROP, MULTIRC, OPENBOOKQA, BOOL_Q)
