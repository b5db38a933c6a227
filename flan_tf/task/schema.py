"""Tasks as values: each has a source, a field function and templates.

A task is checked when it is built: a template that names an unknown slot, or
that contains a stray character, raises an error. This module does not import
TensorFlow, so that listing tasks takes milliseconds.
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
# The cluster of tasks that a run reads from files of prompts and answers.
FILES = "files"

# Slots that the pipeline fills: the list of options, and the right answer.
OPTIONS_SLOT = "options_"
ANSWER_SLOT = "answer"

# A field function turns a row of a data set into slots. Both are mappings of
# names to tensors.
Fields = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class TaskKind(enum.Enum):
  """The kind of answer, which decides how answers are scored."""

  CLASSIFICATION = "rank the options by their log-probability"
  GENERATION = "decode greedily and compare with the references"


@dataclasses.dataclass(frozen=True)
class Template:
  """One wording of a task: a pattern of the prompt and one of the target.

  Patterns name slots in braces: "{premise} Does it follow that {hypothesis}?"

  Attributes:
    inputs: pattern of the prompt.
    target: pattern of the text that the model is to give.
  """

  inputs: str
  target: str = "{answer}"

  @property
  def slots(self) -> frozenset[str]:
    """Names of all slots in both patterns."""
    return frozenset(_slots(self.inputs)) | frozenset(_slots(self.target))

  @property
  def inverse(self) -> bool:
    """True if the target is not the answer but, say, the whole review."""
    return self.target != "{%s}" % ANSWER_SLOT

  @property
  def shows_options(self) -> bool:
    """True if the prompt lists the options."""
    return OPTIONS_SLOT in _slots(self.inputs)


@dataclasses.dataclass(frozen=True)
class Baseline:
  """A prompt in the style of GPT-3, for models without instruction tuning.

  Attributes:
    inputs: pattern of the prompt, without an instruction; the answer continues
      it.
    options: names of the answers in this prompt, in label order; empty for the
      task's own options.
    stops: stop strings: a generation ends before the first of them.
  """

  inputs: str
  options: tuple[str, ...] = ()
  stops: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Splits:
  """The splits of a data set that give train, dev and test rows.

  `flan_tf.data.row_ranges` computes ranges of rows from it and from the sizes
  of the prepared splits, so that no row is in two of the three.

  Attributes:
    train: name of a split; "" for a data set that is only evaluated.
    dev: name of a split, or "" for none. If it is the training split, the last
      `dev_rows` of it are dev rows, else the first `dev_rows`.
    dev_rows: largest number of dev rows.
    test: name of a split; may be the training split.
    test_rows: number of test rows, the last ones, if test is the training
      split.
    part: index of this task among `parts` tasks that share one training split.
    parts: number of tasks that share the training split. Each task trains on
      its own range of rows; they share the test rows.
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
  """A data set of TensorFlow Datasets, or a file of prompts and answers.

  Attributes:
    name: TFDS name with the config, e.g. "super_glue/rte".
    version: TFDS version for which the tasks were written. Another prepared
      version is read, too, and the difference is reported.
    splits: the splits of train, dev and test rows.
    pinned: the version that the published FLAN read, if TFDS no longer has it.
    manual: instructions for a person, if files have to be fetched by hand;
      "<manual_dir>" stands for their folder.
    broken: a known failure of the download, and how to get around it.
    hub: name on the Hugging Face hub, if TFDS can read it from there.
    file: path of a file of prompts and answers (`flan_tf.data.prompt_file`),
      local or gs://, that is read instead of a data set.
    made_from: (task, cluster) of the data sets from which the lines of `file`
      were made.
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
  """A data set, or one config of it, phrased as instructions.

  Attributes:
    name: name of the task in flags, results and logs, e.g. "anli_r1".
    dataset: name of the data set as the paper counts it, e.g. "anli".
    cluster: one of CLUSTERS, or FILES.
    kind: classification or generation.
    source: the data set that gives the rows.
    fields: field function: turns a row (a dict of tensors) into slots (a dict
      of tensors); see below.
    slots: names of the string slots that `fields` gives to templates.
    templates: ten wordings.
    options: the answers of a classification, in label order; empty if `fields`
      gives `choices`.
    metrics: names of `flan_tf.eval.metrics`; reports show the first one.
    documents: the slots with running text, for language modeling.
    published_rows: training rows in the published mixture before the cap of
      30,000, rounded down to tens; 0 for a task that never trains.
    baseline: the prompt for untuned models; None if none was published.
    extra: whether the task is not one of the paper's 62 data sets.

  The field function of a classification gives `answer_index`: int64, -1 for a
  hidden label. That of a generation gives `answer`: a string. Further slots are
  optional:

    references   strings [n]: all right answers
    choices      strings [n]: the options, if they differ from row to row
    group        a string: some metrics score the rows of a group together
    keep         a bool: rows with False are left out, and counted

  A field function imports TensorFlow when it is called, and uses TensorFlow
  operations only: AutoGraph does not rewrite a Python `if` on a tensor.

  Raises:
    ValueError: parts of the task do not fit together; the message suggests a
      correction.
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
    for index, template in enumerate(self.templates):
      first = self.templates.index(template)
      if first != index:
        raise ValueError(
          f"Task {self.name!r}: two of its templates are equal, {first} and"
          f" {index}. Remove or rewrite one of them."
        )
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
    """Names of all slots that a template of this task may use."""
    filled_by_pipeline = {ANSWER_SLOT}
    if self.kind is TaskKind.CLASSIFICATION:
      filled_by_pipeline.add(OPTIONS_SLOT)
    return frozenset(self.slots) | filled_by_pipeline

  @property
  def trains(self) -> bool:
    """True if the task has training rows."""
    return bool(self.source.splits.train)

  @property
  def forward_templates(self) -> tuple[int, ...]:
    """Indices of the templates whose target is the answer.

    Evaluations use these templates only.
    """
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
        raise ValueError(
          f"{where}: the pattern begins or ends with white space: {pattern!r}."
        )
      stray = re.search(r"\}n\b|\\n|  |\?\?", pattern)
      if stray:
        raise ValueError(f"{where}: stray {stray.group()!r} in {pattern!r}.")
    if not template.target:
      raise ValueError(
        f"{where}: the target is empty; it is the text that the model is to"
        " give, usually '{answer}'."
      )


def _slots(pattern: str) -> list[str]:
  return [name for _, name, _, _ in string.Formatter().parse(pattern) if name]


def _did_you_mean(name: str, known, braces: bool = False) -> str:
  close = difflib.get_close_matches(name, sorted(known), n=1)
  if not close:
    return ""
  name = f"{{{close[0]}}}" if braces else repr(close[0])
  return f" Did you mean {name}?"
