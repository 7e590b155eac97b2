"""Probabilities against how often they are right, before and after a temperature that was fitted on validation."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cnnjax.documents.style import CATEGORIES, SOFT, styled
from cnnjax.errors import DataError
from cnnjax.inspection.pictures.drawing import Picture, charted, in_counts, plain
from cnnjax.inspection.subject import Subject
from cnnjax.statistics.calibration import (
    Reliability,
    fitted_temperature,
    log_probabilities,
    negative_log_likelihood,
    reliability,
)


def picture(subject: Subject) -> Picture:
    """Reliability diagrams of the part."""
    logits, labels = subject.evaluated()
    temperature, reason = _fitted(subject)
    curves = {"as trained": (1.0, CATEGORIES[0])}
    if temperature is not None:
        curves[f"temperature {temperature:.3g}"] = (temperature, CATEGORIES[1])
    found: dict[str, Reliability] = {}
    numbers = {}
    for name, (each, _) in curves.items():
        found[name] = reliability(np.exp(log_probabilities(logits, each)), labels)
        numbers[name] = {
            "temperature": each,
            "expected_calibration_error": found[name].error,
            "negative_log_likelihood": negative_log_likelihood(logits, labels, each),
            "count": found[name].count.tolist(),
            "confidence": plain(found[name].confidence),
            "correct": plain(found[name].correct),
        }
    bins = len(next(iter(found.values())).count)
    notes = [
        f"{len(labels):,} images of the {subject.options.part} part in {bins} equal bins; {reason}",
        *subject.source,
    ]
    with styled():
        figure = Figure(figsize=(6.8, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=SOFT, lw=0.8, ls="--")
        for name, (_, colour) in curves.items():
            own = found[name]
            there = own.count > 0
            label = f"{name}: ECE {own.error:.4f}, NLL {numbers[name]['negative_log_likelihood']:.4f}"
            left.plot(own.confidence[there], own.correct[there], marker="o", ms=3, color=colour, label=label)
            edges = np.linspace(0, 1, bins + 1)
            right.stairs(own.count, edges, color=colour, label=name)
        left.set_xlabel("probability of the likeliest class")
        left.set_ylabel("share right")
        left.set_xlim(0, 1)
        left.set_ylim(0, 1)
        left.legend(loc="lower left", bbox_to_anchor=(0, 1))
        right.set_xlabel("probability of the likeliest class")
        right.set_ylabel("images")
        in_counts(right)
        return charted("Calibration", notes, figure, part=subject.options.part, numbers=numbers)


def _fitted(subject: Subject) -> tuple[float | None, str]:
    try:
        logits, labels = subject.evaluated("validation")
    except DataError:
        return None, "no temperature is fitted: the run has no validation part"
    temperature = fitted_temperature(logits, labels)
    if temperature is None:
        return (
            None,
            f"no temperature is best on the {len(labels):,} images of the validation part, all right or by chance",
        )
    return temperature, f"the temperature is fitted on the {len(labels):,} images of the validation part"
