"""A convolution layer written in three ways: as a convolution, as a sparse matrix and as a dense matrix.

All three are one linear map. The convolution stores its kernel, the sparse matrix its nonzero entries, the dense matrix
one entry for each pair of an output and an input; a bias is one number a feature in the convolution and one an output
in a matrix. Operations are the multiplications and additions of one image. After Goodfellow, Bengio and Courville 2016,
Deep Learning, section 9.2; `cnnjax.arithmetic.linear_costs` is the case of one channel without padding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from cnnjax.analysis.layers import Analysis, LayerRow
from cnnjax.arithmetic import Cost, LinearCosts
from cnnjax.documents.document import Column, Grid

COLUMNS = (
    Column("layer"),
    Column("input", "shape", rank=1),
    Column("kernel", "shape", rank=2),
    Column("output", "shape", rank=1),
    *(
        Column(f"{form}:\n{what}", "count")
        for what in ("stored", "operations")
        for form in ("convolution", "sparse", "dense")
    ),
)


def forms(analysis: Analysis) -> list[tuple[LayerRow, LinearCosts]]:
    """The convolution layers of a network with their costs; rows that do more than one convolution are left out."""
    params: dict[str, int] = {}
    for layer in analysis.layers:
        params.setdefault(layer.path, layer.params)
    found = ((layer, costs(layer, params=params[layer.path])) for layer in analysis.layers)
    return [(layer, cost) for layer, cost in found if cost is not None]


def costs(layer: LayerRow, *, params: int) -> LinearCosts | None:
    """What the layer costs in each form, None where it is no convolution and nothing else. params: its own."""
    if layer.groups is None or layer.kernel_size is None or not layer.input_shape or not layer.strides:
        return None
    *sizes, channels = layer.input_shape
    *places, features = layer.output_shape
    seen = channels // layer.groups
    weights = math.prod(layer.kernel_size) * seen * features
    transposed = any(n > 1 for n in layer.input_dilation or ())
    if len(sizes) != len(layer.kernel_size) or layer.macs != weights * math.prod(sizes if transposed else places):
        return None
    bias = params == weights + features
    taps = [_taps(*axis) for axis in _axes(layer, sizes, places)]
    entries = math.prod(sum(counts) for counts in taps) * seen * features
    rows = math.prod(sum(map(bool, counts)) for counts in taps) * features
    outputs, inputs = math.prod(layer.output_shape), math.prod(layer.input_shape)
    additions = bias * outputs
    return LinearCosts(
        convolution=Cost(weights + bias * features, 2 * layer.macs - outputs + additions),
        sparse=Cost(entries + bias * outputs, 2 * entries - rows + additions),
        dense=Cost(outputs * inputs + bias * outputs, outputs * (2 * inputs - 1) + additions),
    )


def grid(analysis: Analysis) -> Grid:
    """The three forms side by side, a line a convolution layer, and their sums."""
    found = forms(analysis)
    rows: list[tuple[Any, ...]] = [
        (layer.path, layer.input_shape, layer.kernel_size, layer.output_shape, *_numbers(c)) for layer, c in found
    ]
    sums = [sum(row[position] for row in rows) for position in range(4, len(COLUMNS))]
    title = "each convolution layer as a convolution, as a sparse and as a dense matrix"
    return Grid(title, COLUMNS, rows, ("total", None, None, None, *sums))


def to_json(analysis: Analysis) -> list[dict[str, Any]]:
    """`[{"path", "convolution": {"stored", "operations"}, "sparse": ..., "dense": ...}]`."""
    return [
        {"path": layer.path} | {form: {"stored": c.floats, "operations": c.operations} for form, c in _named(cost)}
        for layer, cost in forms(analysis)
    ]


def _named(cost: LinearCosts) -> list[tuple[str, Cost]]:
    return list(cost._asdict().items())


def _numbers(cost: LinearCosts) -> list[int]:
    return [form.floats for form in cost] + [form.operations for form in cost]


def _axes(layer: LayerRow, sizes: Sequence[int], places: Sequence[int]) -> list[tuple[int, ...]]:
    ones = (1,) * len(sizes)
    kernel, strides = layer.kernel_size or ones, layer.strides or ones
    before = [pair[0] for pair in layer.padding or ()] or [0] * len(sizes)
    dilation, base = layer.dilation or ones, layer.input_dilation or ones
    return list(zip(sizes, places, kernel, strides, before, dilation, base, strict=True))


@functools.lru_cache(maxsize=512)
def _taps(size: int, places: int, kernel: int, stride: int, before: int, dilation: int, base: int) -> tuple[int, ...]:
    """Along one axis: how many positions of the kernel lie on an input, for each place of the output."""
    inputs = range(0, (size - 1) * base + 1, base)
    starts = (place * stride - before for place in range(places))
    return tuple(sum(start + tap * dilation in inputs for tap in range(kernel)) for start in starts)
