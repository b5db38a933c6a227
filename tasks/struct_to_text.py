"""Struct to text: descriptions of data. Four data sets of the GEM benchmark.

CommonGen asks for a sentence with given words, DART for a sentence on rows of a
table, E2E for the description of a restaurant, and WebNLG for a text on facts
of a knowledge base. Templates use the data on one line, or one item on a line
(`listed`).
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

# Some texts and data come from web pages.
_AMPERSAND = (r"&amp;", "&")

# Some texts are tokenized ("a dog , asleep ."), and some contain tabs or double
# blanks.
_clean_text = fields.cleaner(
  _AMPERSAND,
  (r"[\s\x{a0}]+", " "),
  (r" ([.,;:!?])( |$)", r"\1\2"),
)
_text_fields = fields.generation(
  answer="target", references="references", clean=_clean_text
)

# Turns a row into its data on one line, and its data with an item on each line.
_FormatData = Callable[[Mapping[str, Any]], tuple[Any, Any]]


def _description_fields(slot: str, format_data: _FormatData) -> Fields:
  """Returns the field function of a task that describes data.

  Training rows have one text and no references; test rows may have references
  and an empty target. The slot `text` is the target, or the first reference.

  Args:
    slot: the slot for the data on one line.
    format_data: formats the data of a row.
  """

  def fields_of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    out = _text_fields(row)
    one_line, listed = format_data(row)
    return {
      **out,
      slot: one_line,
      "listed": listed,
      "text": out["answer"],
      "keep": out["keep"] & (one_line != ""),
    }

  return fields_of_row


def _format_concepts(row: Mapping[str, Any]) -> tuple[Any, Any]:
  """Formats words, without the part of speech of some releases: "look_V"."""
  import tensorflow as tf

  words = fields.cleaner((r"_[A-Z]$", ""))(row["concepts"])
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
  fields=_description_fields("concepts", _format_concepts),
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

_clean_triples = fields.cleaner(
  _AMPERSAND,
  (r"\[[^\[\]A-Z]*\d[^\[\]A-Z]*\]", ""),  # Footnotes: "Friday [2]".
  # [TABLECONTEXT] is the whole table, and [TITLE] is its title. The title is
  # renamed, because a column may be named TITLE, too.
  (r"\[TABLECONTEXT\]", "Table"),
  (r"\[TITLE\]", "CAPTION"),
  (r"[\[\]]", ""),
  (r"[\s\x{a0}]+", " "),
)


def _format_triples(row: Mapping[str, Any]) -> tuple[Any, Any]:
  """Formats triples such as "Mount Hay HEIGHT 900 m"."""
  import tensorflow as tf

  triples = _clean_triples(row["tripleset"])
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
  fields=_description_fields("triples", _format_triples),
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

_clean_meaning = fields.cleaner(
  (r"\beatType\[", "type["),
  (r"\bpriceRange\[", "price range["),
  (r"\bfamilyFriendly\[", "family friendly["),
  (r"\[", " = "),
)


def _format_venue(row: Mapping[str, Any]) -> tuple[Any, Any]:
  """Rewrites "name[Lily's], eatType[pub]" as "name = Lily's, type = pub"."""
  import tensorflow as tf

  meaning = _clean_meaning(row["meaning_representation"])
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
  fields=_description_fields("details", _format_venue),
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

_clean_facts = fields.cleaner(_AMPERSAND, (r"[_\s]+", " "))


def _format_facts(row: Mapping[str, Any]) -> tuple[Any, Any]:
  """Rewrites "Graz | isPartOf | Styria" as "Graz, is part of, Styria".

  Names of properties are split at their capital letters, unless they contain
  underscores ("ICAO_Location_Identifier").
  """
  import tensorflow as tf

  triple = r"^\s*(.*?)\s*\|\s*(.*?)\s*\|\s*(.*?)\s*$"
  rows = row["input"]
  subject, name, value = (
    tf.strings.regex_replace(rows, triple, r"\%d" % part) for part in (1, 2, 3)
  )
  spaced = tf.strings.regex_replace(name, r"([a-z0-9])([A-Z])", r"\1 \2")
  is_camel_case = tf.strings.regex_full_match(name, r"[a-z0-9][A-Za-z0-9]*")
  name = tf.where(is_camel_case, tf.strings.lower(spaced), name)
  facts = tf.where(
    tf.strings.regex_full_match(rows, triple),
    tf.strings.join([subject, name, value], ", "),
    rows,
  )
  facts = _clean_facts(facts)
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
  fields=_description_fields("data", _format_facts),
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
