"""The model card of a KerasHub preset, with code that asks the model."""

from flan_tf.bridges import model_card
from flan_tf.bridges.model_source import ModelSource
from flan_tf.bridges.native.checkpoint_source import NativeSource
from flan_tf.data.prompt_format import PromptFormat, Separator

_FRONT_MATTER = (
  "---\nlibrary_name: keras-hub\npipeline_tag: text-generation\n---\n"
)
_CODE = """With FOLDER the folder of this file, and PROMPT a text:

```python
import keras_hub
import numpy as np

model = keras_hub.models.CausalLM.from_preset(FOLDER)
tokenizer = model.preprocessor.tokenizer
model.preprocessor = None  # Ids go in as they are.
model.compile(sampler="greedy")
ids = {ids}
length = len(ids) + 64
made = model.generate(
  {{
    "token_ids": np.array([ids + [0] * (length - len(ids))], "int32"),
    "padding_mask": np.arange(length)[np.newaxis] < len(ids),
  }},
  stop_token_ids={ends},
)
answer = [int(i) for i in np.array(made["token_ids"])[0, len(ids) :]]
ends = [at for at, i in enumerate(answer) if i in {ends}]
answer = answer[: ends[0]] if ends else answer
print(tokenizer.detokenize(answer))
```"""


def preset_card(source: ModelSource, family: str, notes: list[str]) -> str:
  """Returns the model card.

  Args:
    source: the model.
    family: the family of its classes at KerasHub, e.g. "Llama".
    notes: differences from the source, for people.
  """
  title = f"{family} for KerasHub"
  return _FRONT_MATTER + model_card.card_text(
    source, title, _code(source), notes
  )


def _code(source: ModelSource) -> str:
  """Returns code that asks the model with the prompts of its training.

  One difference remains. SentencePiece starts a text with a blank, and
  KerasHub's tokenizer does so even inside a chat template, where training did
  not.
  """
  prompt_format = _prompt_format(source)
  end_ids = list(dict.fromkeys(prompt_format.end_ids))
  return _CODE.format(ids=_ids_expression(prompt_format), ends=end_ids)


def _prompt_format(source: ModelSource) -> PromptFormat:
  separator = Separator(source.separator)
  if (
    isinstance(source, NativeSource)
    and source.run.data.objective == "language_model"
  ):
    separator = Separator.PLAIN
  return PromptFormat(source.vocabulary, separator=separator, chat=source.chat)


def _ids_expression(prompt_format: PromptFormat) -> str:
  """Returns a Python expression for the ids of PROMPT and those around it."""
  vocabulary, tokenizer = prompt_format.vocabulary, prompt_format.tokenizer
  start = [vocabulary.bos_id] if vocabulary.has_start else []
  before = [*start, *map(int, tokenizer.before)]
  after = [int(i) for i in tokenizer.between]
  prefix, suffix = tokenizer.prompt_prefix, tokenizer.prompt_suffix
  if tokenizer.vocabulary is not vocabulary and prefix == " ":
    prefix = ""  # KerasHub's tokenizer adds it.
  text = "PROMPT"
  if prefix:
    text = f"{prefix!r} + {text}"
  if suffix:
    text = f"{text} + {suffix!r}"
  expression = f"[int(i) for i in tokenizer({text})]"
  if before:
    expression = f"{before} + {expression}"
  if after:
    expression = f"{expression} + {after}"
  return expression
