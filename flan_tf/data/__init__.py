"""Rows of TFDS become packed batches. In reading order:

split_plan      which rows train, choose templates and are reported
samples         rows written for this project, as a TFDS directory
rows            reads prepared TFDS directories, always in the same order
prompt_file     a file of prompts and answers as a task
prompts         features -> slots -> prompt and target
vocabulary      SentencePiece, in the graph and in batches
pretokens       how texts are cut into words, for byte pairs
merging         words become byte-pair pieces in the graph
byte_pair       byte pairs, in the graph and in batches
wrapping        what stands around prompts and targets; how long they may be
tokens          a task's examples as ids, flat in memory
language_model  the same rows as plain text
mixture         which example comes when
packing         examples into rows of one length
batches         global batches, resumed exactly; host rows; prefetching
requests        held-back rows as questions to a model
pipeline        all of it for a list of tasks, with a report
"""
