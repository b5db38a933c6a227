r"""Chat templates: the texts around a prompt and its answer in a conversation.

Models come with a Jinja template that writes a whole conversation as one text.
A `config.ChatConfig` needs one turn of it. So the template writes a
conversation with marks in the place of prompt and answer, which is cut there:

  <|im_start|>user\nPROMPT<|im_end|>\n<|im_start|>assistant\nANSWER<|im_end|>\n
  ----- before ----      ------------- between -------------      - after -

A system prompt that the template writes by itself stays in `before`. So does
the date, if the template writes one: it is the day of the conversion.
"""

import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flan_tf import config, foreign_values, name_lists
from flan_tf.bridges import chat_template_renderer
from flan_tf.bridges.model_source import SourceError
from flan_tf.foreign_values import ForeignValues
from flan_tf.vocab.base import Vocabulary

SETTINGS_FILE, TEMPLATE_FILE = "tokenizer_config.json", "chat_template.jinja"
# Characters of a template; more are not read. Real ones have 30,000 at most.
_LONGEST_TEMPLATE = 1_000_000
# Letters only, so that no template splits them.
_PROMPT, _ANSWER = "xqPROMPTqx", "xqANSWERqx"
_PLACEHOLDERS = ("{prompt}", "{answer}")


class NamedTemplate(NamedTuple):
  """A chat template that has a name.

  Attributes:
    text: the template, with {prompt}, {answer}, and {eos} for the vocabulary's
      end-of-text piece.
    pieces: special pieces that the vocabulary must have.
  """

  text: str
  pieces: tuple[str, ...]


NAMED_TEMPLATES = {
  "chatml": NamedTemplate(
    "<|im_start|>user\n{prompt}<|im_end|>\n"
    "<|im_start|>assistant\n{answer}<|im_end|>",
    ("<|im_start|>", "<|im_end|>"),
  ),
  "llama3": NamedTemplate(
    "<|start_header_id|>user<|end_header_id|>\n\n{prompt}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}<|eot_id|>",
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
  ),
  "gemma": NamedTemplate(
    "<start_of_turn>user\n{prompt}<end_of_turn>\n"
    "<start_of_turn>model\n{answer}<end_of_turn>",
    ("<start_of_turn>", "<end_of_turn>"),
  ),
  # Llama 2 and Mistral 7B; later models come with a Jinja template.
  "mistral": NamedTemplate("[INST] {prompt} [/INST] {answer}{eos}", ()),
}


class FoundTemplate(NamedTuple):
  """The chat template of a model, or the reason why there is none.

  Attributes:
    chat: the template; empty if there is none.
    reason: why `chat` is empty, for messages; empty if it is not.
  """

  chat: config.ChatConfig
  reason: str


class ChatError(SourceError):
  """A chat template cannot be used; the message says why."""


def parse(text: str, vocabulary: Vocabulary) -> config.ChatConfig:
  r"""Reads the chat template of a flag.

  Args:
    text: a name in NAMED_TEMPLATES, or a text with `{prompt}` and `{answer}`
      once each, in which `\n` means a line break and `{eos}` the vocabulary's
      end-of-text piece.
    vocabulary: must have the special pieces of the template.

  Raises:
    ChatError: the text is neither, or the vocabulary lacks a piece.
  """
  template = _template_of_flag(text)
  (eos,) = vocabulary.pieces([vocabulary.eos_id])
  before, _, rest = template.text.replace("{eos}", eos).partition("{prompt}")
  between, answer, after = rest.partition("{answer}")
  if not answer:
    raise ChatError(f"--chat={text}: expected {{prompt}} before {{answer}}.")
  chat = config.ChatConfig(before, between, after)
  # Most models spell their special pieces like this.
  pieces = template.pieces or re.findall(r"<\|[^<>|]*\|>", str(chat))
  missing = sorted(set(pieces) - set(vocabulary.special_pieces))
  if missing:
    raise ChatError(
      f"--chat={text} needs special pieces that are not in the vocabulary:"
      f" {', '.join(missing)}. Name another chat template, or add the pieces"
      f" with --add_pieces='{','.join(missing)}' and train the model, to which"
      " they are new."
    )
  return chat


def _template_of_flag(text: str) -> NamedTemplate:
  if "{" not in text:
    if text in NAMED_TEMPLATES:
      return NAMED_TEMPLATES[text]
    unknown = name_lists.unknown_name("chat template", text, NAMED_TEMPLATES)
    raise ChatError(
      f"--chat: {unknown} Or write the template itself, e.g."
      " --chat='<|user|>\\n{prompt}<|end|>\\n<|model|>\\n{answer}{eos}'."
    )
  if any(text.count(placeholder) != 1 for placeholder in _PLACEHOLDERS):
    raise ChatError(
      f"--chat={text}: expected {{prompt}} and {{answer}} once each."
    )
  return NamedTemplate(text.replace("\\n", "\n"), ())


def from_jinja(
  template: str | None,
  vocabulary: Vocabulary,
  token_names: Mapping[str, str],
  special_pieces: Iterable[str] = (),
  source: str = "",
) -> FoundTemplate:
  """Returns the chat template that a Jinja template writes.

  Args:
    template: the Jinja template; None or empty if the model has none.
    vocabulary: the model's vocabulary.
    token_names: pieces that the template may write by name: "bos_token",
      "eos_token", ...
    special_pieces: the model's special pieces. Those that the template writes
      must be special in the vocabulary, too.
    source: where the template comes from, for messages.
  """
  if not template:
    return _no_template("the model comes without one")
  user = {"role": "user", "content": _PROMPT}
  assistant = {"role": "assistant", "content": _ANSWER}
  try:
    prompt_only, turn = chat_template_renderer.render(
      template, token_names, [[user], [user, assistant]]
    )
  # Whatever is wrong with a template, the model can still be converted.
  except chat_template_renderer.TemplateFailure as error:
    place = f" ({source})" if source else ""
    return _no_template(f"its chat template{place} fails: {error}")
  if (
    prompt_only.count(_PROMPT) != 1
    or turn.count(_PROMPT) != 1
    or turn.count(_ANSWER) != 1
  ):
    return _no_template(
      "its chat template does not write a prompt and an answer once each"
    )
  before, _, cue = prompt_only.partition(_PROMPT)
  before_in_turn, _, rest = turn.partition(_PROMPT)
  between, _, after = rest.partition(_ANSWER)
  if cue.startswith(between):
    # The template starts an answer with more text than it keeps afterwards.
    between = cue
  if before != before_in_turn or not between.startswith(cue):
    return _no_template(
      f"its chat template writes {before!r} before a prompt and {cue!r} before"
      f" an answer that is to come, but {before_in_turn!r} and {between!r} with"
      " the answer"
    )
  if vocabulary.has_start:
    (start,) = vocabulary.pieces([vocabulary.bos_id])
    before = before.removeprefix(start)
  # Blanks after the end of a turn belong to the next turn.
  chat = config.ChatConfig(before, between, after.strip())
  missing = [
    piece
    for piece in special_pieces
    if piece in str(chat) and piece not in vocabulary.special_pieces
  ]
  if missing:
    return _no_template(
      "its chat template writes special pieces that are not in the vocabulary:"
      f" {', '.join(sorted(missing))}"
    )
  return FoundTemplate(chat, "")


def _no_template(reason: str) -> FoundTemplate:
  return FoundTemplate(config.ChatConfig(), reason)


def from_folder(folder: str, vocabulary: Vocabulary) -> FoundTemplate:
  """Returns the chat template of a Hugging Face folder; see `from_jinja`.

  Raises:
    SourceError: tokenizer_config.json or the template's file cannot be read.
  """
  settings = foreign_values.read_json_if_present(
    os.path.join(folder, SETTINGS_FILE), SourceError
  )
  source, template = SETTINGS_FILE, _template_in(settings)
  path = os.path.join(folder, TEMPLATE_FILE)
  if os.path.exists(path):
    source, template = TEMPLATE_FILE, _read_template(path)
  token_names = {
    name: _spelling(settings, name)
    for name in settings.names()
    if name.endswith("_token") and isinstance(settings.get(name), (str, dict))
  }
  added_tokens = settings.section("added_tokens_decoder").all_sections()
  special_pieces = [
    token.text("content")
    for token in added_tokens.values()
    if token.flag("special", False)
  ]
  return from_jinja(template, vocabulary, token_names, special_pieces, source)


def _template_in(settings: ForeignValues) -> str:
  """Returns the template in tokenizer_config.json; empty if there is none."""
  if not isinstance(settings.get("chat_template"), list):
    return settings.text("chat_template", "")
  by_name = {
    entry.text("name", ""): entry.text("template", "")
    for entry in settings.sections("chat_template")
  }
  return by_name.get("default", "")


def _read_template(path: str) -> str:
  try:
    with open(path, encoding="utf-8") as file:
      return file.read(_LONGEST_TEMPLATE)
  except (OSError, UnicodeDecodeError) as error:
    raise SourceError(f"{path} cannot be read: {error}.") from error


def _spelling(settings: ForeignValues, name: str) -> str:
  if isinstance(settings.get(name), dict):
    return settings.section(name).text("content")
  return settings.text(name)
