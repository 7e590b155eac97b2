"""Types of the fields that architectures share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cnnjax import nn

MOST_BLOCKS = 10_000
"""One after the other. A network is traced, block by block, before its size is known."""

Count = Annotated[int, Field(ge=1)]
Blocks = Annotated[int, Field(ge=0, le=MOST_BLOCKS)]
Depth = Annotated[int, Field(ge=1, le=MOST_BLOCKS)]
Pair = Count | tuple[Count, Count]
Rate = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[int, Field(ge=0)]
Padding = (
    Literal["same", "valid", "full"]
    | Pixels
    | tuple[Pixels, Pixels]
    | tuple[tuple[Pixels, Pixels], tuple[Pixels, Pixels]]
)
BatchGroup = Literal["global", "device"] | Annotated[int, Field(ge=1)]


def _known_activation(name: str) -> str:
    nn.activation(name)
    return name


ActivationName = Annotated[str, AfterValidator(_known_activation)]
