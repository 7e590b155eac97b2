"""Predictions of fabricated trials: what they say of the same examples, and results that count the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.records.predictions_npz import KeptPredictions
from tests.test_reporting import change_result, set_metrics, study_path, write_json

NAMES = ("cat", "dog", "<script>", "ship")


def outputs_of(taken: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Outputs that are largest at `taken`."""
    outputs = rng.normal(0, 0.5, (len(taken), classes))
    outputs[np.arange(len(taken)), taken] += 6
    return outputs.astype(np.float16)


def keep(
    out: Path,
    trial: dict[str, Any],
    target: np.ndarray,
    taken: np.ndarray,
    *,
    names: Sequence[str] = NAMES,
    part: str = "test",
    **more: np.ndarray,
) -> None:
    """Writes that a trial takes examples of the classes `target` for `taken`, and the result of that. more: arrays in
    the place of those of the part."""
    rng = np.random.default_rng(trial["seed"])
    own = {
        "target": target.astype(np.int32),
        "outputs": outputs_of(taken, len(names), rng),
        "correct": (taken == target).astype(np.int32),
    }
    path = KeptPredictions.at(study_path(out, trial, "."))
    KeptPredictions(trial["id"], {part: own | more}).write(path)
    set_metrics(out, trial, **{f"{part}_accuracy": float((taken == target).mean())})
    change_result(out, trial, examples={"train": 1000, "validation": 144, "test": len(target)})


def confuse(target: np.ndarray, share: float, classes: int, rng: np.random.Generator) -> np.ndarray:
    """What a network takes the examples for that errs on such a share of them."""
    wrong = rng.random(len(target)) < share
    return np.where(wrong, (target + rng.integers(1, classes, len(target))) % classes, target)


def resolve(out: Path, trials: Sequence[dict[str, Any]], names: Sequence[str] = NAMES) -> None:
    """Writes resolved.json of the trials, with the names of their classes."""
    for trial in trials:
        write_json(study_path(out, trial, "resolved.json"), resolved(trial["id"], names))


def resolved(id: str, names: Sequence[str]) -> dict[str, Any]:
    metric = {"unit": "share", "higher_is_better": True, "printed": ".2%", "binomial": True}
    return {
        "id": id,
        "data": "pets",
        "fingerprint": "d1g1t5",
        "classes": list(names),
        "target_shape": [],
        "input_shape": [8, 8, 3],
        "dtype": "uint8",
        "maximum": 255,
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
        "fit": None,
        "space": "rgb",
        "test_time": {"name": "single"},
        "outputs": len(names),
        "kind": "softmax",
        "loss": {"name": "softmax"},
        "metrics": [{"name": "accuracy", "total": "correct", **metric}],
        "chosen_by": "accuracy",
        "examples": 1000,
        "steps": 184,
        "task": {"name": "classification"},
    }
