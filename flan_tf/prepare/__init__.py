"""Downloads the data sets of tasks and writes them as a TFDS directory."""
