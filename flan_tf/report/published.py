"""What the paper's FLAN 137B reached, zero-shot, for the report's last column.

Wei et al. 2021, "Finetuned Language Models Are Zero-Shot Learners", arXiv
2109.01652. Each number is the mean over the templates of a data set while its
cluster was held out. Only cells are kept here whose means give the averages
that the paper prints in `source`; others are left out rather than guessed.
A small model trained for an hour is not expected to come near them.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Published:
  """One published average.

  Attributes:
    average: the mean over templates, 0 to 100.
    metric: as in `flan_tf.eval.metrics`, or `exact_match`.
    source: the figure of the paper whose average this cell reproduces.
    note: what to know before comparing, or empty.
  """

  average: float
  metric: str
  source: str
  note: str = ""


_NLI = "Figures 1 and 9"  # Figure 1: ANLI, CB and RTE; Figure 9: all ten
_READING = "Figure 1"
_CLOSED_BOOK = "Figure 9"
_COMMONSENSE = "Figure 9"
_COREFERENCE = "Figure 9"
_TRANSLATION = "Figure 9"

PUBLISHED: Mapping[str, Published] = {
  "anli_r1": Published(47.7, "accuracy", _NLI),
  "anli_r2": Published(43.9, "accuracy", _NLI),
  "anli_r3": Published(47.0, "accuracy", _NLI),
  "cb": Published(64.1, "accuracy", _NLI),
  "rte": Published(78.3, "accuracy", _NLI),
  "mnli_matched": Published(51.1, "accuracy", "Figure 9"),
  "mnli_mismatched": Published(51.0, "accuracy", "Figure 9"),
  "qnli": Published(59.6, "accuracy", "Figure 9"),
  "snli": Published(43.0, "accuracy", "Figure 9"),
  "wnli": Published(61.0, "accuracy", "Figure 9"),
  "bool_q": Published(80.2, "accuracy", _READING),
  "multirc": Published(74.5, "f1", _READING),
  "openbookqa": Published(77.4, "accuracy", _READING),
  "arc_challenge": Published(61.7, "accuracy", _CLOSED_BOOK),
  "arc_easy": Published(79.5, "accuracy", _CLOSED_BOOK),
  "natural_questions": Published(18.6, "exact_match", _CLOSED_BOOK),
  "trivia_qa": Published(
    55.0, "exact_match", _CLOSED_BOOK, "on the TFDS validation split"
  ),
  "copa": Published(90.6, "accuracy", _COMMONSENSE),
  "hellaswag": Published(56.4, "accuracy", _COMMONSENSE),
  "piqa": Published(80.9, "accuracy", _COMMONSENSE),
  "story_cloze": Published(92.2, "accuracy", _COMMONSENSE),
  "definite_pronoun_resolution": Published(60.3, "accuracy", _COREFERENCE),
  "winogrande": Published(67.3, "accuracy", _COREFERENCE),
  "wmt14_enfr": Published(32.9, "bleu", _TRANSLATION, "English to French"),
  "wmt16_translate_deen": Published(
    25.4, "bleu", _TRANSLATION, "English to German"
  ),
  "wmt16_translate_roen": Published(
    16.7, "bleu", _TRANSLATION, "English to Romanian"
  ),
}
