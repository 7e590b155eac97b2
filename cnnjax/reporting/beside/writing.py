"""From two studies' folders to the files of one report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnjax.errors import expect
from cnnjax.reporting.beside import PANELS
from cnnjax.reporting.beside.pair import NAMES, Pair, pair
from cnnjax.reporting.findings import Findings, ask, drawn
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import PARTS
from cnnjax.reporting.mixture import mixed_code
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural
from cnnjax.reporting.writing import PAGE, csv, files_of, write, written_to


@dataclass(frozen=True)
class Beside:
    """Two studies beside each other: the `pair` read, its `findings`, the text of studies.json, and where it was
    written, the `folder`; None where it was not."""

    pair: Pair = field(repr=False)
    findings: Findings = field(repr=False)
    json: str = field(repr=False)
    folder: Path | None = None

    @property
    def page(self) -> Path | None:
        """The page, for a browser."""
        return None if self.folder is None else self.folder / PAGE


def side_by_side(left: Path | str, right: Path | str, *, to: Path | str | None = None) -> Beside:
    """Set the studies (or runs) in two folders beside each other: A is `left`, B is `right`.

    to: the folder to write into: `index.html`, `report.md`, `arms.csv`, `studies.json`, pictures in `figures/` and
    tables in `tables/`, as `report` does; None writes nothing, and draws nothing. Raises ConfigError where both are one
    folder, and RunError where one of them is no study, where no arm is in both, where they are not compared by the same
    metric, and where nothing can be written.
    """
    for folder in (left, right):
        expect(folder, (str, Path), call="side_by_side", takes="the folder of a study or of a run")
    folder = written_to(to)
    both = pair(left, right)
    findings = find_beside(both, draw=folder is not None)
    summary = _summary(both, findings)
    if folder is None:
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        return Beside(both, findings, text)
    contents = {"arms.csv": csv(_frame(findings)), **files_of(findings)}
    _, text = write(folder, "studies.json", summary, contents, others=True)
    return Beside(both, findings, text, folder)


def find_beside(both: Pair, *, draw: bool = True) -> Findings:
    """What its panels say of the pair."""
    every = ask(PANELS, both)
    names = [table.name for table in both.tables]
    title = f"{names[0]}, twice" if names[0] == names[1] else f"{names[0]} beside {names[1]}"
    asked = dict.fromkeys(table.question for table in both.tables if table.question)
    return Findings(
        title=title,
        question="\n\n".join(asked),
        opening=_opening(both),
        ahead=[_state(name, table) for name, table in zip(NAMES, both.tables, strict=True)],
        every=every,
        pictures=drawn(every) if draw else {},
    )


def _opening(both: Pair) -> list[str]:
    said = [_state(name, table) for name, table in zip(NAMES, both.tables, strict=True)]
    for name, table in zip(NAMES, both.tables, strict=True):
        said += [f"{name}: {sentence}" for sentence in mixed_code(table.trials, table.codes)]
    alone = [f"{len(own)} in {name} only" for name, own in zip(NAMES, both.alone, strict=True) if own]
    counted = ", ".join([f"{plural(len(both.matched), 'arm')} in both", *alone])
    said.append(f"{counted}, by the values of their axes.")
    same = sum(both.same_examples(arm) for arm in both.matched)
    if both.same_results:
        said.append("Both folders hold the same results, byte for byte.")
    elif not same:
        said.append(
            "The two are not known to have measured on the same examples: differences between them are not paired, and "
            "hold what the data do too."
        )
    elif both.unpaired_for:
        said.append(f"Differences between the two are not paired by seed: {both.unpaired_for}.")
    elif same < len(both.matched):
        of = f"{same} of {plural(len(both.matched), 'arm')}"
        said.append(f"Only {of} were measured on the same examples in both, and are paired by seed.")
    return said


def _state(name: str, table: Table) -> str:
    of = f"{len(table.done)} of {len(table.trials)} planned trials finished"
    return f"{name} is {table.out} ({table.name}): {of}, the newest result written {table.last_result}."


def _summary(both: Pair, findings: Findings) -> dict[str, Any]:
    studies = {
        name: {
            "folder": str(table.out),
            "name": table.name,
            "trials": {"planned": len(table.trials), "done": len(table.done)},
            "last_result": table.last_result,
            "results_digest": table.results_digest,
        }
        for name, table in zip(NAMES, both.tables, strict=True)
    }
    return {"studies": studies, "first": findings.first, "findings": findings.data}


def _frame(findings: Findings) -> Frame:
    """A row an arm of both, with all that the table of results has."""
    rows = []
    for arm in findings.data["results"]["arms"]:
        numbers = dict(zip((f"number_{name}" for name in NAMES), arm["numbers"], strict=True))
        spreads = {f"{side}_{part}": arm[side][part] for side in (*NAMES, "difference") for part in PARTS}
        rows.append(
            {**numbers, "arm": arm["label"], **spreads, **{name: arm[name] for name in ("paired", "p", "holm")}}
        )
    return Frame(rows)
