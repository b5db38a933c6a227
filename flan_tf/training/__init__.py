"""Training: Adafactor, schedules, the step, and the loop around it."""
