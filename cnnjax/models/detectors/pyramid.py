"""Feature pyramids: Lin et al. 2017 (arXiv:1612.03144, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax

from cnnjax import nn
from cnnjax.models.endpoint import Endpoint


def pyramid(maps: Mapping[str, jax.Array], read: Sequence[Endpoint], features: int) -> list[jax.Array]:
    """The maps that are read, of so many features each, the finest first; inside the calling compact module.

    read: their endpoints, the finest first. A 1x1 convolution makes each of as many features (`NAME_side`); of several,
    each coarser one is enlarged and added to the next finer, and a 3x3 convolution follows (`NAME_smooth`).
    """
    sides = [nn.Convolution(features, 1, name=f"{endpoint.name}_side")(maps[endpoint.name]) for endpoint in read]
    if len(read) == 1:
        return sides
    for level in reversed(range(len(read) - 1)):
        height, width = sides[level].shape[1:3]
        coarser = nn.Resize(size=(height, width), method="nearest", name=f"{read[level].name}_upsample")
        sides[level] = sides[level] + coarser(sides[level + 1])
    return [
        nn.Convolution(features, 3, name=f"{endpoint.name}_smooth")(x) for endpoint, x in zip(read, sides, strict=True)
    ]
