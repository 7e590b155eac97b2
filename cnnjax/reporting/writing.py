"""From run directories to the files of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cnnjax.errors import expect
from cnnjax.files import write_bytes
from cnnjax.records.design_words import planned_json
from cnnjax.reporting.adaptive import STOPPED
from cnnjax.reporting.fraction_effects import fraction_json
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.headline import headline
from cnnjax.reporting.intervals import FEWEST, LEVEL
from cnnjax.reporting.mixture import mixed_code
from cnnjax.reporting.pages import render_html, render_markdown
from cnnjax.reporting.pictures import draw, every_name
from cnnjax.reporting.statistics import arms, chosen, effects, measure, spread_of
from cnnjax.reporting.study_table import Table, collect
from cnnjax.reporting.time_spent import time_spent


@dataclass(frozen=True)
class Summary:
    """What `report` wrote: the `folder`, its `files`, the `table` read, its `arms`, and the text of `arms.json`."""

    folder: Path
    files: tuple[Path, ...]
    table: Table = field(repr=False)
    arms: Frame = field(repr=False)
    json: str = field(repr=False)

    @property
    def mixed(self) -> list[str]:
        """What to say before anything else: that the trials were not all made by the same code."""
        return mixed_code(self.table.trials, self.table.codes)


def report(out: Path | str) -> Summary:
    """Read the run directories under `out` and write `<out>/report/`, the same files for the same input.

    `out` is the directory of a study, finished or not, or of a single run. Written are `report.html` (self-contained),
    `report.md`, `arms.csv`, `trials.csv`, `effects.csv`, `arms.json` and pictures as PNG; pictures that the study
    gives no reason for (the effects of no axes) are left out. Each file is replaced as a whole. Raises RunError where
    `out` holds no study and no run, where a file is damaged, where no trial has finished, and where nothing can be
    written.
    """
    expect(out, (str, Path), call="report", takes="the folder of a study or of a run")
    table = collect(out)
    pictures = draw(table)
    text = json.dumps(summary_json(table), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    contents: dict[str, bytes] = {
        "arms.csv": csv(arms(table).drop(columns="label").reset_index()),
        "trials.csv": csv(_tidy(table)),
        "effects.csv": csv(_all_effects(table)),
        "arms.json": text.encode(),
        "report.md": render_markdown(table, pictures).encode(),
        "report.html": render_html(table, pictures).encode(),
    }
    contents |= {f"{picture.name}.png": picture.png for picture in pictures.values()}
    stale = [f"{name}.png" for name in every_name(table) if name not in pictures]
    return Summary(Path(out) / "report", _write(Path(out) / "report", contents, stale), table, arms(table), text)


def _write(folder: Path, contents: Mapping[str, bytes], stale: Sequence[str]) -> tuple[Path, ...]:
    for name, content in contents.items():
        write_bytes(folder / name, content)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    return tuple(folder / name for name in contents)


def csv(frame: Frame) -> bytes:
    """`frame` as CSV with full precision; values that are lists or configs are written as JSON."""
    plain = frame.map(lambda value: json.dumps(value) if isinstance(value, list | dict) else value)
    return plain.to_csv(index=False, lineterminator="\n").encode()


def _tidy(table: Table) -> Frame:
    paths = [axis.path for axis in (*table.axes, *table.constants)]
    costs = ["params", "macs", "steps", *table.seconds, "packed"]
    origin = ["id", "data_fingerprint", "cause", "error"]
    repeats = table.repeats
    trials = table.trials[["arm", *paths, *repeats.values(), "status", *table.metrics, *costs, *origin]]
    return trials.rename(columns={"arm": "number", **{column: name for name, column in repeats.items()}})


def _all_effects(table: Table) -> Frame:
    by = measure(table)
    found = {name: effects(table, metric=name) for name in by.shown}
    rows = [{"metric": name, **row} for name in by.shown for row in found[name].to_dict("records")]
    return Frame(rows if by.compared else [], columns=["metric", *found[by.shown[0]].columns])


def summary_json(table: Table) -> dict[str, Any]:
    """What `arms.json` holds: the study, its arms with n, mean, sd and interval of every metric, pruned and failed."""
    frame, by, statuses = arms(table), measure(table), table.trials["status"].value_counts()
    return {
        "name": table.name,
        "question": table.question,
        "axes": {axis.path: list(axis.values) for axis in (*table.axes, *table.constants)},
        **({} if table.study is None else planned_json(table.study)),
        "choose_by": by.choose,
        "quote": by.quote,
        "chosen": chosen(table),
        "intervals": {"level": LEVEL, **{f"fewest_{word}s": FEWEST for word in table.repeats}},
        "headline": headline(table),
        "mixed_code": mixed_code(table.trials, table.codes),
        "trials": {"planned": len(table.trials)} | {name: int(statuses.get(name, 0)) for name in _statuses(table)},
        "last_result": table.last_result,
        "seconds": time_spent(table),
        "not_in_plan": list(table.strangers),
        "arms": [_arm_json(table, frame, arm.number) for arm in table.arms],
        "pruned": [{"arm": entry.values, "seeds": list(entry.seeds), "reason": entry.reason} for entry in table.pruned],
        "failed": _failed(table).to_dict("records"),
        **({"compared_by": table.replicate} if table.replicate != "seed" else {}),
        **({"fraction": of_fraction} if by.compared and (of_fraction := fraction_json(table, by.shown)) else {}),
    }


def _failed(table: Table) -> Frame:
    repeats = table.repeats
    failed = table.trials.loc[table.trials["status"] == "failed", ["arm", *repeats.values(), "id", "cause", "error"]]
    return failed.rename(columns={column: name for name, column in repeats.items()})


def _statuses(table: Table) -> tuple[str, ...]:
    return ("done", "failed", "unfinished", *(() if table.adaptive is None else (STOPPED,)))


def _arm_json(table: Table, frame: Frame, number: int) -> Mapping[str, Any]:
    row, arm = frame.loc[number], table.arms[number - 1]
    names = (*table.metrics, *table.seconds)
    spreads = {name: spread_of(frame, number, name).to_json() for name in names}
    whole = ("n", "planned", "failed", "params", "macs")
    counts = {name: None if pd.isna(row[name]) else int(row[name]) for name in whole}
    return {"number": number, "arm": arm.values, "label": arm.label, **counts, "chosen": bool(row["chosen"]), **spreads}
