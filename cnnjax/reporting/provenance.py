"""Where the finished trials come from: code, versions, hardware, data, and the settings of the base experiment."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnjax.documents.document import Column, Grid
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.time_spent import time_spent_text
from cnnjax.reporting.units import plural


def provenance_grid(table: Table) -> Grid:
    """Code, versions, hardware, data and seconds of the finished trials; differing values are counted."""
    done = table.done
    rows = [("recorded by", f"{len(table.environments)} of {plural(len(done), 'finished trial')}")]
    rows += [(name, _tally(texts)) for name, texts in origins(table).items()]
    rows += [
        ("training and evaluation", _total(done["train_seconds"])),
        ("compilation", _total(done["compile_seconds"])),
    ]
    if spent := time_spent_text(table):
        rows.append(("time", spent))
    rows.append(("seeds", ", ".join(map(str, sorted(done["seed"].unique())))))
    if table.replicate == "fold":
        rows.append(("folds", ", ".join(map(str, sorted(done["replicate"].unique())))))
    return Grid("", (Column("what"), Column("value")), rows)


def origins(table: Table) -> dict[str, list[str]]:
    """Where the finished trials come from: for each thing recorded, what each trial recorded."""
    names = dict.fromkeys(name for environment in table.environments for name in environment)
    origins = {name: [flat(entry[name]) for entry in table.environments if name in entry] for name in names}
    prints = [flat(value) for value in table.done["data_fingerprint"] if value is not None]
    return origins | ({"data fingerprint": prints} if prints else {})


def run_again(table: Table) -> list[str]:
    """The commands that trained the finished trials, each with the commit to check out before and how many it trained;
    empty where none was recorded."""
    recorded = Counter(
        (entry["command"], entry.get("commit") or "") for entry in table.environments if entry.get("command")
    )
    lines = []
    for (command, commit), times in recorded.most_common(MOST_COMMANDS):
        clean = commit.removesuffix("+changes")
        at = f"git checkout {clean} && " if clean else ""
        changed = ", from a tree with changes that the commit lacks" if clean != commit else ""
        lines.append(f"{at}{_typed(command)}  # {plural(times, 'trial')}{changed}")
    left = len(recorded) - len(lines)
    return [*lines, *([f"and {plural(left, 'more command')}, each in its trial's environment.json"] if left else [])]


MOST_COMMANDS = 4


def _typed(command: str) -> str:
    """A command as it is typed: a file of Python is run by Python, cnnjax by its name."""
    program, space, words = command.partition(" ")
    if re.search(r"(^|/)cnnjax(/__main__\.py)?$", program):
        return f"cnnjax{space}{words}"
    return f"python {command}" if program.endswith(".py") else command


def flat(value: Any) -> str:
    """JSON as a short text: `a 1, b 2` for a mapping, equal entries of a list counted."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {flat(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        counts = Counter(map(flat, value))
        return ", ".join(text if times == 1 else f"{text} (×{times})" for text, times in counts.items())
    return value if isinstance(value, str) else json.dumps(value)


def _tally(texts: Sequence[str]) -> str:
    """The different texts, each with the number of trials that gave it; many of them only as their number."""
    counts = Counter(texts)
    if len(counts) == 1:
        return texts[0]
    if len(counts) > 4:
        return f"{len(counts)} different values over {len(texts)} trials"
    return "; ".join(f"{text} ({plural(times, 'trial')})" for text, times in counts.items())


def _total(values: Any) -> str:
    known = values.dropna()
    return f"{known.sum():,.1f} s in total over n={len(known)} finished trials" if len(known) else "not recorded"


def settings(table: Table) -> list[str]:
    """The base experiment as lines `path = value`."""
    return [f"{path} = {json.dumps(value, ensure_ascii=False)}" for path, value in leaves(table.base, "")]


def leaves(value: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    """The values of nested JSON objects with their dotted paths, which begin with `prefix`."""
    if not isinstance(value, Mapping) or not value:
        return [(prefix, value)]
    return [leaf for name, entry in value.items() for leaf in leaves(entry, f"{prefix}.{name}" if prefix else name)]
