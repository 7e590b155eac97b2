"""How the weights of the run's checkpoints, and the activations of the shown images, are distributed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnjax.documents.style import CATEGORIES, INK, styled
from cnnjax.inspection.histograms import Histogram, histogram, kernel_histograms
from cnnjax.inspection.network import spread
from cnnjax.inspection.pictures.drawing import Picture, charted, in_counts
from cnnjax.inspection.subject import Subject
from cnnjax.run.trained import load_run

MOST, COLUMNS = 12, 4


def picture(subject: Subject) -> Picture:
    """A panel for each kernel with a line for each checkpoint, then one for each layer's activations."""
    checkpoints = _checkpoints(subject)
    paths = spread(list(next(iter(checkpoints.values()))), MOST)
    network, (images, index, _) = subject.network, subject.shown
    layers = [layer.name for layer in network.chosen(subject.options.layers, maps=False, most=8)]
    found = jax.device_get(jax.jit(lambda x: network.look(x, layers)[1])(jnp.asarray(images)))
    active = {name: histogram(np.asarray(found[name], np.float32)) for name in layers}
    own = subject.options.images is None
    steps = ", ".join(map(str, checkpoints))
    notes = [
        f"blue: kernels, at step {steps}" + (" (older are paler)" if len(checkpoints) > 1 else ""),
        f"orange: activations of {len(images)} shown images; counts on a logarithmic scale",
    ]
    with styled():
        rows = -(-len(paths) // COLUMNS) + -(-len(layers) // COLUMNS)
        figure = Figure(figsize=(9, 0.9 + 1.45 * rows), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, path in zip(axes.flat, paths, strict=False):
            for age, one in enumerate(checkpoints.values()):
                _line(ax, one[path], path, CATEGORIES[0], (age + 1) / len(checkpoints))
        for ax, name in zip(axes[-(-len(paths) // COLUMNS) :].flat, layers, strict=False):
            _line(ax, active[name], name, CATEGORIES[1], 1)
        numbers = {
            "weights": {str(step): {path: _numbers(own[path]) for path in own} for step, own in checkpoints.items()},
            "activations": {name: _numbers(each) for name, each in active.items()},
        }
        part = subject.options.part if own else None
        facts: Any = {"part": part, "images": tuple(map(int, index)), "numbers": numbers}
        return charted("Weights and activations", notes, figure, **facts)


def _checkpoints(subject: Subject) -> dict[int, dict[str, Histogram]]:
    """By step, oldest first, of every checkpoint that is kept up to the one that is inspected."""
    trained = subject.trained
    folder = trained.path / "checkpoints"
    kept = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []
    made = {}
    for step in kept:
        if step < trained.step:
            # Whose code it is was decided when the run was loaded.
            older = load_run(trained.path, step=step, weights=trained.weights or "raw", stale="keep")
            made[step] = kernel_histograms(older.params)
    return {**made, trained.step: kernel_histograms(trained.params)}


def _line(ax: Axes, one: Histogram, title: str, colour: str, alpha: float) -> None:
    ax.set_axis_on()
    ax.stairs(one.count, one.edges, color=colour, alpha=alpha, fill=False)
    in_counts(ax)
    ax.tick_params(labelsize=6)
    shown = title if len(title) <= 34 else f"…{title[-33:]}"
    ax.set_title(shown, loc="left", fontsize=7, color=INK)


def _numbers(one: Histogram) -> dict[str, Any]:
    return {"count": one.count.tolist(), "edges": one.edges.tolist(), "mean": one.mean, "std": one.std}
