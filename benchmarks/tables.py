"""Writes the tables of RESULTS.md from the files of results/: no number of a table is typed.

    python benchmarks/tables.py

A file has one table: what measured it (`command`, `commit`, or `recorded_in` where only the commit is known that wrote
it down), on which `hardware` with which `versions`, `date`, `n` and what a cell says of them (`statistic`), `columns`
and `rows`. Between the markers `<!-- NAME -->` and `<!-- end of NAME -->` of RESULTS.md stands the table of NAME.json.
A cell is a number, whose digits are those that were measured; a middle value with the least and the greatest; or text.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"
NEEDED = {"command", "hardware", "versions", "date", "n", "statistic", "columns", "rows"}


def read(path: Path) -> dict[str, Any]:
    """A file of results; its numbers keep their digits. ValueError where it lacks something."""
    found = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    missing = NEEDED - found.keys()
    if "commit" not in found and "recorded_in" not in found:
        missing.add("commit")
    if missing:
        raise ValueError(f"{path.name} lacks {', '.join(sorted(missing))}")
    if any(len(row) != len(found["columns"]) for row in found["rows"]):
        raise ValueError(f"{path.name}: every row has a cell for each column")
    return found


def table(found: dict[str, Any]) -> str:
    """The Markdown table of a file."""
    columns = found["columns"]
    lines = [[column["name"] for column in columns], ["---"] * len(columns)]
    lines += [[_cell(cell, column) for cell, column in zip(row, columns, strict=True)] for row in found["rows"]]
    return "".join(f"|{'|'.join(line)}|\n" if line[0] == "---" else f"{_row(line)}\n" for line in lines)


def _row(cells: list[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def _cell(cell: Any, column: dict[str, Any]) -> str:
    if cell is None or isinstance(cell, str):
        return cell or ""
    numbers = cell if isinstance(cell, list) else [cell]
    values = [f"{value:,}" if column.get("thousands") else f"{value}" for value in numbers]
    first = f"**{values[0]}**" if column.get("bold") else f"{values[0]}{column.get('unit', '')}"
    if len(values) == 1:
        return first
    low, high = values[1:]
    return f"{first} [{low}, {high}]" if column.get("brackets") else f"{first} ({low} to {high})"


def page(text: str) -> str:
    """`text` with every table between its markers; ValueError for a file without markers, or markers without a file."""
    there = {path.stem: path for path in sorted(FOLDER.glob("*.json"))}
    named = re.findall(r"^<!-- (\w+) -->$", text, re.MULTILINE)
    if sorted(named) != sorted(there):
        raise ValueError(f"without a file or markers: {', '.join(sorted(set(named) ^ set(there)))}")
    for name, path in there.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n{table(read(path))}\n[{path.name}](results/{path.name})\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
