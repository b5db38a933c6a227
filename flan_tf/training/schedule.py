"""Learning rates as functions of the step."""

import math

from flan_tf import config


def learning_rate(train: config.TrainConfig, step: int) -> float:
  """Returns the learning rate of a step.

  "constant" with 3e-5 is the paper's schedule (section 2.4). All schedules but
  "rsqrt" rise linearly during the warmup; "rsqrt" is constant during it, as in
  T5.

  Args:
    train: `schedule`, `learning_rate`, `warmup` and `steps` are used.
    step: number of the step, counted from 1.
  """
  peak, warmup = train.learning_rate, train.warmup
  if train.schedule == "rsqrt":
    return peak / math.sqrt(max(step, warmup, 1))
  if step < warmup:
    return peak * step / warmup
  progress = min(1.0, (step - warmup) / max(1, train.steps - warmup))
  if train.schedule == "linear":
    return peak * (1.0 - progress)
  if train.schedule == "cosine":
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
  return peak
