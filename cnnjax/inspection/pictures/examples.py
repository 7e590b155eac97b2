"""The shown images, with what the network says of them."""

from __future__ import annotations

import numpy as np

from cnnjax.inspection.pictures.drawing import Picture, plain, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.statistics.calibration import log_probabilities
from cnnjax.study.montage import Panel, Strip


def picture(subject: Subject) -> Picture:
    """Each with its place in the part, its class and its two likeliest classes."""
    images, index, names = subject.shown
    own = subject.options.images is None
    probabilities = np.exp(log_probabilities(subject.logits(images)))
    strips = []
    for k, (image, name) in enumerate(zip(images, names, strict=True)):
        two = np.argsort(-probabilities[k], kind="stable")[:2]
        said = ", ".join(f"{subject.classes[c]} {probabilities[k, c]:.2f}" for c in two)
        strips.append(Strip(f"{index[k]}: {name}? {said}" if own else f"{name}: {said}", [visible(image)]))
    part = subject.options.part
    where = f"by their places in the {part} part; before the question mark the true class; " if own else ""
    notes = [f"{where}the two likeliest classes with their probabilities"]
    return tiled(
        "Examples",
        notes,
        [Panel("", strips)],
        part=part if own else None,
        images=tuple(map(int, index)) if own else (),
        numbers={"probabilities": plain(probabilities)},
    )
