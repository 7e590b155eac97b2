"""Dead and saturated units, layer by layer."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cnnjax.documents.style import CATEGORIES, styled
from cnnjax.errors import ConfigError
from cnnjax.inspection.dead_units import unit_shares
from cnnjax.inspection.pictures.drawing import Picture, charted
from cnnjax.inspection.subject import Subject


def picture(subject: Subject) -> Picture:
    """The share of activations that are zero, that are saturated, and of units that are dead."""
    network = subject.network
    given = [network.layer(name) for name in subject.options.layers]
    layers = given or [layer for layer in network.layers if layer.is_activation and layer.same_as is None]
    if not layers:
        raise ConfigError("dead_units: the network has no activation functions that are known")
    found = unit_shares(network, subject.batches("dead units"), [layer.name for layer in layers])
    numbers = {
        name: {
            "units": len(shares.zero),
            "dead": np.flatnonzero(shares.dead).tolist(),
            "zero": float(shares.zero.mean()),
            "saturated": None if shares.saturated is None else float(shares.saturated.mean()),
        }
        for name, shares in found.items()
    }
    notes = [
        f"over all places of the {len(subject.part()):,} images of the {subject.options.part} part",
        "dead: zero everywhere; saturated: at or within 1% of a bound (tanh, sigmoid, ReLU6); the thin line: the "
        "units' own shares of zero, least to largest",
    ]
    with styled(axes_grid_axis="x"):
        figure = Figure(figsize=(7.5, 1.4 + 0.24 * len(layers)), layout="constrained")
        ax = figure.subplots()
        rows = np.arange(len(layers))
        ax.barh(rows - 0.2, [each["zero"] for each in numbers.values()], 0.36, color=CATEGORIES[0], label="zero")
        bound = [each["saturated"] or 0 for each in numbers.values()]
        ax.barh(rows + 0.2, bound, 0.36, color=CATEGORIES[1], label="saturated")
        for row, shares in zip(rows, found.values(), strict=True):
            ax.plot([shares.zero.min(), shares.zero.max()], [row - 0.2] * 2, color=CATEGORIES[6], lw=0.8)
        ax.set_yticks(rows, [f"{n} ({len(v['dead'])} of {v['units']} dead)" for n, v in numbers.items()])
        ax.set_xlim(0, 1)
        ax.invert_yaxis()
        ax.set_xlabel("share of activations")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        return charted("Dead and saturated units", notes, figure, part=subject.options.part, numbers=numbers)
