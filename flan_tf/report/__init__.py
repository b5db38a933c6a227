"""What an evaluation found, for people: pages, tables, plots and TensorBoard.

Read `compare` (which results belong together), then `tables` and `plot`, and
`published` (what the paper's model reached).
"""
