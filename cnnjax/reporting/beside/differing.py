"""What differs between two studies: settings, data, code, versions, hardware; and the arms that only one has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.documents.counts import NONE, count
from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.beside.pair import NAMES, Pair
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.panels.networks import REPEATS, differences, settings_of
from cnnjax.reporting.provenance import flat, leaves
from cnnjax.reporting.statistics import arms
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import finished
from cnnjax.reporting.units import plural

MOST_NAMED = 4


def alone_panel(pair: Pair) -> Finding | None:
    """The arms that only one of the two has; None where both have the same."""
    rows = [
        (name, str(arm.number), arm.label, finished(table, arm.number))
        for name, table, alone in zip(NAMES, pair.tables, pair.alone, strict=True)
        for arm in alone
    ]
    if not rows:
        return None
    columns = (Column("in", is_choice=True), Column("#"), Column("arm"), Column("n", "number"))
    data = {name: [arm.label for arm in alone] for name, alone in zip(NAMES, pair.alone, strict=True)}
    return Finding("alone", "Arms in one only", [Grid("", columns, rows)], data=data)


def differing_panel(pair: Pair) -> Finding:
    """What was recorded and is not the same in both, and what is."""
    base = _base(pair)
    recorded = [_recorded(table) for table in pair.tables]
    others = _unlike(recorded[0], recorded[1])
    rows = [(path, *pair_of) for path, pair_of in {**base, **others}.items()]
    same = [path for path in recorded[0] if path in recorded[1] and path not in others]
    notes = [f"The same in both: {', '.join(same)}."] if same else []
    notes += [] if base else ["The base experiments are the same in all settings."]
    blocks: list[Block] = [
        Grid("", (Column("what"), *(Column(f"in {name}") for name in NAMES)), rows),
        *map(paragraph, [*notes, *_more(pair, set(base))]),
    ]
    data = {path: list(pair_of) for path, pair_of in {**base, **others}.items()}
    return Finding("differing", "What differs between the two", blocks, data=data)


def _base(pair: Pair) -> dict[str, tuple[str, str]]:
    """Settings of the base experiments, but for those that both vary and for the seed."""
    varied = [{axis.path for axis in table.axes} for table in pair.tables]
    skipped = varied[0] & varied[1] | set(REPEATS)
    one, other = (dict(leaves(table.base, "")) for table in pair.tables)
    unlike = differences(one, other)
    return {path: (flat(a), flat(b)) for path, (a, b) in unlike.items() if path not in skipped}


def _unlike(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    pairs = {name: (one.get(name, NONE), other.get(name, NONE)) for name in dict.fromkeys([*one, *other])}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _recorded(table: Table) -> dict[str, str]:
    """What the finished trials were made of and with, by name, as text."""
    done = table.done
    found = {f"values of {axis.path}": ", ".join(axis.texts) for axis in table.axes}
    for word, column in table.repeats.items():
        found[f"{word}s"] = ", ".join(map(str, sorted(table.trials[column].unique())))
    prints = [flat(value) for value in done["data_fingerprint"] if value is not None]
    found["data fingerprint"] = _tally(prints)
    found["examples"] = _tally(flat(sizes) for sizes in done["examples"] if sizes)
    found |= _code(table)
    places: dict[str, list[str]] = {}
    for environment in table.environments:
        for path, value in leaves(environment, ""):
            places.setdefault(path, []).append(flat(value))
    return found | {path: _tally(texts) for path, texts in places.items()}


def _code(table: Table) -> dict[str, str]:
    """The user's own classes and functions that trials ran, each with the digests of what they were."""
    digests = dict.fromkeys(digest for own in table.done["codes"] for digest in own)
    found: dict[str, dict[str, None]] = {}
    for digest in filter(None, digests):
        if digest not in table.codes:
            found.setdefault("code", {})[f"{digest} (no copy is kept)"] = None
            continue
        for entry in table.codes[digest][0].definitions:
            found.setdefault(f"{entry.kind} {entry.name}", {})[entry.digest] = None
    return {name: ", ".join(of) for name, of in found.items()} or {
        "code": "cnnjax's alone" if digests else "not recorded"
    }


def _tally(texts: Iterable[str]) -> str:
    """The different texts; of many the commonest."""
    counts = Counter(texts)
    shown = [abbreviate(text, 60) for text, _ in counts.most_common(MOST_NAMED)]
    more = f"; and {len(counts) - MOST_NAMED} more" if len(counts) > MOST_NAMED else ""
    return "; ".join(sorted(shown)) + more if shown else "not recorded"


def _more(pair: Pair, told: set[str]) -> list[str]:
    """In what else the arms of both differ, where widths were rescaled or a preset changed."""
    found, costs = [], []
    frames = [arms(table) for table in pair.tables]
    for arm in pair.matched:
        one, other = (settings_of(table, own.number) for table, own in zip(pair.tables, arm.own, strict=True))
        recorded = all(own.number in table.configs for table, own in zip(pair.tables, arm.own, strict=True))
        unlike = {path: pair_of for path, pair_of in differences(one, other).items() if path not in told}
        if recorded and unlike:
            said = ", ".join(f"{path} {flat(a)} → {flat(b)}" for path, (a, b) in list(unlike.items())[:MOST_NAMED])
            found.append(f"{arm.label}: {said}{', ...' if len(unlike) > MOST_NAMED else ''}")
        params = [frame.loc[own.number, "params"] for frame, own in zip(frames, arm.own, strict=True)]
        texts = list(map(count, params))
        if texts[0] != texts[1]:
            costs.append(f"{arm.label}: {texts[0]} and {texts[1]}")
    lines = []
    if found:
        lines.append(f"Beside that, {_named(found)} differ in settings: {_some(found)}.")
    if costs:
        lines.append(f"{_named(costs)} have other parameters in A and in B: {_some(costs)}.")
    return lines


def _named(found: list[str]) -> str:
    return plural(len(found), "arm")


def _some(found: list[str]) -> str:
    more = [f"and {len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    return "; ".join([*found[:MOST_NAMED], *more])
