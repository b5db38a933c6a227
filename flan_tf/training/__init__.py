"""Training: Adafactor, the training step, and the loop around it.

session          everything that one run needs, open
starting_point   decides where weights come from, and loads them
resume_policy    settings that may differ from a checkpoint's
training_data    examples and batches of a run
step             loss, gradients and update on every core
adafactor        the optimizer
schedule         learning rates
loop             takes steps, logs, saves, and stops on a signal
run_saver        saves checkpoints when they are due
divergence       finds losses and weights that are not finite
progress_meter   metrics between two log lines
metric_writer    metrics.jsonl and TensorBoard
profiling        profiles of some steps
run_summary      descriptions of a run, and sample prompts
stop_signals     SIGTERM, SIGHUP and Ctrl-C as requests to stop
"""
