"""The worker half of tpu_plan, in the environment of the TPU compiler."""
