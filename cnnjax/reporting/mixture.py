"""Whether the finished trials of a study were made by the same code of the user's and on the same data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cnnjax.code import Code, Definition
from cnnjax.errors import NewerVersion, RunError
from cnnjax.records.code_json import REMEDY, CodeRecord
from cnnjax.reporting.frames import Frame

ALONE: tuple[str | None, ...] = (None,)
"""The codes of a trial all of whose classes are cnnjax's."""


def kept_codes(folder: Path, digests: Iterable[str | None]) -> tuple[dict[str, tuple[Code, str]], tuple[str, ...]]:
    """By digest, the code kept in `folder` and when it was first used, and what is wrong with files that are damaged;
    those and what is not kept are left out."""
    found: dict[str, tuple[Code, str]] = {}
    damaged: list[str] = []
    for digest in filter(None, dict.fromkeys(digests)):
        try:
            held = CodeRecord.read(CodeRecord.of_digest(digest, folder), remedy=REMEDY)
        except NewerVersion:
            raise
        except RunError as error:
            damaged.append(str(error))
            continue
        if held is not None:
            found[digest] = (held.code, held.since)
    return found, tuple(damaged)


def mixed_code(trials: Frame, codes: Mapping[str, tuple[Code, str]]) -> list[str]:
    """A sentence for each definition that is not the same in all finished trials, then the arms that mix them."""
    done = trials[trials["status"] == "done"]
    made = dict(zip(done["id"], done["codes"], strict=True))
    sentences = [*_definitions(made, codes), *_unknown(made), *_continued(made)]
    if not sentences:
        return []
    arms = sorted({int(arm) for arm, group in done.groupby("arm") if len(set(group["codes"])) > 1})
    named = ", ".join(map(str, arms))
    where = f"Arm{'s' if len(arms) > 1 else ''} {named} average over it" if arms else "No arm averages over it"
    return ["MIXED CODE: the finished trials were not all made by the same code.", *sentences, f"{where}."]


def _definitions(made: Mapping[str, tuple[str | None, ...]], codes: Mapping[str, tuple[Code, str]]) -> Iterable[str]:
    forms: dict[str, dict[frozenset[str], list[str]]] = {}
    places: dict[str, Definition] = {}
    for digest in dict.fromkeys(digest for own in made.values() for digest in own):
        if digest is not None and digest not in codes:
            count = sum(digest in own for own in made.values())
            if any(digest not in own for own in made.values()):
                yield f"{_trials(count)} ran code {digest}, of which no copy is kept here."
            continue
        named: dict[str, set[str]] = {}
        for entry in codes[digest][0].definitions if digest else ():
            named.setdefault(entry.name, set()).add(entry.digest)
            places[entry.name] = entry
        for name, digests in named.items():
            forms.setdefault(name, {}).setdefault(frozenset(digests), []).append(digest or "")
    for name, found in sorted(forms.items()):
        if len(found) > 1:
            texts = []
            for digests in found.values():
                count = sum(bool(set(own) & set(digests)) for own in made.values())
                texts.append(f"{_trials(count)} with that of {min(codes[digest][1] for digest in digests)}")
            yield f"{places[name].place} differs: {', '.join(texts)}."


def _unknown(made: Mapping[str, tuple[str | None, ...]]) -> Iterable[str]:
    unknown = sum(not own for own in made.values())
    if unknown and any(own not in ((), ALONE) for own in made.values()):
        yield f"Of {_trials(unknown)} the code was not recorded."


def _continued(made: Mapping[str, tuple[str | None, ...]]) -> Iterable[str]:
    continued = sum(len(own) > 1 for own in made.values())
    if continued:
        yield f"{_trials(continued)} were begun by one code and continued by another."


def _trials(count: int) -> str:
    return f"{count} trial" if count == 1 else f"{count} trials"


def refused(rows: list[dict[str, Any]], planned: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """The rows, of which those count as failed whose data are not those of the other seeds of their arm.

    planned: by trial, the fingerprint of the data that the plan saw; it decides which seeds stay, where it is one's.
    """
    prints: dict[int, set[str]] = {}
    for row in rows:
        if row["status"] == "done" and row["data_fingerprint"] is not None:
            prints.setdefault(row["arm"], set()).add(str(row["data_fingerprint"]))
    return [_refused(row, prints.get(row["arm"], set()), planned.get(row["id"])) for row in rows]


def _refused(row: dict[str, Any], prints: set[str], planned: str | None) -> dict[str, Any]:
    own = row["data_fingerprint"]
    if row["status"] != "done" or len(prints) < 2 or own is None or own == planned:
        return row
    error = f"its data (fingerprint {own}) are not those of the other seeds of its arm: left out of every number"
    return row | {"status": "failed", "cause": "of other data", "error": error}
