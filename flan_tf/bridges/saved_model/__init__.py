"""Writes models as TensorFlow SavedModels.

saved_model_writer   writes a ModelSource as a SavedModel
text_model           the graph from texts to texts
row_programs         the graphs from token ids to token ids
"""
