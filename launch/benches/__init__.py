"""The benchmarks of `launch.bench`: one module for each `--what`."""
