"""Choices of an evaluation that flags list without importing TensorFlow."""

# Scores by which options are ranked, see `flan_tf.inference.predictions`.
SCORES = ("sum", "per_token", "per_character", "unconditional")
# "per_query" draws exemplars anew for each row, "fixed" once for a template.
EXEMPLARS = ("per_query", "fixed")
