"""Natural language inference: seven data sets, ten tasks.

Each row is a pair of texts, and the question is whether the second follows from
the first. The pairs are passages and claims (ANLI), statements and what their
speaker believes (CB), news and conclusions (RTE), premises of many genres
(MNLI), image captions (SNLI), questions and possible answers (QNLI), and
sentences with a pronoun and with a name in its place (WNLI).
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

# In two rounds of ANLI, lines end in the HTML tag <br>.
_clean_lines = fields.cleaner((r"\s*<br\s*/?>\s*", "\n"))

ANLI_R1 = Task(
  name="anli_r1",
  dataset="anli",
  cluster="nli",
  kind=TaskKind.CLASSIFICATION,
  source=Source("anli/r1", "0.1.0", Splits(dev="validation", test="test")),
  fields=fields.slots(
    context="context",
    hypothesis="hypothesis",
    label="label",
    clean=_clean_lines,
  ),
  slots=("context", "hypothesis"),
  options=("Yes", "It's impossible to say", "No"),
  metrics=("accuracy",),
  documents=("context", "hypothesis"),
  published_rows=16_940,
  baseline=Baseline(
    inputs="{context}\nQ: True, false or neither? {hypothesis}\nA:",
    options=("true", "neither", "false"),
  ),
  templates=(
    Template(
      "{context}\n\nGoing by this passage alone, is the following claim true?\n{hypothesis}\n\n{options_}"
    ),
    Template(
      'You are checking facts for a magazine. The only source you may use is this one:\n\n{context}\n\nA writer wants to print: "{hypothesis}" Is that true, according to the source?\n{options_}'
    ),
    Template(
      "Claim: {hypothesis}\nSource: {context}\nIs the claim right, if the source is?\n{options_}"
    ),
    Template(
      "{options_}\n\nWhich of these answers the question? A text says:\n\n{context}\n\nIs it then true to say the following?\n{hypothesis}"
    ),
    Template(
      "{context}\nQuestion: Is this correct? {hypothesis}\n{options_}\nAnswer:"
    ),
    Template(
      "Some statements sound plausible although nothing in the text decides about them. Read slowly, then judge the statement at the end.\n\n{context}\n\nStatement: {hypothesis}\n\nIs the statement true? If the text leaves the matter open, say so.\n\n{options_}"
    ),
    Template(
      'Is this so? "{hypothesis}"\n\n{options_}\n\nHere is everything that you know about the matter:\n\n{context}'
    ),
    Template(
      'Reading test, last question.\n\n{context}\n\nWould you say that the sentence below is true, judging from the text?\n"{hypothesis}"\n\n{options_}'
    ),
    Template(
      '{context}\n\nSomebody has read this and asks whether a certain statement about it is true. The right reply is "{answer}". Write the statement.',
      "{hypothesis}",
    ),
    Template(
      'Write a short informative passage, and a claim to go with it. Anyone who wonders whether the claim is true, given the passage, should arrive at the answer "{answer}".',
      "{context}\n\nClaim: {hypothesis}",
    ),
  ),
)

ANLI_R2 = dataclasses.replace(
  ANLI_R1,
  name="anli_r2",
  source=Source("anli/r2", "0.1.0", Splits(dev="validation", test="test")),
  published_rows=45_460,
)

ANLI_R3 = dataclasses.replace(
  ANLI_R1,
  name="anli_r3",
  source=Source("anli/r3", "0.1.0", Splits(dev="validation", test="test")),
  published_rows=100_450,
)

# Hypotheses of CB have no full stop, so that templates can put them into a
# sentence: "Is it true that {hypothesis}?"
CB = Task(
  name="cb",
  dataset="cb",
  cluster="nli",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "super_glue/cb",
    "1.0.2",
    Splits(dev="train", dev_rows=50, test="validation"),
  ),
  fields=fields.slots(
    premise="premise", hypothesis="hypothesis", label="label"
  ),
  slots=("premise", "hypothesis"),
  options=("Yes", "No", "It's impossible to say"),
  # The paper reports accuracy; SuperGLUE adds F1 averaged over the classes.
  metrics=("accuracy", "macro_f1"),
  documents=("premise", "hypothesis"),
  published_rows=200,
  baseline=Baseline(
    inputs="{premise}\nQ: True, false or neither: {hypothesis}?\nA:",
    options=("true", "false", "neither"),
  ),
  templates=(
    Template(
      "{premise}\n\nJudging from what is said here, is it true that {hypothesis}?\n\n{options_}"
    ),
    Template(
      'Somebody says or writes this:\n\n{premise}\n\nDo they let us know that {hypothesis}? Answer "No" only if they let us know the opposite.\n{options_}'
    ),
    Template(
      "Knowing only the words below, would you say that {hypothesis}?\n\n{premise}\n\n{options_}"
    ),
    Template(
      "{options_}\n\nChoose the right reply to the question after this extract.\n\n{premise}\n\nIs it the case that {hypothesis}?"
    ),
    Template(
      "Extract: {premise}\nIdea: {hypothesis}\nIs the idea a fact in the world of the extract?\n{options_}"
    ),
    Template(
      "People often mention a thing without saying whether they hold it to be true. Think about what the person who speaks, or tells the story, believes.\n\n{premise}\n\nDoes that person think that {hypothesis}?\n\n{options_}"
    ),
    Template(
      "Teacher: Listen to this. {premise}\nPupil: So is it true that {hypothesis}?\nTeacher: What do you think?\n{options_}\nPupil:"
    ),
    Template(
      "You have overheard the following.\n\n{premise}\n\nLater you are asked whether {hypothesis}. What do you reply?\n\n{options_}"
    ),
    Template(
      'Write a few sentences of a story or of a conversation. A listener who then asks, "Is it true that {hypothesis}?", should be told: "{answer}".',
      "{premise}",
    ),
    Template(
      'Make up a bit of talk or fiction and, on the line after it, something that may or may not be true in it. If we ask whether it is true, the answer has to be "{answer}".',
      "{premise}\n{hypothesis}",
    ),
  ),
)

RTE = Task(
  name="rte",
  dataset="rte",
  cluster="nli",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "super_glue/rte", "1.0.2", Splits(dev="train", test="validation")
  ),
  fields=fields.slots(
    premise="premise", hypothesis="hypothesis", label="label"
  ),
  slots=("premise", "hypothesis"),
  options=("yes", "no"),
  metrics=("accuracy",),
  documents=("premise", "hypothesis"),
  published_rows=2_290,
  baseline=Baseline(
    inputs="{premise}\nQ: True or false? {hypothesis}\nA:",
    options=("true", "false"),
  ),
  templates=(
    Template(
      "{premise}\n\nTaking that as given, is the next sentence bound to be true?\n{hypothesis}\n\n{options_}"
    ),
    Template(
      "News report:\n{premise}\n\nProposed headline:\n{hypothesis}\n\nDoes the report bear the headline out?\n\n{options_}"
    ),
    Template(
      "If the first text is accurate, must the second be accurate too?\n\n1) {premise}\n2) {hypothesis}\n\n{options_}"
    ),
    Template(
      'Does "{hypothesis}" follow from the text below?\n{options_}\n\n{premise}'
    ),
    Template(
      "{options_}\n\nOne of these two words is the answer.\n\nEvidence: {premise}\nConclusion: {hypothesis}\n\nIs the evidence enough for the conclusion?"
    ),
    Template(
      "Text: {premise}\nHypothesis: {hypothesis}\nEntailed?\n{options_}"
    ),
    Template(
      "An apprentice in the newsroom has boiled an item down to one line.\n\nThe item: {premise}\n\nThe line: {hypothesis}\n\nThe rule of the house is that nothing may be added to what the item says. May the line be printed?\n{options_}"
    ),
    Template(
      '"{hypothesis}"\nDo we know this once we have read the following?\n\n{premise}\n\n{options_}'
    ),
    Template(
      "{premise}\n\nWrite one sentence about the same matter. Asked if the sentence follows from the text above, a careful reader should say {answer}.",
      "{hypothesis}",
    ),
    Template(
      "Compose a short text in the style of the news, and a conclusion that somebody might draw from it. Is the conclusion justified? For your pair, the answer should be {answer}.",
      "Text: {premise}\nConclusion: {hypothesis}",
    ),
  ),
)

MNLI_MATCHED = Task(
  name="mnli_matched",
  dataset="mnli",
  cluster="nli",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "glue/mnli", "2.0.0", Splits(dev="train", test="validation_matched")
  ),
  fields=fields.slots(
    premise="premise", hypothesis="hypothesis", label="label"
  ),
  slots=("premise", "hypothesis"),
  options=("yes", "it is not possible to tell", "no"),
  metrics=("accuracy",),
  documents=("premise", "hypothesis"),
  published_rows=392_500,
  templates=(
    Template(
      "Suppose that this is true:\n{premise}\n\nIs this true as well?\n{hypothesis}\n\n{options_}"
    ),
    Template(
      "Premise: {premise}\nHypothesis: {hypothesis}\nGiven the premise, is the hypothesis true?\n{options_}"
    ),
    Template(
      '"{premise}"\n\nThat is all you have been told. Now a friend remarks: "{hypothesis}" Is your friend right?\n\n{options_}'
    ),
    Template(
      "Whoever wrote sentence A knows what they are talking about. What about sentence B: is it true?\n\nA. {premise}\nB. {hypothesis}\n\n{options_}"
    ),
    Template(
      "{options_}\n\nThe answers come first, the question second. Somebody has told us this:\n\n{premise}\n\nIs this a fact too? {hypothesis}"
    ),
    Template(
      '{premise}\n\nWith that in mind: "{hypothesis}" Right?\n{options_}'
    ),
    Template(
      "Start from the first line, add nothing of your own, and settle whether the second line is true.\n\nGiven: {premise}\nTo settle: {hypothesis}\n\n{options_}"
    ),
    Template(
      "Is the following true?\n{hypothesis}\nYour only clue:\n{premise}\n{options_}"
    ),
    Template(
      "A claim is held against a piece of evidence, and three verdicts on whether it is true are possible.\n\n{options_}\n\nEvidence: {premise}\nClaim: {hypothesis}\nVerdict:"
    ),
    Template(
      'In court, a line is read out from the record: "{premise}"\nThe lawyer turns to a witness who knows the record and nothing else. "So I ask you, is this true: {hypothesis}"\n\nWhat is the honest answer?\n\n{options_}'
    ),
  ),
)

MNLI_MISMATCHED = dataclasses.replace(
  MNLI_MATCHED,
  name="mnli_mismatched",
  source=Source(
    "glue/mnli", "2.0.0", Splits(dev="train", test="validation_mismatched")
  ),
)

QNLI = Task(
  name="qnli",
  dataset="qnli",
  cluster="nli",
  kind=TaskKind.CLASSIFICATION,
  source=Source("glue/qnli", "2.0.0", Splits(dev="train", test="validation")),
  fields=fields.slots(question="question", sentence="sentence", label="label"),
  slots=("question", "sentence"),
  options=("yes", "no"),
  metrics=("accuracy",),
  documents=("question", "sentence"),
  published_rows=104_540,
  templates=(
    Template(
      "Question: {question}\nSentence: {sentence}\n\nDoes the sentence contain the answer to the question?\n\n{options_}"
    ),
    Template(
      "Someone wants to know: {question}\nWould they find out by reading this line and no other?\n{sentence}\n{options_}"
    ),
    Template(
      '{sentence}\n\nCan "{question}" be answered with that?\n{options_}'
    ),
    Template(
      "You rate the results of a search engine. A result is good if it answers the query all by itself; being about the same topic does not suffice.\n\nQuery: {question}\nResult: {sentence}\n\nIs the result good?\n\n{options_}"
    ),
    Template(
      "{options_}\n\nSay with one of these whether the second text answers the first.\n\n{question}\n\n{sentence}"
    ),
    Template(
      'A pupil was asked "{question}" and underlined this in the textbook:\n\n"{sentence}"\n\nIs the answer in what the pupil underlined?\n{options_}'
    ),
    Template(
      "Quiz card:\nFront: {question}\nBack: {sentence}\nDoes the back give what the front asks for?\n{options_}"
    ),
    Template(
      "Do we have what we were looking for?\n{options_}\n\nLooking for: {question}\nFound: {sentence}"
    ),
    Template(
      "{sentence}\n\nSuppose that this is all you know. Could you then reply to the following question?\n\n{question}\n\n{options_}"
    ),
    Template(
      '{sentence}\n\nWrite a question on this subject. If someone asks, "Does the sentence answer it?", the right reply should be "{answer}".',
      "{question}",
    ),
  ),
)

WNLI = Task(
  name="wnli",
  dataset="wnli",
  cluster="nli",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "glue/wnli", "2.0.0", Splits(dev="train", dev_rows=30, test="validation")
  ),
  fields=fields.slots(
    sentence1="sentence1", sentence2="sentence2", label="label"
  ),
  slots=("sentence1", "sentence2"),
  options=("no", "yes"),
  metrics=("accuracy",),
  documents=("sentence1", "sentence2"),
  published_rows=600,
  templates=(
    Template(
      "{sentence1}\n\nIf that is read with common sense, is the next sentence true?\n{sentence2}\n\n{options_}"
    ),
    Template(
      "Original: {sentence1}\nSpelt out: {sentence2}\n\nThe second line says in full what a pronoun in the original stands for. Has it picked the right person or thing?\n{options_}"
    ),
    Template(
      'A learner of English reads: "{sentence1}"\nTo show what the pronoun means, the learner writes: "{sentence2}"\nDid the learner understand the text?\n\n{options_}'
    ),
    Template(
      "{options_}\n\nText: {sentence1}\nReading: {sentence2}\n\nIs this the reading that the author had in mind?"
    ),
    Template(
      'Little words such as "it", "they" or "her" can point to more than one thing, and the reader has to work out which. Decide whether line 2 takes line 1 in the right way.\n\n1. {sentence1}\n2. {sentence2}\n\n{options_}'
    ),
    Template(
      '{sentence1}\n\nIn other words: "{sentence2}" Correct?\n{options_}'
    ),
    Template(
      "Does B follow from A?\nA: {sentence1}\nB: {sentence2}\n{options_}"
    ),
    Template(
      'Two friends have come across this: {sentence1}\n\n"I see," says one of them. "{sentence2}"\n\nShould the other one agree?\n\n{options_}'
    ),
    Template(
      "Before she starts, a translator notes what every pronoun refers to.\n\nHer note: {sentence2}\nWhat she has to translate: {sentence1}\n\nIs the note right?\n{options_}"
    ),
    Template(
      "Here is a small riddle about who or what is meant.\n\n{sentence1}\n\nOur guess: {sentence2}\n\nThere are two ways of marking it.\n{options_}\n\nIs the guess right?"
    ),
  ),
)

_copy_captions = fields.slots(
  premise="premise", hypothesis="hypothesis", label="label"
)


def _snli_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of an SNLI row; leaves out rows without a gold label.

  Their annotators disagreed. They have the label -1 and occur in every split.
  """
  out = _copy_captions(row)
  return {**out, "keep": out["answer_index"] >= 0}


SNLI = Task(
  name="snli",
  dataset="snli",
  cluster="nli",
  kind=TaskKind.CLASSIFICATION,
  source=Source("snli", "1.1.0", Splits(dev="validation", test="test")),
  fields=_snli_fields,
  slots=("premise", "hypothesis"),
  options=("yes", "it is not possible to tell", "no"),
  metrics=("accuracy",),
  documents=("premise", "hypothesis"),
  published_rows=549_360,
  templates=(
    Template(
      "A photograph is described like this:\n{premise}\n\nIs the next description true of the same photograph?\n{hypothesis}\n\n{options_}"
    ),
    Template(
      "Imagine the scene: {premise}\nIs this the case in it? {hypothesis}\n{options_}"
    ),
    Template(
      'You cannot see the picture, but Kim, who can, tells you: "{premise}" Then Lou, who has not seen it, says: "{hypothesis}" Trusting Kim, do you think that Lou is right?\n\n{options_}'
    ),
    Template(
      "Caption 1: {premise}\nCaption 2: {hypothesis}\n\nBoth were written for one image, and caption 1 is known to be correct. Is caption 2 correct?\n{options_}"
    ),
    Template(
      "{options_}\n\nPick the answer that fits. The camera caught the following.\n\n{premise}\n\nIs this true of that moment, too? {hypothesis}"
    ),
    Template(
      "A gallery describes its pictures to visitors who cannot see. About one of them it says:\n\n{premise}\n\nA visitor would like to know whether the following is true of the picture, too.\n\n{hypothesis}\n\nWhat is the best reply?\n\n{options_}"
    ),
    Template(
      'True of the image? "{hypothesis}"\nAll you have is this line about it: "{premise}"\n{options_}'
    ),
    Template(
      "A witness tells what she saw.\n{premise}\nA reporter makes of it:\n{hypothesis}\nAnswer with one of the options.\n{options_}\nIs the reporter's sentence true, as far as the witness's words go?"
    ),
    Template(
      'Here is the caption of a picture: {premise}\n\nWrite another sentence about the picture. Someone who knows only the caption, asked if your sentence is true, should answer "{answer}".',
      "{hypothesis}",
    ),
    Template(
      'Describe a scene in one sentence. To the question whether "{hypothesis}" is true of your scene, the answer should be "{answer}".',
      "{premise}",
    ),
  ),
)

TASKS = (
  ANLI_R1,
  ANLI_R2,
  ANLI_R3,
  CB,
  MNLI_MATCHED,
  MNLI_MISMATCHED,
  QNLI,
  RTE,
  SNLI,
  WNLI,
)
