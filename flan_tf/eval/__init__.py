"""Evaluation: scores, generations, metrics, results and the report.

`option_rows` packs prompts with their options for `model`; `protocol` asks over
all templates, `answering` answers what somebody wrote.

Read `metrics` (predictions -> a number), `results` (numbers -> one value that
is kept as JSON), then `report`, `plot` and `summaries` (for people), and
`published` (what the paper's model reached).
"""
