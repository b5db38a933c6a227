"""Evaluation: prompts in, answers out, and how good they are.

`loaded` holds the weights, `scoring` and `decoding` the programs with them,
`model` both; `predictions` answers requests, `protocol` asks over all
templates, `answering` answers what somebody wrote.

`asking` writes the requests of a task, and `journal` keeps the answers, so that
a stopped evaluation goes on. `measures` makes numbers of them with `metrics`,
`intervals` says how sure these are, and `paired` how sure a difference is.
`results` is one value of the numbers, which is kept as JSON.
"""
