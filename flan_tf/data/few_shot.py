"""Few-shot prompts: exemplars from training rows stand before the query.

    pool = read_pool(task, dataset, plan.train, seed)          once a task
    asked = with_exemplars(task, asked, template, pool, ...)   once a template

Each query draws its own exemplars, from the seed and its row number, in the
query's own template; or, where they are fixed, all have the same ones. A query
is never an exemplar. Where the prompt is too long, whole exemplars go, the last
ones first.
"""

import dataclasses
from collections.abc import Sequence

from flan_tf.data import mixture, prompt_format, requests, row_ranges, rows
from flan_tf.task import schema, wordings
from flan_tf.vocab.vocabulary import Vocabulary

# Training rows that exemplars are drawn from; more are seldom told apart.
POOL = 512


def read_pool(
  task: schema.Task,
  dataset: rows.Dataset,
  train: row_ranges.RowRange,
  seed: int,
  size: int = POOL,
) -> tuple[requests.EvaluationRow, ...]:
  """Training rows with public answers, at most `size`, drawn with the seed."""
  only = None
  if len(train) > size:
    draw = mixture.generator(seed, "pool", task.name)
    only = train.start + draw.choice(len(train), size, replace=False)
  return requests.read_evaluation_rows(task, dataset, train, only=only).rows


def with_exemplars(
  task: schema.Task,
  asked: Sequence[requests.Request],
  template: int,
  pool: Sequence[requests.EvaluationRow],
  shots: int,
  markers: wordings.Markers,
  vocabulary: Vocabulary,
  limits: prompt_format.Limits,
  seed: int,
  same_split: bool = False,
  fixed: bool = False,
) -> list[requests.Request]:
  """Requests with up to `shots` exemplars each, and markers around all parts.

  Args:
    task: the task.
    asked: requests without exemplars, in the wording `template`.
    template: of the exemplars, too.
    pool: what exemplars are drawn from.
    shots: exemplars of a prompt; fewer where the pool has fewer, or where they
      do not fit into `limits.input_length`.
    markers: what stands between the parts.
    vocabulary: what counts tokens.
    limits: how long a prompt may be.
    seed: of the draws.
    same_split: whether the queries come from the split that the pool was read
      from: then rows of the same number are the same row.
    fixed: the same exemplars for all requests.

  Returns:
    The same requests in the same order, with other prompts.
  """
  rendered = requests.render_rows(task, pool, template)
  asked_rows = {request.row for request in asked} if same_split else set()

  def draw(own: set[int], row: int) -> list[tuple[str, str]]:
    others = [i for i, other in enumerate(pool) if other.row not in own]
    drawing = mixture.generator(seed, "shots", task.name, same_split, row)
    chosen = drawing.permutation(len(others))[:shots]
    return [rendered[others[i]] for i in chosen]

  if fixed:
    same = draw(asked_rows, -1)
    drawn = [same for _ in asked]
  else:
    drawn = [draw(asked_rows & {one.row}, one.row) for one in asked]
  drawn = _fitting(asked, drawn, markers, vocabulary, limits)
  return [
    dataclasses.replace(
      request,
      prompt=markers.join(request.prompt, exemplars),
      exemplars=len(exemplars),
    )
    for request, exemplars in zip(asked, drawn, strict=True)
  ]


def _fitting(asked, drawn, markers, vocabulary, limits):
  """Exemplars without the last ones of each prompt that is too long."""
  wrapper = limits.wrapper(vocabulary)
  room = min(limits.input_length, limits.row_length - limits.longest_target)
  room -= wrapper.of_prompt
  drawn = [list(exemplars) for exemplars in drawn]
  open_ = [i for i, exemplars in enumerate(drawn) if exemplars]
  while open_:
    joined = [markers.join(asked[i].prompt, drawn[i]) for i in open_]
    lengths = map(len, wrapper.encode_prompts(joined))
    open_ = [i for i, n in zip(open_, lengths, strict=True) if n > room]
    for i in open_:
      drawn[i].pop()
    open_ = [i for i in open_ if drawn[i]]
  return drawn
