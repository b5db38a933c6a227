"""What every way in gives: a model, its vocabulary, and tensors not yet read.

A reader of some format says which of its tensors becomes which of ours, and how
(`TensorMapping`); `bind` checks names and shapes before anything is read, and `ModelSource`
checks that the result is what the model wants. A tensor is read when somebody
calls `read()`, and held by nobody else: whoever writes a source somewhere needs
memory for one tensor at a time.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np

from flan_tf import config
from flan_tf.model import decoder, dims
from flan_tf.vocab.vocabulary import Vocabulary

_LONGEST_ROW = 1280  # tokens; what a run reads at most unless it says so
OF_VOCABULARY = ("embedding", "unembedding")  # their rows are padded


class SourceError(ValueError):
  """A model that cannot be taken in, and why."""


@dataclasses.dataclass(frozen=True)
class SourceTensor:
  """A tensor that can be read.

  Attributes:
    shape: of what `read` returns.
    read: loads just this tensor, as float32; each call reads anew.
    read_rows: the same for some indices (begin, end) of the first dimension,
      where that needs less memory than the whole.
  """

  shape: tuple[int, ...]
  read: Callable[[], np.ndarray]
  read_rows: Callable[[int, int], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class ModelSource:
  """A model that somebody trained elsewhere.

  Attributes:
    model: sizes and choices; `vocab` is padded, `pieces` is the model's own.
    vocabulary: what tokenizes.
    tensors: every weight of `transformer.weight_specs`, by name.
    note: where all this comes from, for people.
    context: tokens that it was trained to read at once; 0 if unknown.
    chat: how it was talked to when it was trained, if anybody knows.
    no_chat: why `chat` is empty, for people.
    separator: how the model is to be asked, one of config.SEPARATORS.

  Raises:
    SourceError: tensors are missing, unknown or of another shape than the
      model wants, or the vocabulary has more pieces than the model has rows.
  """

  model: config.ModelConfig
  vocabulary: Vocabulary
  tensors: Mapping[str, SourceTensor]
  note: str
  context: int = 0
  chat: config.ChatConfig = config.ChatConfig()
  no_chat: str = ""
  separator: str = "plain"

  def __post_init__(self):
    d = dims.dims_for(self.model)
    specs = decoder.weight_specs(self.model, d)
    wanted = {
      name: tuple(spec.shape.to_integer_list) for name, spec in specs.items()
    }
    got = {name: tensor.shape for name, tensor in self.tensors.items()}
    check_names(self.note, wanted, got)
    rows = self.model.pieces or self.model.vocab
    if self.vocabulary.size > rows:
      raise SourceError(
        f"{self.note}: the tokenizer has {self.vocabulary.size} pieces, but"
        f" the model's embedding has {rows} rows. This is not the tokenizer"
        " that the model was trained with."
      )

  def describe(self) -> str:
    """What this is, in a sentence or two."""
    if self.chat.given:
      chat = f" Chat wrapper: {str(self.chat)!r}."
    else:
      chat = f" No chat wrapper: {self.no_chat}." if self.no_chat else ""
    size = sum(math.prod(tensor.shape) for tensor in self.tensors.values())
    return (
      f"{self.note}: {self.model.layers} layers, {size / 1e6:,.1f}M parameters,"
      f" a vocabulary of {self.vocabulary.size}.{chat}"
    )

  @property
  def row_length(self) -> int:
    """Tokens that a row may hold: what fits both the model and memory."""
    return min(self.context or _LONGEST_ROW, _LONGEST_ROW)


@dataclasses.dataclass(frozen=True)
class TensorMapping:
  """How one of our tensors comes out of one of a file's.

  Attributes:
    name: in the file.
    shape: that the file's tensor must have.
    convert: makes ours of it; by default it is taken as it is.
    columns: (begin, end) in the last dimension, if only these are to be read.
  """

  name: str
  shape: tuple[int, ...]
  convert: Callable[[np.ndarray], np.ndarray] | None = None
  columns: tuple[int, int] | None = None


class TensorReader(Protocol):
  """A file, or several, with named tensors.

  One that can read some rows only has `read_rows(name, begin, end)` too.
  """

  where: str  # for people

  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    """The shape of every tensor."""
    ...

  def read(
    self, name: str, columns: tuple[int, int] | None = None
  ) -> np.ndarray:
    """One tensor, or some columns of its last dimension, as it is stored."""
    ...


def bind(
  reader: TensorReader,
  model: config.ModelConfig,
  parts: Mapping[str, TensorMapping],
  ignore: Callable[[str], bool] = lambda name: False,
) -> dict[str, SourceTensor]:
  """The tensors of a model, each to be read from the file when asked for.

  The rows of "embedding" and "unembedding" that only pad the vocabulary are
  zeros.

  Args:
    reader: the file.
    model: sizes and choices.
    parts: by our name, what it is made of; converted, it must have the shape
      that the model wants, apart from the padding.
    ignore: which of the file's other tensors do not matter.

  Raises:
    SourceError: the file lacks tensors, has some of another shape, or has some
      that no part of the model is made of.
  """
  wanted = {part.name: part.shape for part in parts.values()}
  got = {
    name: shape
    for name, shape in reader.shapes().items()
    if name in wanted or not ignore(name)
  }
  check_names(reader.where, wanted, got)
  d = dims.dims_for(model)
  specs = decoder.weight_specs(model, d)

  def tensor(name: str, part: TensorMapping) -> SourceTensor:
    # A name that the model does not have is found by Source.
    shape = (
      tuple(specs[name].shape.to_integer_list) if name in specs else part.shape
    )

    def read() -> np.ndarray:
      value = reader.read(part.name, part.columns)
      # Converted in its own precision: transposed as bfloat16, a tensor needs
      # half the memory.
      value = part.convert(value) if part.convert else value
      if name in OF_VOCABULARY:
        return padded(value, shape)
      assert value.shape == shape, (name, value.shape, shape)
      return np.ascontiguousarray(value, np.float32)

    rows_of = getattr(reader, "read_rows", None)
    turned = part.convert is np.transpose  # Our rows are the file's columns.
    if rows_of is None or part.columns or (part.convert and not turned):
      return SourceTensor(shape, read)

    def read_rows(begin: int, end: int) -> np.ndarray:
      wanted = (end - begin, *shape[1:])
      last = min(end, part.shape[-1 if turned else 0])
      if begin >= last:  # Nothing but padding.
        return np.zeros(wanted, np.float32)
      if turned:
        return padded(reader.read(part.name, (begin, last)).T, wanted)
      return padded(rows_of(part.name, begin, last), wanted)

    return SourceTensor(shape, read, read_rows)

  return {name: tensor(name, part) for name, part in parts.items()}


def padded(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """float32 and contiguous, with rows of zeros at the end up to `shape`."""
  if value.shape == shape:
    return np.ascontiguousarray(value, np.float32)
  out = np.zeros(shape, np.float32)
  out[: len(value)] = value
  return out


def check_names(
  where: str,
  wanted: Mapping[str, tuple[int, ...]],
  got: Mapping[str, tuple[int, ...]],
) -> None:
  """Raises SourceError, naming all that differs, unless both are the same."""
  missing = [name for name in wanted if name not in got]
  unknown = [name for name in got if name not in wanted]
  shapes = [
    f"{name} is {list(got[name])}, expected {list(shape)}"
    for name, shape in wanted.items()
    if name in got and tuple(got[name]) != tuple(shape)
  ]
  problems = [
    f"  {what}: {'; '.join(grouped(names))}"
    for what, names in (
      ("missing", missing),
      ("unknown", unknown),
      ("of another shape", shapes),
    )
    if names
  ]
  if problems:
    raise SourceError(
      f"{where}: the tensors are not those of the model that its configuration"
      " describes.\n" + "\n".join(problems)
    )


def check_free(target: str) -> None:
  """Raises SourceError if there is something at a target, local or gs://."""
  import tensorflow as tf

  files = tf.io.gfile
  if files.exists(target) and (
    not files.isdir(target) or files.listdir(target)
  ):
    raise SourceError(
      f"There is something at {target} already. Name a new folder, or remove"
      " it first."
    )


def check_value(what: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
  """Raises SourceError unless a tensor is as it was announced, and finite."""
  if value.shape != shape or value.dtype != np.float32:
    raise SourceError(
      f"{what} was read as {value.dtype} {list(value.shape)}, expected float32"
      f" {list(shape)}."
    )
  if not np.isfinite(value).all():
    raise SourceError(
      f"{what} has values that are not finite. The file is damaged, or the"
      " model diverged when it was trained."
    )


def grouped(names: Iterable[str]) -> list[str]:
  """Names that differ in one layer's number only, as one.

  >>> grouped(["h.0.bias", "h.1.bias", "h.3.bias", "end"])
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


def layer_name(layer: int, name: str) -> str:
  """ "attention/q" of layer 3 is layer_003/attention/q."""
  return f"layer_{layer:03d}/{name}"


def one_plus(x: np.ndarray) -> np.ndarray:
  """Gemma's norms multiply by 1 + scale; ours multiply by scale."""
  return 1 + x.astype(np.float32)


def refuse(where: str, options: Iterable[str]) -> None:
  """Raises SourceError, naming all options that are not implemented, if any."""
  options = list(options)
  if options:
    raise SourceError(
      f"{where} wants what this model does not have: {'; '.join(options)}."
    )
