"""What a study's run directories say: tables with their statistics, pictures, Markdown and one HTML page.

Reads plain JSON only: nothing is executed, and the experiment's own classes are not needed. Importing this package
imports pandas, SciPy and Matplotlib, not JAX.
"""

from cnnjax.documents.document import Picture
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.findings import Findings, find
from cnnjax.reporting.intervals import Spread, spread
from cnnjax.reporting.pages import render_html, render_markdown
from cnnjax.reporting.statistics import arms, effects, measure
from cnnjax.reporting.study_table import Table, collect
from cnnjax.reporting.terminal import terminal_table
from cnnjax.reporting.tidy import curves, results
from cnnjax.reporting.writing import Summary, report

__all__ = [
    "Finding",
    "Findings",
    "Picture",
    "Spread",
    "Summary",
    "Table",
    "arms",
    "collect",
    "curves",
    "effects",
    "find",
    "measure",
    "render_html",
    "render_markdown",
    "report",
    "results",
    "spread",
    "terminal_table",
]
