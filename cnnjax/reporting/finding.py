"""What a study's results say, computed once: the page, Markdown, LaTeX, the terminal and JSON all show the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.documents.document import Block, Grid, Picture, Section
from cnnjax.reporting.marks import Drawing


@dataclass(frozen=True)
class Sketch:
    """A picture to be drawn: its `name` (of its file, without suffix), its `title`, and what draws it: `make` returns
    None where the study gives no reason for the picture, and the picture itself where it is drawn already."""

    name: str
    title: str
    make: Callable[[], Drawing | Picture | None]


@dataclass(frozen=True)
class Finding:
    """What one panel says of a study.

    name: its key in findings.json, and its anchor on the page. title: the heading of its section. answers: sentences
    that belong among the first ones of a report. blocks: tables, remarks and pictures in reading order. data: the same
    as plain JSON, None where arms.json has it already.
    """

    name: str
    title: str
    blocks: Sequence[Block | Sketch]
    answers: tuple[str, ...] = ()
    data: Mapping[str, Any] | None = None

    @property
    def sketches(self) -> Iterator[Sketch]:
        """Its pictures."""
        return (block for block in self.blocks if isinstance(block, Sketch))

    @property
    def grids(self) -> Iterator[Grid]:
        """Its tables that have rows."""
        return (block for block in self.blocks if isinstance(block, Grid) and block.rows)

    def section(self, pictures: Mapping[str, Picture]) -> Section:
        """It as a section, with those of its pictures that were drawn, by name."""
        blocks = [pictures.get(block.name) if isinstance(block, Sketch) else block for block in self.blocks]
        return Section(self.title, [block for block in blocks if block is not None], anchor=self.name)
