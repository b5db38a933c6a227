"""Struct to text: data put into words. Four data sets of the GEM benchmark.

CommonGen asks for a sentence around a few words, DART for one about rows of a
table, E2E for the description of a place to eat, WebNLG for a text from the
facts of a knowledge base. Data are there in two forms: on one line, and listed
on lines of their own.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import (
  Baseline,
  Fields,
  Source,
  Splits,
  Task,
  TaskKind,
  Template,
)

# Both texts and data come from web pages in part.
_AMPERSAND = (r"&amp;", "&")

# Texts were tokenised by some of their sources ("a dog , asleep ."), and some
# have tabs or double blanks in them.
_TEXT = fields.replace(
  _AMPERSAND,
  (r"[\s\x{a0}]+", " "),
  (r" ([.,;:!?])( |$)", r"\1\2"),
)
_WORDS = fields.generation(
  answer="target", references="references", clean=_TEXT
)

# A row -> its data on one line, and on lines of their own.
_Data = Callable[[Mapping[str, Any]], tuple[Any, Any]]


def _in_words(slot: str, data: _Data) -> Fields:
  """Fields of a task that puts data into words.

  Training rows have one text each and no references; test rows may have
  references and an empty target. `text` is the target, or the first reference.

  Args:
    slot: what the data are called in templates.
    data: gives them, on one line and listed.
  """

  def verbalised(row: Mapping[str, Any]) -> dict[str, Any]:
    out = _WORDS(row)
    joined, listed = data(row)
    return {
      **out,
      slot: joined,
      "listed": listed,
      "text": out["answer"],
      "keep": out["keep"] & (joined != ""),
    }

  return verbalised


def _concepts(row: Mapping[str, Any]) -> tuple[Any, Any]:
  """Words, without the part of speech that some releases append: "look_V"."""
  import tensorflow as tf

  words = fields.replace((r"_[A-Z]$", ""))(row["concepts"])
  return (
    tf.strings.reduce_join(words, separator=", "),
    tf.strings.reduce_join(words, separator="\n"),
  )


COMMON_GEN = Task(
  name="common_gen",
  dataset="common_gen",
  cluster="struct_to_text",
  kind=TaskKind.GENERATION,
  source=Source(
    "gem/common_gen", "1.1.0", Splits(dev="train", test="validation")
  ),
  fields=_in_words("concepts", _concepts),
  slots=("concepts", "listed", "text"),
  metrics=("rouge1", "rouge2", "rougeL"),
  documents=("text",),
  published_rows=67_180,
  baseline=Baseline("Concepts: {concepts}\nSentence:", stops=("Concepts:",)),
  templates=(
    Template(
      "Picture an everyday scene that brings these words to mind, and describe it in one sentence that uses every one of them: {concepts}"
    ),
    Template(
      "Words: {concepts}\nUse them all in one plausible sentence. You may change their endings."
    ),
    Template(
      "{concepts}\n\nMake a single sentence out of the words above, about something that people might really see."
    ),
    Template(
      "A language teacher writes a few words on the board, one below the other.\n\n{listed}\n\nEvery pupil has to put all of them into a sentence that makes sense, in any form and in any order. Give an example of what a pupil might write."
    ),
    Template("Can you fit all of this into one natural sentence: {concepts}?"),
    Template(
      "Write a caption for a photograph. Each of these words has to appear in it in some form.\n\n{listed}"
    ),
    Template(
      "Concepts that belong together: {concepts}\nA sentence that shows how:"
    ),
    Template(
      "Let these ideas meet in an ordinary situation, and tell us about it in one sentence.\nIdeas: {concepts}"
    ),
    Template(
      "{text}\n\nReduce this sentence to the few basic words from which somebody could build a similar one, and put commas between them.",
      "{concepts}",
    ),
    Template(
      "Pick the three to five words that matter most in the sentence below. Give each as you would find it in a dictionary, on a line of its own.\n\n{text}",
      "{listed}",
    ),
  ),
)

_TRIPLES = fields.replace(
  _AMPERSAND,
  (r"\[[^\[\]A-Z]*\d[^\[\]A-Z]*\]", ""),  # footnotes: "Friday [2]"
  # What stands for the table as a whole, and what it is called: "[TITLE]" is
  # spelt differently from a column TITLE, so that the two stay apart.
  (r"\[TABLECONTEXT\]", "Table"),
  (r"\[TITLE\]", "CAPTION"),
  (r"[\[\]]", ""),
  (r"[\s\x{a0}]+", " "),
)


def _table_entries(row: Mapping[str, Any]) -> tuple[Any, Any]:
  """Triples such as "Mount Hay HEIGHT 900 m"; only capitals set them off."""
  import tensorflow as tf

  triples = _TRIPLES(row["tripleset"])
  return (
    tf.strings.reduce_join(triples, separator="; "),
    tf.strings.reduce_join(triples, separator="\n"),
  )


DART = Task(
  name="dart",
  dataset="dart",
  cluster="struct_to_text",
  kind=TaskKind.GENERATION,
  source=Source("gem/dart", "1.1.0", Splits(dev="train", test="validation")),
  fields=_in_words("triples", _table_entries),
  slots=("triples", "listed", "text"),
  metrics=("rouge1", "rouge2", "rougeL"),
  documents=("text",),
  published_rows=62_450,
  baseline=Baseline("Data: {triples}\nText:", stops=("Data:",)),
  templates=(
    Template("Facts: {triples}\n\nPut them into words."),
    Template(
      "{listed}\n\nA sentence or two should be enough to put these table entries into plain prose. Write them."
    ),
    Template(
      "Each line below names a thing, one of its properties in capital letters, and the value of that property. Write it all out in ordinary English.\n\n{listed}"
    ),
    Template(
      "A page of an almanac has lost its text, and only the data behind it survive.\n\n{triples}\n\nWhat might the text have been?"
    ),
    Template("Subject, PROPERTY, value: {triples}\nIn plain English:"),
    Template(
      "Tell a reader who has never seen the table what it states here: {triples}"
    ),
    Template("Database record:\n{listed}\nFor human readers:"),
    Template(
      "What would you say if somebody asked you what this means?\n\n{triples}\n\nReply in full sentences, without the capitals and the semicolons."
    ),
    Template(
      '{text}\n\nExtract the facts in the form "subject PROPERTY value", with semicolons between them.',
      "{triples}",
    ),
    Template(
      "Which table entries does this text come from? List them one by one, each on its own line: the subject, the property in capital letters, the value.\n\n{text}",
      "{listed}",
    ),
  ),
)

_MEANING = fields.replace(
  (r"\beatType\[", "type["),
  (r"\bpriceRange\[", "price range["),
  (r"\bfamilyFriendly\[", "family friendly["),
  (r"\[", " = "),
)


def _venue(row: Mapping[str, Any]) -> tuple[Any, Any]:
  """`name[Lily's], eatType[pub]` becomes `name = Lily's, type = pub`."""
  import tensorflow as tf

  meaning = _MEANING(row["meaning_representation"])
  listed = tf.strings.regex_replace(meaning, r"\],\s*", "\n")
  return (
    tf.strings.regex_replace(meaning, r"\]", ""),
    tf.strings.regex_replace(listed, r"\]", ""),
  )


E2E_NLG = Task(
  name="e2e_nlg",
  dataset="e2e_nlg",
  cluster="struct_to_text",
  kind=TaskKind.GENERATION,
  source=Source("gem/e2e_nlg", "1.1.0", Splits(dev="train", test="validation")),
  fields=_in_words("details", _venue),
  slots=("details", "listed", "text"),
  metrics=("rouge1", "rouge2", "rougeL"),
  documents=("text",),
  published_rows=33_320,
  baseline=Baseline("Data: {details}\nText:", stops=("Data:",)),
  templates=(
    Template(
      "Describe this place to eat and drink in a sentence or two.\n\n{details}"
    ),
    Template("{details}\n\nMake an entry for a city guide out of these notes."),
    Template("Venue: {details}\nDescription:"),
    Template(
      "At the tourist office, a visitor points to a name on the map and asks what kind of place it is. The computer shows this:\n\n{listed}\n\nWhat do you tell the visitor?"
    ),
    Template(
      "Turn what is known about a pub, cafe or restaurant into running text: {details}"
    ),
    Template(
      "A newspaper prints a short text about every place in town where one can eat or drink. Write the one that goes with these details.\n{listed}"
    ),
    Template(
      "Somebody has filled in a form about a place to eat.\n\n{listed}\n\nSay the same in ordinary English."
    ),
    Template(
      "In one or two sentences, what do we learn about this venue?\n{details}"
    ),
    Template(
      "You are the voice of a navigation system, and the driver asks about a place to stop for food. Tell him what you have stored about it: {details}"
    ),
    Template(
      '{text}\n\nFill in the form for this place, in the manner of "food = Greek, area = city centre". The entries are name, type, food, price range, customer rating, area, family friendly and near; leave out those that the text does not mention.',
      "{details}",
    ),
  ),
)

_KNOWN = fields.replace(_AMPERSAND, (r"[_\s]+", " "))


def _knowledge(row: Mapping[str, Any]) -> tuple[Any, Any]:
  """`Graz | isPartOf | Styria` becomes `Graz, is part of, Styria`.

  Names of properties are taken apart at their capitals, unless they have
  underscores ("ICAO_Location_Identifier"): those are spelt as people do.
  """
  import tensorflow as tf

  triple = r"^\s*(.*?)\s*\|\s*(.*?)\s*\|\s*(.*?)\s*$"
  rows = row["input"]
  subject, name, value = (
    tf.strings.regex_replace(rows, triple, r"\%d" % part) for part in (1, 2, 3)
  )
  spaced = tf.strings.regex_replace(name, r"([a-z0-9])([A-Z])", r"\1 \2")
  camel = tf.strings.regex_full_match(name, r"[a-z0-9][A-Za-z0-9]*")
  name = tf.where(camel, tf.strings.lower(spaced), name)
  facts = tf.where(
    tf.strings.regex_full_match(rows, triple),
    tf.strings.join([subject, name, value], ", "),
    rows,
  )
  facts = _KNOWN(facts)
  return (
    tf.strings.reduce_join(facts, separator="; "),
    tf.strings.reduce_join(facts, separator="\n"),
  )


WEB_NLG_EN = Task(
  name="web_nlg_en",
  dataset="web_nlg_en",
  cluster="struct_to_text",
  kind=TaskKind.GENERATION,
  source=Source(
    "gem/web_nlg_en", "1.1.0", Splits(dev="train", test="validation")
  ),
  fields=_in_words("data", _knowledge),
  slots=("data", "listed", "text"),
  metrics=("rouge1", "rouge2", "rougeL"),
  documents=("text",),
  published_rows=35_220,
  baseline=Baseline("Data: {data}\nText:", stops=("Data:",)),
  templates=(
    Template("Turn these facts into a short passage of English.\n\n{data}"),
    Template("Data: {data}\nThe same in sentences:"),
    Template(
      "{listed}\n\nEvery line of this comes from a knowledge base and has a subject, a property and a value. Turn it into a short text that leaves nothing out."
    ),
    Template(
      "You edit an online encyclopedia, and its fact boxes are to become prose. Today's box holds the following:\n\n{listed}\n\nWhat is your version?"
    ),
    Template("How do you say this in fluent English? {data}"),
    Template("Tell me about this in full sentences: {data}"),
    Template(
      "Read every line as a statement, and write down what they say in prose that flows.\n{listed}\nText:"
    ),
    Template(
      "A website is read aloud to its blind users, and bare data are hard to follow by ear. Reword these as something one can listen to.\n\n{data}"
    ),
    Template(
      "{text}\n\nBreak this up into simple facts. Give each as subject, property, value, and put semicolons between the facts.",
      "{data}",
    ),
    Template(
      "A knowledge base is to learn what the text below says. Write its entries, one on each line, with commas between subject, property and value.\n\n{text}",
      "{listed}",
    ),
  ),
)

TASKS = (COMMON_GEN, DART, E2E_NLG, WEB_NLG_EN)
