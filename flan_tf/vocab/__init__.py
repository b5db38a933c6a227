"""Vocabularies: text to token ids and back, in the graph and outside of it."""
