"""Contamination: test rows that share words with a training corpus.

    words          words of a text
    ngram_index    n-grams of all test rows, searched in a corpus; ngram_table
                   holds those of one size
    scored_rows    test rows of an evaluation, with their predictions
    measure        scores on clean and on dirty rows
    report         the table, and the files

`flan_tf.data.corpus` reads the corpus.
"""
