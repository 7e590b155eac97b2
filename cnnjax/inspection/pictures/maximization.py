"""Images made to activate units."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from cnnjax.inspection.maximization import maximized
from cnnjax.inspection.network import Layer, Network, spread
from cnnjax.inspection.pictures.drawing import Picture, plain, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.study.montage import Panel, Strip

STEPS, DEFAULT_LAYERS = 128, 4


def picture(subject: Subject) -> Picture:
    """Of some layers, the last among them, evenly spread units."""
    network = subject.network
    layers = network.chosen(subject.options.layers, maps=False) if subject.options.layers else _layers(network)
    panels, numbers = [], {}
    for number, layer in enumerate(layers):
        subject.told(number, len(layers), f"maximizing units of {layer.name}")
        units = spread(range(layer.units), subject.options.units)
        made = jax.jit(partial(maximized, network, layer.name, units, steps=STEPS))(jax.random.key(0))
        images, value, began = map(np.asarray, made)
        numbers[layer.name] = {"units": units, "value": plain(value), "began": plain(began)}
        title = f"{layer.name} ({layer.kind}): units {', '.join(map(str, units))}"
        panels.append(Panel(title, [Strip("", [visible(image) for image in images])]))
    notes = [
        f"{STEPS} steps of gradient ascent from grey noise on a unit's activation (of a map, the mean over its "
        "places), with decay towards grey, jitter and blur; not images of any data set"
    ]
    return tiled("Activation maximization", notes, panels, numbers={"layers": numbers})


def _layers(network: Network) -> list[Layer]:
    """Convolutions and dense layers, spread over the depth: before their ReLU, behind which no gradient is left where a
    unit is not active."""
    own = [layer for layer in network.layers if layer.kind in ("convolution", "dense")]
    return spread(own or network.layers, DEFAULT_LAYERS)
