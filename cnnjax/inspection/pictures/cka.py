"""How alike layers are, within a network and between runs."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cnnjax.documents.style import INK, styled
from cnnjax.errors import ConfigError
from cnnjax.inspection.cka import cka
from cnnjax.inspection.network import Network
from cnnjax.inspection.pictures.drawing import Picture, charted, plain
from cnnjax.inspection.subject import Subject, network_of

MOST = 12


def picture(subject: Subject) -> Picture:
    """A matrix for the run with itself, and with each other run."""
    network, own = subject.network, subject.trained.path
    others = [(trained.path, network_of(trained)) for trained in subject.others]
    for path, other in others:
        if other.image_shape != network.image_shape:
            raise ConfigError(f"cka: {path} takes images of {other.image_shape}, {own} of {network.image_shape}")
    names = [layer.name for layer in network.chosen(subject.options.layers, maps=False, most=MOST)]
    compared = [(own, network, names)]
    compared += [(path, other, _names(other, subject, path)) for path, other in others]
    found, images = [], 0
    for path, other, theirs in compared:
        made, images = cka(network, other, subject.batches(f"CKA with {path.name}"), (names, theirs))
        found.append(made)
    notes = [
        f"linear CKA over {images:,} images of the {subject.options.part} part in batches of {subject.batch_size}, by "
        "the unbiased estimator; pale is 1, black 0"
    ]
    numbers = {
        str(path): {"rows": names, "columns": theirs, "cka": plain(matrix)}
        for (path, _, theirs), matrix in zip(compared, found, strict=True)
    }
    with styled(axes_grid=False):
        side = 1.5 + 0.3 * len(names)
        figure = Figure(figsize=(max(6.0, len(found) * (side + 0.6)), side + 1.2), layout="constrained")
        axes = figure.subplots(1, len(found), squeeze=False)[0]
        for ax, matrix, (path, _, theirs) in zip(axes, found, compared, strict=True):
            ax.imshow(matrix, vmin=0, vmax=1, cmap="magma")
            ax.set_xticks(range(len(theirs)), theirs, rotation=60, ha="right", fontsize=6.5)
            ax.set_yticks(range(len(names)), names, fontsize=6.5)
            ax.set_title(f"{own.name} and {'itself' if path == own else path.name}", loc="left", color=INK)
            for (row, column), value in np.ndenumerate(matrix):
                if len(names) <= MOST and np.isfinite(value):
                    dark = "white" if value < 0.6 else "black"
                    ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5.5, color=dark)
        return charted("Similarity of layers", notes, figure, part=subject.options.part, numbers=numbers)


def _names(other: Network, subject: Subject, path: object) -> list[str]:
    """The other run's layers: those of the same names, where names are given and it has them; else its own choice."""
    given = subject.options.layers
    known = {layer.name for layer in other.layers}
    if given and (missing := [name for name in given if name not in known]):
        raise ConfigError(f"cka: {path} has no layer {missing[0]!r}")
    return [layer.name for layer in other.chosen(given, maps=False, most=MOST)]
