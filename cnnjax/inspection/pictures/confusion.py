"""Which classes are taken for which."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.documents.style import styled
from cnnjax.inspection.mistakes import confusion
from cnnjax.inspection.pictures.drawing import Picture, charted
from cnnjax.inspection.subject import Subject

MOST = 40
PAIRS = 10


def picture(subject: Subject) -> Picture:
    """Rows are true classes; with more classes than can be drawn, those of most mistakes."""
    logits, labels = subject.evaluated()
    matrix = confusion(logits, labels)
    right, total = int(np.trace(matrix)), int(matrix.sum())
    wrong = matrix.sum(1) + matrix.sum(0) - 2 * np.diag(matrix)
    shown = np.arange(len(matrix)) if len(matrix) <= MOST else np.sort(np.argsort(-wrong, kind="stable")[:MOST])
    part = matrix[np.ix_(shown, shown)]
    names = [abbreviate(subject.classes[k]) for k in shown]
    off = matrix - np.diag(np.diag(matrix))
    pairs = [divmod(int(k), len(matrix)) for k in np.argsort(-off, axis=None, kind="stable")[:PAIRS]]
    confused = [
        {"true": subject.classes[i], "predicted": subject.classes[j], "count": int(off[i, j])}
        for i, j in pairs
        if off[i, j]
    ]
    some = "" if len(shown) == len(matrix) else f"; the {MOST} of {len(matrix)} classes that most mistakes are of"
    notes = [
        f"{subject.options.part} part: {right:,} of {total:,} right; rows are true classes, columns what is said{some}",
        *subject.source,
    ]
    numbers = {"right": right, "count": total, "most_confused": confused}
    numbers |= {"matrix": matrix.tolist(), "classes": list(subject.classes)} if len(shown) == len(matrix) else {}
    with styled(axes_grid=False):
        side = 1.6 + 0.24 * len(shown)
        figure = Figure(figsize=(max(6.0, side + 1.0), side + 0.8), layout="constrained")
        ax = figure.subplots()
        shares = part / np.maximum(matrix.sum(1)[shown][:, None], 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        size = 7 if len(shown) <= 20 else 4.5
        ax.set_xticks(range(len(shown)), names, rotation=60, ha="right", fontsize=size)
        ax.set_yticks(range(len(shown)), names, fontsize=size)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        for (row, column), count in np.ndenumerate(part):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                ax.text(column, row, str(count), ha="center", va="center", fontsize=size - 1, color=colour)
        return charted("Confusion", notes, figure, part=subject.options.part, numbers=numbers)
