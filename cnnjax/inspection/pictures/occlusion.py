"""What covering a square of each image does to its likeliest output."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.inspection.attribution import occlusion
from cnnjax.inspection.pictures.drawing import Picture, plain, signed, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.study.montage import Panel, Strip


def picture(subject: Subject) -> Picture:
    """A map of the output's fall, by where the square is."""
    network, (images, index, names) = subject.network, subject.shown
    shorter = min(network.image_shape[:2])
    size = max(1, shorter // 4)
    stride = max(1, size // 4)
    covered = jax.jit(partial(occlusion, network.outputs, size=size, stride=stride))
    fall = np.asarray(covered(jnp.asarray(images), jnp.asarray(subject.targets)))
    most = float(np.abs(fall).max())
    strips = [
        Strip(
            f"{names[k]}: {subject.target_name(int(subject.targets[k]))}", [visible(images[k]), signed(fall[k], most)]
        )
        for k in range(len(images))
    ]
    notes = [
        f"a grey square of {size}x{size} pixels, moved by {stride}; by how much the output that is largest falls, by "
        f"the square's upper left corner; one scale for all: blue {-most:.3g} (it rises), white 0, red {most:.3g}"
    ]
    own = subject.options.images is None
    return tiled(
        "Occlusion",
        notes,
        [Panel("", strips, headings=("image", "fall"), apart=1)],
        part=subject.options.part if own else None,
        images=tuple(map(int, index)),
        numbers={"size": size, "stride": stride, "target": subject.targets.tolist(), "fall": plain(fall)},
    )
