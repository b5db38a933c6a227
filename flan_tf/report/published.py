"""Published scores of the paper's systems, to show beside our own results.

Source: Wei et al. 2021, "Finetuned Language Models Are Zero-Shot Learners",
arXiv 2109.01652, which also lists the scores of GPT-3 175B (Brown et al. 2020,
arXiv 2005.14165).

Each score here was checked in one of two ways: a stored copy of the paper
prints the score, or the mean of this score and others equals a mean that the
paper prints. Scores that could not be checked are left out rather than
guessed. All scores of LaMDA-PT, the untuned model, on single data sets are
among those left out.

A small model that was trained for an hour is not expected to come near these
scores.
"""

import dataclasses
from collections.abc import Mapping

GPT3_ZERO, GPT3_FEW = "GPT-3 175B zero-shot", "GPT-3 175B few-shot"
FLAN_ZERO, FLAN_FEW = "FLAN 137B zero-shot", "FLAN 137B few-shot"
SYSTEMS = (GPT3_ZERO, GPT3_FEW, FLAN_ZERO, FLAN_FEW)

# Places in the paper that print a score, or the mean that confirms it.
_FIGURE_1, _FIGURE_9 = "Figure 1", "Figure 9"
_BOTH = f"{_FIGURE_1} and {_FIGURE_9}"
_TABLES = "the tables of the appendix"

ABOUT = (
  "Source: Wei et al. 2021, arXiv 2109.01652, which also lists GPT-3 175B"
  " (Brown et al. 2020, arXiv 2005.14165). Each figure is a mean over"
  " templates; for GPT-3 it is the score of one prompt. The figure in brackets"
  " is the test score of the template with the best score on the dev rows. The"
  " paper uses other test rows and templates than this report. Only verified"
  " figures are shown: a copy of the paper prints the figure, or the figure"
  " together with others gives a mean that the paper prints. No figure of"
  " LaMDA-PT, the untuned model, could be verified, so it has no column."
)


@dataclasses.dataclass(frozen=True)
class PublishedScore:
  """The score of one system on one data set.

  Attributes:
    mean: mean over templates, 0 to 100; for GPT-3 the score of its one prompt.
      None if no such score could be checked.
    best_dev: test score of the template with the best score on the dev rows, 0
      to 100; None if no such score could be checked.
  """

  mean: float | None = None
  best_dev: float | None = None


@dataclasses.dataclass(frozen=True)
class PublishedScores:
  """The scores of all systems on one data set.

  Attributes:
    metric: the paper's metric, a name of `flan_tf.eval.metrics`.
    source: the place in the paper.
    by_system: a name of SYSTEMS -> the system's score.
    note: a difference between the paper's task and ours; may be empty.
  """

  metric: str
  source: str
  by_system: Mapping[str, PublishedScore]
  note: str = ""

  def mean(self, system: str) -> float | None:
    """Returns a system's mean over templates, None if it is not known."""
    return self.by_system.get(system, PublishedScore()).mean

  def best_dev(self, system: str) -> float | None:
    """Returns a system's best-dev score, None if it is not known."""
    return self.by_system.get(system, PublishedScore()).best_dev


def _scores(
  metric: str,
  source: str,
  gpt3: tuple[float | None, float | None],
  flan_zero: tuple[float | None, float | None],
  flan_few: tuple[float | None, float | None] = (None, None),
  note: str = "",
) -> PublishedScores:
  """Builds the scores of one data set.

  Args:
    metric: the paper's metric.
    source: the place in the paper.
    gpt3: (zero-shot, few-shot) score of GPT-3's one prompt.
    flan_zero: (mean, best dev) of FLAN, zero-shot.
    flan_few: (mean, best dev) of FLAN, few-shot.
    note: as in `PublishedScores`.
  """
  scores = {
    GPT3_ZERO: PublishedScore(mean=gpt3[0]),
    GPT3_FEW: PublishedScore(mean=gpt3[1]),
    FLAN_ZERO: PublishedScore(*flan_zero),
    FLAN_FEW: PublishedScore(*flan_few),
  }
  known = {
    system: score
    for system, score in scores.items()
    if score != PublishedScore()
  }
  return PublishedScores(metric, source, known, note)


_NONE = (None, None)

# Task name -> published scores.
PUBLISHED: Mapping[str, PublishedScores] = {
  "anli_r1": _scores(
    "accuracy", _BOTH, (34.6, 36.8), (47.7, None), (44.2, 47.9)
  ),
  "anli_r2": _scores(
    "accuracy", _BOTH, (35.4, 34.0), (43.9, None), (41.6, None)
  ),
  "anli_r3": _scores(
    "accuracy", _BOTH, (34.5, 40.2), (47.0, None), (42.8, None)
  ),
  "cb": _scores("accuracy", _BOTH, (46.4, 82.1), (64.1, None), (82.6, None)),
  "rte": _scores("accuracy", _BOTH, (63.5, 72.9), (78.3, None), (79.9, 84.5)),
  "mnli_matched": _scores(
    "accuracy", _FIGURE_9, _NONE, (51.1, None), (60.8, None)
  ),
  "mnli_mismatched": _scores(
    "accuracy", _FIGURE_9, _NONE, (51.0, None), (61.0, None)
  ),
  "qnli": _scores("accuracy", _FIGURE_9, _NONE, (59.6, None), (62.0, None)),
  "snli": _scores("accuracy", _FIGURE_9, _NONE, (43.0, None), (62.3, None)),
  "wnli": _scores("accuracy", _FIGURE_9, _NONE, (61.0, None), (55.4, None)),
  "bool_q": _scores(
    "accuracy", _FIGURE_1, (60.5, 77.5), (80.2, 82.9), (None, 84.6)
  ),
  "multirc": _scores("f1", _FIGURE_1, (72.9, 74.8), (74.5, None)),
  "openbookqa": _scores(
    "accuracy", _FIGURE_1, (57.6, 65.4), (77.4, None), (None, 78.2)
  ),
  "squad_v2": _scores("squad_f1", _TABLES, _NONE, _NONE, (None, 43.1)),
  "record": _scores("squad_em", _TABLES, _NONE, (None, 72.5)),
  "arc_challenge": _scores(
    "accuracy", _BOTH, (51.4, 51.5), (61.7, 63.1), (None, 63.8)
  ),
  "arc_easy": _scores(
    "accuracy", _BOTH, (68.8, 70.1), (79.5, 79.6), (None, 80.7)
  ),
  "natural_questions": _scores(
    "trivia_qa_em", _BOTH, (14.6, 29.9), (18.6, None)
  ),
  "trivia_qa": _scores(
    "trivia_qa_em",
    _FIGURE_9,
    _NONE,
    (55.0, 56.7),
    note="on the TFDS validation rows",
  ),
  "copa": _scores("accuracy", _FIGURE_9, _NONE, (90.6, 91.0), (88.5, 87.0)),
  "hellaswag": _scores(
    "accuracy", _FIGURE_9, _NONE, (56.4, 56.7), (59.4, 59.2)
  ),
  "piqa": _scores("accuracy", _FIGURE_9, _NONE, (80.9, None), (82.1, None)),
  "story_cloze": _scores(
    "accuracy", _FIGURE_9, (83.2, 87.7), (92.2, None), (93.3, 94.7)
  ),
  "definite_pronoun_resolution": _scores(
    "accuracy", _FIGURE_9, _NONE, (60.3, None), (62.4, None)
  ),
  "winogrande": _scores(
    "accuracy", _FIGURE_9, _NONE, (67.3, 71.2), (72.3, 72.8)
  ),
  "wmt14_enfr": _scores(
    "bleu", _FIGURE_9, _NONE, (32.9, None), (33.9, None), "English to French"
  ),
  "wmt16_translate_deen": _scores(
    "bleu", _FIGURE_9, _NONE, (25.4, 27.0), (26.8, None), "English to German"
  ),
  "wmt16_translate_roen": _scores(
    "bleu", _FIGURE_9, _NONE, (16.7, None), (20.5, None), "English to Romanian"
  ),
}

# Scores on other TriviaQA rows, those with Wikipedia pages. Figure 1 and the
# GPT-3 paper use these rows.
TRIVIA_QA_WIKI = _scores(
  "trivia_qa_em",
  _FIGURE_1,
  (64.3, 71.2),
  (66.5, None),
  note="on the Wikipedia rows",
)
