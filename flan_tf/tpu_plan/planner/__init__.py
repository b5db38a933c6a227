"""The planner half of tpu_plan, which needs neither TensorFlow nor jax."""
