"""Evaluation: scores of a model on tasks, as in the paper.

Read in this order:

    evaluation_config    settings
    protocol             the evaluation of a model, step by step
    task_requests        what is asked, in a fixed order
    scored_prediction    the record of one answer with its score
    prediction_log       answers on disk, so that an evaluation can resume;
                         log_format has the lines and checksums of its files
    scoring              scores of answers, and metrics of sets of answers
    metrics              the table of metrics by name; metric is one of them,
                         and classification_metrics, text_metrics and
                         qa_metrics compute them
    bootstrap            intervals of scores; metric_sums makes them fast
    paired               the difference of two models, with its interval
    task_summary         the result of a task, from its predictions
    results              all numbers of an evaluation: results.json; task_result
                         holds those of one task
    control              the positive control
    fingerprint, package_versions   what the numbers depend on

Predictions themselves are made in `flan_tf.inference`.
"""
