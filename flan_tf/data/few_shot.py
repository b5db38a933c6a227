"""Few-shot prompts: exemplars from training rows before each request.

    pool = read_exemplar_pool(task, dataset, ranges.train, seed)   once per task
    requests = add_exemplars(requests, task, template, pool, ...)  per template

Each request gets its own exemplars, drawn with the seed and the number of its
data-set row; fixed exemplars are the same for all requests. Exemplars have the
template of the request. A request is never its own exemplar. If the prompt is
too long, whole exemplars are left out, beginning with the last one.
"""

import dataclasses
from collections.abc import Sequence

from flan_tf.data import random_draws, row_ranges
from flan_tf.data.prepared_dataset import PreparedDataset
from flan_tf.data.prompt_format import PromptFormat
from flan_tf.data.requests import (
  Example,
  Request,
  read_evaluation_rows,
  render_prompts_and_targets,
)
from flan_tf.task import schema, wordings

# Number of training rows that exemplars are drawn from.
POOL_SIZE = 512

# (prompt, answer).
_Exemplar = tuple[str, str]


def read_exemplar_pool(
  task: schema.Task,
  dataset: PreparedDataset,
  train: row_ranges.RowRange,
  seed: int,
  size: int = POOL_SIZE,
) -> tuple[Example, ...]:
  """Reads the training rows that exemplars are drawn from.

  Args:
    task: the task.
    dataset: the task's data set.
    train: its training rows.
    seed: of the draw of `size` rows.
    size: the maximum number of rows; those with hidden answers are left out.
  """
  row_indices = None
  if len(train) > size:
    generator = random_draws.random_generator(seed, "pool", task.name)
    drawn = generator.choice(len(train), size, replace=False)
    row_indices = train.start + drawn
  return read_evaluation_rows(
    task, dataset, train, row_indices=row_indices
  ).rows


def add_exemplars(
  requests: Sequence[Request],
  task: schema.Task,
  template: int,
  pool: Sequence[Example],
  prompt_format: PromptFormat,
  *,
  shots: int,
  markers: wordings.Markers,
  seed: int,
  same_split: bool = False,
  fixed: bool = False,
) -> list[Request]:
  """Puts up to `shots` exemplars and the markers into each prompt.

  Args:
    requests: requests without exemplars, in the words of `template`.
    task: the task.
    template: index of the template, of requests and exemplars alike.
    pool: the rows that exemplars are drawn from.
    prompt_format: decides how many exemplars fit into a prompt.
    shots: exemplars of a prompt. There are fewer if the pool is too small, or
      if they do not fit.
    markers: texts around prompts and answers.
    seed: of the draws.
    same_split: whether the requests and the pool are of the same split. Then
      equal row numbers mean the same row.
    fixed: whether all requests get the same exemplars.

  Returns:
    The requests in the same order, with other prompts.
  """
  rendered = render_prompts_and_targets(task, pool, template)
  # The rows that must not become exemplars.
  requested = {x.example.row_index for x in requests} if same_split else set()

  def draw(excluded: set[int], row_index: int) -> list[_Exemplar]:
    allowed = [i for i, row in enumerate(pool) if row.row_index not in excluded]
    generator = random_draws.random_generator(
      seed, "shots", task.name, same_split, row_index
    )
    chosen = generator.permutation(len(allowed))[:shots]
    return [rendered[allowed[i]] for i in chosen]

  if fixed:
    exemplars = [draw(requested, -1)] * len(requests)
  else:
    row_indices = [request.example.row_index for request in requests]
    exemplars = [draw(requested & {row}, row) for row in row_indices]
  exemplars = _drop_until_fit(requests, exemplars, markers, prompt_format)
  return [
    dataclasses.replace(
      request,
      prompt=markers.join(request.prompt, of_request),
      exemplars=len(of_request),
    )
    for request, of_request in zip(requests, exemplars, strict=True)
  ]


def _drop_until_fit(
  requests: Sequence[Request],
  exemplars: Sequence[Sequence[_Exemplar]],
  markers: wordings.Markers,
  prompt_format: PromptFormat,
) -> list[list[_Exemplar]]:
  """Drops the last exemplars of each prompt until the prompt fits."""
  room = prompt_format.prompt_room(prompt_format.max_target_length)
  kept = [list(of_request) for of_request in exemplars]
  too_long = [i for i, of_request in enumerate(kept) if of_request]
  while too_long:
    prompts = [markers.join(requests[i].prompt, kept[i]) for i in too_long]
    lengths = map(len, prompt_format.tokenizer.encode_prompts(prompts))
    too_long = [i for i, n in zip(too_long, lengths, strict=True) if n > room]
    for i in too_long:
      kept[i].pop()
    too_long = [i for i in too_long if kept[i]]
  return kept
