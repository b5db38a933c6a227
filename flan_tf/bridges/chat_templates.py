r"""Chat wrappers: how a model was talked to by those who trained it.

Models come with a Jinja template that writes a whole conversation as one text.
Of it we want the conversation of one turn, so it is rendered with marks in the
place of prompt and answer, and cut there:

  <|im_start|>user\nPROMPT<|im_end|>\n<|im_start|>assistant\nANSWER<|im_end|>\n
  ----- before ----      ------------- between -------------      - after -

A system prompt that the template writes by itself stays in `before`; so does a
date, that of the day of the conversion.
"""

import datetime
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import sandbox

from flan_tf import config, name_lists
from flan_tf.bridges import model_source
from flan_tf.vocab.vocabulary import Vocabulary

TEMPLATE_FILE = "chat_template.jinja"
# Letters only, so that no template takes them apart.
_PROMPT, _ANSWER = "xqPROMPTqx", "xqANSWERqx"
_PLACES = ("{prompt}", "{answer}")

# Wrappers by name, each with the special pieces that it needs; `{eos}` is the
# vocabulary's own.
KNOWN: dict[str, tuple[str, tuple[str, ...]]] = {
  "chatml": (
    "<|im_start|>user\n{prompt}<|im_end|>\n"
    "<|im_start|>assistant\n{answer}<|im_end|>",
    ("<|im_start|>", "<|im_end|>"),
  ),
  "llama3": (
    "<|start_header_id|>user<|end_header_id|>\n\n{prompt}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}<|eot_id|>",
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
  ),
  "gemma": (
    "<start_of_turn>user\n{prompt}<end_of_turn>\n"
    "<start_of_turn>model\n{answer}<end_of_turn>",
    ("<start_of_turn>", "<end_of_turn>"),
  ),
  # Of Llama 2 and Mistral 7B; later ones bring a template.
  "mistral": ("[INST] {prompt} [/INST] {answer}{eos}", ()),
}


class ChatError(model_source.SourceError):
  """A wrapper that cannot be used, and why."""


def parse(text: str, vocabulary: Vocabulary) -> config.ChatConfig:
  r"""A wrapper from a flag.

  Args:
    text: a name in KNOWN, or the wrapper spelt out with `{prompt}` and
      `{answer}`, once each, in which `\n` is a new line and `{eos}` the
      vocabulary's end of text.
    vocabulary: what must have its special pieces.

  Raises:
    ChatError: it is neither, or a piece is missing.
  """
  wrapper, pieces = text.replace("\\n", "\n"), ()
  if "{" not in text:
    if text not in KNOWN:
      raise ChatError(
        f"--chat: {name_lists.unknown_name('wrapper', text, KNOWN)} Or spell it out,"
        " e.g. --chat='<|user|>\\n{prompt}<|end|>\\n<|model|>\\n{answer}{eos}'."
      )
    wrapper, pieces = KNOWN[text]
  elif [wrapper.count(place) for place in _PLACES] != [1, 1]:
    raise ChatError(
      f"--chat={text}: expected {{prompt}} and {{answer}} once each."
    )
  (eos,) = vocabulary.pieces([vocabulary.eos_id])
  before, _, rest = wrapper.replace("{eos}", eos).partition("{prompt}")
  between, place, after = rest.partition("{answer}")
  if not place:
    raise ChatError(f"--chat={text}: expected {{prompt}} before {{answer}}.")
  made = config.ChatConfig(before, between, after)
  # Most models spell special pieces so.
  pieces = pieces or tuple(re.findall(r"<\|[^<>|]*\|>", str(made)))
  missing = sorted({p for p in pieces if p not in vocabulary.special_pieces})
  if missing:
    raise ChatError(
      f"--chat={text} needs special pieces that the vocabulary has not:"
      f" {', '.join(missing)}. Take another wrapper, or add them with"
      f" --add_pieces='{','.join(missing)}' (and train: the model has not seen"
      " them)."
    )
  return made


def of_template(
  template: str | None,
  vocabulary: Vocabulary,
  names: Mapping[str, str],
  special: Iterable[str] = (),
) -> tuple[config.ChatConfig, str]:
  """The wrapper that a template writes.

  Args:
    template: in Jinja; None if the model has none.
    vocabulary: of the model.
    names: "bos_token", "eos_token", ... as the template may write them.
    special: the model's special pieces; those that the template writes must be
      special in the vocabulary too.

  Returns:
    (the wrapper, for people why there is none). One of both is empty.
  """
  none = config.ChatConfig()
  if not template:
    return none, "the model brings no chat template"
  try:
    asked = _render(template, names, {"user": _PROMPT})
    told = _render(template, names, {"user": _PROMPT, "assistant": _ANSWER})
  # Whatever goes wrong in somebody's template, the model is still a model.
  except Exception as error:
    return none, f"its template fails: {type(error).__name__}: {error}"
  marks = (asked, _PROMPT), (told, _PROMPT), (told, _ANSWER)
  if any(text.count(mark) != 1 for text, mark in marks):
    return none, "its template does not write a prompt and an answer once each"
  before, _, cue = asked.partition(_PROMPT)
  same, _, rest = told.partition(_PROMPT)
  between, _, after = rest.partition(_ANSWER)
  if cue.startswith(between):
    between = cue  # A template may open an answer with more, to be continued.
  if before != same or not between.startswith(cue):
    return none, (
      f"its template asks for an answer with {before!r}, {cue!r}, but writes"
      f" one behind {same!r}, {between!r}"
    )
  if vocabulary.has_start:
    (start,) = vocabulary.pieces([vocabulary.bos_id])
    before = before.removeprefix(start)
  # What ends a turn is read; blanks behind it belong to a next one.
  made = config.ChatConfig(before, between, after.strip())
  missing = [
    piece
    for piece in special
    if piece in str(made) and piece not in vocabulary.special_pieces
  ]
  if missing:
    return none, (
      "its template writes special pieces that the vocabulary has not:"
      f" {', '.join(sorted(missing))}"
    )
  return made, ""


def of_folder(
  folder: str, vocabulary: Vocabulary
) -> tuple[config.ChatConfig, str]:
  """The wrapper of a Hugging Face folder, as `of_template` gives it."""
  settings: dict[str, Any] = {}
  path = os.path.join(folder, "tokenizer_config.json")
  if os.path.exists(path):
    with open(path, encoding="utf-8") as file:
      settings = json.load(file)
  template = settings.get("chat_template")
  if isinstance(template, list):  # Several, each with a name.
    by_name = {one.get("name"): one.get("template") for one in template}
    template = by_name.get("default")
  path = os.path.join(folder, TEMPLATE_FILE)
  if os.path.exists(path):
    with open(path, encoding="utf-8") as file:
      template = file.read()
  names = {
    name: str(value["content"] if isinstance(value, dict) else value)
    for name, value in settings.items()
    if name.endswith("_token") and isinstance(value, (str, dict))
  }
  added = settings.get("added_tokens_decoder", {}).values()
  special = [token["content"] for token in added if token.get("special")]
  return of_template(template, vocabulary, names, special)


class _Generation(jinja2.ext.Extension):
  """{% generation %} marks what to train on; what it writes is the same."""

  tags = {"generation"}

  def parse(self, parser):
    next(parser.stream)
    return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _render(
  template: str, names: Mapping[str, str], turns: Mapping[str, str]
) -> str:
  """A conversation as text: {role: what it says}.

  It runs in a sandbox, with what `transformers` lends a template.
  """

  def raise_exception(message):
    raise jinja2.TemplateError(message)

  environment = sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[_Generation, jinja2.ext.loopcontrols],
  )
  environment.filters["tojson"] = lambda value, **options: json.dumps(
    value, **{"ensure_ascii": False, **options}
  )
  environment.globals["raise_exception"] = raise_exception
  environment.globals["strftime_now"] = datetime.datetime.now().strftime
  return environment.from_string(template).render(
    messages=[
      {"role": role, "content": content} for role, content in turns.items()
    ],
    add_generation_prompt="assistant" not in turns,
    tools=None,
    documents=None,
    **names,
  )
