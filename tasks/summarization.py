"""Summarization: say in few words what a text is about.

What the summary of a data set is decides how its templates ask for it: a
subject line (AESLC), a headline (Gigaword), key points on lines of their own
(CNN/Daily Mail), one report made of several (Multi-News), a preview of a page
(Newsroom), an account of a chat (SAMSum), the opening sentence that is missing
(XSum), a topic to choose (AG News), a verdict (Rotten Tomatoes), a claim
(iDebate), the steps of a guide (WikiLingua).
"""

from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

_ROUGE = ("rouge1", "rouge2", "rougeL")

# Texts are cut off where the published data sets repeat what no summary is made
# of: the place and the agency, "LONDON, England (CNN) -- ", and the author and
# the date, "By. A Reporter. PUBLISHED:. 09:00 EST, 5 June 2013. |. UPDATED:. ".
# Only the beginning is searched: years and dashes occur in stories, too. Full
# stops end all lines, captions too, in some versions after a blank.
_ARTICLE = fields.replace(
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
_HIGHLIGHTS = fields.replace(
  (r"[ \t]+", " "),
  (r"\s+\.\s+", ".\n"),
  (r"\s+\.$", "."),
  (r"(?m)^CLICK HERE\b.*(?:\n|\z)", ""),
)

# One message in fifty still bears the marks of its transfer: "=20" and "=09" for
# blanks, "=01,s" for "'s", and "lob= by" where a line was broken.
_TRANSFER = fields.replace(
  (r"(?:=\s+)?=01,\s?s\b", "'s"),
  (r"=01,", "'"),
  (r"(?:=\s+)?=(?:09|20\b)", " "),
  (r"(?:=\s+){3,}", " "),
  (r"([a-z])=\s+([a-z.,;])", r"\1\2"),
  (r"(\d)=\s+(\d)", r"\1\2"),
)

# Articles are divided by five bars; in some copies the second one is headed
# "Passage 2:", and so on. Summaries begin with a dash.
_ARTICLES = fields.replace(
  ("NEWLINE_CHAR", "\n"),
  (r"[ \t]*\n[ \t]*", "\n"),
  (r"(?:^|\n)Passage \d+:\n", "|||||"),
  (r"\n{2,}", "\n\n"),
)
_DIGEST = fields.replace((r"\s+", " "), (r"^\s*[\x{2013}-]\s*", ""))

# A message that was nothing but a picture leaves a name and a colon.
_CHAT = fields.replace(
  (r"\r\n?", "\n"),
  (r"<[A-Za-z]\w*>", " "),
  (r"[ \t]+", " "),
  (r"(?m)^ | $", ""),
  (r"(?m)^[^:\n]{1,25}:(\n|\z)", ""),
)

# Entities have lost their ampersand, and "\" stands for the end of a line.
_WIRE = fields.replace(
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

_REVIEW = fields.replace(
  (r"\s+", " "),
  (r"\s*\[(?:Full review|(?:3D )?Blu)[^\]]*\]$", ""),
  (r"^[Ff]ull review (?:at|in|on) .*$", ""),
)

# Sentences of iDebate come as a parser wrote them: "word ,", "does n't",
# "-LRB- so -RRB-", "``", and "-LSB- 10 -RSB-" for a footnote.
_SENTENCE = fields.replace(
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
_CLAIM = fields.replace((r"\s+", " "), (r"\s*:\s*$", ""))
_MOTION = fields.replace(
  (r"\s+", " "),
  (r"\s*\([Jj]unior\)\s*$", ""),
  (r"^T?THW\b", "This House would"),
  (r"^THBT?\b( that\b)?", "This House believes that"),
  (r"\s*[:.]\s*$", ""),
)


def _mail(text: Any) -> Any:
  """A message on one line, without the marks of its transfer."""
  return fields.one_line(_TRANSFER(text))


def _written(answer: Any, **slots: Any) -> dict[str, Any]:
  """The slots of a generation; rows with an empty text are left out."""
  import tensorflow as tf

  return {
    **slots,
    "answer": answer,
    "references": answer[tf.newaxis],
    "keep": tf.reduce_all(tf.stack([answer, *slots.values()]) != ""),
  }


def _numbered(texts: Any) -> Any:
  """The first ten texts that are not empty, as lines: "1. ..."."""
  import tensorflow as tf

  texts = tf.boolean_mask(texts, texts != "")[:10]
  numbers = tf.as_string(tf.range(1, tf.size(texts) + 1))
  return tf.strings.reduce_join(
    tf.strings.join([numbers, texts], ". "), separator="\n"
  )


def _cnn_dailymail(row: fields.Row) -> dict[str, Any]:
  """The article without its dateline, and highlights, one to a line."""
  return _written(
    _HIGHLIGHTS(row["highlights"]), article=_ARTICLE(row["article"])
  )


def _multi_news(row: fields.Row) -> dict[str, Any]:
  """The articles under headings "Article 1:", unless there is only one."""
  import tensorflow as tf

  articles = tf.strings.split(_ARTICLES(row["document"]), "|||||")
  articles = tf.strings.strip(articles)
  articles = tf.boolean_mask(articles, articles != "")
  numbers = tf.as_string(tf.range(1, tf.size(articles) + 1))
  headed = tf.strings.join(["Article ", numbers, ":\n", articles])
  articles = tf.where(tf.size(articles) > 1, headed, articles)
  return _written(
    _DIGEST(row["summary"]),
    articles=tf.strings.reduce_join(articles, separator="\n\n"),
  )


def _rotten_tomatoes(row: fields.Row) -> dict[str, Any]:
  """Reviews as a list, and what to call the film: its name may be missing."""
  import tensorflow as tf

  reviews = _REVIEW(row["_critics"]["value"])
  reviews = tf.boolean_mask(reviews, reviews != "")
  name = tf.strings.regex_replace(row["_movie_name"], r"[_\s]+", " ")
  name = tf.strings.strip(name)
  return _written(
    fields.one_line(row["_critic_consensus"]),
    reviews=_numbered(reviews),
    first_review=tf.concat([reviews, [""]], 0)[0],
    film=tf.where(name == "", "this film", tf.strings.join(['"', name, '"'])),
  )


def _idebate(row: fields.Row) -> dict[str, Any]:
  """Argument sentences in the order of the speech.

  The data set has them shuffled; the last part of a key, "69095_1_4", is the
  place of the sentence.
  """
  import tensorflow as tf

  keys = row["_argument_sentences"]["key"]
  place = tf.strings.regex_replace(keys, r"^.*_(\d{1,6})$", r"\1")
  known = tf.strings.regex_full_match(place, r"\d{1,6}")
  place = tf.strings.to_number(tf.where(known, place, "0"), tf.int32)
  order = tf.argsort(place, stable=True)
  sentences = tf.gather(row["_argument_sentences"]["value"], order)
  return _written(
    _CLAIM(row["_claim"]),
    arguments=_numbered(_SENTENCE(sentences)),
    debate=_MOTION(row["_debate_name"]),
  )


AESLC = Task(
  name="aeslc",
  dataset="aeslc",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "aeslc",
    "1.0.0",
    Splits(dev="validation", test="test"),
    broken="The download's checksum is broken upstream.",
  ),
  fields=fields.generation(
    answer="subject_line", clean=_mail, body="email_body"
  ),
  slots=("body",),
  metrics=_ROUGE,
  documents=("body",),
  published_rows=14_430,
  templates=(
    Template(
      "{body}\n\nThe email above has no subject line yet. Please supply one."
    ),
    Template(
      "What is this message about? Answer with a short subject line.\n\n{body}"
    ),
    Template("Email: {body}\nSubject line:"),
    Template(
      "You are about to send the following email:\n\n{body}\n\nWhat would you type into the subject field?"
    ),
    Template(
      "Sum up this email in a few words, as its subject line would.\n\nMessage: {body}"
    ),
    Template(
      "While sorting old mail, a colleague found a message without a subject.\n\n{body}\n\nSuggest a subject that tells the reader what to expect."
    ),
    Template(
      "Give the email in square brackets a subject that fits on one line.\n\n[{body}]"
    ),
    Template(
      "In the inbox, only the subject of the email below will be visible. Choose one that says what it is about.\n\n{body}"
    ),
    Template(
      "{answer}\n\nThis much of an email can be seen before it is opened. Write what one reads inside.",
      "{body}",
    ),
    Template(
      "Subject: {answer}\n\nWhat might the body of this email say?", "{body}"
    ),
  ),
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
    left_out=r"\bUNK\b|#",
    document="document",
  ),
  slots=("document",),
  metrics=_ROUGE,
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
  fields=_cnn_dailymail,
  slots=("article",),
  metrics=_ROUGE,
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

# A few rows hold one article only, so no template counts them.
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
  fields=_multi_news,
  slots=("articles",),
  metrics=_ROUGE,
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
  metrics=_ROUGE,
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

SAMSUM = Task(
  name="samsum",
  dataset="samsum",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "samsum",
    "1.0.0",
    Splits(dev="validation", test="test"),
    manual="Fetch https://arxiv.org/src/1911.12237v2/anc/corpus.7z, unpack it"
    " with 7-Zip, and put train.json, val.json and test.json in <manual_dir>.",
  ),
  fields=fields.generation(answer="summary", clean=_CHAT, dialogue="dialogue"),
  slots=("dialogue",),
  metrics=_ROUGE,
  documents=("dialogue",),
  published_rows=14_730,
  templates=(
    Template(
      "{dialogue}\n\nPut down in a sentence or two what these people have told each other."
    ),
    Template("Sum up the chat for somebody who was not in it.\n\n{dialogue}"),
    Template("Chat:\n{dialogue}\n\nIn short:"),
    Template(
      "Retell these messages in the third person, and keep only what matters.\n\n{dialogue}"
    ),
    Template(
      "Who tells whom what? Give a short account of the exchange.\n\n{dialogue}"
    ),
    Template(
      "For every scene of an episode, the scriptwriter has a note that says in a line or two what happens in it. One of the scenes is a chat:\n\n{dialogue}\n\nWhat does the note for this scene say?"
    ),
    Template(
      "Messages:\n\n{dialogue}\n\nState in plain words what they come down to."
    ),
    Template(
      "I missed this on my phone and do not want to read all of it. What did they write?\n\n{dialogue}"
    ),
    Template(
      "Write the text messages that could be summed up like this: {answer}",
      "{dialogue}",
    ),
    Template(
      "{answer}\n\nMake up a chat from which one learns just that. Put the name of the sender before each message.",
      "{dialogue}",
    ),
  ),
)

# Summaries are the sentence in bold type with which BBC reports begin; the
# document is the rest of the report.
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
    clean=fields.replace(
      (r"\s*Media playback is \w+(?: \w+)? on \w+ device\s*", " "),
      (r"^\s*\d+ \w+ 20\d\d Last updated at \d+:\d+ [A-Z]+\s+", ""),
      (r"[ \t]+", " "),
    ),
    document="document",
  ),
  slots=("document",),
  metrics=_ROUGE,
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
    title="title", text="description", label="label", clean=_WIRE
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
  fields=_rotten_tomatoes,
  slots=("reviews", "first_review", "film"),
  metrics=_ROUGE,
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
  fields=_idebate,
  slots=("arguments", "debate"),
  metrics=_ROUGE,
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

# Guides have lost the headings of their steps, and the summary is made of them.
WIKI_LINGUA_ENGLISH_EN = Task(
  name="wiki_lingua_english_en",
  dataset="wiki_lingua_english_en",
  cluster="summarization",
  kind=TaskKind.GENERATION,
  source=Source(
    "gem/wiki_lingua_english_en",
    "1.1.0",
    Splits(dev="validation", test="test"),
  ),
  fields=fields.generation(
    answer="target",
    references="references",
    clean=fields.one_line,
    guide="source",
  ),
  slots=("guide",),
  metrics=_ROUGE,
  documents=("guide",),
  published_rows=99_000,
  templates=(
    Template(
      "{guide}\n\nWhat are you told to do here? Name the main steps, each in one short sentence."
    ),
    Template("Shorten this advice to a few instructions.\n\n{guide}"),
    Template("Guide: {guide}\n\nThe same in brief:"),
    Template(
      "Whoever copied this how-to article left out the headings, which told the reader what to do. Restore them, one after another.\n\n{guide}"
    ),
    Template(
      "I do not need the details or the reasons. Just tell me what I should do, according to this text.\n\n{guide}"
    ),
    Template(
      "The directions below have to fit on a small card. What will the card say?\n\n{guide}"
    ),
    Template(
      'Reduce the text to its commands, in the manner of "Open the box. Read the label."\n\n{guide}'
    ),
    Template(
      "{guide}\n\nSay that again, but so briefly that I can keep it in mind while I do it."
    ),
    Template("Explain in detail how to go about this.\n\n{answer}", "{guide}"),
    Template(
      "A how-to article has been outlined: {answer}\n\nWrite the article itself, without headings.",
      "{guide}",
    ),
  ),
)

TASKS = (
  AESLC,
  AG_NEWS_SUBSET,
  CNN_DAILYMAIL,
  GIGAWORD,
  MULTI_NEWS,
  NEWSROOM,
  OPINION_ABSTRACTS_IDEBATE,
  OPINION_ABSTRACTS_ROTTEN_TOMATOES,
  SAMSUM,
  WIKI_LINGUA_ENGLISH_EN,
  XSUM,
)
