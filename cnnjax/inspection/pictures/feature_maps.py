"""What layers make of images."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.inspection.network import spread
from cnnjax.inspection.pictures.drawing import Picture, heat, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.study.montage import Panel, Strip

IMAGES = 3


def picture(subject: Subject) -> Picture:
    """Evenly spread channels of some layers, for the first of the shown images."""
    network, (images, index, names) = subject.network, subject.shown
    layers = network.chosen(subject.options.layers, maps=True)
    few = images[:IMAGES]
    wanted = [layer.name for layer in layers]
    found = jax.device_get(jax.jit(lambda x: network.look(x, wanted)[1])(jnp.asarray(few)))
    panels, scales = [], {}
    for layer in layers:
        maps = np.asarray(found[layer.name], np.float32)
        units = spread(range(layer.units), subject.options.units)
        low, high = float(maps.min()), float(maps.max())
        scales[layer.name] = {"units": units, "least": low, "largest": high}
        strips = [
            Strip(name, [visible(image), *(heat(own[..., unit], low, high) for unit in units)])
            for image, name, own in zip(few, names, maps, strict=False)
        ]
        size = "x".join(map(str, layer.shape[:2]))
        title = f"{layer.name} ({layer.kind}): {len(units)} of {layer.units} maps of {size}, {low:.3g} to {high:.3g}"
        panels.append(Panel(title, strips, apart=1))
    notes = ["each layer has one scale, dark at its least value and bright at its largest; units evenly spread"]
    part, places = _where(subject, index, len(few))
    return tiled("Feature maps", notes, panels, part=part, images=places, numbers={"layers": scales})


def _where(subject: Subject, index: np.ndarray, count: int) -> tuple[str | None, tuple[int, ...]]:
    own = subject.options.images is None
    return subject.options.part if own else None, tuple(map(int, index[:count]))
