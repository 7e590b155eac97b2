"""What a network costs and sees, from its shapes alone: any Linen module is traced, abstractly, and read.

No weight is allocated and nothing runs. `layer_table`, `matrix_forms` and `difference` arrange the result in tables,
`cnnjax.documents` draws them as text, Markdown and LaTeX; `picture` draws the costs along the depth.
"""

from __future__ import annotations

from cnnjax.analysis.difference import Difference
from cnnjax.analysis.layer_analysis import analyse, analysed
from cnnjax.analysis.layers import Analysis, LayerRow
from cnnjax.analysis.training_activations import with_training

__all__ = ["Analysis", "Difference", "LayerRow", "analyse", "analysed", "with_training"]
