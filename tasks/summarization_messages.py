"""Summarization of messages: emails (AESLC) and chats (SAMSum).

AESLC asks for the subject line of an email, SAMSum for a report on a chat.
"""

from typing import Any

from flan_tf.task import fields
from flan_tf.task.schema import Source, Splits, Task, TaskKind, Template

from .summarization_helpers import ROUGE

# One message in fifty contains codes of its transfer: "=20" and "=09" for
# blanks, "=01,s" for "'s", and "lob= by" for "lobby" at a line break.
_remove_transfer_codes = fields.cleaner(
  (r"(?:=\s+)?=01,\s?s\b", "'s"),
  (r"=01,", "'"),
  (r"(?:=\s+)?=(?:09|20\b)", " "),
  (r"(?:=\s+){3,}", " "),
  (r"([a-z])=\s+([a-z.,;])", r"\1\2"),
  (r"(\d)=\s+(\d)", r"\1\2"),
)

# Removes tags, and lines with only a name and a colon, which were pictures.
_clean_chat = fields.cleaner(
  (r"\r\n?", "\n"),
  (r"<[A-Za-z]\w*>", " "),
  (r"[ \t]+", " "),
  (r"(?m)^ | $", ""),
  (r"(?m)^[^:\n]{1,25}:(\n|\z)", ""),
)


def _clean_mail(text: Any) -> Any:
  """Removes the codes of the transfer, and writes a message on one line."""
  return fields.one_line(_remove_transfer_codes(text))


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
    answer="subject_line", clean=_clean_mail, body="email_body"
  ),
  slots=("body",),
  metrics=ROUGE,
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
  fields=fields.generation(
    answer="summary", clean=_clean_chat, dialogue="dialogue"
  ),
  slots=("dialogue",),
  metrics=ROUGE,
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
