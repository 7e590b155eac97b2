"""Whether probabilities are as often right as they say, and the temperature that would make them so."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.reporting.confusions import by_place
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.intervals import FEWEST, Quantity, Spread, spread
from cnnjax.reporting.kept import Kept, Labels, arrays_of, kept, labels, pair
from cnnjax.reporting.reading import resolved_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import Unit
from cnnjax.statistics.calibration import BINS, binned, confidence_and_loss, fitted_temperature

MOST_FITTED = 2_000_000
"""Outputs that a temperature is fitted on: of more, those of evenly spread examples."""
ERROR, LOSS = Unit("calibration error", "%", 100, 2), Unit("NLL", "nats", 1, 4)
TEMPERATURE = Unit("temperature", "", 1, 3)


@dataclass(frozen=True)
class Calibrated:
    """Of one trial: the expected calibration error and the mean negative log likelihood, and both with the temperature
    that was fitted on validation; NaN where none was."""

    error: float
    loss: float
    temperature: float = math.nan
    error_after: float = math.nan
    loss_after: float = math.nan


def calibration_panel(table: Table) -> Finding | None:
    """Of the arm that validation chooses and the one beside it; None where trials kept no probabilities of classes."""
    found, held = kept(table), labels(table)
    if found is None or held is None:
        return None
    rows, data, keys = [], [], []
    for number in (number for number in pair(table) if number is not None):
        every = {place: _of(table, found, held, name) for place, name in found.trials(number).items()}
        trials = {place: own for place, own in every.items() if own is not None}
        if not trials:
            continue
        spreads = {name: _spread(table, trials, name) for name in ("error", "loss", "temperature", *AFTER)}
        rows.append((str(number), table.arms[number - 1].label, *_cells(spreads)))
        data.append({"arm": number} | {name: own.to_json() for name, own in spreads.items()})
        keys.append(str(number))
    if not rows:
        return None
    heads = ["n", ERROR.label, "95% interval", LOSS.label, "temperature", f"{ERROR.label}, with it", "NLL, with it"]
    columns = (Column("#"), Column("arm"), *(Column(head, "number") for head in heads))
    blocks = [Grid("", columns, rows, keys=keys), paragraph(_note(table, found, held))]
    return Finding("calibration", "Calibration", blocks, data={"part": found.part, "arms": data})


AFTER = ("error_after", "loss_after")


def _cells(spreads: dict[str, Spread]) -> list[str]:
    error, n = spreads["error"], spreads["error"].n
    after = [(TEMPERATURE, "temperature"), (ERROR, "error_after"), (LOSS, "loss_after")]
    fewer = [f" (n={own.n})" if 1 < own.n < n else "" for _, name in after if (own := spreads[name])]
    shown = [here.mean(spreads[name]) + few for (here, name), few in zip(after, fewer, strict=True)]
    return [str(n), ERROR.mean(error), ERROR.interval(error), LOSS.mean(spreads["loss"]), *shown]


def _spread(table: Table, trials: dict, name: str) -> Spread:
    share, over = name.startswith("error"), tuple(table.repeats)
    of = Quantity(0.0, 1.0 if share else math.inf, over=over)
    return spread(by_place(list(trials), np.array([getattr(own, name) for own in trials.values()])), of)


def _of(table: Table, found: Kept, held: Labels, name: str) -> Calibrated | None:
    resolved = resolved_of(table.folders[name])
    if resolved is None or not (resolved.kind == "softmax" or (resolved.outputs, len(held.names)) == (1, 2)):
        return None
    logits = _logits(arrays_of(table, name, found.part, ("outputs",)).get("outputs"), held, len(held.target))
    if logits is None:
        return None
    right = found.right[name]
    before = _measured(logits, held.target, right, 1.0)
    temperature = _fitted(table, held, name) if found.part == "test" else None
    if temperature is None:
        return Calibrated(*before)
    return Calibrated(*before, temperature, *_measured(logits, held.target, right, temperature))


def _measured(logits: np.ndarray, target: np.ndarray, right: np.ndarray, temperature: float) -> tuple[float, float]:
    confidence, loss = confidence_and_loss(logits, target, temperature)
    return binned(confidence, right).error, float(loss.mean())


def _logits(outputs: np.ndarray | None, held: Labels, examples: int) -> np.ndarray | None:
    """[N, C]; None where outputs are not those of so many examples and classes, or are not finite."""
    classes = len(held.names)
    if outputs is None or outputs.ndim != 2 or len(outputs) != examples or not np.isfinite(outputs).all():
        return None
    if (outputs.shape[1], classes) == (1, 2):
        return np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    return outputs[:, :classes] if outputs.shape[1] >= classes else None


def _fitted(table: Table, held: Labels, name: str) -> float | None:
    own = arrays_of(table, name, "validation", ("outputs", "target"))
    target = own.get("target")
    if target is None or target.ndim != 1 or not len(target) or target.dtype.kind not in "iu":
        return None
    logits = _logits(own.get("outputs"), held, len(target))
    if logits is None or target.min() < 0 or target.max() >= len(held.names):
        return None
    step = math.ceil(logits.size / MOST_FITTED)
    return fitted_temperature(logits[::step], target[::step])


def _note(table: Table, found: Kept, held: Labels) -> str:
    word = table.replicate
    fitted = (
        " The temperature, by which logits are divided, is the one of the least NLL on the validation part (Guo et al. "
        "2017), and what stands behind it is of the test part again; there is none where no validation outputs were "
        "kept, or every validation example is right."
        if found.part == "test"
        else " No temperature is fitted: there are no other examples to fit it on."
    )
    return (
        f"Of the {len(held.target):,} examples of the {found.part} part, from the outputs that n trials kept, which "
        "are rounded to float16. Calibration error: the mean distance between the probability of the likeliest class "
        f"and how often it is right, in {BINS} equal bins; it is above 0 by chance too, the more so the fewer examples "
        "there are. NLL: the mean negative log likelihood of the true class. Means ± standard deviation over "
        f"{word}s, Student's t intervals from {FEWEST} {word}s on.{fitted}"
    )
