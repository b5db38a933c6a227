"""What the paper's systems reached, to stand beside our own results.

Wei et al. 2021, "Finetuned Language Models Are Zero-Shot Learners", arXiv
2109.01652, which also lists the figures of GPT-3 175B (Brown et al. 2020, arXiv
2005.14165). A cell is here only if a stored copy of the paper prints it, or if
it gives, with the other cells of its average, a mean that the paper prints.
Cells that nobody could check so are left out rather than guessed: among them
all those of LaMDA-PT, the untuned model, data set by data set.

A small model trained for an hour is not expected to come near them.
"""

import dataclasses
from collections.abc import Mapping

GPT3_ZERO, GPT3_FEW = "GPT-3 175B zero-shot", "GPT-3 175B few-shot"
FLAN_ZERO, FLAN_FEW = "FLAN 137B zero-shot", "FLAN 137B few-shot"
SYSTEMS = (GPT3_ZERO, GPT3_FEW, FLAN_ZERO, FLAN_FEW)

# Where the paper prints a cell, or the mean that the cell reproduces.
_FIGURE_1, _FIGURE_9 = "Figure 1", "Figure 9"
_BOTH = f"{_FIGURE_1} and {_FIGURE_9}"
_TABLES = "the tables of the appendix"

ABOUT = (
  "Wei et al. 2021, arXiv 2109.01652, which also lists GPT-3 175B (Brown et al."
  " 2020, arXiv 2005.14165). Means over templates, of GPT-3 its one prompt's;"
  " in brackets the test score of the best-dev template. Their test rows and"
  " templates are not those of this report. Shown are only figures that are"
  " sure: printed in a copy of the paper that we have, or giving with others a"
  " mean that it prints. No figure of LaMDA-PT, the untuned model, is sure, so"
  " it has no column."
)


@dataclasses.dataclass(frozen=True)
class PublishedScore:
  """One system on one data set, 0 to 100; None where no figure is sure.

  Attributes:
    mean: over templates; of GPT-3 the one prompt's.
    best_dev: the test score of the template that did best on the dev rows.
  """

  mean: float | None = None
  best_dev: float | None = None


@dataclasses.dataclass(frozen=True)
class Published:
  """The figures of one data set.

  Attributes:
    metric: as in `flan_tf.eval.metrics`.
    source: the figures of the paper whose averages the means reproduce, or
      where a lone best-dev score is printed.
    cells: one of SYSTEMS -> its figures.
    note: what to know before comparing, or empty.
  """

  metric: str
  source: str
  cells: Mapping[str, PublishedScore]
  note: str = ""

  def mean(self, system: str) -> float | None:
    return self.cells.get(system, PublishedScore()).mean

  def best_dev(self, system: str) -> float | None:
    return self.cells.get(system, PublishedScore()).best_dev


def _row(
  metric: str,
  source: str,
  gpt3: tuple[float | None, float | None],
  zero: tuple[float | None, float | None],
  few: tuple[float | None, float | None] = (None, None),
  note: str = "",
) -> Published:
  """GPT-3's (zero-shot, few-shot); FLAN's (mean, best dev), twice as well."""
  cells = {
    GPT3_ZERO: PublishedScore(gpt3[0]),
    GPT3_FEW: PublishedScore(gpt3[1]),
  }
  cells |= {FLAN_ZERO: PublishedScore(*zero), FLAN_FEW: PublishedScore(*few)}
  kept = {
    name: cell for name, cell in cells.items() if cell != PublishedScore()
  }
  return Published(metric, source, kept, note)


_NONE = (None, None)

PUBLISHED: Mapping[str, Published] = {
  "anli_r1": _row("accuracy", _BOTH, (34.6, 36.8), (47.7, None), (44.2, 47.9)),
  "anli_r2": _row("accuracy", _BOTH, (35.4, 34.0), (43.9, None), (41.6, None)),
  "anli_r3": _row("accuracy", _BOTH, (34.5, 40.2), (47.0, None), (42.8, None)),
  "cb": _row("accuracy", _BOTH, (46.4, 82.1), (64.1, None), (82.6, None)),
  "rte": _row("accuracy", _BOTH, (63.5, 72.9), (78.3, None), (79.9, 84.5)),
  "mnli_matched": _row(
    "accuracy", _FIGURE_9, _NONE, (51.1, None), (60.8, None)
  ),
  "mnli_mismatched": _row(
    "accuracy", _FIGURE_9, _NONE, (51.0, None), (61.0, None)
  ),
  "qnli": _row("accuracy", _FIGURE_9, _NONE, (59.6, None), (62.0, None)),
  "snli": _row("accuracy", _FIGURE_9, _NONE, (43.0, None), (62.3, None)),
  "wnli": _row("accuracy", _FIGURE_9, _NONE, (61.0, None), (55.4, None)),
  "bool_q": _row(
    "accuracy", _FIGURE_1, (60.5, 77.5), (80.2, 82.9), (None, 84.6)
  ),
  "multirc": _row("f1", _FIGURE_1, (72.9, 74.8), (74.5, None)),
  "openbookqa": _row(
    "accuracy", _FIGURE_1, (57.6, 65.4), (77.4, None), (None, 78.2)
  ),
  "squad_v2": _row("squad_f1", _TABLES, _NONE, _NONE, (None, 43.1)),
  "record": _row("squad_em", _TABLES, _NONE, (None, 72.5)),
  "arc_challenge": _row(
    "accuracy", _BOTH, (51.4, 51.5), (61.7, 63.1), (None, 63.8)
  ),
  "arc_easy": _row("accuracy", _BOTH, (68.8, 70.1), (79.5, 79.6), (None, 80.7)),
  "natural_questions": _row("trivia_qa_em", _BOTH, (14.6, 29.9), (18.6, None)),
  "trivia_qa": _row(
    "trivia_qa_em",
    _FIGURE_9,
    _NONE,
    (55.0, 56.7),
    note="on the TFDS validation rows",
  ),
  "copa": _row("accuracy", _FIGURE_9, _NONE, (90.6, 91.0), (88.5, 87.0)),
  "hellaswag": _row("accuracy", _FIGURE_9, _NONE, (56.4, 56.7), (59.4, 59.2)),
  "piqa": _row("accuracy", _FIGURE_9, _NONE, (80.9, None), (82.1, None)),
  "story_cloze": _row(
    "accuracy", _FIGURE_9, (83.2, 87.7), (92.2, None), (93.3, 94.7)
  ),
  "definite_pronoun_resolution": _row(
    "accuracy", _FIGURE_9, _NONE, (60.3, None), (62.4, None)
  ),
  "winogrande": _row("accuracy", _FIGURE_9, _NONE, (67.3, 71.2), (72.3, 72.8)),
  "wmt14_enfr": _row(
    "bleu", _FIGURE_9, _NONE, (32.9, None), (33.9, None), "English to French"
  ),
  "wmt16_translate_deen": _row(
    "bleu", _FIGURE_9, _NONE, (25.4, 27.0), (26.8, None), "English to German"
  ),
  "wmt16_translate_roen": _row(
    "bleu", _FIGURE_9, _NONE, (16.7, None), (20.5, None), "English to Romanian"
  ),
}

# The other rows of TriviaQA, which Figure 1 and GPT-3's authors count.
TRIVIA_QA_WIKI = _row(
  "trivia_qa_em",
  _FIGURE_1,
  (64.3, 71.2),
  (66.5, None),
  note="on the Wikipedia rows",
)
