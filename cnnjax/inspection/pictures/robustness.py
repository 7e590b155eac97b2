"""How many images are still right when they are made worse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from cnnjax.documents.style import CATEGORIES, styled
from cnnjax.inspection.corruptions import CORRUPTIONS, ON_DEVICE, SEVERITIES, SMALL, available
from cnnjax.inspection.pictures.drawing import Picture, charted, plain
from cnnjax.inspection.subject import Subject


def picture(subject: Subject) -> Picture:
    """The share right against severity, for each kind of corruption."""
    names = available(subject.network.image_shape[-1])
    clean, labels = subject.evaluated()
    right = {name: [int((clean.argmax(1) == labels).sum())] for name in names}
    total = len(names) * len(SEVERITIES)
    for number, (name, severity) in enumerate((name, each) for name in names for each in SEVERITIES):
        subject.told(number, total, f"{name}, severity {severity}")
        right[name].append(_right(subject, name, severity, labels))
    shares = {name: np.array(counts) / len(labels) for name, counts in right.items()}
    small = min(subject.network.image_shape[:2]) <= SMALL
    notes = [
        f"{len(labels):,} images of the {subject.options.part} part; 0 is as they are, 1 to 5 the strengths of "
        f"{'CIFAR-10-C' if small else 'ImageNet-C (blur: its width as a share of 224 pixels)'}"
    ]
    numbers = {
        name: {"right": right[name], "count": len(labels), "share": plain(shares[name])} for name in names
    }  # fmt: skip
    with styled():
        figure = Figure(figsize=(6.5, 3.4), layout="constrained")
        ax = figure.subplots()
        for (name, share), colour in zip(shares.items(), CATEGORIES, strict=False):
            ax.plot([0, *SEVERITIES], 100 * share, marker="o", ms=3, color=colour, label=name)
        ax.set_xlabel("severity")
        ax.set_ylabel("images right, %")
        ax.set_ylim(0, 100)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
        return charted("Robustness", notes, figure, part=subject.options.part, numbers=numbers)


def _right(subject: Subject, name: str, severity: int, labels: np.ndarray) -> int:
    part, size, count = subject.part(), subject.batch_size, 0

    def worsened(images: jax.Array, index: jax.Array) -> jax.Array:
        return CORRUPTIONS[name](images, index, severity)

    made = jax.jit(worsened) if name in ON_DEVICE else worsened
    for start in range(0, len(part), size):
        index = np.arange(start, min(start + size, len(part)), dtype=np.int32)
        # Filled up, so that one program serves all batches.
        filled = np.concatenate([index, np.full(size - len(index), index[-1], np.int32)])
        images = part.stacked(filled).astype(np.float32) / subject.trained.resolved.maximum
        worse = np.asarray(made(jnp.asarray(images), jnp.asarray(filled)))[: len(index)]
        count += int((subject.logits(worse).argmax(1) == labels[index]).sum())
    return count
