"""What a task is: one value with its source, fields, options and templates.

A task is checked when it is built. A template that names a slot that its field
function does not provide, or that carries a stray character, never reaches a
model. Nothing here imports TensorFlow: listing tasks takes milliseconds.
"""

import dataclasses
import difflib
import enum
import re
import string
from collections.abc import Callable, Mapping
from typing import Any

CLUSTERS = (
  "nli",
  "commonsense",
  "sentiment",
  "paraphrase",
  "closed_book_qa",
  "struct_to_text",
  "reading_comprehension",
  "reading_comprehension_commonsense",
  "coreference",
  "misc",
  "summarization",
  "translation",
)
# Where a task belongs that a run reads from a file of its own.
FILES = "files"

# Slots that the pipeline fills for every task that has them.
OPTIONS_SLOT = "options_"
ANSWER_SLOT = "answer"

# One row of a data set, and the slots made from it: both map names to tensors.
Fields = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class TaskKind(enum.Enum):
  """How a task is answered, and so how it is scored."""

  CLASSIFICATION = "rank the options by their log-probability"
  GENERATION = "decode greedily and compare with the references"


@dataclasses.dataclass(frozen=True)
class Template:
  """One wording of a task: an input pattern and a target pattern.

  Patterns name slots in braces: "{premise} Does it follow that {hypothesis}?"
  """

  inputs: str
  target: str = "{answer}"

  @property
  def slots(self) -> frozenset[str]:
    return frozenset(_slots(self.inputs)) | frozenset(_slots(self.target))

  @property
  def inverse(self) -> bool:
    """Whether the template turns the task around, e.g. asks for the review."""
    return self.target != "{%s}" % ANSWER_SLOT

  @property
  def shows_options(self) -> bool:
    return OPTIONS_SLOT in _slots(self.inputs)


@dataclasses.dataclass(frozen=True)
class Baseline:
  """A prompt in the manner of GPT-3, for a model that knows no instructions.

  Attributes:
    inputs: the pattern, without an instruction; the answer continues it.
    options: what the answers are called here, in label order; empty where
      they are the task's own.
    stops: a generation ends where one of these begins.
  """

  inputs: str
  options: tuple[str, ...] = ()
  stops: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Splits:
  """Where train, dev and test rows of a data set come from.

  Rows for dev are the last `dev_rows` of the training split, or the first
  `dev_rows` of another split. `flan_tf.data.row_ranges` turns this into row
  ranges from the real counts, so that no row is in two of the three.

  Attributes:
    train: a split; "" for a data set that is only evaluated.
    dev: a split, may be the training split; "" if there are none.
    dev_rows: most rows for dev.
    test: a split, may be the training split.
    test_rows: where test is the training split: the last so many rows of it.
    part: where `parts` tasks share one training split, the number of this one.
    parts: each of them has a stretch of its own; test rows they share.
  """

  train: str = "train"
  dev: str = "train"
  dev_rows: int = 200
  test: str = "test"
  test_rows: int = 1_000
  part: int = 0
  parts: int = 1


@dataclasses.dataclass(frozen=True)
class Source:
  """A TensorFlow Datasets name, e.g. `super_glue/rte`, and its version.

  Attributes:
    name: of the data set, with its config.
    version: the one that the tasks were written against; any version that a
      directory holds is read, and a difference is reported.
    splits: where the rows come from.
    pinned: the version that FLAN read, where TFDS no longer has it.
    manual: what a person has to fetch by hand, and where to put it; empty if
      nothing.
    broken: what is known to fail when it is downloaded, and the way out.
    hub: its name on the Hugging Face hub, where TFDS can fetch it from there.
    file: of prompts and answers (`flan_tf.data.prompt_file`), which is read
      instead of a data set; local or gs://.
    made_from: what lines of it name as their origin: (task, cluster) each.
  """

  name: str
  version: str
  splits: Splits = Splits()
  pinned: str = ""
  manual: str = ""
  broken: str = ""
  hub: str = ""
  file: str = ""
  made_from: tuple[tuple[str, str], ...] = ()

  def __str__(self) -> str:
    return f"{self.name}:{self.version}"


@dataclasses.dataclass(frozen=True)
class Task:
  """One data set (or one config of it) phrased as instructions.

  Attributes:
    name: the task's name in flags, results and logs, e.g. `anli_r1`.
    dataset: the data set as the paper counts it, e.g. `anli`.
    cluster: one of CLUSTERS, or FILES.
    kind: classification or generation.
    source: where the rows come from.
    fields: turns a row (a dict of tensors) into slots (a dict of tensors). A
      classification gives `answer_index`, int64, -1 where the label is hidden;
      a generation gives `answer`, a string. It may also give `references`
      (strings, all right answers), `choices` (strings, where the options
      differ from row to row), `group` (a string; rows of one group are judged
      together by metrics that say so) and `keep` (bool; rows with False are
      left out and counted). It imports TensorFlow when called, and computes
      with TensorFlow's ops alone: a Python `if` on a tensor is not rewritten.
    slots: the string slots that `fields` provides to templates.
    templates: ten wordings.
    options: the fixed answers of a classification, in label order; empty where
      `fields` gives `choices`.
    metrics: names known to `flan_tf.eval.metrics`, the first one is headline.
    documents: the slots that hold running text, for language modelling.
    published_rows: training rows in the published mixture, before the cap of
      30,000, rounded down to tens; 0 for a task that never trains.
    baseline: the prompt for an untuned model; None where none is published.
    extra: whether the task is not one of the paper's 62 data sets.

  Raises:
    ValueError: where the parts do not fit, with what would.
  """

  name: str
  dataset: str
  cluster: str
  kind: TaskKind
  source: Source
  fields: Fields
  slots: tuple[str, ...]
  templates: tuple[Template, ...]
  options: tuple[str, ...] = ()
  metrics: tuple[str, ...] = ("accuracy",)
  documents: tuple[str, ...] = ()
  published_rows: int = 0
  baseline: Baseline | None = None
  extra: bool = False

  def __post_init__(self):
    if self.cluster not in (*CLUSTERS, FILES):
      raise ValueError(
        f"Task {self.name!r}: unknown cluster {self.cluster!r}."
        f"{_did_you_mean(self.cluster, CLUSTERS)} Clusters: "
        f"{', '.join(CLUSTERS)}."
      )
    for index, template in enumerate(self.templates):
      self._check_template(index, template)
    if len(set(self.templates)) != len(self.templates):
      raise ValueError(f"Task {self.name!r}: two of its templates are equal.")
    if self.baseline:
      self._check_template("baseline", Template(self.baseline.inputs))
    missing = set(self.documents) - set(self.slots)
    if missing:
      raise ValueError(
        f"Task {self.name!r}: documents {sorted(missing)} are not among its"
        f" slots {list(self.slots)}."
      )

  @property
  def available_slots(self) -> frozenset[str]:
    """Every slot that a template of this task may name."""
    filled = {ANSWER_SLOT}
    if self.kind is TaskKind.CLASSIFICATION:
      filled.add(OPTIONS_SLOT)
    return frozenset(self.slots) | filled

  @property
  def trains(self) -> bool:
    """Whether it has training rows at all."""
    return bool(self.source.splits.train)

  @property
  def forward_templates(self) -> tuple[int, ...]:
    """Indices of the templates that ask for the answer: those evaluated."""
    return tuple(i for i, t in enumerate(self.templates) if not t.inverse)

  def _check_template(self, index: int | str, template: Template) -> None:
    where = f"Task {self.name!r}, template {index}"
    for slot in sorted(template.slots - self.available_slots):
      raise ValueError(
        f"{where}: field {{{slot}}} is not produced by its field function."
        f"{_did_you_mean(slot, self.available_slots, braces=True)}\n"
        f"Available: {', '.join(sorted(self.available_slots))}.\n"
        f"  template: {template.inputs!r} -> {template.target!r}"
      )
    for pattern in (template.inputs, template.target):
      if pattern != pattern.strip():
        raise ValueError(f"{where}: blanks at an end of {pattern!r}.")
      stray = re.search(r"\}n\b|\\n|  |\?\?", pattern)
      if stray:
        raise ValueError(f"{where}: stray {stray.group()!r} in {pattern!r}.")
    if not template.target:
      raise ValueError(f"{where}: the target is empty.")


def _slots(pattern: str) -> list[str]:
  return [name for _, name, _, _ in string.Formatter().parse(pattern) if name]


def _did_you_mean(name: str, known, braces: bool = False) -> str:
  close = difflib.get_close_matches(name, sorted(known), n=1)
  if not close:
    return ""
  return (
    f" Did you mean {{{close[0]}}}?"
    if braces
    else (f" Did you mean {close[0]!r}?")
  )
