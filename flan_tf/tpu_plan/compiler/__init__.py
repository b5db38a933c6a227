"""The half of tpu_plan that runs in the TPU compiler's own environment."""
