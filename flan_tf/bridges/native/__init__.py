"""Reads and writes checkpoints of this project.

checkpoint_source   opens a checkpoint as a ModelSource, its adapters merged
checkpoint_writer   writes a ModelSource as a checkpoint
"""
