"""Summarization of opinions: film reviews and arguments of a debate.

Rotten Tomatoes asks for the consensus of several reviews, iDebate for the claim
that sentences of a speech support.
"""

from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

from .summarization_helpers import ROUGE, numbered_lines, summary_fields

_clean_review = fields.cleaner(
  (r"\s+", " "),
  (r"\s*\[(?:Full review|(?:3D )?Blu)[^\]]*\]$", ""),
  (r"^[Ff]ull review (?:at|in|on) .*$", ""),
)

# Sentences of iDebate are the output of a parser: "word ,", "does n't", "-LRB-
# so -RRB-" for brackets, "``" for quotes, and "-LSB- 10 -RSB-" for a footnote.
_clean_sentence = fields.cleaner(
  (r"\s*-LSB-\s*[\divx]{1,4}\s*-RSB-", ""),
  (r"-L[RSC]B-\s*", "("),
  (r"\s*-R[RSC]B-", ")"),
  (r"``\s*|\s+''", '"'),
  (r"(^|[\s(])`\s+", r"\1'"),
  (r"\s+(n't|'(?:s|re|ve|ll|m|d))\b", r"\1"),
  (r"\s+'(\s|$)", r"'\1"),
  (r",(?:\s*,)+", ","),
  (r",\s*\.$", "."),
  (r"\s+([.,;:?!%])", r"\1"),
  (r"\$\s+(\d)", r"$\1"),
  (r"^[\s,;:.]+", ""),
  (r"\s+", " "),
)

_clean_claim = fields.cleaner((r"\s+", " "), (r"\s*:\s*$", ""))

_clean_motion = fields.cleaner(
  (r"\s+", " "),
  (r"\s*\([Jj]unior\)\s*$", ""),
  (r"^T?THW\b", "This House would"),
  (r"^THBT?\b( that\b)?", "This House believes that"),
  (r"\s*[:.]\s*$", ""),
)


def _rotten_tomatoes_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a Rotten Tomatoes row.

  A film without a name becomes "this film".
  """
  import tensorflow as tf

  reviews = _clean_review(row["_critics"]["value"])
  reviews = tf.boolean_mask(reviews, reviews != "")
  name = tf.strings.regex_replace(row["_movie_name"], r"[_\s]+", " ")
  name = tf.strings.strip(name)
  return summary_fields(
    fields.one_line(row["_critic_consensus"]),
    reviews=numbered_lines(reviews),
    first_review=tf.concat([reviews, [""]], 0)[0],
    film=tf.where(name == "", "this film", tf.strings.join(['"', name, '"'])),
  )


def _idebate_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of an iDebate row, with its sentences in order.

  The data set has shuffled them. The last part of a key such as "69095_1_4" is
  the number of the sentence in the speech.
  """
  import tensorflow as tf

  keys = row["_argument_sentences"]["key"]
  place = tf.strings.regex_replace(keys, r"^.*_(\d{1,6})$", r"\1")
  is_number = tf.strings.regex_full_match(place, r"\d{1,6}")
  place = tf.strings.to_number(tf.where(is_number, place, "0"), tf.int32)
  order = tf.argsort(place, stable=True)
  sentences = tf.gather(row["_argument_sentences"]["value"], order)
  return summary_fields(
    _clean_claim(row["_claim"]),
    arguments=numbered_lines(_clean_sentence(sentences)),
    debate=_clean_motion(row["_debate_name"]),
  )


OPINION_ABSTRACTS_ROTTEN_TOMATOES = Task(
  name="opinion_abstracts_rotten_tomatoes",
  dataset="opinion_abstracts_rotten_tomatoes",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "opinion_abstracts/rotten_tomatoes",
    "1.0.0",
    Splits(test="train", test_rows=500, dev_rows=100),
  ),
  fields=_rotten_tomatoes_fields,
  slots=("reviews", "first_review", "film"),
  metrics=ROUGE,
  documents=("first_review",),
  published_rows=3_130,
  templates=(
    Template(
      "{reviews}\n\nSo much for the reviews of {film}. What do the critics think, all in all?"
    ),
    Template(
      "Sum up these opinions of a film in a sentence or two, as a site that collects reviews would.\n\n{reviews}"
    ),
    Template("Critics on {film}:\n{reviews}\nConsensus:"),
    Template(
      "I can't decide whether to see {film}. This is what reviewers say:\n\n{reviews}\n\nWhat is the general verdict?"
    ),
    Template(
      "What do the following critics make of the film on the whole? Put it briefly.\n\n{reviews}"
    ),
    Template(
      "In the foyer of a cinema hangs a board with a short verdict on every film that is showing. Write the verdict on {film} from what has appeared in the papers.\n\n{reviews}"
    ),
    Template(
      "Different voices, one film. Weigh them and come to one judgment.\n\n{reviews}"
    ),
    Template(
      "From the press file:\n{reviews}\n\nHow was {film} received? Be fair, and be brief."
    ),
    Template(
      "The critics' consensus on {film} is as follows: {answer}\n\nWhat may one of the critics have written?",
      "{first_review}",
    ),
    Template(
      "{answer}\n\nThat is how a website sums up the reviews of a film. List lines from those reviews, and number them.",
      "{reviews}",
    ),
  ),
)

OPINION_ABSTRACTS_IDEBATE = Task(
  name="opinion_abstracts_idebate",
  dataset="opinion_abstracts_idebate",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "opinion_abstracts/idebate",
    "1.0.0",
    Splits(test="train", test_rows=500, dev_rows=100),
  ),
  fields=_idebate_fields,
  slots=("arguments", "debate"),
  metrics=ROUGE,
  published_rows=1_650,
  templates=(
    Template(
      "Debate: {debate}\n\nA speaker argues:\n{arguments}\n\nWhat is the speaker's point? Put it in one line."
    ),
    Template(
      "Take the sentences below as one argument. What is it an argument for?\n\n{arguments}"
    ),
    Template("Topic: {debate}\nArguments:\n{arguments}\nClaim:"),
    Template(
      'The subject of the debate was "{debate}", and one side had this to say:\n\n{arguments}\n\nReduce it to a single claim.'
    ),
    Template(
      "Find a heading that states what is being argued here.\n\n{arguments}"
    ),
    Template(
      "You are the judge in a debating contest and write down the thesis of every speech. These are sentences from one of the speeches:\n\n{arguments}\n\nWhat do you write down?"
    ),
    Template("{arguments}\n\nWhich one point does all of that add up to?"),
    Template(
      "A school class discusses the following: {debate}\n\nOne pupil has prepared these notes.\n\n{arguments}\n\nSay in a few words what they are meant to show."
    ),
    Template(
      "{arguments}\n\nIn what debate might somebody argue like that? Name the motion or the subject.",
      "{debate}",
    ),
    Template(
      'In a debate under the title "{debate}", somebody makes this claim: {answer}\n\nSupport the claim with a numbered list of sentences.',
      "{arguments}",
    ),
  ),
)
