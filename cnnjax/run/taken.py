"""What training steps measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from cnnjax.training.step import Sums


@dataclass(frozen=True)
class Taken:
    """What some steps measured, on the devices: `sums`, with an axis of steps before the others where they are of a
    chunk. firsts: the number of the first step, counted from 0, by slot. count: how many there are. undone: the slots
    whose steps do not count (`Pack.take`)."""

    sums: Sums
    firsts: Sequence[int]
    count: int
    in_chunk: bool
    undone: frozenset[int] = frozenset()

    def each(self) -> Iterator[tuple[dict[int, int], dict[str, Any]]]:
        """(its number, counted from 1, by slot, its sums, on the host) of each step; waits for the devices."""
        held = jax.device_get(self.sums)
        for place in range(self.count):
            numbers = {slot: first + place + 1 for slot, first in enumerate(self.firsts) if slot not in self.undone}
            yield numbers, {name: x[place] for name, x in held.items()} if self.in_chunk else held
