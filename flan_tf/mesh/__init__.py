"""The engine: Mesh-TensorFlow programs on every core, under tf.distribute.

compat            imports mesh_tensorflow on current TensorFlow
layout            shape of the mesh, and dimensions split over its axes
devices           logical CPUs, GPUs or TPU cores, as a tf.distribute strategy
tpu_slice         connects to a TPU slice and places the mesh on its torus
transport         collectives between cores
tpu_transport     collectives of TPUs
collective_trace  records collectives, to compare the cores
mesh_impl         Mesh-TF's lowering for one core
op                base class of our Mesh-TF operations
ops               operations that Mesh-TF lacks or does too slowly
functions         functions of Mesh-TF tensors, built once for all layers
state             named tensors, such as weights, as one shard on each core
program           runs one step function on every core
tf_errors         short texts for TensorFlow's errors
"""
