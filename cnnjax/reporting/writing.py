"""From run directories to the files of a report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cnnjax.documents.csv_cells import cell
from cnnjax.documents.latex import latex
from cnnjax.errors import DiskFull, RunError, expect
from cnnjax.files import inside, parse_json, read_whole, write_files, writing
from cnnjax.records.design_words import planned_json
from cnnjax.records.folders import refuse_held, refuse_others_files
from cnnjax.reporting.adaptive import STOPPED
from cnnjax.reporting.findings import Findings, find
from cnnjax.reporting.fraction_effects import fraction_json
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.headline import headline
from cnnjax.reporting.intervals import FEWEST, LEVEL
from cnnjax.reporting.mixture import mixed_code
from cnnjax.reporting.pages import render_html, render_markdown
from cnnjax.reporting.same_training import same_training_sentences
from cnnjax.reporting.statistics import arms, chosen, effects, measure, spread_of
from cnnjax.reporting.study_table import Table, collect
from cnnjax.reporting.tidy import curves_frame, plain, trials_frame
from cnnjax.reporting.time_spent import time_spent
from cnnjax.visible import in_json


@dataclass(frozen=True)
class Summary:
    """What `report` wrote: the `folder`, its `files`, the `table` read, its `arms`, the text of `arms.json`, and the
    `findings` that all are made of."""

    folder: Path
    files: tuple[Path, ...]
    table: Table = field(repr=False)
    arms: Frame = field(repr=False)
    json: str = field(repr=False)
    findings: Findings = field(repr=False)

    @property
    def page(self) -> Path:
        """The page, for a browser."""
        return self.folder / PAGE

    @property
    def mixed(self) -> list[str]:
        """What to say before anything else: that the trials were not all made by the same code."""
        return mixed_code(self.table.trials, self.table.codes)

    @property
    def same(self) -> list[str]:
        """That arms are one training under several names."""
        return same_training_sentences(self.table)


PAGE = "index.html"
"""The page of a report."""


def report(out: Path | str, *, to: Path | str | None = None) -> Summary:
    """Read the run directories under `out` and write `<out>/report/`, the same files for the same input.

    to: a folder to write into instead.

    `out` is the directory of a study, finished or not, or of a single run. Written are `index.html` (self-contained),
    `report.md`, `arms.csv`, `trials.csv`, `curves.csv`, `effects.csv`, `arms.json`, every picture in `figures/` as PNG,
    SVG and PDF, and every table in `tables/` as LaTeX; pictures that the study gives no reason for (the effects of no
    axes) are left out. The files take the place of those of an earlier report together, and what that wrote and this
    one does not is removed. Raises RunError where `out` holds no study and no run, where a file is damaged, where no
    trial has finished, and where nothing can be written.
    """
    expect(out, (str, Path), call="report", takes="the folder of a study or of a run")
    table, folder = collect(out), written_to(to) or inside(Path(out), "report")
    findings = find(table)
    contents: dict[str, bytes] = {
        "arms.csv": csv(arms(table).drop(columns="label").reset_index()),
        "trials.csv": csv(trials_frame(table)),
        "curves.csv": csv(curves_frame(table)),
        "effects.csv": csv(_all_effects(table)),
        **files_of(findings),
    }
    summary = {**summary_json(table), "findings": findings.data}
    files, text = write(folder, "arms.json", summary, contents, others=to is not None)
    return Summary(folder, files, table, arms(table), text, findings)


def files_of(findings: Findings) -> dict[str, bytes]:
    """The findings as a page, Markdown, pictures and LaTeX, by the names of the files."""
    pages = {"report.md": render_markdown(findings).encode(), PAGE: render_html(findings).encode()}
    return {**pages, **_figures(findings), **_tables(findings)}


def written_to(folder: Path | str | None) -> Path | None:
    """The folder that a report is to be written into. Raises RunError where a study or a run is in it."""
    if folder is None:
        return None
    folder = Path(folder)
    refuse_held(folder)
    return folder


def _figures(findings: Findings) -> dict[str, bytes]:
    pictures = findings.pictures.values()
    return {f"figures/{picture.name}.{form}": data for picture in pictures for form, data in picture.files.items()}


def _tables(findings: Findings) -> dict[str, bytes]:
    """The tables of each finding as LaTeX: `tables/arms.tex`, `tables/effects_2.tex` where it has several."""
    written = {}
    for finding in findings.every:
        grids = list(finding.grids)
        for number, grid in enumerate(grids, start=1):
            name = finding.name if len(grids) == 1 else f"{finding.name}_{number}"
            written[f"tables/{name}.tex"] = latex([grid]).encode()
    return written


OURS = re.compile(r"((figures|tables)/)?\w+\.(html|md|csv|json|png|svg|pdf|tex)", re.ASCII)
BEFORE = re.compile(r"report\.html|(effects|learning_curves|\w+_(by_arm|vs_params|vs_macs))\.png", re.ASCII)
"""What reports had that did not say which files they wrote, beside those that every report has."""


def write(
    folder: Path, name: str, summary: Mapping[str, Any], contents: Mapping[str, bytes], *, others: bool = False
) -> tuple[tuple[Path, ...], str]:
    """Write a report's files into `folder`: the summary as JSON under `name`, and the contents by their names.

    Returns their paths, and the text of the JSON. All are written before the first takes its place, so that a full disk
    leaves an earlier report as it was. What that wrote and this one does not is removed.
    others: the folder may be other people's: RunError where one of the files is there and no earlier report wrote it.
    """
    names = [name, *contents]
    if others:
        refuse_others_files(folder, [each for each in names if each not in _earlier(folder)])
    text = in_json(json.dumps({**summary, "files": names}, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"
    stale = _earlier(folder) - set(names)
    for each in names:
        inside(folder, *Path(each).parent.parts)
    try:
        write_files({folder / name: content for name, content in {name: text.encode(), **contents}.items()})
        for each in stale:
            with writing(folder / each):
                (folder / each).unlink(missing_ok=True)
    except DiskFull:
        raise
    except RunError as error:
        raise RunError(f"{error}: cnnjax report STUDY --out FOLDER") from error
    return tuple(folder / each for each in names), text


SUMMARIES = ("arms.json", "studies.json")
"""The files that say which files a report consists of: of one study, and of two beside each other."""


def _earlier(folder: Path) -> set[str]:
    """The files that an earlier report wrote."""
    found: set[str] = set()
    for name in SUMMARIES:
        try:
            content = read_whole(folder / name, remedy="") or b""
            names = parse_json(content, folder / name, remedy="").get("files")
        except (RunError, AttributeError):
            continue
        if names is None:
            found |= {path.name for path in folder.iterdir() if BEFORE.fullmatch(path.name)}
        else:
            found |= {each for each in names if isinstance(each, str) and OURS.fullmatch(each)}
    return found


def csv(frame: Frame) -> bytes:
    """`frame` as CSV with full precision; values that are lists or configs are written as JSON, and texts as `cell`
    has them."""
    written = plain(frame).rename(columns=cell)
    for name in written.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in written.dtypes]]:
        written[name] = written[name].map(cell)
    return written.to_csv(index=False, lineterminator="\n").encode()


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
        "results_digest": table.results_digest,
        "curves_incomplete": list(table.cut_curves),
        **({"unmoved": list(table.unmoved)} if table.unmoved else {}),
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
    names = (*table.metrics, *table.spent)
    spreads = {name: spread_of(frame, number, name).to_json() for name in names}
    whole = ("n", "planned", "failed", "params", "macs", "memory")
    counts = {name: None if pd.isna(row[name]) else int(row[name]) for name in whole}
    return {"number": number, "arm": arm.values, "label": arm.label, **counts, "chosen": bool(row["chosen"]), **spreads}
