"""Learning rates as functions of the step."""

import math

from flan_tf import config


def learning_rate(train: config.TrainConfig, step: int) -> float:
  """The learning rate of a step, counted from 1.

  "constant" is the paper's (section 2.4: 3e-5). All but "rsqrt" rise linearly
  through the warmup; "rsqrt" is flat through it, as in T5.
  """
  peak, warmup = train.learning_rate, train.warmup
  if train.schedule == "rsqrt":
    return peak / math.sqrt(max(step, warmup, 1))
  if step < warmup:
    return peak * step / warmup
  done = min(1.0, (step - warmup) / max(1, train.steps - warmup))
  if train.schedule == "linear":
    return peak * (1.0 - done)
  if train.schedule == "cosine":
    return peak * 0.5 * (1.0 + math.cos(math.pi * done))
  return peak
