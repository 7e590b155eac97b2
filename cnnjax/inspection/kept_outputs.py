"""What a run said of the examples of a part, from its predictions.npz, where that is of the weights in hand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from cnnjax.errors import RunError
from cnnjax.records.predictions_npz import KeptPredictions
from cnnjax.records.result_json import ResultRecord
from cnnjax.run.result import evaluated_parts
from cnnjax.run.trained import Trained
from cnnjax.statistics.classes import taken_for

SPLITS = ("validation", "test")
TOLERANCE = 1e-3
"""By how much, of it, the mean loss may differ from the result's: predictions may be of other hardware."""

TINY = np.finfo(np.float32).tiny


def kept_outputs(trained: Trained, split: str, labels: np.ndarray) -> np.ndarray | None:
    """The logits float32 [N, K] of the split's examples, whose classes are `labels`, as kept: rounded to float16.

    None where there are none, where they are damaged, of other examples, or not what the run's result counts. Where
    rounding has made the largest ones equal, that which was counted as the answer is a hair larger.
    """
    found = _of(trained, split)
    if found is None or not {"outputs", "correct", "loss"} <= found.keys():
        return None
    target, right, outputs = found["target"], found["correct"].astype(bool), found["outputs"].astype(np.float32)
    if not np.array_equal(target, labels) or outputs.ndim != 2 or not np.isfinite(outputs).all():
        return None
    taken = taken_for(outputs.copy(), np.asarray(labels, np.int64), right, classes=len(trained.classes))
    if outputs.shape[1] == 1:
        moved = (outputs[:, 0] > 0) != (taken == 1)
        outputs[moved, 0] = np.where(taken[moved] == 1, TINY, -TINY)
        return outputs
    largest = outputs.max(1)
    moved = np.flatnonzero(outputs.argmax(1) != taken)
    outputs[moved, taken[moved]] = np.nextafter(largest[moved], np.float32(math.inf))
    return outputs


def _of(trained: Trained, split: str) -> Mapping[str, np.ndarray] | None:
    """The arrays of the part that is of the split and of these weights; None where they cannot be used."""
    parts = [part for part, method in evaluated_parts(trained.experiment, split).items() if method == trained.weights]
    if split not in SPLITS or len(parts) != 1:
        return None
    names = [f"{parts[0]}/{name}" for name in ("target", "outputs", "correct", "loss")]
    try:
        result = ResultRecord.read(ResultRecord.at(trained.path), remedy="")
        held = KeptPredictions.read(KeptPredictions.at(trained.path), id=trained.resolved.id, only=names)
    except RunError:
        return None
    own = {} if held is None else held.parts.get(parts[0], {})
    if result is None or result.steps != trained.step or "loss" not in own or "target" not in own:
        return None
    said = result.metrics.get(f"{parts[0]}_loss")
    if not isinstance(said, float) or not math.isclose(float(own["loss"].mean()), said, rel_tol=TOLERANCE):
        return None
    return own
