"""Checkpoints: written in the background, read on any mesh.

bundle            a checkpoint as one value: run, vocabulary, tensors
checkpoint_dirs   folders of checkpoints, and which of them are complete
saver             writes checkpoints while training continues
restore           sets states from a checkpoint
shards            shards of tensors in TensorFlow's checkpoint files
host_barrier      synchronizes hosts by files
"""
