"""Configuration of the data: tasks, lengths in tokens, and prompt format."""

import dataclasses

from flan_tf.config import checks
from flan_tf.task import wordings

SEPARATORS = ("flan", "plain", "newline", "blank", "chat")
OVERFLOWS = ("middle", "end", "skip")
OBJECTIVES = ("instructions", "language_model")
_IN_INT64 = "rows are counted in 64 bits"


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Configuration of the examples that a run trains on.

  `tasks`, `clusters` and `files` together name the training data. If all three
  are empty, or if `tasks` is ("all",), every task trains that `held_out` of the
  run allows. Files alone train alone. Each of the three may be given as one
  string with commas between the names.

  Attributes:
    tfds_data_dir: a prepared TFDS directory; empty for the shipped rows.
    vocabulary: path of a SentencePiece model or of a byte-pair vocabulary.
    objective: "instructions" trains on prompts and answers, with the loss on
      the answers. "language_model" trains on the plain text of the same rows,
      with the loss on every token.
    tasks: names of tasks.
    clusters: names of clusters.
    files: paths of JSON-lines files with prompts and answers. Each file is one
      task, named after the file (`flan_tf.data.prompt_file`). The resolved run
      has PATH@FINGERPRINT, so that a changed file is noticed.
    input_length: tokens that a prompt may have.
    target_length: tokens that an answer may have.
    length: tokens of a packed row.
    separator: the tokens around prompt and answer. "flan": end-of-text after
      each of the two. "plain", "newline" and "blank": nothing, a newline or a
      blank between them, for models that continue texts. "chat": the chat
      template of the run (`RunConfig.chat`).
    overflow: the treatment of a prompt that is too long. "middle" removes its
      middle, because instructions and options stand at the ends. "end" removes
      its end, as the published code does. "skip" leaves the example out.
      Reports count all of them.
    train_cap: rows of a data set that may train (paper, section 2.4).
    mixing_cap: upper limit of a task's rate in the mixture.
    wording: the kind of prompt, one of `flan_tf.task.wordings.WORDINGS`.
    templates: number of templates of each task to use, the first ones; 0 for
      all.
    markers: the texts around prompts and answers, by name or spelled out; see
      `flan_tf.task.wordings.markers`.
    shuffle_labels: as a control experiment, replaces each answer by a random
      one.
  """

  tfds_data_dir: str = ""
  vocabulary: str = ""
  objective: str = "instructions"
  tasks: tuple[str, ...] = ()
  clusters: tuple[str, ...] = ()
  files: tuple[str, ...] = ()
  input_length: int = 1024
  target_length: int = 256
  length: int = 1280
  separator: str = "flan"
  overflow: str = "middle"
  train_cap: int = 30_000
  mixing_cap: int = 3_000
  wording: str = "instructions"
  templates: int = 0
  markers: str = "plain"
  shuffle_labels: bool = False

  def __post_init__(self):
    for name in ("tasks", "clusters", "files"):
      names = checks.names(f"data.{name}", getattr(self, name))
      object.__setattr__(self, name, names)
    checks.one_of("data.objective", self.objective, OBJECTIVES)
    checks.one_of("data.separator", self.separator, SEPARATORS)
    checks.one_of("data.overflow", self.overflow, OVERFLOWS)
    checks.one_of("data.wording", self.wording, wordings.WORDINGS)
    wordings.markers(self.markers)
    checks.not_negative("data.templates", self.templates)
    for name in ("input_length", "target_length", "length"):
      tokens = getattr(self, name)
      checks.positive(
        f"data.{name}", tokens, checks.LONGEST_ROW, checks.ROW_IN_MEMORY
      )
    for name in ("train_cap", "mixing_cap"):
      rows = getattr(self, name)
      checks.positive(f"data.{name}", rows, checks.LARGEST_INT64, _IN_INT64)


@dataclasses.dataclass(frozen=True)
class ChatConfig:
  """The chat template of a conversation of one turn.

      before PROMPT between ANSWER after

  Special pieces are spelled out: "<|im_start|>user". The start piece of the
  vocabulary is left out if every text starts with it anyway.
  """

  before: str = ""
  between: str = ""
  after: str = ""

  @property
  def is_set(self) -> bool:
    """True if there is a chat template."""
    return bool(self.before or self.between or self.after)

  def __str__(self) -> str:
    return f"{self.before}{{prompt}}{self.between}{{answer}}{self.after}"
