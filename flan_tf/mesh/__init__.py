"""The engine: Mesh-TensorFlow programs on every core, under tf.distribute.

compat      imports mesh_tensorflow on today's TensorFlow
layout      the mesh's shape, and which dimension is split over which axis
strategy    the devices: logical CPUs, GPUs or TPU cores
tpu         a TPU slice, with the mesh laid on its torus
transport   collectives between cores, recorded as they are traced
core        what one core does: the Mesh-TF implementation
operation   what our Mesh-TF operations have in common
calls       functions of Mesh-TF tensors, built once for all layers
ops         operations that Mesh-TF lacks or has too slow
state       weights and optimizer state as one slice per core
program     runs one step function on every core
slices      slices in checkpoint files, read and written by their workers
reports     hosts tell one another by files that they are done
checkpoint  whole checkpoints, written in the background, for any mesh
messages    what an error of TensorFlow says, in a line
"""
