"""Summarization of news articles.

The kind of summary decides how the templates ask for it: key points on lines of
their own (CNN/Daily Mail), a headline (Gigaword), one report on several
articles (Multi-News), a preview of a web page (Newsroom), or the first sentence
of a report (XSum). AG News asks for the topic of an article.
"""

from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

from .summarization_helpers import ROUGE, summary_fields

# Removes the head of an article, which summaries do not use: the place and the
# agency, "LONDON, England (CNN) -- ", and the author and the date, "By. A
# Reporter. PUBLISHED:. 09:00 EST, 5 June 2013. |. UPDATED:. ". Only the
# beginning is searched, because years and dashes occur in stories, too. Every
# line ends with a full stop, even captions, in some versions after a blank.
_clean_cnn_article = fields.cleaner(
  (r"[ \t]+", " "),
  (r" \.(\s|$)", r".\1"),
  (
    r"(?s)^.{0,400}\b(?:PUBLISHED|UPDATED|[Uu]pdated at)\b[^|]{0,60}?"
    r"\b20\d\d\.\s+",
    "",
  ),
  (r"^By\.\s[^.]{1,80}\.\s+", ""),
  (r"(?s)^.{0,600}?\(CNN\)\s+--\s+", ""),
  (r"^[^()]{0,60}\((?:CNN|The Hollywood Reporter)\)\s*", ""),
  (r"^[^()]{0,60}\([A-Z][\w.' ]{1,40}\)\s+--\s+", ""),
  (r"\b[Ss]croll down for (?:the )?videos?\b[.\s]*", ""),
  (r":\.(\s|$)", r":\1"),
)

_clean_highlights = fields.cleaner(
  (r"[ \t]+", " "),
  (r"\s+\.\s+", ".\n"),
  (r"\s+\.$", "."),
  (r"(?m)^CLICK HERE\b.*(?:\n|\z)", ""),
)

# Five bars separate the articles of a row. In some copies, the heading "Passage
# 2:" does, and so on. Summaries begin with a dash.
_clean_multi_news = fields.cleaner(
  ("NEWLINE_CHAR", "\n"),
  (r"[ \t]*\n[ \t]*", "\n"),
  (r"(?:^|\n)Passage \d+:\n", "|||||"),
  (r"\n{2,}", "\n\n"),
)

_clean_digest = fields.cleaner((r"\s+", " "), (r"^\s*[\x{2013}-]\s*", ""))

# HTML entities have lost their ampersand, and "\" stands for the end of a line.
_clean_ag_news = fields.cleaner(
  (r"&lt;.*?&gt;|<[^<>]*>", " "),
  (r"\\+\$|\s?#36;", "$"),
  (r"\\+", " "),
  (r"\s*#151;\s*", " -- "),
  (r"\s*#(?:39|14[56]);(s|t|re|ve|ll|d|m)\b", r"'\1"),
  (r"\bO #39;", "O'"),
  (r"\s*#(?:39|14[56]);([\s.,;:?!)]|$)", r"'\1"),
  (r"\s*#(?:39|14[56]);", " '"),
  (r"\s*&?quot;([\s.,;:?!)]|$)", r'"\1'),
  (r"\s*&?quot;", ' "'),
  (r"\s?&?amp;", "&"),
  (r"\s?#\d+;", " "),
  (r"\s+", " "),
)


def _cnn_dailymail_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a CNN/Daily Mail row, with one highlight on a line."""
  return summary_fields(
    _clean_highlights(row["highlights"]),
    article=_clean_cnn_article(row["article"]),
  )


def _multi_news_fields(row: fields.Row) -> dict[str, Any]:
  """Returns the slots of a Multi-News row, with headings such as "Article 1:".

  A single article has no heading.
  """
  import tensorflow as tf

  articles = tf.strings.split(_clean_multi_news(row["document"]), "|||||")
  articles = tf.strings.strip(articles)
  articles = tf.boolean_mask(articles, articles != "")
  numbers = tf.as_string(tf.range(1, tf.size(articles) + 1))
  headed = tf.strings.join(["Article ", numbers, ":\n", articles])
  articles = tf.where(tf.size(articles) > 1, headed, articles)
  return summary_fields(
    _clean_digest(row["summary"]),
    articles=tf.strings.reduce_join(articles, separator="\n\n"),
  )


GIGAWORD = Task(
  name="gigaword",
  dataset="gigaword",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source("gigaword", "1.2.0", Splits(dev="validation", test="test")),
  # UNK stands for a rare word and # for a digit: nobody can write them back.
  fields=fields.generation(
    answer="summary",
    clean=fields.one_line,
    excluded=r"\bUNK\b|#",
    document="document",
  ),
  slots=("document",),
  metrics=ROUGE,
  documents=("document",),
  published_rows=2_044_370,
  templates=(
    Template("{document}\n\nGive this report a headline."),
    Template(
      "A newspaper story begins like this:\n\n{document}\n\nWhat could its headline be?"
    ),
    Template(
      "Shorten this sentence until only the news is left.\n\n{document}"
    ),
    Template("Article: {document}\nHeadline:"),
    Template("In as few words as you can, what happened here?\n\n{document}"),
    Template(
      "You edit the front page. The line below has to become a headline of about eight words.\n\n{document}"
    ),
    Template("News: {document}\n\nTell me the gist of it in one short line."),
    Template(
      "Short lines of news run along the foot of a television screen. What should the line about the following say?\n\n{document}"
    ),
    Template(
      "Write the opening sentence of a news story with this headline: {answer}",
      "{document}",
    ),
    Template(
      "{answer}\n\nExpand the headline above into a full sentence, as a reporter would.",
      "{document}",
    ),
  ),
)

CNN_DAILYMAIL = Task(
  name="cnn_dailymail",
  dataset="cnn_dailymail",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "cnn_dailymail",
    "3.4.0",
    Splits(dev="validation", test="test"),
    pinned="3.1.0",
    broken="Google Drive answers with a page that asks for confirmation, so the"
    " checksum does not match; TFDS has mended this since (pull request 10963).",
  ),
  fields=_cnn_dailymail_fields,
  slots=("article",),
  metrics=ROUGE,
  documents=("article",),
  published_rows=287_040,
  templates=(
    Template(
      "{article}\n\nWhat are the main points of this story? Give each of them a line of its own."
    ),
    Template(
      "Someone is going to skim the article below. Which facts should reach this reader all the same? Put each on a line of its own.\n\n{article}"
    ),
    Template("Story: {article}\n\nHighlights:"),
    Template(
      "A news site prints a handful of key facts above each of its stories, one fact to a line. Do the same for this one.\n\n{article}"
    ),
    Template(
      "My train leaves in a minute. What are the most important things in here?\n\n{article}"
    ),
    Template(
      "Condense the following report into a few short sentences, and start a new line for each.\n\n{article}"
    ),
    Template("{article}\n\nKey facts from the report above:"),
    Template(
      "An article is about to go online:\n\n{article}\n\nThe editor wants bullet points for the top of the page. Write them, one to a line, without the bullets."
    ),
    Template(
      "{answer}\n\nA reporter has jotted these points down. Write the finished story, and leave none of them out.",
      "{article}",
    ),
    Template(
      "Write a full-length article in which a reader finds all of the following.\n\n{answer}",
      "{article}",
    ),
  ),
)

# A few rows have one article only, so that no template says "articles".
MULTI_NEWS = Task(
  name="multi_news",
  dataset="multi_news",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "multi_news",
    "2.1.0",
    Splits(dev="validation", test="test"),
    pinned="1.0.0",
    broken="The links of versions before 2.1.0 are dead.",
  ),
  fields=_multi_news_fields,
  slots=("articles",),
  metrics=ROUGE,
  documents=("articles",),
  published_rows=44_960,
  templates=(
    Template(
      "{articles}\n\nPull the reporting above together into one paragraph."
    ),
    Template(
      "The following appeared in the press about one and the same subject.\n\n{articles}\n\nTell the whole story in your own words, as briefly as it allows."
    ),
    Template("Coverage:\n\n{articles}\n\nDigest:"),
    Template(
      "Write up this news material as one short piece. Whatever is reported twice, say once.\n\n{articles}"
    ),
    Template(
      "A friend of yours has been away and has missed this news. Bring her up to date in a paragraph.\n\n{articles}"
    ),
    Template(
      "You prepare the press review that a minister gets to read at breakfast. On one subject, this came in overnight:\n\n{articles}\n\nWrite the entry for the review."
    ),
    Template(
      "Give a single summary of everything that is reported here.\n\n{articles}"
    ),
    Template(
      "What happened, who was involved, and what is said about it? Answer in connected sentences, on the basis of this material.\n\n{articles}"
    ),
    Template(
      "{answer}\n\nThe lines above sum up what was in the news. Write the reports that they are based on.",
      "{articles}",
    ),
    Template(
      "Someone has made a digest of the news on a subject, but the sources are lost. Make up what they may have said.\n\nDigest: {answer}",
      "{articles}",
    ),
  ),
)

NEWSROOM = Task(
  name="newsroom",
  dataset="newsroom",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "newsroom",
    "1.0.0",
    Splits(dev="validation", test="test"),
    manual="Ask for the corpus with the form at https://summari.es/download/"
    " (Cornell Newsroom), and put train.jsonl, dev.jsonl and test.jsonl in"
    " <manual_dir>.",
  ),
  fields=fields.generation(answer="summary", title="title", text="text"),
  slots=("title", "text"),
  metrics=ROUGE,
  documents=("text",),
  published_rows=994_560,
  templates=(
    Template(
      "{title}\n\n{text}\n\nA preview of this page shows its title and a short description. Write the description."
    ),
    Template(
      "How could a search engine describe the following page in a sentence or two?\n\n{text}"
    ),
    Template("Title: {title}\n\nText: {text}\n\nIn brief:"),
    Template(
      "Somebody wants to share this article and to say with the link, in very few words, what is in it. What could they write?\n\n{title}\n\n{text}"
    ),
    Template('Briefly, what does the article "{title}" tell us?\n\n{text}'),
    Template(
      "{text}\n\nSomebody sees you reading this and asks what it says. Answer in one breath."
    ),
    Template(
      "Headline: {title}\n\n{text}\n\nNot everyone reads past the headline. Give those people the substance of the article."
    ),
    Template(
      "A weekly newsletter lists articles worth reading, each with a short teaser. Add this one to the list.\n\n{title}\n\n{text}\n\nTeaser:"
    ),
    Template(
      "{text}\n\nThe text above has lost its title. What might it have been?",
      "{title}",
    ),
    Template(
      'Under the heading "{title}", a paper has run a piece that it describes like this: {answer}\n\nWrite the piece.',
      "{text}",
    ),
  ),
)

# BBC reports begin with a sentence in bold type. It is the summary, and the
# rest of the report is the document.
XSUM = Task(
  name="xsum",
  dataset="xsum",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "xsum",
    "1.1.0",
    Splits(dev="validation", test="test"),
    manual="Fetch the articles with the scripts at"
    " https://github.com/EdinburghNLP/XSum (XSum-Dataset), and put the archive"
    " that they make, xsum-extracts-from-downloads.tar.gz, in <manual_dir>.",
    hub="EdinburghNLP/xsum",
  ),
  fields=fields.generation(
    answer="summary",
    clean=fields.cleaner(
      (r"\s*Media playback is \w+(?: \w+)? on \w+ device\s*", " "),
      (r"^\s*\d+ \w+ 20\d\d Last updated at \d+:\d+ [A-Z]+\s+", ""),
      (r"[ \t]+", " "),
    ),
    document="document",
  ),
  slots=("document",),
  metrics=ROUGE,
  documents=("document",),
  published_rows=203_560,
  templates=(
    Template(
      "{document}\n\nThe first sentence of this report is missing. It said what the story is about. Write it."
    ),
    Template(
      "What is the following report about? One sentence is enough.\n\n{document}"
    ),
    Template("Report: {document}\n\nIn one sentence:"),
    Template("Put the news below into a single sentence.\n\n{document}"),
    Template(
      "There are ten seconds left before the weather forecast. Give the presenter one sentence to read out about this story.\n\n{document}"
    ),
    Template(
      "{document}\n\nIf there were room for only one line about this, what should it say?"
    ),
    Template(
      "Write the introduction, a single sentence, that belongs above this text.\n\n{document}"
    ),
    Template(
      '"What are you reading?" asks the woman next to you on the bus. You are reading this:\n\n{document}\n\nReply with a sentence that gives her the essence.'
    ),
    Template(
      "A news story opens like this: {answer}\n\nContinue it.", "{document}"
    ),
    Template(
      "The front page has room for no more than the sentence below. Write the full report for the inside pages.\n\n{answer}",
      "{document}",
    ),
  ),
)

AG_NEWS_SUBSET = Task(
  name="ag_news_subset",
  dataset="ag_news_subset",
  cluster="summarization",
  kind=TaskKind.CLASSIFICATION,
  source=Source(
    "ag_news_subset",
    "1.0.0",
    Splits(dev="train", test="test"),
    broken="Google Drive refuses the download when too many have asked for it;"
    " try again a day later.",
  ),
  fields=fields.slots(
    title="title", text="description", label="label", clean=_clean_ag_news
  ),
  slots=("title", "text"),
  options=("World", "Sports", "Business", "Science/Tech"),
  metrics=("accuracy",),
  documents=("text",),
  published_rows=119_800,
  templates=(
    Template(
      "{title}\n\n{text}\n\nThis has to go on one of four pages of the paper. Name the page.\n\n{options_}"
    ),
    Template("Sort this news item by its subject.\n{options_}\n\nItem: {text}"),
    Template(
      "{options_}\n\nThese are the four desks of a news agency. Which of them put out the following?\n\n{title}\n{text}"
    ),
    Template("Headline: {title}\nLead: {text}\nTopic:\n{options_}"),
    Template(
      "A reader has subscribed to four kinds of news and keeps each kind in a folder of its own. A new item has come in.\n\n{text}\n\nWhich folder should it go into?\n{options_}"
    ),
    Template(
      'An item headed "{title}" opens like this:\n\n{text}\n\nWhat kind of news is it?\n\n{options_}'
    ),
    Template(
      "Here is a snippet of news, and below it are four labels. Pick the label that fits.\n\n{text}\n\n{options_}"
    ),
    Template(
      "A radio asks its owner which kind of news to read out. With which reply would the owner get to hear this?\n\n{title}\n{text}\n\n{options_}"
    ),
    Template(
      "A news item without a title begins as follows.\n\n{text}\n\nSupply the title.",
      "{title}",
    ),
    Template(
      'In a news feed, under the category {answer}, there is an entry with the title "{title}". Write the text of the entry.',
      "{text}",
    ),
  ),
)
