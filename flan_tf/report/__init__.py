"""What an evaluation found, for people: pages, tables, plots and TensorBoard.

Read `compare` (which results belong together), `published` and `named` (what
the paper's systems reached), then `cells`, `tables` and `sentences`. `report`
writes them as Markdown, `page` as a page with plots (`spread`) and single
answers (`examples`).
"""
