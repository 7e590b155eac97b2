"""Layers of a plain network around which there is a shortcut."""

from __future__ import annotations

from collections.abc import Mapping

import jax
from pydantic import Field

from cnnjax.config import Named, NamedOf
from cnnjax.errors import ShapeError
from cnnjax.models.convnet import Layer, Maps


class Residual(Layer):
    """x + layers(x): [B, H, W, C] -> same (He et al. 2016a, arXiv:1512.03385, equation 1).

    layers: by name, at least one; what they make has the shape of x. In the network the name of each follows this
    layer's: `residual1_conv2`.
    """

    layers: NamedOf[Layer] = Field(min_length=1)

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        made = x
        for inner, layer in self.layers.items():
            made = layer(made, name=f"{name}_{inner}", train=train, outputs=outputs)
        if made.shape != x.shape:
            shapes = ["x".join(map(str, array.shape[1:])) for array in (made, x)]
            raise ShapeError(f"{name}: its layers make {shapes[0]} of {shapes[1]}, which cannot be added")
        return x + made

    def maps(self, before: Maps) -> Maps | None:
        return before

    def widths(self) -> set[int]:
        return set[int]().union(*(layer.widths() for layer in self.layers.values()))

    def widened(self, widths: Mapping[int, int]) -> Residual:
        layers = Named((name, layer.widened(widths)) for name, layer in self.layers.items())
        return self.model_copy(update={"layers": layers})
