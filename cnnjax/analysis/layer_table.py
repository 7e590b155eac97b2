"""The layer table in the usual arrangement: layer, output, parameters, MACs, activations, what is seen."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import RenderableType

from cnnjax.analysis import matrix_forms
from cnnjax.analysis.layers import Analysis, LayerRow, share, volume
from cnnjax.documents.document import Column, Document, Grid, Remarks
from cnnjax.documents.quantities import short_bytes
from cnnjax.documents.terminal_text import terminal

TRAINING = (Column("training\nfloats", "quantity", rank=11), Column("training\nbytes", "bytes", rank=7))
COLUMNS = (
    Column("layer"),
    Column("op", rank=1),
    Column("output", "shape"),
    Column("parameters", "count"),
    Column("% of\nparameters", "percent", rank=5),
    Column("MACs", "quantity"),
    Column("% of\nMACs", "percent", rank=4),
    Column("FLOPs", "quantity", rank=10),
    Column("activation\nfloats", "quantity", rank=6),
    Column("activation\nbytes", "bytes", rank=3),
    *TRAINING,
    Column("receptive\nfield", "shape", rank=2),
    Column("stride", "pair", rank=8),
    Column("offset", "pair", rank=9),
)


def document(analysis: Analysis, *, with_forms: bool = False) -> Document:
    """The layer table, with forms also those of the convolutions, remarks and warnings; in JSON `"forms"`."""
    shown = [grid(analysis), *([matrix_forms.grid(analysis)] if with_forms else []), Remarks(tuple(_remarks(analysis)))]
    warnings = [Remarks(analysis.warnings, "warnings")] if analysis.warnings else []
    return Document(
        [*shown, *warnings], analysis.to_json() | ({"forms": matrix_forms.to_json(analysis)} if with_forms else {})
    )


def table(analysis: Analysis, width: int = 160) -> RenderableType:
    """The document for a terminal of `width` characters."""
    return terminal(document(analysis).blocks, width)


def grid(analysis: Analysis) -> Grid:
    """One line a layer, the image first and the totals last."""
    layers = analysis.layers
    pixels = analysis.activations - sum(layer.activations for layer in layers)
    size = analysis.activation_bytes - sum(layer.activation_bytes for layer in layers)
    traced = analysis.train_activations is not None
    trained = (pixels, size) if traced else (None, None)
    image = (
        "(input)",
        "input",
        analysis.input_shape,
        0,
        0.0,
        0,
        0.0,
        0,
        pixels,
        size,
        *trained,
        (1, 1),
        (1, 1),
        (0, 0),
    )
    counts = (
        analysis.params,
        share(analysis.params, analysis.params),
        analysis.macs,
        share(analysis.macs, analysis.macs),
    )
    written = (analysis.activations, analysis.activation_bytes)
    trained = (analysis.train_activations, analysis.train_activation_bytes)
    totals = ("total", None, None, *counts, analysis.flops, *written, *trained, None, None, None)
    whole = Grid("", COLUMNS, [image, *(_line(layer, analysis) for layer in layers)], totals)
    return whole.only([k for k, c in enumerate(COLUMNS) if traced or c not in TRAINING])


def _line(layer: LayerRow, analysis: Analysis) -> tuple[Any, ...]:
    seen = COLUMNS[-3].text(layer.receptive_field, exact=True) + "+" * layer.global_context
    placed = any(layer.jump)
    return (
        layer.path or f"({layer.op})",
        layer.op,
        layer.output_shape,
        layer.params,
        share(layer.params, analysis.params),
        layer.macs,
        share(layer.macs, analysis.macs),
        layer.flops,
        layer.activations,
        layer.activation_bytes,
        layer.train_activations,
        layer.train_activation_bytes,
        seen,
        layer.jump if placed else None,
        layer.offset if placed else None,
    )


def _remarks(analysis: Analysis) -> list[str]:
    said = [
        "per image; a MAC is a multiply-accumulate, two FLOPs; stride and offset: unit i sees the pixels from "
        "offset + i x stride",
    ]
    if any(layer.global_context for layer in analysis.layers):
        said.append("+ depends on the rest of the image too, through a statistic over space")
    if analysis.state:
        said.append(f"besides the parameters {analysis.state:,} numbers of state (running statistics)")
    said += [
        f"optim.groups {group.pattern!r}: {group.params:,} parameters{', frozen' if group.frozen else ''}"
        for group in analysis.groups
    ]
    if analysis.learning_rate is not None:
        said.append(f"learning rate: {analysis.learning_rate}")
    if analysis.sizes:
        trained = ", ".join(row.text for row in analysis.sizes)
        said.append(f"evaluated at {volume(analysis.input_shape[:2])}, of which the table is; trained at {trained}")
        said.append(f"an image in training takes {analysis.training_macs:,} MACs forward, the mean over its steps")
    if analysis.memory is not None:
        said.append(memory_line(analysis))
    if analysis.kept:
        sizes = ", ".join(f"{name} {short_bytes(size)}" for name, size in analysis.kept)
        said.append(f"kept from step to step, beside the parameters: {sizes}")
    return said


def memory_line(analysis: Analysis) -> str:
    """ "training at batch 64: 1.23 GB at the peak (parameters 98 MB, ...)", the parts that are zero left out."""
    memory = analysis.memory
    assert memory is not None
    sizes = {name: size for name, size in dataclasses.asdict(memory).items() if size and name != "total"}
    names = {"params": "parameters"}
    shown = ", ".join(f"{names.get(name, name)} {short_bytes(size)}" for name, size in sizes.items())
    cut = f" in {analysis.accumulate} parts" if analysis.accumulate > 1 else ""
    return f"training at batch {analysis.batch_size:,}{cut}: {short_bytes(memory.total)} at the peak ({shown})"
