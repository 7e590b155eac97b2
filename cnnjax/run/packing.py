"""How trials of one program train as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Way = Literal["vmap", "products"]
"""vmap: every operation has an axis of trials. products: so too, and on accelerators convolutions are batched matrix
products of windows and kernels (`cnnjax.lowering`). The numbers of the two differ by rounding."""


@dataclass(frozen=True)
class Packing:
    """How many trials of a program train as one (`width`; 1: each alone), and in which way.

    gain: how many times as fast as one after the other, where that was measured. Trials are trained alike by packings
    that are equal; gain is left out of that.
    """

    width: int = 1
    way: Way = "vmap"
    gain: float | None = field(default=None, compare=False)

    def __str__(self) -> str:
        if self.width == 1:
            return "one trial at a time" + ("" if self.gain is None else ", measured to be fastest")
        way = " by batched products" if self.way == "products" else ""
        return f"packed {self.width}{way}" + ("" if self.gain is None else f", measured {self.gain:.1f}x")


ALONE = Packing()
