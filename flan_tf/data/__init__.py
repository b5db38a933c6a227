"""Turns the rows of TFDS data sets into token ids for training and evaluation.

Modules in reading order:

row_ranges        the rows that train, choose templates (dev) and test
shipped_rows      writes rows from JSON lines as a TFDS directory
prompt_file       reads files of prompts and answers
file_tasks        makes a training task of each such file
prepared_dataset  opens prepared TFDS data sets
rows              reads rows, always in the same order
opened_tasks      opens the data sets of tasks and chooses row ranges
random_draws      random numbers as functions of a seed and names
prompts           turns rows into slots, and slots into prompt and target
prompt_tokenizer  tokenizes prompt and target, separately or as one text
prompt_format     lengths, truncation, separator, chat template, soft prompt

Training:

encoded_examples  joins prompts and targets to examples
example_table     the examples of a task in flat arrays
language_model    examples of plain text from the same rows
mixture           the order of examples from several tasks
packing           packs examples into packed rows
batches           global batches, resumed exactly
prefetch          runs an iterator ahead in a thread
mixture_report    the tasks of a run, with rows, tokens and rates
pipeline          all of the above for a list of tasks

Evaluation and inspection:

requests          data-set rows as requests to a model
few_shot          exemplars in prompts
preview           shows one row as text and tokens
availability      checks which tasks can be read from a directory
corpus            streams documents, to find evaluation rows in them
"""
