"""Coreference: the person or thing that a pronoun refers to (four tasks).

Grammar allows two readings, and knowledge of the world decides between them. In
definite pronoun resolution and WSC273, the options are the two candidates. In
WSC, the question is whether one candidate is right. In WinoGrande, the options
continue the text with one candidate each in place of the pronoun.
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

# Removes the blanks of tokenized texts: "the captain 's illness , and".
_clean_tokenized = fields.cleaner(
  (r"\s+", " "),
  ("\u2019", "'"),
  (r" ('s|n't|'re|'ll|'ve|'d)\b", r"\1"),
  (r'(^|[\s(])" ([^"]*) "', r'\1"\2"'),
  (r" ([.,;:?!]+)( |$)", r"\1\2"),
)


def _lower_first_word(text):
  """Writes an article or possessive at the beginning in lower case.

  "The bee" becomes "the bee": candidates stand at the beginning of a sentence
  more often than pronouns.
  """
  import tensorflow as tf

  words = "The A An His Her My Their Our Your Its"
  for word in words.split():
    text = tf.strings.regex_replace(text, rf"^{word}\b ", f"{word.lower()} ")
  return text


def _definite_pronoun_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of a row; the two candidates are the choices."""
  import tensorflow as tf

  return {
    "sentence": _clean_tokenized(row["sentence"]),
    "pronoun": tf.strings.strip(row["pronoun"]),
    "choices": _lower_first_word(_clean_tokenized(row["candidates"])),
    "answer_index": tf.cast(row["label"], tf.int64),
  }


DEFINITE_PRONOUN_RESOLUTION = Task(
  name="definite_pronoun_resolution",
  dataset="definite_pronoun_resolution",
  cluster="coreference",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "definite_pronoun_resolution", "1.1.0", Splits(dev="train", test="test")
  ),
  fields=_definite_pronoun_fields,
  slots=("sentence", "pronoun"),
  documents=("sentence",),
  published_rows=1_120,
  templates=(
    Template(
      '{sentence}\n\nThe word "{pronoun}" saves us from repeating one of these. Which one?\n\n{options_}'
    ),
    Template(
      'In the sentence below, "{pronoun}" could mean either of two people or things, but only one of them makes sense. Which?\n\n{sentence}\n\n{options_}'
    ),
    Template(
      "Sentence: {sentence}\nPronoun: {pronoun}\n{options_}\nStands for:"
    ),
    Template(
      '{options_}\n\nSay which of these is meant by "{pronoun}" in the sentence below.\n\n{sentence}'
    ),
    Template(
      "A learner of English is puzzled by this sentence: {sentence}\n\"Grammar alone does not tell me what '{pronoun}' means.\" Help out with what you know of the world.\n{options_}"
    ),
    Template(
      'You are translating into a language in which the right word for "{pronoun}" depends on whom or what it means.\n\nYour text: {sentence}\n\nWhom or what does the word mean here?\n\n{options_}'
    ),
    Template(
      'Before this line of a script can be filmed, the director has to know who or what "{pronoun}" stands for.\n\n{sentence}\n\nWhat do you tell the director?\n{options_}'
    ),
    Template(
      'Replace "{pronoun}" with something clearer. What do you put in its place?\n\n{options_}\n\n{sentence}'
    ),
    Template(
      'Picture the situation first.\n\n{sentence}\n\n{options_}\n\nNow decide which of the two the writer had in mind when writing "{pronoun}".'
    ),
    Template(
      '{sentence}\n\nExplain "{pronoun}" in a few words, so that nobody takes it for the wrong person or thing.'
    ),
  ),
)


def _winogrande_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of a WinoGrande row; splits its text at the gap.

  The choices are the two continuations after the gap. Published evaluations rank
  them, too, because only the words after the gap show which candidate is right.
  """
  import tensorflow as tf

  sentence = _clean_tokenized(row["sentence"])
  before = tf.strings.strip(tf.strings.regex_replace(sentence, "_.*$", ""))
  after = tf.strings.regex_replace(sentence, "^[^_]*_", "")
  options = fields.one_line(tf.stack([row["option1"], row["option2"]]))
  has_one_gap = tf.strings.regex_full_match(sentence, "[^_]*_[^_]*")
  return {
    "sentence": sentence,
    "context": before,
    "choices": _clean_tokenized(tf.strings.join([options, after])),
    "answer_index": tf.cast(row["label"], tf.int64),
    "keep": has_one_gap & (before != ""),
  }


# A context ends at the gap, mostly within a sentence, so that it ends a line in
# every template.
WINOGRANDE = Task(
  name="winogrande",
  dataset="winogrande",
  cluster="coreference",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "winogrande",
    "1.2.0",
    Splits(train="train_xl", dev="train_xl", test="validation"),
    pinned="1.1.0",
  ),
  fields=_winogrande_fields,
  slots=("sentence", "context"),
  documents=("context",),
  published_rows=40_190,
  baseline=Baseline("{context}"),
  templates=(
    Template("{context}\n\nHow should this go on?\n\n{options_}"),
    Template(
      "The two continuations below differ only in how they begin. Choose the one that makes sense after the text.\n\n{context}\n\n{options_}"
    ),
    Template(
      "Text with a gap: {sentence}\n\nWhat does it say from the gap onwards?\n{options_}"
    ),
    Template(
      "{options_}\n\nWhich of these completes the text below?\n\n{context}"
    ),
    Template("Beginning: {context}\n{options_}\nSensible end:"),
    Template(
      "Somebody is telling us about two people or two things, and a noise drowns out the end:\n\n{context}\n\nWhat were the words that we could not hear? Only one of these fits what was said before.\n\n{options_}"
    ),
    Template(
      "An underscore hides somebody or something that can be guessed with a little thought.\n\n{sentence}\n\nWhich of these reads right, from the underscore to the end?\n{options_}"
    ),
    Template(
      "Fill the gap in this text, then copy out everything from there to the end: {sentence}\n{options_}"
    ),
    Template(
      "Two students had to complete the same text. Their answers are nearly alike, but they speak of different people or things.\n{options_}\nThe text began as follows.\n{context}\nWhat did the more thoughtful student write?"
    ),
    Template(
      "Please finish what I started to write, so that it makes sense.\n\n{context}"
    ),
  ),
)


def _wsc_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of a WSC row.

  In `marked`, the pronoun stands in asterisks; `begun` ends with the pronoun.
  A text may contain the pronoun several times. The row gives the number of a
  word; if that word is not the pronoun, the nearest one that is gets marked.
  """
  import tensorflow as tf

  words = tf.strings.split(row["text"])
  pronoun = tf.strings.strip(row["span2_text"])
  bare = tf.strings.regex_replace(words, r"^[^\w]+|[^\w]+$", "")
  numbers = tf.range(tf.size(words))
  distance = tf.abs(numbers - tf.cast(row["span2_index"], tf.int32))
  # Words that are the pronoun come before all others.
  chosen = tf.argmin(
    tf.where(bare == pronoun, distance, distance + tf.size(words)),
    output_type=tf.int32,
  )
  starred = tf.strings.regex_replace(words, r"^(\W*)(.*?)(\W*)$", r"\1*\2*\3")
  marked = tf.where(numbers == chosen, starred, words)
  begun = tf.concat([words[:chosen], bare[chosen : chosen + 1]], 0)

  def join_words(parts):
    # Some texts repeat a possessor: "Joe Joe's uncle".
    is_repeated = tf.concat([parts[:-1] + "'s" == parts[1:], [False]], 0)
    parts = tf.boolean_mask(parts, tf.logical_not(is_repeated))
    return _clean_tokenized(tf.strings.reduce_join(parts, separator=" "))

  span = fields.cleaner((r"\s+", " "), (r"\.$", ""))(row["span1_text"])
  return {
    "text": join_words(words),
    "marked": join_words(marked),
    "begun": join_words(begun),
    "pronoun": pronoun,
    "span": _lower_first_word(span),
    "answer_index": tf.cast(row["label"], tf.int64),
  }


# Some texts are parts of longer ones and end without a full stop.
WSC = Task(
  name="wsc",
  dataset="wsc",
  cluster="coreference",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "super_glue/wsc",
    "1.0.2",
    Splits(dev="train", dev_rows=50, test="validation"),
  ),
  fields=_wsc_fields,
  slots=("text", "marked", "begun", "pronoun", "span"),
  options=("no", "yes"),
  documents=("text",),
  published_rows=500,
  extra=True,
  templates=(
    Template(
      '{marked}\n\nIs "{span}" the right reading of the "{pronoun}" in asterisks?\n\n{options_}'
    ),
    Template(
      'Look at the pronoun between asterisks in the following text. Is "{span}" what the author meant by it?\n{options_}\n\n{marked}'
    ),
    Template(
      "Text: {marked}\nMarked word: {pronoun}\nSuggested meaning: {span}\nIs the suggestion right?\n{options_}"
    ),
    Template(
      '{options_}\n\nAnswer with one of these words. Does *{pronoun}* mean "{span}" in what follows?\n\n{marked}'
    ),
    Template(
      '{text}\n\nNow read the beginning once more:\n{begun}\n\nDoes the last word of this beginning stand for "{span}"?\n\n{options_}'
    ),
    Template(
      'To make a text clearer, an editor would like to name "{span}" outright where it now says *{pronoun}*.\n\n{marked}\n\nWould the text still mean the same?\n{options_}'
    ),
    Template(
      'We have drawn an arrow from the word in asterisks to "{span}".\n\n{marked}\n\nDoes our arrow point to the right place?\n\n{options_}'
    ),
    Template(
      'Teacher: Read this. {marked}\nPupil: The word between the asterisks, I think that is "{span}".\nTeacher: Is it, class?\n{options_}\nClass:'
    ),
    Template(
      'A program works out what pronouns stand for, and it is often wrong, since it knows little of the world. For the pronoun in asterisks it has found "{span}". Is it right this time?\n\n{marked}\n\n{options_}'
    ),
    Template(
      '{marked}\n\nSomebody claims that *{pronoun}* stands for "{span}" here. Yes or no?'
    ),
  ),
)


def _wsc273_fields(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the slots of a WSC273 row; `marked` has *the pronoun* marked."""
  import tensorflow as tf

  start = tf.cast(row["pronoun_start"], tf.int32)
  end = tf.cast(row["pronoun_end"], tf.int32)

  def substring(begin, length):
    return tf.strings.substr(row["text"], begin, length, unit="UTF8_CHAR")

  rest = tf.strings.length(row["text"], unit="UTF8_CHAR") - end
  marked = [
    substring(0, start),
    "*",
    substring(start, end - start),
    "*",
    substring(end, rest),
  ]
  # Unlike option1 and option2, these are in lower case within a sentence.
  options = [row["option1_normalized"], row["option2_normalized"]]
  return {
    "marked": fields.one_line(tf.strings.join(marked)),
    "pronoun": tf.strings.strip(row["pronoun_text"]),
    "choices": fields.one_line(tf.stack(options)),
    "answer_index": tf.cast(row["label"], tf.int64),
  }


WSC273 = Task(
  name="wsc273",
  dataset="wsc273",
  cluster="coreference",
  kind=TaskKind.CLASSIFICATION,
  source=Source("wsc273", "1.0.0", Splits(train="", dev="", test="test")),
  fields=_wsc273_fields,
  slots=("marked", "pronoun"),
  published_rows=0,
  baseline=Baseline(
    "{marked}\nQ: Who or what is *{pronoun}* in this text?\nA:", stops=("Q:",)
  ),
  templates=(
    Template(
      '{marked}\n\nWho or what is meant by the marked "{pronoun}"?\n\n{options_}'
    ),
    Template(
      "Read the text and decide whom or what the word between asterisks points to.\n\n{marked}\n\n{options_}"
    ),
    Template(
      "{options_}\n\nWhich of these two does *{pronoun}* stand for in the text that follows?\n\n{marked}"
    ),
    Template(
      'Text: {marked}\nQuestion: Who or what is behind the starred word "{pronoun}"?\n{options_}\nAnswer:'
    ),
    Template(
      "As far as grammar goes, the pronoun in asterisks could stand for either of the two given below. As far as sense goes, only one of them will do. Which is it?\n\n{marked}\n\n{options_}"
    ),
    Template(
      'You read this to a friend:\n\n{marked}\n\nAt the word in asterisks your friend interrupts you. "Who or what do you mean?" What do you reply?\n{options_}'
    ),
    Template(
      'Make sure that nobody misunderstands the "{pronoun}" in asterisks. Which of these would you write instead?\n\n{options_}\n\n{marked}'
    ),
    Template(
      "{marked}\n\nTwo candidates are standing for the place of the starred pronoun. Which one gets your vote?\n{options_}"
    ),
    Template(
      "If the writer had used a noun or a name in place of the starred pronoun, which would it have been?\n\n{options_}\n\n{marked}"
    ),
    Template(
      "{marked}\n\nName the person, the people or the thing that the word in asterisks refers to."
    ),
  ),
)

TASKS = (DEFINITE_PRONOUN_RESOLUTION, WINOGRANDE, WSC, WSC273)
