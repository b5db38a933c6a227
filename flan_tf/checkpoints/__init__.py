"""Checkpoints: written in the background, read on any mesh.

bundle            a checkpoint as one value: run, vocabulary, tensors
base_model        the model below adapters: its place and its fingerprint
checkpoint_dirs   folders of checkpoints, and which of them are complete
marker            the file COMPLETE: sizes and checksums of the other files
saver             writes checkpoints while training continues
restore           sets states from a checkpoint
shards            shards of tensors in TensorFlow's checkpoint files
host_barrier      synchronizes hosts by files
"""
