"""The result of an analysis as plain data: one `Layer` a row, and the totals."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """One row: a call of a module that calls no other, or a pooling, product or flattening outside such modules.

    `path` is the module's dotted place in the parameter tree ("" is the network itself), `op` its class in snake
    case ("conv", "batch_norm") or the bare operation ("max_pool", "flatten"). Sizes are of one image: `output_shape`
    has no batch axis. `params` are the module's own, counted at its first call only.

    `activations` are the numbers the row writes; 0 for a view of numbers already counted (a reshape, dropout at
    inference). A unit at row i sees the `receptive_field[0]` pixel rows from `offset[0] + i * jump[0]`, padding
    included, hence possibly more than the image has; a unit that has no place, after a flattening or global pooling,
    has jump 0 and sees that part of the image. After upsampling neighbours differ: the size is the largest, the place
    a lower bound. `global_context`: it also depends on the image outside, through a statistic over space
    (squeeze-and-excitation, group normalization, batch statistics in training).
    """

    path: str
    op: str
    output_shape: tuple[int, ...]
    params: int
    macs: int
    activations: int
    activation_bytes: int
    receptive_field: tuple[int, int]
    jump: tuple[int | float, int | float]
    offset: tuple[int | float, int | float]
    global_context: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Analysis:
    """Totals and rows of a network for one image of `input_shape` (height, width, channels).

    `params` are all trainable parameters, `state` the numbers in other collections (running statistics), `macs` the
    multiply-accumulates of a forward pass, `activations` and `activation_bytes` those of the image and every row.
    What has no row counts nothing: elementwise operations and concatenations outside leaf modules.
    """

    input_shape: tuple[int, int, int]
    params: int
    state: int
    macs: int
    activations: int
    activation_bytes: int
    layers: tuple[Layer, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`{"params", "macs", "activation_bytes", "layers": [{"path", "op", ...}], "warnings"}`, ready for JSON."""
        return {
            "params": self.params,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "layers": [_row(layer) for layer in self.layers],
            "warnings": list(self.warnings),
        }


def _row(layer: Layer) -> dict[str, Any]:
    entries = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in entries.items()}


def volume(shape: tuple[int, ...]) -> str:
    """A shape as text: (224, 224, 64) -> "224x224x64"."""
    return "x".join(map(str, shape)) or "1"
