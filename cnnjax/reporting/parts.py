"""What one training or evaluation measured, part by part, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from cnnjax.records.result_json import ResultRecord
from cnnjax.reporting.units import count, short_count

PARTS = ("train", "validation", "test")


def parts_table(parts: Mapping[str, Mapping[str, Any]], *, caption: str = "") -> Table:
    """A row for each part (`{"test": {"count": 359, "accuracy": 0.98, ...}}`): n, then its metrics.

    Accuracies are in percent with two decimals, the rest with four.
    """
    # Accuracies first, as in reports.
    names = dict.fromkeys(name for part in parts.values() for name, value in part.items() if isinstance(value, float))
    names = sorted(names, key=lambda name: not name.endswith("accuracy"))
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=Text(caption), caption_justify="left")
    drawn.add_column("part")
    for head in ("n", *map(_head, names)):
        drawn.add_column(Text(head), justify="right")
    for part, values in parts.items():
        drawn.add_row(part, count(values.get("count")), *(_cell(name, values.get(name)) for name in names))
    return drawn


def result_table(result: ResultRecord) -> Table:
    """The metrics of a `result.json` (of the last epoch, for the training part), and what they are of."""
    parts = {part: _of_part(result, part) for part in PARTS if part in result.examples}
    caption = (
        f"one seed ({result.seed}), so no spread; train: the last epoch, as trained on; "
        f"{short_count(result.params)} parameters, {short_count(result.macs)} MACs an image; "
        f"{result.steps:,} steps in {result.train_seconds:.1f} s, compiled in {result.compile_seconds:.1f} s"
    )
    return parts_table(parts, caption=caption)


def _of_part(result: ResultRecord, part: str) -> dict[str, Any]:
    metrics = {name.partition("_"): value for name, value in result.metrics.items()}
    return {"count": result.examples[part]} | {name: v for (of, _, name), v in metrics.items() if of == part}


def percent(value: float) -> str:
    """A share as `96.53%`."""
    return f"{100 * value:.2f}%"


def _head(name: str) -> str:
    label = name.replace("_", " ")
    return f"{label}, %" if name.endswith("accuracy") else label


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.2f}" if name.endswith("accuracy") else f"{value:.4f}"
