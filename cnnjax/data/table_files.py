"""Which file under a root a cell of a table means: as it is written there, or as other systems would write it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from cnnjax.data.store import Store
from cnnjax.errors import DataError


def resolved(store: Store, shown: str, cells: Mapping[int, str]) -> dict[int, str]:
    """The file of each row, by line number. Raises DataError where there is none, or where two rows are of one.

    shown: the table's name. A cell is a path within the root: with `/` or `\\` between folders, or absolute.
    """
    lines: dict[str, int] = {}
    files: dict[int, str] = {}
    names = _Names(store)
    for at, cell in cells.items():
        if not cell.strip():
            raise DataError(f"{shown} line {at}: the file is {cell!r}; name one, or take the row out")
        name = names.find(cell)
        if name is None:
            raise DataError(f"{shown} line {at}: there is no file {store.shown(cell)}{names.hint(cell)}")
        if name in lines:
            raise DataError(f"{shown} lines {lines[name]} and {at} are both of {name}; take one of them out")
        lines[name] = at
        files[at] = name
    return files


class _Names:
    """The names of a store's files, and by what else they may be called."""

    def __init__(self, store: Store):
        self.store, self.present = store, set(store.names)
        self.composed: dict[str, str] = {}

    def find(self, cell: str) -> str | None:
        if cell in self.present:
            return cell
        path = cell.strip().replace("\\", "/")
        for root in (self.store.root.absolute(), self.store.root.resolve()):
            path = path.removeprefix(f"{root.as_posix()}/")
        path = "/".join(part for part in PurePosixPath(path).parts if part != ".")
        if path in self.present:
            return path
        if not self.composed:
            self.composed = {unicodedata.normalize("NFC", name): name for name in self.store.names}
        return self.composed.get(unicodedata.normalize("NFC", path))

    def hint(self, cell: str) -> str:
        """What may have been meant: the file that shares most of the path's end, whatever its case, with or without an
        ending."""
        wanted = cell.strip().replace("\\", "/").casefold().split("/")[::-1]
        scores = {name: _shared(wanted, name.casefold().split("/")[::-1]) for name in self.store.names}
        best = max(scores, key=lambda name: scores[name], default="")
        return f"; is it {best!r}? Paths are within `root`, with the file's ending" if scores.get(best) else ""


def _shared(wanted: list[str], steps: list[str]) -> int:
    """How many steps two paths share from their ends; none where the files' names differ in more than an ending."""
    if wanted[0] not in (steps[0], steps[0].rpartition(".")[0]):
        return 0
    pairs = enumerate(zip(wanted[1:], steps[1:], strict=False), 1)
    return next((count for count, (one, other) in pairs if one != other), min(len(wanted), len(steps)))
