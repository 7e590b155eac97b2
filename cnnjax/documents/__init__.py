"""Documents: tables, remarks and pictures as data, drawn for a terminal, as Markdown, LaTeX and HTML, in one style.

Knows nothing of networks and studies. Nothing is imported here, so that a terminal needs no Matplotlib.
"""
