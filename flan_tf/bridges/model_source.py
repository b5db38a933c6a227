"""A model that is to be converted, whatever format it comes from.

Each format has a function `open_source`, which gives a `ModelSource`; each
target has a function that writes one:

  settings of the file ---------------------> ModelConfig --+
  tokenizer --------------------------------> Vocabulary ---+-> ModelSource
  tensors -- bind(reader, model, mappings) -> SourceTensor -+

`flan_tf.bridges.tensor_mapping.bind` checks the names and shapes of tensors
before it reads any. A tensor is read when `read()` is called, and nothing
keeps it afterwards, so that a conversion needs memory for one tensor at a time.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from flan_tf import config
from flan_tf.mesh.finite import describe_not_finite
from flan_tf.model import dims
from flan_tf.model.weights import weight_specs
from flan_tf.vocab.base import Vocabulary

# Tokens of a row in the run that a converted model is given, at most.
_LONGEST_ROW = 1280
# Weights [vocab, d_model] whose rows may be padded with zeros.
VOCABULARY_TABLES = ("embedding", "unembedding")

Shape = tuple[int, ...]


class SourceError(ValueError):
  """A model cannot be converted; the message says why."""


@dataclasses.dataclass(frozen=True)
class SourceTensor:
  """A weight of the model that can be read.

  Attributes:
    shape: shape of the weight.
    read: returns the weight as float32; each call reads the file again.
    read_rows: returns the rows begin to end of the first dimension, in less
      memory than the whole weight needs; None if the format cannot do that.
  """

  shape: Shape
  read: Callable[[], np.ndarray]
  read_rows: Callable[[int, int], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class ModelSource:
  """A model that is to be converted.

  Attributes:
    model: sizes and options; `vocab` is the padded number of rows of the
      embedding, `pieces` the number before padding.
    vocabulary: the tokenizer.
    tensors: every weight of `flan_tf.model.weights.weight_specs`, by name.
    origin: format and place of the model, for messages and the model card.
    context_length: tokens that the model was trained to read at once; 0 if
      that is not known.
    chat: the chat template that the model was trained with, if it is known.
    no_chat_reason: the reason why `chat` is empty, for messages.
    separator: one of `config.SEPARATORS`, for prompts to this model.
    files: paths of the files that the model is read from, the first one in
      their common folder; empty for a checkpoint of this project.

  Raises:
    SourceError: weights are missing, unknown or of another shape than `model`
      says, or the vocabulary has more pieces than the embedding has rows.
  """

  model: config.ModelConfig
  vocabulary: Vocabulary
  tensors: Mapping[str, SourceTensor]
  origin: str
  context_length: int = 0
  chat: config.ChatConfig = config.ChatConfig()
  no_chat_reason: str = ""
  separator: str = "plain"
  files: tuple[str, ...] = ()

  def __post_init__(self):
    expected = weight_shapes(self.model)
    actual = {name: tensor.shape for name, tensor in self.tensors.items()}
    check_names(self.origin, expected, actual)
    if self.vocabulary.size > self.rows:
      raise SourceError(
        f"{self.origin}: the tokenizer has {self.vocabulary.size} pieces, but"
        f" the model's embedding has {self.rows} rows. This is not the"
        " tokenizer that the model was trained with."
      )

  @property
  def rows(self) -> int:
    """Rows of the embedding without padding: all that can be predicted."""
    return self.model.pieces or self.model.vocab

  @property
  def row_length(self) -> int:
    """Tokens of a row in the converted model's run."""
    return min(self.context_length or _LONGEST_ROW, _LONGEST_ROW)

  @property
  def parameters(self) -> int:
    """Number of parameters, padding included."""
    return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

  def describe(self) -> str:
    """Returns origin, sizes and chat template in one or two sentences."""
    if self.chat.is_set:
      chat = f" Chat template: {str(self.chat)!r}."
    elif self.no_chat_reason:
      chat = f" No chat template: {self.no_chat_reason}."
    else:
      chat = ""
    return (
      f"{self.origin}: {self.model.layers} layers,"
      f" {self.parameters / 1e6:,.1f}M parameters,"
      f" a vocabulary of {self.vocabulary.size}.{chat}"
    )


def weight_shapes(model: config.ModelConfig) -> dict[str, Shape]:
  """Returns the shape of every weight of a model, by name."""
  specs = weight_specs(model, dims.dims_for(model))
  return {
    name: tuple(spec.shape.to_integer_list) for name, spec in specs.items()
  }


def layer_name(layer: int, name: str) -> str:
  """Returns the name of a weight of one layer.

  >>> layer_name(3, "attention/q")
  'layer_003/attention/q'
  """
  return f"layer_{layer:03d}/{name}"


def check_names(
  origin: str, expected: Mapping[str, Shape], actual: Mapping[str, Shape]
) -> None:
  """Raises SourceError that names all differences, if there are any.

  Args:
    origin: the model, for the message.
    expected: shapes of the tensors that the configuration needs, by name.
    actual: shapes of the tensors that there are, by name.
  """
  missing = [name for name in expected if name not in actual]
  unknown = [name for name in actual if name not in expected]
  other_shapes = [
    f"{name} is {list(actual[name])}, expected {list(shape)}"
    for name, shape in expected.items()
    if name in actual and tuple(actual[name]) != tuple(shape)
  ]
  problems = [
    f"  {problem}: {'; '.join(group_layers(names))}"
    for problem, names in (
      ("missing", missing),
      ("unknown", unknown),
      ("another shape", other_shapes),
    )
    if names
  ]
  if problems:
    raise SourceError(
      f"{origin}: the tensors do not match the model's configuration.\n"
      + "\n".join(problems)
    )


def check_value(name: str, value: np.ndarray, shape: Shape) -> None:
  """Raises SourceError unless a weight that was read is float32 and finite.

  Args:
    name: origin and name of the weight, for the message.
    value: the weight.
    shape: the shape that it must have.
  """
  if value.shape != shape or value.dtype != np.float32:
    raise SourceError(
      f"{name} was read as {value.dtype} {list(value.shape)}, expected float32"
      f" {list(shape)}."
    )
  problem = describe_not_finite(value)
  if problem:
    raise SourceError(
      f"{name} has values that are not finite: {problem}. The file is damaged,"
      " or the model diverged during training."
    )


def group_layers(names: Iterable[str]) -> list[str]:
  """Joins names that differ in the number of a layer only.

  >>> group_layers(["h.0.bias", "h.1.bias", "h.3.bias", "end"])
  ['h.N.bias (N = 0, 1, 3)', 'end']
  """
  layers: dict[str, list[str]] = {}
  for name in names:
    number = re.search(r"(?<=[._/])\d+(?=[._/])", name)
    key = name
    if number:
      key = name[: number.start()] + "N" + name[number.end() :]
    layers.setdefault(key, []).append(number.group() if number else "")
  return [
    key if numbers == [""] else f"{key} (N = {', '.join(numbers)})"
    for key, numbers in layers.items()
  ]
