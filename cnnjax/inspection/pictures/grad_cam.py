"""Grad-CAM over each image."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from cnnjax.inspection.grad_cam import grad_cam
from cnnjax.inspection.pictures.drawing import Picture, heat, plain, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.study.montage import Panel, Strip, Tile


def picture(subject: Subject) -> Picture:
    """The last layer whose units have places, or those that are named."""
    network, (images, index, names) = subject.network, subject.shown
    layers = network.chosen(subject.options.layers, maps=True) if subject.options.layers else _last(subject)
    x, target = jnp.asarray(images), jnp.asarray(subject.targets)
    panels, numbers = [], {}
    for layer in layers:
        made = np.asarray(jax.jit(partial(grad_cam, network, layer=layer.name))(x, target))
        numbers[layer.name] = plain(made)
        strips = []
        for k, own in enumerate(made):
            label = f"{names[k]}: {subject.target_name(int(target[k]))}"
            strips.append(Strip(label, [visible(images[k]), heat(own, 0, own.max()), _over(images[k], own)]))
        size = "x".join(map(str, layer.shape[:2]))
        panels.append(
            Panel(f"{layer.name} ({layer.kind}, {size})", strips, headings=("image", "map", "over it"), apart=1)
        )
    notes = [
        "of the output that is largest (its name after the colon); each map on its own scale from 0, bright is most"
    ]
    part = subject.options.part if subject.options.images is None else None
    facts = {"target": target.tolist(), "layers": numbers}
    return tiled("Grad-CAM", notes, panels, part=part, images=tuple(map(int, index)), numbers=facts)


def _last(subject: Subject) -> tuple:
    """The last map of more than one place; of activations, if there are any."""
    own = [layer for layer in subject.network.layers if layer.is_map and min(layer.shape[:2]) > 1 and not layer.same_as]
    some = [layer for layer in own if layer.is_activation] or own
    return tuple(some[-1:]) or subject.network.chosen((), maps=True, most=1)


def _over(image: np.ndarray, values: np.ndarray) -> Tile:
    """The map, resized to the image, laid over it in grey."""
    height, width = image.shape[:2]
    resized = np.asarray(jax.image.resize(jnp.asarray(values), (height, width), "linear"))
    share = resized / values.max() if values.max() > 0 else resized
    grey = np.repeat(np.clip(image, 0, 1).mean(-1, keepdims=True), 3, -1)
    colours = matplotlib.colormaps["viridis"](np.clip(share, 0, 1))[..., :3]
    return Tile(0.5 * grey + 0.5 * colours)
