"""What one training or evaluation measured, part by part, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cnnjax.console import rich_text
from cnnjax.documents.counts import count, short_count
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.specification import BEFORE, Specification, specification_of

PARTS = ("train", "validation", "test")


def parts_table(
    parts: Mapping[str, Mapping[str, Any]], known: Sequence[Specification] = (), *, caption: str = ""
) -> Table:
    """A row for each part (`{"test": {"count": 359, "loss": 0.08, ...}}`): n, then its metrics.

    known: what the run recorded of its metrics, in whose order and units they stand; others have four decimals.
    """
    names = dict.fromkeys(name for part in parts.values() for name, value in part.items() if isinstance(value, float))
    kinds = {name: specification_of(f"test_{name}", known) for name in names}
    importance = {each.name: place for place, each in reversed(list(enumerate((*known, *BEFORE))))}
    names = sorted(names, key=lambda name: len(importance) if (of := kinds[name]) is None else importance[of.name])
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=rich_text(caption), caption_justify="left")
    drawn.add_column("part")
    for head in ("n", *(_head(name, kinds[name]) for name in names)):
        drawn.add_column(rich_text(head), justify="right")
    for part, values in parts.items():
        drawn.add_row(part, count(values.get("count")), *(_cell(values.get(name), kinds[name]) for name in names))
    return drawn


def classes_tables(parts: Mapping[str, Mapping[str, Any]], names: Sequence[str], classes: Sequence[str]) -> list[Table]:
    """A table of each part that tells something of each class: a row for each, a column for each of `names`.

    names: of lists in `parts`, in the order of `classes`. Shares are in percent; None, of a class that is neither there
    nor predicted, is a dash.
    """
    drawn = []
    for part, values in parts.items():
        shown = {name: values[name] for name in names if name in values}
        if not shown:
            continue
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column(rich_text(f"{part}: class"))
        for name, told in shown.items():
            share = any(isinstance(value, float) for value in told)
            table.add_column(rich_text(name.removeprefix("per_class_") + (", %" if share else "")), justify="right")
        for place, name in enumerate(classes):
            table.add_row(rich_text(name), *(_of_class(told[place]) for told in shown.values()))
        drawn.append(table)
    return drawn


def _of_class(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.2f}"


def result_table(result: ResultRecord, known: Sequence[Specification] = ()) -> Table:
    """The metrics of a `result.json` (of the last epoch, for the training part), and what they are of; see
    `parts_table`."""
    parts = {part: _of_part(result, part) for part in PARTS if part in result.examples}
    caption = (
        f"one seed ({result.seed}), so no spread; train: the last epoch, as trained on; "
        f"{short_count(result.params)} parameters, {short_count(result.macs)} MACs an image; "
        f"{result.steps:,} steps in {result.train_seconds:.1f} s, compiled in {result.compile_seconds:.1f} s"
    )
    return parts_table(parts, known, caption=caption)


def _of_part(result: ResultRecord, part: str) -> dict[str, Any]:
    metrics = {name.partition("_"): value for name, value in result.metrics.items()}
    return {"count": result.examples[part]} | {name: v for (of, _, name), v in metrics.items() if of == part}


def _head(name: str, of: Specification | None) -> str:
    if of is None:
        return name.replace("_", " ")
    words = name.removesuffix(of.name).replace("_", " ") + of.words
    return f"{words}, {of.symbol}" if of.symbol else words


def _cell(value: float | None, of: Specification | None) -> str:
    if value is None:
        return ""
    # The unit stands in the heading.
    return f"{value:.4f}" if of is None else f"{value:{of.printed}}".removesuffix("%")
