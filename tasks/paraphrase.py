"""Paraphrase: pairs of texts that may mean the same (four data sets)."""

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

_OPTIONS = ("no", "yes")


def _stsb_fields(row: fields.Row) -> dict:
  """Returns the slots of an STS-B row; rounds its rating to one of six options.

  The rating is a mean, 0.0 to 5.0. answer_index = floor(rating + 1/2), so that
  0.5 becomes 1 and 2.5 becomes 3. (The published code rounds halves to even: 0
  and 2.) A hidden rating is -1 and stays -1.
  """
  import tensorflow as tf

  rating = tf.cast(row["label"], tf.float32)
  rounded = tf.cast(tf.floor(rating + 0.5), tf.int64)
  hidden = tf.constant(-1, tf.int64)
  return {
    "sentence1": tf.strings.strip(row["sentence1"]),
    "sentence2": tf.strings.strip(row["sentence2"]),
    "answer_index": tf.where(rating < 0, hidden, rounded),
  }


GLUE_MRPC = Task(
  name="glue_mrpc",
  dataset="glue_mrpc",
  cluster="paraphrase",
  kind=TaskKind.CLASSIFICATION,
  source=Source("glue/mrpc", "2.0.0", Splits(dev="train", test="validation")),
  fields=fields.slots(
    sentence1="sentence1", sentence2="sentence2", label="label"
  ),
  slots=("sentence1", "sentence2"),
  options=_OPTIONS,
  metrics=("f1", "accuracy"),
  documents=("sentence1", "sentence2"),
  published_rows=3_460,
  templates=(
    Template(
      "First report: {sentence1}\nSecond report: {sentence2}\n\nIs the content of both reports the same?\n\n{options_}"
    ),
    Template(
      "An editor found these two lines in different newspapers.\n\n1. {sentence1}\n2. {sentence2}\n\nIs one a rewording of the other?\n{options_}"
    ),
    Template(
      "{options_}\n\nAnswer with a word from the list. Does the second line paraphrase the first?\n{sentence1}\n{sentence2}"
    ),
    Template(
      "{sentence1}\n\nCould the sentence above be replaced by the one below without changing the news?\n\n{sentence2}\n\n{options_}"
    ),
    Template(
      "Check for equivalence.\nA: {sentence1}\nB: {sentence2}\nEquivalent?\n{options_}"
    ),
    Template(
      "A reader already knows the following: {sentence1}\n\nThen the reader comes across this: {sentence2}\n\nIs it merely the same information in other words?\n\n{options_}"
    ),
    Template(
      "Two writers have each put something into a sentence. Tell me whether their sentences match in meaning.\n{options_}\nWriter one: {sentence1}\nWriter two: {sentence2}"
    ),
    Template(
      "Do these express one and the same fact?\n\n* {sentence1}\n* {sentence2}\n\n{options_}"
    ),
    Template(
      "We are removing duplicates from a collection of news sentences. Should this pair count as duplicates, that is, as having the same content?\n\n{sentence1}\n{sentence2}\n\n{options_}"
    ),
    Template(
      'Original: {sentence1}\nRewrite: {sentence2}\nSay "yes" if the rewrite keeps the meaning of the original, and "no" if it does not.\n{options_}'
    ),
  ),
)

GLUE_QQP = Task(
  name="glue_qqp",
  dataset="glue_qqp",
  cluster="paraphrase",
  kind=TaskKind.CLASSIFICATION,
  source=Source("glue/qqp", "2.0.0", Splits(dev="train", test="validation")),
  # The rows keep the doubled quotation marks of the file they come from.
  fields=fields.slots(
    question1="question1",
    question2="question2",
    label="label",
    clean=fields.cleaner(('""', "'")),
  ),
  slots=("question1", "question2"),
  options=_OPTIONS,
  metrics=("f1", "accuracy"),
  documents=("question1", "question2"),
  published_rows=363_640,
  templates=(
    Template(
      "{question1}\n{question2}\n\nWould one answer serve for both of these?\n\n{options_}"
    ),
    Template(
      "A user of a question-and-answer site is about to post this: {question1}\n\nAn older post says: {question2}\n\nIs the new post a duplicate?\n{options_}"
    ),
    Template(
      "{options_}\n\nQuestion A: {question1}\nQuestion B: {question2}\n\nDoes A ask for exactly the same information as B? Choose from the options above."
    ),
    Template(
      "Decide whether the second question merely restates the first.\n\nFirst: {question1}\nSecond: {question2}\n\n{options_}"
    ),
    Template(
      "Can these be merged into a single forum thread without losing anything?\n1. {question1}\n2. {question2}\n{options_}"
    ),
    Template(
      'Ben asks: "{question1}"\nLena asks: "{question2}"\n\nAre Ben and Lena after the same information?\n\n{options_}'
    ),
    Template(
      "A help page keeps a list of known questions, such as this one:\n{question2}\n\nSomeone typed:\n{question1}\n\nIs the intent of the two the same?\n\n{options_}"
    ),
    Template(
      "Same question in other words, yes or no?\n{options_}\n\n[1] {question1}\n[2] {question2}"
    ),
    Template(
      "You have already answered this for a friend: {question1}\n\nNow the friend comes back with: {question2}\n\nCould you simply repeat your answer?\n\n{options_}"
    ),
    Template(
      "Question pair:\n{question1}\n{question2}\nDuplicate:\n{options_}"
    ),
  ),
)

PAWS_WIKI = Task(
  name="paws_wiki",
  dataset="paws_wiki",
  cluster="paraphrase",
  kind=TaskKind.CLASSIFICATION,
  source=Source("paws_wiki", "1.1.0", Splits(dev="validation", test="test")),
  fields=fields.slots(
    sentence1="sentence1", sentence2="sentence2", label="label"
  ),
  slots=("sentence1", "sentence2"),
  options=_OPTIONS,
  metrics=("accuracy",),
  documents=("sentence1", "sentence2"),
  published_rows=49_400,
  templates=(
    Template(
      "These two sentences share most of their words. Do they share their meaning too?\n\n{sentence1}\n{sentence2}\n\n{options_}"
    ),
    Template(
      "Version A: {sentence1}\nVersion B: {sentence2}\n\nCompare who does what in each version. Are the versions in full agreement?\n{options_}"
    ),
    Template(
      "An encyclopedia article was edited.\n\nBefore: {sentence1}\nAfter: {sentence2}\n\nDid the edit leave the meaning as it was?\n\n{options_}"
    ),
    Template(
      "{options_}\n\nSelect your answer from above. Does each of these statements paraphrase the other?\n\n{sentence1}\n\n{sentence2}"
    ),
    Template(
      "Words can move around in a sentence without any change of sense, or they can change everything. Has the sense stayed the same here?\n\nFrom: {sentence1}\nTo: {sentence2}\n\n{options_}"
    ),
    Template(
      "Paraphrase check.\n{options_}\nText: {sentence1}\nCandidate: {sentence2}\nIs the candidate faithful to the text?"
    ),
    Template(
      "{sentence1}\n\nIf that is what you want to say, can you just as well say this?\n\n{sentence2}\n\n{options_}"
    ),
    Template(
      "Look closely at names, numbers and word order. Are the two statements equivalent?\n(a) {sentence1}\n(b) {sentence2}\n{options_}"
    ),
    Template(
      "A student was told to rewrite a sentence from a textbook and keep what it says.\n\nTextbook: {sentence1}\nStudent: {sentence2}\n\nDid the student succeed?\n{options_}"
    ),
    Template(
      '{sentence1} In other words: {sentence2}\n\nIs "in other words" justified here?\n\n{options_}'
    ),
  ),
)

STSB = Task(
  name="stsb",
  dataset="stsb",
  cluster="paraphrase",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "glue/stsb",
    "2.0.0",
    Splits(dev="train", dev_rows=100, test="validation"),
  ),
  fields=_stsb_fields,
  slots=("sentence1", "sentence2"),
  options=("0", "1", "2", "3", "4", "5"),
  metrics=("pearson", "spearman"),
  documents=("sentence1", "sentence2"),
  published_rows=5_640,
  templates=(
    Template(
      "Give the pair below a grade for closeness in meaning. Zero stands for unrelated and five for identical in content.\n\n{sentence1}\n{sentence2}\n\n{options_}"
    ),
    Template(
      "A: {sentence1}\nB: {sentence2}\n\nHow much of what A says is also said by B, from 0 (nothing) to 5 (everything)?\n{options_}"
    ),
    Template(
      "{options_}\n\nWith a number from this list, where a higher number means more alike, score these sentences:\n* {sentence1}\n* {sentence2}"
    ),
    Template(
      'Here are two texts to compare.\n"{sentence1}"\n"{sentence2}"\n\nScores run from 0, different topics, to 5, same meaning. Which score is right?\n{options_}'
    ),
    Template(
      "Anna wrote: {sentence1}\nTom wrote: {sentence2}\n\nHow well do their sentences agree? 5 means that both tell us the same thing, and 0 means that the two have nothing in common.\n\n{options_}"
    ),
    Template(
      "Score the overlap in meaning (0 lowest, 5 highest).\n{options_}\nLeft: {sentence1}\nRight: {sentence2}\nScore:"
    ),
    Template(
      "{sentence1}\n\nOn a scale of 0 to 5, how near does the next sentence come to saying that?\n\n{sentence2}\n\n{options_}"
    ),
    Template(
      "A search engine compares texts and gives each pair a whole number between 0 (no relation) and 5 (the same in meaning). What number should this pair get?\n\n{sentence1}\n{sentence2}\n\n{options_}"
    ),
    Template(
      "Sentence: {sentence1}\n\nWrite another sentence. Its similarity in meaning to the one above should be {answer} on a scale from 0 (unrelated) to 5 (equivalent).",
      "{sentence2}",
    ),
    Template(
      "Pairs of sentences are scored for similarity from 0 to 5. What could have scored {answer} together with the following?\n\n{sentence2}",
      "{sentence1}",
    ),
  ),
)

TASKS = (GLUE_MRPC, GLUE_QQP, PAWS_WIKI, STSB)
