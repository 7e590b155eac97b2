"""Results by class: what is found of each class, which classes arms cost most, and which are taken for which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cnnjax.documents.counts import NONE, count
from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.confusions import ByClass, Change, by_class, changes, costs, recalls_of
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.intervals import FEWEST, Spread
from cnnjax.reporting.kept import Labels, kept, labels, pair
from cnnjax.reporting.notes import repeats
from cnnjax.reporting.picture_confusion import confusion_picture
from cnnjax.reporting.statistics import chosen
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import over
from cnnjax.reporting.units import Unit, json_number, p_said, p_value, some
from cnnjax.statistics.classes import counts

MOST_ROWS, MOST_CONFUSED = 40, 12
ALPHA = 0.05
SHARE = Unit("share", "%", 100, 1)

Sides = Sequence[tuple[int, ByClass]]
"""An arm by its number, and the one beside it, where there is one."""


def recall_panel(table: Table) -> Finding | None:
    """By class, the arm that validation chooses beside the one that all are compared with; None where trials kept no
    predictions of classes."""
    held, sides = labels(table), _sides(table)
    if held is None or not sides:
        return None
    changed = changes(table, sides[0][0], sides[1][0]) if len(sides) > 1 else []
    blocks: list[Block | Sketch] = [_grid(table, held, sides, changed), paragraph(_note(table, held, sides))]
    blocks += _costs(table, sides[1][0]) if len(sides) > 1 and len(table.arms) > 2 else []
    confused = _confused(held, sides)
    blocks += [paragraph("Most confused classes"), confused] if confused.rows else []
    blocks.append(Sketch("confusion", "Which classes are taken for which", lambda: confusion_picture(table)))
    data = {"part": _part(table), "classes": [_json(held, sides, changed, k) for k in range(len(held.names))]}
    return Finding("recall", "By class", blocks, _answers(table, sides, changed), data)


def _sides(table: Table) -> list[tuple[int, ByClass]]:
    numbers = [number for number in pair(table) if number is not None]
    return [(number, own) for number in numbers if (own := by_class(table, number)) is not None]


def _part(table: Table) -> str:
    found = kept(table)
    assert found is not None
    return found.part


def _grid(table: Table, held: Labels, sides: Sides, changed: Sequence[Change]) -> Grid:
    sizes = counts(held.target, classes=len(held.names))
    heads = ["examples"]
    heads += [head for number, _ in sides for head in (f"recall, %, arm {number}", over(table))]
    heads += ["difference", *_change_heads(table)] if changed else []
    heads += [f"precision, %, arm {number}" for number, _ in sides]
    rows = []
    for k in _shown(sides, changed):
        cells = [count(sizes[k]), *(cell for _, own in sides for cell in _mean_and_interval(own.recall[k]))]
        cells += _change(changed[k]) if changed else []
        rows.append((held.names[k], *cells, *(SHARE.mean(own.precision[k]) for _, own in sides)))
    return Grid("", _columns(("class",), heads), rows)


def _columns(texts: Iterable[str], numbers: Iterable[str]) -> tuple[Column, ...]:
    return (*(Column(text) for text in texts), *(Column(number, "number") for number in numbers))


def _mean_and_interval(values: Spread) -> tuple[str, str]:
    return SHARE.mean(values), SHARE.interval(values.over_seeds)


def _change_heads(table: Table) -> tuple[str, ...]:
    return over(table), f"p over {repeats(table)}, corrected", "also over examples", "p over examples too, corrected"


def _change(change: Change) -> tuple[str, ...]:
    """A difference, then what stands below `_change_heads`."""
    own = change.difference
    of_seeds = SHARE.interval(own.over_seeds), p_value(change.holm_of_seeds)
    return SHARE.difference(own), *of_seeds, SHARE.interval(own), p_value(change.holm)


def _shown(sides: Sides, changed: Sequence[Change]) -> list[int]:
    """The classes that have a row: of many those that differ most, or whose recall is lowest, in the classes' order."""
    recall = np.array([own.mean for own in sides[0][1].recall])
    order = np.argsort(-np.abs([change.difference.mean for change in changed]) if changed else recall, kind="stable")
    return sorted(map(int, order[:MOST_ROWS]))


def _note(table: Table, held: Labels, sides: Sides) -> str:
    found, word = kept(table), table.replicate
    assert found is not None
    arms = " and ".join(f"arm {number} ({table.arms[number - 1].label}){_role(table, number)}" for number, _ in sides)
    arms = arms.removesuffix(",")
    trials = " and ".join(str(len(found.trials(number))) for number, _ in sides)
    left = len(held.names) - MOST_ROWS
    which = "differs most between the two" if len(sides) > 1 else "is lowest"
    fewer = (
        f" Of {len(held.names)} classes the {MOST_ROWS} whose recall {which} have a row; arms.json has all."
        if left > 0
        else ""
    )
    paired = (
        f" Differences are arm {sides[0][0]} less arm {sides[1][0]}, paired by {word} "
        f"(n={_common(table, *(number for number, _ in sides))}): p over {repeats(table)} is that of Student's paired "
        "t test, on these examples; the other interval is widened for the choice of the class's examples, and the "
        f"other p is its own. Both are corrected after Holm (1979) for all {len(held.names)} classes."
        if len(sides) > 1
        else ""
    )
    return (
        f"Of {arms}, from what {trials} trials kept of their predictions of the {len(held.target):,} examples of "
        f"the {found.part} part. Recall: the share of a class's examples that are taken for it; precision: of those "
        f"that are taken for it, the share that are of it. Means ± standard deviation over {word}s; intervals of "
        f"recall are over {repeats(table)}, on these examples; those over other examples too stand in arms.json."
        f"{paired} Below {FEWEST} {word}s there is "
        f"no interval and no test.{fewer}{_flattered(table, sides)}"
    )


def _flattered(table: Table, sides: Sides) -> str:
    """That the arm was chosen on the examples that it is judged by, where it was; with a space before it."""
    if _part(table) != "validation" or sides[0][0] != chosen(table):
        return ""
    return f" Arm {sides[0][0]} was chosen on these examples, which flatters it."


def _common(table: Table, *numbers: int) -> int:
    """How many seeds, or folds and seeds, these arms have in common."""
    return len(set.intersection(*(set(recalls_of(table, number)[0]) for number in numbers)))


def _role(table: Table, number: int) -> str:
    return ", which validation chooses," if number == chosen(table) else ""


def _costs(table: Table, against: int) -> list[Block]:
    """Which class each arm costs most."""
    found = kept(table)
    assert found is not None
    with_answers = [own.number for own in table.arms if own.number != against and found.trials(own.number)]
    rows = []
    for number, change in zip(with_answers, costs(table, with_answers, against), strict=True):
        n = _common(table, number, against)
        label = table.arms[number - 1].label
        if change is None:
            empty = (NONE for _ in ("difference", *_change_heads(table)))
            rows.append((str(number), label, "none" if n else NONE, str(n), *empty))
        else:
            rows.append((str(number), label, change.name, str(change.difference.n), *_change(change)))
    heads = ("n", "recall beside it, %", *_change_heads(table))
    columns = (Column("#"), *_columns(("arm", "class"), heads))
    note = (
        f"For each arm the class whose recall is most below that of arm {against}. p is corrected for the choice among "
        "all classes (Bonferroni) and for all arms of this table (Holm 1979); the interval is not."
    )
    title = paragraph(f"Which class each arm costs most, beside arm {against}")
    return [title, Grid("", columns, rows, keys=[str(number) for number in with_answers]), paragraph(note)]


def _confused(held: Labels, sides: Sides) -> Grid:
    """The classes that are most often taken for others, by the arm of the two that does so most."""
    known = [(number, own.mean()) for number, own in sides if own.shares]
    heads = [f"share of the class, %, arm {number}" for number, _ in known]
    columns = _columns(("class", "taken for"), heads)
    if not known:
        return Grid("", columns, [])
    most = np.max([matrix for _, matrix in known], axis=0)
    np.fill_diagonal(most, 0)
    places = [divmod(int(k), len(most)) for k in np.argsort(-most, axis=None, kind="stable")[:MOST_CONFUSED]]
    rows = [
        (held.names[i], held.names[j], *(SHARE.number(matrix[i, j]) for _, matrix in known))
        for i, j in places
        if most[i, j] > 0
    ]
    return Grid("", columns, rows)


def _answers(table: Table, sides: Sides, changed: Sequence[Change]) -> tuple[str, ...]:
    found = sorted((change for change in changed if change.holm < ALPHA), key=lambda change: change.holm)
    if not found or _flattered(table, sides):
        return ()
    arm, against = (f"arm {number} ({table.arms[number - 1].label})" for number, _ in sides)
    shown = some(
        [
            f"{change.name} {'+' if change.difference.mean > 0 else ''}{SHARE.number(change.difference.mean)} "
            f"{SHARE.interval(change.difference)}, {p_said(change.holm)}"
            for change in found
        ]
    )
    n = f"n={found[0].difference.n} common {table.replicate}s"
    return (
        f"By class, {arm} beside {against}, recall in percentage points ({n}, corrected for {len(changed)} classes): "
        f"{shown}.",
    )


def _json(held: Labels, sides: Sides, changed: Sequence[Change], k: int) -> dict[str, Any]:
    said: dict[str, Any] = {"class": held.names[k], "examples": int((held.target == k).sum())}
    said["arms"] = [
        {"arm": number, "recall": own.recall[k].to_json(), "precision": own.precision[k].to_json()}
        for number, own in sides
    ]
    if changed:
        p = {name: getattr(changed[k], name) for name in ("p", "holm", "p_of_seeds", "holm_of_seeds")}
        said |= {"difference": changed[k].difference.to_json()}
        said |= {name: json_number(value) for name, value in p.items()}
    return said
