"""The maps in the middle of a network that a head may read, known from its config without running it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cnnjax.models.fields import Pair


@dataclass(frozen=True)
class Endpoint:
    """Maps [B, h, w, features] that a backbone gives under `name`.

    strides: rows and columns of the image from one place of the map to the next. A map of an image of H rows has about
    H / strides[0] of them: rounded up where the network pads every window, less where it does not.
    """

    name: str
    strides: tuple[int, int]
    features: int

    def __str__(self) -> str:
        rows, columns = self.strides
        return f"{self.name} ({self.features} features, stride {rows if rows == columns else f'{rows}x{columns}'})"


def stages(features: Iterable[int], strides: Iterable[Pair], *, stem: tuple[int, int] = (1, 1)) -> tuple[Endpoint, ...]:
    """`stage1`, `stage2`, ... of these features; strides: by which each reduces the maps of the one before.

    stem: the strides of the maps that the first one reads.
    """
    found: list[Endpoint] = []
    reached = stem
    for number, (width, step) in enumerate(zip(features, strides, strict=True), start=1):
        reached = times(reached, step)
        found.append(Endpoint(f"stage{number}", reached, width))
    return tuple(found)


def last_blocks(blocks: Iterable[tuple[str, Pair, int]], *, stem: tuple[int, int]) -> dict[str, Endpoint]:
    """The endpoints by the block that gives each: the last before a block that reduces the size, and the last of all.

    blocks: name, strides and features of each, in order. stem: the strides of the maps that the first one reads.
    """
    found: list[tuple[str, tuple[int, int], int]] = []
    reached = stem
    for name, step, features in blocks:
        before, reached = reached, times(reached, step)
        if found and reached == before:
            found.pop()
        found.append((name, reached, features))
    return {
        name: Endpoint(f"stage{number}", strides, features)
        for number, (name, strides, features) in enumerate(found, start=1)
    }


def times(strides: tuple[int, int], *steps: Pair) -> tuple[int, int]:
    """Strides after these further ones."""
    rows, columns = strides
    for step in steps:
        down, across = (step, step) if isinstance(step, int) else step
        rows, columns = rows * down, columns * across
    return rows, columns
