"""Reading comprehension with commonsense: two data sets, two tasks.

CosmosQA asks for the likely reasons and results of what people write about
their lives. ReCoRD asks for a name that was removed from a news report.
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


def _cosmos_qa_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a CosmosQA row; the four answers are the choices."""
  import tensorflow as tf

  copy_slots = fields.slots(
    context="context",
    question="question",
    label="label",
    clean=fields.one_line,
  )
  choices = tf.stack([row[f"answer{number}"] for number in range(4)])
  choices = fields.one_line(choices)
  out = copy_slots(row)
  keep = (out["context"] != "") & (out["question"] != "")
  return {
    **out,
    "choices": choices,
    "keep": keep & tf.reduce_all(choices != ""),
  }


COSMOS_QA = Task(
  name="cosmos_qa",
  dataset="cosmos_qa",
  cluster="reading_comprehension_commonsense",
  kind=TaskKind.CLASSIFICATION,
  source=Source("cosmos_qa", "1.0.0", Splits(dev="train", test="validation")),
  fields=_cosmos_qa_fields,
  slots=("context", "question"),
  metrics=("accuracy",),
  documents=("context", "question"),
  published_rows=25_060,
  # Some right answers are "None of the above choices", so that the inverse
  # templates do not use the answer.
  templates=(
    Template(
      "{context}\n\n{question}\nThe text does not tell you outright. Choose the likeliest answer.\n\n{options_}"
    ),
    Template(
      "Read between the lines of this story.\n\n{context}\n\nQuestion: {question}\n{options_}\nAnswer:"
    ),
    Template(
      "{question}\n\n{options_}\n\nDecide once you have read this:\n\n{context}"
    ),
    Template(
      "Someone posted the following online.\n\n{context}\n\nA reader who knows how people usually act and feel is asked: {question}\nWhich reply makes the most sense?\n\n{options_}"
    ),
    Template(
      "Story: {context}\nQuestion: {question}\nOnly one of these fits:\n{options_}"
    ),
    Template(
      "{options_}\n\nUse common sense to find out which of these answers a question about a little episode.\n\nEpisode: {context}\n\nQuestion: {question}"
    ),
    Template(
      "Imagine that you know the people in this account well enough to guess what lies behind it and what comes next.\n\n{context}\n\nNow you are asked about it.\n{question}\n\nWhat do you say?\n{options_}"
    ),
    Template(
      "The answer to this exam question need not be written in the text; it only has to be more plausible than the others. Should none of them be plausible, take the option that says so.\n\nText: {context}\n\nExam question: {question}\n\n{options_}"
    ),
    Template(
      "{context}\n\nThink of a question about this text whose answer is not stated in it but can be guessed with some common sense.",
      "{question}",
    ),
    Template(
      "Write a short post about everyday life, like those that people share online. Its readers should be able to guess the answer to the question below.\n\n{question}",
      "{context}",
    ),
  ),
)


def _record_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a ReCoRD row; its entities are the choices.

  As in the published code, the passage ends before its highlights. Several
  entities can be right ("Ada Holm" and "Holm"): the first one is the answer,
  and all are references. Rows without a right entity are left out, such as all
  rows of the test split, whose answers are hidden.
  """
  import tensorflow as tf

  passage = tf.strings.regex_replace(row["passage"], r"(?s)\n@highlight.*", "")
  passage = fields.one_line(passage)
  query = fields.one_line(row["query"])
  entities = tf.unique(fields.one_line(row["entities"])).y
  answers = tf.unique(fields.one_line(row["answers"])).y
  # One more row than there are entities, as argmax needs at least one.
  is_right = tf.pad(entities[:, tf.newaxis] == answers, [[0, 1], [0, 0]])
  is_right = tf.cast(tf.reduce_any(is_right, 1), tf.int64)
  has_answer = tf.reduce_any(is_right > 0)
  none = tf.constant(-1, tf.int64)
  return {
    "passage": passage,
    "query": tf.strings.regex_replace(query, "@placeholder", "_____"),
    "choices": entities,
    "answer_index": tf.where(has_answer, tf.argmax(is_right), none),
    "references": tf.concat([answers, [""]], 0)[
      : tf.maximum(tf.size(answers), 1)
    ],
    "keep": has_answer & (passage != ""),
  }


RECORD = Task(
  name="record",
  dataset="record",
  cluster="reading_comprehension_commonsense",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "super_glue/record", "1.0.2", Splits(dev="train", test="validation")
  ),
  fields=_record_fields,
  slots=("passage", "query"),
  metrics=("squad_em", "squad_f1"),
  documents=("passage",),
  published_rows=100_520,
  baseline=Baseline(
    "{passage}\n\n{query}\n\nQ: What belongs in the blank?\nA:"
  ),
  templates=(
    Template(
      "{passage}\n\nOne name has been taken out of the next sentence, which comes from the same story.\n\n{query}\n\nWhich name is it?\n\n{options_}"
    ),
    Template(
      "News report: {passage}\n\nFill in the blank: {query}\n{options_}"
    ),
    Template(
      "{options_}\n\nWhich of these has been replaced with _____ in the sentence below? The report after the sentence tells you enough to work it out.\n\nSentence: {query}\n\nReport: {passage}"
    ),
    Template(
      "An article reached the printer with a gap in one of its sentences.\n\nThe rest of the article:\n{passage}\n\nThe sentence with the gap:\n{query}\n\nWhat has to be put in?\n{options_}"
    ),
    Template(
      "{query}\n\nWho or what belongs in the blank? Judge from this:\n\n{passage}\n\n{options_}"
    ),
    Template(
      "Cloze test.\n\n{passage}\n\n{query}\n\nThe blank stands for one of the following:\n{options_}"
    ),
    Template(
      "You have just heard this on the news.\n\n{passage}\n\nThe report goes on, but the line crackles and a name is lost.\n\n{query}\n\nWhich name was it?\n{options_}"
    ),
    Template(
      "Use what the text tells you about each name to complete the statement.\n\nText: {passage}\n\nStatement: {query}\n\n{options_}"
    ),
    Template(
      "The line below adds something to a news story, but it has a gap. Which of these makes sense there?\n\n{options_}\n\nLine: {query}\n\nStory: {passage}"
    ),
    Template(
      "{passage}\n\nComplete this follow-up with a person, a place, a group or another name from the story.\n\n{query}\n\nGive only what goes in the blank."
    ),
  ),
)

TASKS = (COSMOS_QA, RECORD)
