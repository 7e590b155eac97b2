"""The same examples: on how many of them arms are right together, and which of them they differ on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnjax.documents.counts import NONE, count
from cnnjax.documents.document import Block, Column, Grid, Picture, paragraph
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.inspected import of_examples
from cnnjax.reporting.intervals import listed
from cnnjax.reporting.kept import Kept, kept, labels, pair, taken
from cnnjax.reporting.statistics import reference
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import Unit, json_number, p_value, plural
from cnnjax.statistics.agreement import Agreement, agreement
from cnnjax.statistics.families import adjusted

MOST_SHOWN = 10
"""Examples of each kind that have a row."""
SHARE = Unit("share", "%", 100, 1)


def flips_panel(table: Table) -> Finding | None:
    """Every arm beside the one that all are compared with, example by example; None where no predictions were kept."""
    found, against = kept(table), reference(table)
    if found is None:
        return None
    arms = [] if against is None else _beside(table, found, against)
    blocks: list[Block | Sketch] = []
    data: dict[str, Any] = {"part": found.part, "reference": against, "arms": []}
    if against is not None and arms:
        tests = [agreement(*_pairs(found, number, against)) for number in arms]
        holm = adjusted([test.p for test in tests])
        blocks += [_grid(table, arms, tests, holm, against), paragraph(_note(table, found, against, len(arms)))]
        data["arms"] = [_json(*each) for each in zip(arms, tests, holm, strict=True)]
        flipped = _flipped(table, found)
        if flipped is not None:
            blocks += _examples(table, found, flipped)
            blocks += [Sketch(each.name, each.title, lambda each=each: each) for each in flip_pictures(table)]
            data["examples"] = flipped.to_json()
    blocks += map(paragraph, found.notes)
    return Finding("examples", "The same examples", blocks, data=data) if blocks else None


def flip_pictures(table: Table) -> tuple[Picture, ...]:
    """The pictures that `cnnjax inspect` made of the examples that flip; none of others."""
    found = kept(table)
    flipped = None if found is None else _flipped(table, found)
    if found is None or flipped is None:
        return ()
    return of_examples(table, (flipped.arm, flipped.against), found.part, (*flipped.lost, *flipped.gained))


def _beside(table: Table, found: Kept, against: int) -> list[int]:
    """The arms that have seeds in common with `against`."""
    places = set(found.trials(against))
    return [arm.number for arm in table.arms if arm.number != against and places & set(found.trials(arm.number))]


def _pairs(found: Kept, one: int, other: int) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong of two arms, bool [n, N] each, of the seeds that both have."""
    own, others = found.trials(one), found.trials(other)
    common = [place for place in own if place in others]
    return found.answers([own[place] for place in common]), found.answers([others[place] for place in common])


def _grid(table: Table, arms: Sequence[int], tests: Sequence[Agreement], holm: np.ndarray, against: int) -> Grid:
    rows = []
    for number, test, corrected in zip(arms, tests, holm, strict=True):
        whole = test.seeds * test.examples
        shares = [SHARE.number(each / whole) for each in (test.both, test.only_left, test.only_right, test.neither)]
        difference = f"{'+' if test.difference > 0 else ''}{SHARE.number(test.difference)}"
        cells = (str(test.seeds), *shares, difference, p_value(test.p), p_value(float(corrected)))
        rows.append((str(number), table.arms[number - 1].label, *cells))
    heads = (
        "n",
        "both right, %",
        "only it, %",
        f"only arm {against}, %",
        "neither, %",
        "difference",
        "p",
        "p, corrected",
    )
    columns = (Column("#"), Column("arm"), *(Column(head, "number") for head in heads))
    return Grid("", columns, rows, keys=[str(number) for number in arms])


def _note(table: Table, found: Kept, against: int, arms: int) -> str:
    corrected = f", corrected after Holm (1979) for {plural(arms, 'arm')}" if arms > 1 else ""
    seeds = listed(f"{word}s" for word in table.repeats)
    return (
        f"Each arm beside arm {against} ({table.arms[against - 1].label}), on the same {len(found.target):,} examples "
        f"of the {found.part} part: shares of examples and {seeds}, n pairs of trained networks. p: McNemar's exact "
        "test; of several pairs all answers to an example change sign together, so that no example counts twice"
        f"{corrected}. It asks whether other examples would put these networks in the same order; whether other "
        f"{seeds} would is for the comparisons of arms."
    )


def _json(number: int, test: Agreement, holm: float) -> dict[str, Any]:
    counted = {name: getattr(test, name) for name in ("both", "only_left", "only_right", "neither")}
    p = {name: json_number(float(value)) for name, value in (("p", test.p), ("holm", holm))}
    return {"arm": number, "n": test.seeds, "examples": test.examples, **counted, "difference": test.difference, **p}


@dataclass(frozen=True, eq=False)
class Flipped:
    """Two arms on N examples: how many of `n` pairs of networks answer each rightly, int [N], of the `arm` and of the
    one beside it, `against`; lost, gained: the places of the examples that most pairs differ on, those first that only
    `against` has right, and those that only `arm` has."""

    arm: int
    against: int
    n: int
    own: np.ndarray
    others: np.ndarray
    lost: tuple[int, ...]
    gained: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, without the examples on which the arms agree."""
        places = {"lost": list(self.lost), "gained": list(self.gained)}
        return {"arm": self.arm, "against": self.against, "n": self.n, **places}


def _flipped(table: Table, found: Kept) -> Flipped | None:
    arm, against = pair(table)
    if arm is None or against is None or arm not in _beside(table, found, against):
        return None
    own, others = _pairs(found, arm, against)
    flips = (own & ~others).sum(0) - (~own & others).sum(0)
    order = np.argsort(flips, kind="stable")
    lost = [int(place) for place in order[:MOST_SHOWN] if flips[place] < 0]
    order = np.argsort(-flips, kind="stable")
    gained = [int(place) for place in order[:MOST_SHOWN] if flips[place] > 0]
    return Flipped(arm, against, len(own), own.sum(0), others.sum(0), tuple(lost), tuple(gained))


def _examples(table: Table, found: Kept, flipped: Flipped) -> list[Block]:
    held, sides = labels(table), (flipped.arm, flipped.against)
    heads = [f"right, arm {number}" for number in sides]
    heads += [] if held is None else [f"arm {number} takes it for" for number in sides]
    columns = (
        Column("example", "number"),
        *([] if held is None else [Column("class")]),
        *(Column(head) for head in heads),
    )
    rows = []
    for place in (*flipped.lost, *flipped.gained):
        right = [f"{each[place]} of {flipped.n}" for each in (flipped.own, flipped.others)]
        said = [] if held is None else [_mostly(table, found, number, held.names, place) for number in sides]
        rows.append((str(place), *([] if held is None else [_name(held.names, held.target[place])]), *right, *said))
    always = [
        int(((one == flipped.n) & (other == 0)).sum())
        for one, other in ((flipped.others, flipped.own), (flipped.own, flipped.others))
    ]
    every = f"all {flipped.n} pairs of networks" if flipped.n > 1 else "the one pair of networks"
    note = (
        f"Examples by their place in the {found.part} part, counted from 0: first those that most pairs of networks of "
        f"the same seed answer rightly with arm {flipped.against} alone, then those with arm {flipped.arm} alone; at "
        f"most {MOST_SHOWN} of each. In {every} {count(always[0])} examples are right with arm {flipped.against} alone "
        f"and {count(always[1])} with arm {flipped.arm} alone."
    )
    note += _how_to_draw(table, found, flipped)
    title = paragraph(f"Examples that arm {flipped.arm} and arm {flipped.against} differ on")
    return [title, Grid("", columns, rows), paragraph(note)] if rows else []


def _how_to_draw(table: Table, found: Kept, flipped: Flipped) -> str:
    """The command that makes pictures of the examples, of a seed that both arms have."""
    sides = [found.trials(arm) for arm in (flipped.arm, flipped.against)]
    place = next(place for place in sides[0] if place in sides[1])
    runs = " ".join(shlex.quote(str(table.folders[own[place]])) for own in sides)
    part = "" if found.part == "test" else f" --part {found.part}"
    places = ",".join(map(str, (*flipped.lost, *flipped.gained)))
    command = f"cnnjax inspect {runs} --only examples{part} --example {places}"
    return f" `{command}` makes pictures of them, and the next report shows them here."


def _mostly(table: Table, found: Kept, arm: int, names: Sequence[str], place: int) -> str:
    """What most trials of an arm take an example for, of equally many the first class; with how many where not all."""
    every = [said[place] for name in found.trials(arm).values() if (said := taken(table, name)) is not None]
    if not every:
        return NONE
    [(most, times)] = Counter(sorted(map(int, every))).most_common(1)
    return _name(names, most) if times == len(every) else f"{_name(names, most)} ({times} of {len(every)})"


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else NONE
