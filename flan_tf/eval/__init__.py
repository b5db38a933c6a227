"""Evaluation: prompts in, answers out, and how good they are.

`loaded` holds the weights, `scoring` and `decoding` the programs with them,
`model` both; `predictions` answers requests, `protocol` asks over all
templates, `answering` answers what somebody wrote. `metrics` makes numbers of
predictions, and `results` one value of the numbers, which is kept as JSON.
"""
