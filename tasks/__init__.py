"""The data sets of FLAN as instruction tasks: one file per cluster.

`ALL` is every task, in the order of the clusters. Reading it imports no
TensorFlow. `rows/` holds rows written for this project, one file per data set,
in the features that TensorFlow Datasets gives that data set.
"""

from . import (
  closed_book_qa,
  commonsense,
  coreference,
  misc,
  nli,
  paraphrase,
  reading_comprehension,
  reading_comprehension_commonsense,
  sentiment,
  struct_to_text,
  summarization,
  translation,
)

ALL = (
  *nli.TASKS,
  *commonsense.TASKS,
  *sentiment.TASKS,
  *paraphrase.TASKS,
  *closed_book_qa.TASKS,
  *struct_to_text.TASKS,
  *reading_comprehension.TASKS,
  *reading_comprehension_commonsense.TASKS,
  *coreference.TASKS,
  *misc.TASKS,
  *summarization.TASKS,
  *translation.TASKS,
)
