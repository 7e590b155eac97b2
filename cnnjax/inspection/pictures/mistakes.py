"""The examples that are most wrong, and those that are least decided."""

from __future__ import annotations

import numpy as np

from cnnjax.inspection.mistakes import most_ambiguous, worst
from cnnjax.inspection.pictures.drawing import Picture, plain, tiled, visible
from cnnjax.inspection.subject import Subject
from cnnjax.statistics.calibration import log_probabilities
from cnnjax.study.montage import Panel, Strip


def picture(subject: Subject) -> Picture:
    """Each with its class and what is said of it."""
    logits, labels = subject.evaluated()
    log_p = log_probabilities(logits)
    chosen = {
        "largest cross-entropy": worst(log_p, labels, subject.options.count),
        "smallest difference of the two likeliest": most_ambiguous(log_p, subject.options.count),
    }
    panels, numbers = [], {}
    for title, index in chosen.items():
        images = subject.part().stacked(index) / subject.trained.resolved.maximum
        strips = []
        for place, image in zip(index, images, strict=True):
            two = np.argsort(-log_p[place], kind="stable")[:2]
            said = ", ".join(f"{subject.classes[k]} {np.exp(log_p[place, k]):.2f}" for k in two)
            strips.append(Strip(f"{subject.classes[labels[place]]}? {said}", [visible(image.astype(np.float32))]))
        panels.append(Panel(title, strips))
        loss = -log_p[index, labels[index]]
        numbers[title] = {"index": index.tolist(), "loss": plain(loss), "label": labels[index].tolist()}
    notes = [
        f"of the {len(labels):,} images of the {subject.options.part} part; before the question mark the true class",
        *subject.source,
    ]
    return tiled("Worst and most ambiguous", notes, panels, part=subject.options.part, numbers=numbers)
