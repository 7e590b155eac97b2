"""Two studies beside each other: the same arms on other data, or by other code.

Its panels are functions of a `Pair`, as those of one study are of a `Table`; what they find is drawn the same way. To
add one, write its file and put it into `PANELS`, which has them in reading order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnjax.reporting.beside.differing import alone_panel, differing_panel
from cnnjax.reporting.beside.pair import Pair
from cnnjax.reporting.beside.replication import comparisons_panel, effects_panel
from cnnjax.reporting.beside.results import results_panel
from cnnjax.reporting.finding import Finding

PANELS: Sequence[Callable[[Pair], Finding | None]] = (
    results_panel,
    comparisons_panel,
    effects_panel,
    alone_panel,
    differing_panel,
)
