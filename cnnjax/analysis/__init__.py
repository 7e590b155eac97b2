"""What a network costs and sees, from its shapes alone: any Linen module is traced once, abstractly, and read.

No weight is allocated and nothing runs. `cnnjax.analysis.table` draws the result for a terminal.
"""

from __future__ import annotations

from cnnjax.analysis.layers import Analysis, Layer
from cnnjax.analysis.network import analyse

__all__ = ["Analysis", "Layer", "analyse"]
