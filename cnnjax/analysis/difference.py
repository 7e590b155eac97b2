"""Two networks side by side: which layers change, appear and disappear, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cnnjax.analysis.alignment import aligned
from cnnjax.analysis.layers import Analysis, LayerRow
from cnnjax.config import union_keys
from cnnjax.documents.document import Change, Column, Document, Grid, Remarks, TextBlock

SEEN = ("receptive_field", "jump")
MADE = ("op", "output_shape", "params", "macs", "activations", "train_activations", "kernel_size", "strides", "padding",
        "dilation", "groups")  # fmt: skip
SIZES = {
    "params": "parameters",
    "state": "state",
    "macs": "MACs",
    "flops": "FLOPs",
    "activations": "activation floats",
    "activation_bytes": "activation bytes",
    "train_activations": "training floats",
    "train_activation_bytes": "training bytes",
}
COLUMNS = (
    Column("layer"),
    Column("op"),
    Column("change"),
    Column("output", "shape"),
    Column("kernel", "pair", rank=4),
    Column("strides", "pair", rank=6),
    Column("parameters", "count", rank=1),
    Column("MACs", "quantity", rank=2),
    Column("activation\nfloats", "quantity", rank=5),
    Column("receptive\nfield", "pair", rank=3),
)
SHOWN = ("output_shape", "kernel_size", "strides", "params", "macs", "activations", "receptive_field")
FEW = 8


@dataclass(frozen=True)
class Total:
    """A quantity of the whole network in both; `key` is its name in JSON, `name` in a table."""

    key: str
    name: str
    left: int | float
    right: int | float

    @property
    def difference(self) -> int | float:
        """Right minus left."""
        return self.right - self.left

    @property
    def relative(self) -> float | None:
        """The difference in percent of left; None where left is 0."""
        return 100 * self.difference / self.left if self.left else None


@dataclass(frozen=True)
class Difference:
    """How `right` differs from `left`.

    config: the fields of their configs that differ, by path, with both values (None where a side has none); empty for
    modules. labels: what the two are called.
    """

    left: Analysis
    right: Analysis
    config: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    labels: tuple[str, str] = ("left", "right")

    @property
    def layers(self) -> list[tuple[LayerRow | None, LayerRow | None]]:
        """(left, right) rows that changed, appeared or disappeared, in order; None where a side has no such row."""
        return [pair for pair in aligned(self.left.layers, self.right.layers) if _differ(*pair, MADE + SEEN)]

    @property
    def totals(self) -> list[Total]:
        """Sizes of both, the receptive field of the last layer that has a place, the memory of training if known."""
        sides = [(getattr(self.left, key), getattr(self.right, key)) for key in SIZES]
        sizes = zip(SIZES.items(), sides, strict=True)
        known = [Total(key, name, *both) for (key, name), both in sizes if None not in both and any(both)]
        return [*known, *self._fields(), *self._memory()]

    def _fields(self) -> Iterator[Total]:
        heights, widths = zip(self.left.receptive_field, self.right.receptive_field, strict=True)
        name = "receptive field of the last maps"
        if heights == widths:
            yield Total("receptive_field", name, *heights)
        else:
            yield Total("receptive_field_height", f"{name}, height", *heights)
            yield Total("receptive_field_width", f"{name}, width", *widths)

    def _memory(self) -> Iterator[Total]:
        if self.left.memory is not None and self.right.memory is not None:
            yield Total("memory", "bytes of training", self.left.memory.total, self.right.memory.total)

    def to_json(self) -> dict[str, Any]:
        """`{"left", "right", "config": {path: [a, b]}, "layers": [...], "totals": {...}, "warnings"}`, for JSON.

        A layer has "path", "change" (changed, new or gone) and, for every field that differs, both values. A total has
        "left", "right", "difference" and "relative" (in percent of left). The warnings are those of right alone.
        """
        return {
            "left": self.labels[0],
            "right": self.labels[1],
            "config": {path: list(values) for path, values in self.config.items()},
            "layers": [_pair_json(*pair) for pair in self.layers],
            "totals": {total.key: _total_json(total) for total in self.totals},
            "warnings": self.new_warnings,
        }

    @property
    def new_warnings(self) -> list[str]:
        """The warnings that right has and left has not."""
        return [warning for warning in self.right.warnings if warning not in self.left.warnings]


# --- tables


def document(difference: Difference) -> Document:
    """The difference as blocks and as JSON."""
    return Document(_blocks(difference), difference.to_json())


def _blocks(difference: Difference) -> list[TextBlock]:
    """The fields that differ, the layers that differ, what it costs, and the warnings that are new."""
    drawn: list[TextBlock] = [Remarks(("{} → {}".format(*difference.labels),))]
    if difference.config:
        columns = (Column("field"), Column("from"), Column("to"))
        shown = _telling(difference.config)
        drawn.append(Grid("configuration", columns, [(path, _value(a), _value(b)) for path, (a, b) in shown.items()]))
    made = [pair for pair in difference.layers if _differ(*pair, MADE)]
    if made:
        drawn.append(Grid("layers", COLUMNS, [_line(*pair) for pair in made]))
    drawn.append(_total_grid(difference))
    if remarks := tuple(_remarks(difference, len(made))):
        drawn.append(Remarks(remarks))
    if difference.new_warnings:
        drawn.append(Remarks(tuple(difference.new_warnings), "new warnings"))
    return drawn


def _telling(config: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Without the fields that only one side has because it is of another kind, which a tag (`model.name`) tells."""
    keys = union_keys()
    tags = [path for path, both in config.items() if path.split(".")[-1] in keys and None not in both]
    kinds = tuple(path[: path.rfind(".") + 1] for path in tags)
    return {path: both for path, both in config.items() if None not in both or not path.startswith(kinds)}


def _line(left: LayerRow | None, right: LayerRow | None) -> tuple[Any, ...]:
    layer = right or left
    assert layer is not None
    op = f"{left.op} → {right.op}" if left and right and left.op != right.op else layer.op
    values = [_cell(left, right, name) for name in SHOWN]
    return (layer.path or f"({layer.op})", op, _kind(left, right), *values)


def _cell(left: LayerRow | None, right: LayerRow | None, name: str) -> Any:
    if left is None or right is None:
        return getattr(left or right, name)
    before, after = getattr(left, name), getattr(right, name)
    return after if before == after else Change(before, after)


def _total_grid(difference: Difference) -> Grid:
    columns = (
        Column("in total"),
        Column("from", "count"),
        Column("to", "count"),
        Column("difference", "count"),
        Column("in %", "percent"),
    )
    rows = [(t.name, t.left, t.right, _signed(t.difference), _percent(t.relative)) for t in difference.totals]
    return Grid("", columns, rows)


def _remarks(difference: Difference, made: int) -> Iterator[str]:
    pairs = [pair for pair in difference.layers if not _differ(*pair, MADE)]
    if not pairs and not made:
        yield "no layer changes in shape, size or cost"
    if pairs:
        few = ", ".join(_seen_text(*pair) for pair in pairs[:FEW]) + (", ..." if len(pairs) > FEW else "")
        yield f"what is seen alone changes in {len(pairs)} more layers: {few}"


def _seen_text(left: LayerRow | None, right: LayerRow | None) -> str:
    assert left is not None
    assert right is not None
    column = COLUMNS[-1]
    both = (column.text(layer.receptive_field, exact=True) for layer in (left, right))
    return f"{right.path or f'({right.op})'} {' → '.join(dict.fromkeys(both))}"


def _signed(number: int | float) -> str:
    return f"{number:+,}" if number else "0"


def _percent(number: float | None) -> str:
    return "" if number is None else f"{number:+.2f}" if number else "0"


def _value(value: Any) -> str:
    return "—" if value is None else str(value)


# --- pairs of rows


def _differ(left: LayerRow | None, right: LayerRow | None, names: tuple[str, ...]) -> bool:
    if left is None or right is None:
        return True
    return any(getattr(left, name) != getattr(right, name) for name in names)


def _kind(left: LayerRow | None, right: LayerRow | None) -> str:
    return "new" if left is None else "gone" if right is None else "changed"


def _pair_json(left: LayerRow | None, right: LayerRow | None) -> dict[str, Any]:
    layer = right or left
    assert layer is not None
    sides = {"path": layer.path, "op": layer.op, "change": _kind(left, right)}
    values = {name: (left and getattr(left, name), right and getattr(right, name)) for name in MADE + SEEN}
    return sides | {name: {"left": a, "right": b} for name, (a, b) in values.items() if a != b}


def _total_json(total: Total) -> dict[str, Any]:
    return {"left": total.left, "right": total.right, "difference": total.difference, "relative": total.relative}
