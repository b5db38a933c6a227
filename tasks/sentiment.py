"""Sentiment: reviews and tweets, positive or negative (four data sets)."""

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

_OPTIONS = ("negative", "positive")


def _sentiment140_fields(row: fields.Row) -> dict:
  """Returns the slots of a Sentiment140 row; leaves neutral tweets out.

  Polarity 0 is negative, 2 neutral and 4 positive. The published code scores
  the neutral tweets of the test split as negative.
  """
  import tensorflow as tf

  polarity = tf.cast(row["polarity"], tf.int64)
  positive = tf.cast(polarity > 2, tf.int64)
  none = tf.constant(-1, tf.int64)
  return {
    "text": tf.strings.strip(row["text"]),
    "answer_index": tf.where(polarity == 2, none, positive),
    "keep": polarity != 2,
  }


SST2 = Task(
  name="sst2",
  dataset="sst2",
  cluster="sentiment",
  kind=TaskKind.CLASSIFICATION,
  source=Source("glue/sst2", "2.0.0", Splits(dev="train", test="validation")),
  fields=fields.slots(sentence="sentence", label="label"),
  slots=("sentence",),
  options=_OPTIONS,
  metrics=("accuracy",),
  documents=("sentence",),
  published_rows=67_140,
  templates=(
    Template(
      'A critic wrote about a film: "{sentence}"\n\nHow does the critic feel about it?\n\n{options_}'
    ),
    Template(
      "{sentence}\n\nLabel the tone of this fragment of a film review.\n{options_}"
    ),
    Template(
      "{options_}\n\nFrom the labels listed above, choose the one that fits this line by a film reviewer:\n{sentence}"
    ),
    Template(
      "I am sorting quotations from film critics into two piles. Which pile does this one belong in?\n\n{sentence}\n\n{options_}"
    ),
    Template("Film criticism: {sentence}\nVerdict on the film?\n{options_}"),
    Template(
      'If you had nothing but this passage to go by, would you guess that the reviewer\'s opinion was favorable or unfavorable?\n\n"{sentence}"\n\nReply with one of the labels below.\n{options_}'
    ),
    Template(
      "Task: sentiment classification.\n{options_}\nText: {sentence}\nLabel:"
    ),
    Template(
      'Does the person who said "{sentence}" recommend the film or warn people off it? Use "positive" for a recommendation and "negative" for a warning.\n\n{options_}'
    ),
    Template(
      "Compose one phrase that takes a {answer} view of a film, as a critic might put it.",
      "{sentence}",
    ),
    Template(
      "Imagine that a critic's judgment of a film is {answer}. Give a single line from the review.",
      "{sentence}",
    ),
  ),
)

IMDB_REVIEWS = Task(
  name="imdb_reviews",
  dataset="imdb_reviews",
  cluster="sentiment",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "imdb_reviews/plain_text", "1.0.0", Splits(dev="train", test="test")
  ),
  fields=fields.slots(
    text="text", label="label", clean=fields.cleaner((r"<br\s*/?>", "\n"))
  ),
  slots=("text",),
  options=_OPTIONS,
  metrics=("accuracy",),
  documents=("text",),
  published_rows=24_800,
  templates=(
    Template(
      "{text}\n\nWhat was this viewer's overall opinion of the film?\n\n{options_}"
    ),
    Template(
      "Read what somebody posted online about a film or a show, then say which way the opinion leans.\n\n{text}\n\n{options_}"
    ),
    Template(
      "{options_}\n\nOne of these words sums up the review below. Which one?\n\n{text}"
    ),
    Template(
      "Viewer's comment:\n{text}\n\nSentiment of the comment:\n{options_}"
    ),
    Template(
      'Decide whether somebody who trusts the author of this comment would expect a good film or a bad one. Answer "positive" for good and "negative" for bad.\n\nComment: {text}\n\n{options_}'
    ),
    Template(
      "Suppose that you look after a movie site and tag each review by its attitude.\n{options_}\n\nReview to tag:\n{text}\n\nTag:"
    ),
    Template(
      'How would you classify the attitude of this moviegoer?\n{options_}\n\n"{text}"'
    ),
    Template(
      "You have just come home from the cinema, and your impression of the film is {answer}. Post a review.",
      "{text}",
    ),
    Template(
      "Please draft a {answer} user comment on a film. A paragraph or more is fine.",
      "{text}",
    ),
    Template(
      "Somebody needs a sample of a {answer} movie write-up for a class on opinion writing. Provide one.",
      "{text}",
    ),
  ),
)

SENTIMENT140 = Task(
  name="sentiment140",
  dataset="sentiment140",
  cluster="sentiment",
  kind=TaskKind.CLASSIFICATION,
  source=Source("sentiment140", "1.0.0", Splits(dev="train", test="test")),
  fields=_sentiment140_fields,
  slots=("text",),
  options=_OPTIONS,
  metrics=("accuracy",),
  documents=("text",),
  published_rows=1_599_800,
  templates=(
    Template("Tweet: {text}\n\nMood of the author:\n{options_}"),
    Template(
      'Somebody posted this on a social network:\n\n"{text}"\n\nIs the message upbeat or unhappy? Answer with one of these labels.\n\n{options_}'
    ),
    Template(
      "{options_}\n\nPick the label from the list that matches the feeling in this short post: {text}"
    ),
    Template("{text}\nGood vibes or bad vibes?\n{options_}"),
    Template(
      "A company wants to know how people feel when they write online. Rate this message for the company.\n{options_}\n\nMessage: {text}"
    ),
    Template(
      "What kind of feeling does the short message below express?\n\n{text}\n\n{options_}"
    ),
    Template(
      "I can't tell how the writer of this meant it. Was it positive or negative?\n\n>> {text}\n\n{options_}"
    ),
    Template("Post a tweet in a {answer} mood.", "{text}"),
    Template(
      "Sentiment: {answer}\nWrite a short social media message to match.",
      "{text}",
    ),
    Template(
      "Make up a status update of no more than 140 characters. Its tone should be {answer}.",
      "{text}",
    ),
  ),
)

YELP_POLARITY_REVIEWS = Task(
  name="yelp_polarity_reviews",
  dataset="yelp_polarity_reviews",
  cluster="sentiment",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "yelp_polarity_reviews", "0.2.0", Splits(dev="train", test="test")
  ),
  # Rows contain the escapes of the original file: \n for the end of a line,
  # \"" or "" for a quotation mark.
  fields=fields.slots(
    text="text",
    label="label",
    clean=fields.cleaner((r'\\ ?"{1,2}|""', '"'), (r"\\n", "\n")),
  ),
  slots=("text",),
  options=_OPTIONS,
  metrics=("accuracy",),
  documents=("text",),
  published_rows=559_800,
  templates=(
    Template(
      "A customer left these words about a business:\n\n{text}\n\nWas the customer's experience negative or positive?\n{options_}"
    ),
    Template(
      "{text}\n\nJudging from the words above, what is the writer's opinion of the place?\n\n{options_}"
    ),
    Template(
      "Sort customer feedback into one of two classes.\n\n{options_}\n\nFeedback: {text}\nClass:"
    ),
    Template(
      'The owner of a local business has no time to read every comment in full. Tell the owner in one word what sort of comment this is.\n\n"{text}"\n\n{options_}'
    ),
    Template(
      'Would the author of this comment go back there? If so, reply "positive"; if not, reply "negative".\n\n{text}\n\n{options_}'
    ),
    Template(
      "{options_}\n\nWhich of the two describes the following opinion of a shop, restaurant or service?\n\n{text}"
    ),
    Template(
      "The number of stars was cut off from this review. Do the words suggest a low rating (negative) or a high one (positive)?\n\nReview: {text}\n{options_}"
    ),
    Template(
      "Write what a customer whose impression of a place is {answer} might post about it on a review site.",
      "{text}",
    ),
    Template(
      "Business feedback wanted: please invent one {answer} comment from a visitor.",
      "{text}",
    ),
    Template(
      "I run a website about local shops and restaurants and need a {answer} review to test the page. What could it say?",
      "{text}",
    ),
  ),
)

TASKS = (SST2, IMDB_REVIEWS, SENTIMENT140, YELP_POLARITY_REVIEWS)
