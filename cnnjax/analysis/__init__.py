"""What a network costs and sees, from its shapes alone: any Linen module is traced, abstractly, and read.

No weight is allocated and nothing runs. `table` arranges the result in a table, `forms` and `difference` in others,
`documents` draws them as text, Markdown and LaTeX, and `picture` draws the costs along the depth.
"""

from __future__ import annotations

from cnnjax.analysis.difference import Difference
from cnnjax.analysis.layers import Analysis, Layer
from cnnjax.analysis.modes import with_training
from cnnjax.analysis.network import analyse

__all__ = ["Analysis", "Difference", "Layer", "analyse", "with_training"]
