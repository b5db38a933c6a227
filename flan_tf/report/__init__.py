"""Shows the results of evaluations to people.

Read `comparison` first: a `Comparison` is built once per report, and every
other module takes it.

    comparison             one to four evaluations side by side
      task_comparison      one task, or one cluster, in all of them
      answer_samples       single answers, drawn at random
      published            scores of the paper's systems
      paper_averages       averages that the paper prints, and ours
    mismatches             differences that make scores incomparable
    cells                  formats numbers
    tables                 builds tables; table_format writes them
    sentences              title, summary, caveats, footnotes
    markdown, page         report.md and report.html, by Jinja templates
                           (rendering); dot_positions places the page's dots
    terminal               text of 80 columns
    plot                   templates.png
    csv_file               scores.csv
    tensorboard_summaries  TensorBoard events
    writer                 writes all files but scores.csv
"""
