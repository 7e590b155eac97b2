"""The layer table for a terminal, in the usual arrangement: layer, output, activations, parameters."""

from __future__ import annotations

from rich.table import Table

from cnnjax.analysis.layers import Analysis, Layer, volume

_NUMBERS = ("output", "activations", "bytes", "parameters", "MACs", "receptive field")


def table(analysis: Analysis) -> Table:
    """One line a layer, the image first and the totals last. A `+` marks units with global context."""
    drawn = Table("layer", "op", caption=_caption(analysis), caption_justify="left")
    for heading in _NUMBERS:
        drawn.add_column(heading, justify="right", no_wrap=True)
    pixels = analysis.activations - sum(layer.activations for layer in analysis.layers)
    size = analysis.activation_bytes - sum(layer.activation_bytes for layer in analysis.layers)
    drawn.add_row("", "input", volume(analysis.input_shape), f"{pixels:,}", f"{size:,}", "0", "0", "1x1")
    for layer in analysis.layers:
        drawn.add_row(*_line(layer))
    drawn.add_section()
    totals = (analysis.activations, analysis.activation_bytes, analysis.params, analysis.macs)
    drawn.add_row("total", "", "", *(f"{total:,}" for total in totals), "", style="bold")
    return drawn


def _line(layer: Layer) -> tuple[str, ...]:
    counts = (layer.activations, layer.activation_bytes, layer.params, layer.macs)
    seen = volume(layer.receptive_field) + "+" * layer.global_context
    return (layer.path, layer.op, volume(layer.output_shape), *(f"{count:,}" for count in counts), seen)


def _caption(analysis: Analysis) -> str | None:
    return f"{analysis.state:,} numbers of state (running statistics) besides" if analysis.state else None
