"""A drawn picture, and which of its lines and markers are of which arm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from cnnjax.documents.document import Mark
from cnnjax.reporting.study_table import Arm


@dataclass(frozen=True)
class Drawing:
    """A figure, its caption, and its marks of data by the `gid` that they have in an SVG file."""

    figure: Figure
    caption: str
    marks: Mapping[str, Mark] = field(default_factory=dict)


class Marks(dict[str, Mark]):
    """The marks of a picture that is being drawn."""

    def add(self, drawn: Artist | Iterable[Artist], arm: Arm, of: str, says: str = "") -> None:
        """Names what was drawn as a mark of `arm`.

        of: the series it belongs to: a metric, with the seed where it is of one. says: what follows the arm's name
        under the pointer.
        """
        for artist in [drawn] if isinstance(drawn, Artist) else drawn:
            series = re.sub(r"\W+", "_", of)
            gid = f"arm{arm.number}-{series}-{len(self)}"
            artist.set_gid(gid)
            self[gid] = Mark(str(arm.number), f"arm {arm.number} ({arm.label}){says and ': '}{says}")
