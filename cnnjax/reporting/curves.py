"""The learning curves of a study's trials, and which of them are cut."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cnnjax.records.metrics_jsonl import EpochRow, read_rows
from cnnjax.reporting.frames import Frame


def finite_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are numbers; NaN for None, NaN and infinity."""
    return {name: finite(value) for name, value in values.items() if value is None or _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite(value: float | None) -> float:
    """The number; NaN where there is none, or a whole number that is too large for one."""
    try:
        return value if value is not None and math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def curves_of(done: Frame, folders: Mapping[str, Path]) -> tuple[Frame, tuple[str, ...]]:
    """The rows of all epochs, and the trials that lack some: each epoch has one, and the last is of the last step."""
    rows: list[dict[str, Any]] = []
    cut: list[str] = []
    for arm, seed, name, steps in zip(done["arm"], done["seed"], done["id"], done["steps"], strict=True):
        recorded = read_rows(EpochRow.at(folders[name]))
        epochs = {row.epoch: row.to_json() for row in recorded if row.epoch is not None}
        rows += [{"arm": arm, "seed": seed, "id": name, **finite_numbers(row)} for row in epochs.values()]
        short = not pd.isna(steps) and max((row.step for row in recorded), default=0) < steps
        if not epochs or short or sorted(epochs) != list(range(1, len(epochs) + 1)):
            cut.append(name)
    return Frame(rows) if rows else Frame(columns=["arm", "seed", "id", "epoch"]), tuple(cut)
