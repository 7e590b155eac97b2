"""Which files are images, of which part and with which label: by folders, or by a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnjax.data.store import SUFFIXES, Store
from cnnjax.errors import DataError

WHOLE = ""
"""The part of a set that is not divided into parts."""


@dataclass(frozen=True)
class Listing:
    """The images of one part, by name, and their labels: int32 [N] class ids or float32 [N, K] targets."""

    names: tuple[str, ...]
    labels: np.ndarray


@dataclass(frozen=True)
class Columns:
    """The names of a CSV's columns; without a `split` one it is undivided. targets: labels are numbers, not classes."""

    file: str
    label: tuple[str, ...]
    split: str | None = None
    targets: bool = False


Layout = tuple[dict[str, Listing], tuple[str, ...]]
"""Parts by name (only `WHOLE` where undivided), and the names of the classes."""


def by_folders(store: Store, parts: Sequence[str], classes: Sequence[str] = ()) -> Layout:
    """`part/class/image` where there is one of the folders `parts`, else `class/image`.

    classes: the folders in the order of their class ids; else those of the first part, sorted. A folder that holds
    all the others is gone into. Raises DataError for a class without images, and for a folder that is no class.
    """
    top = _descend(store, parts)
    divided = [part for part in parts if f"{top}{part}" in store.folders]
    found = {part: _classes(store, f"{top}{part}/") for part in divided} or {WHOLE: _classes(store, top)}
    first = next(iter(found))
    if not found[first]:
        raise DataError(f"{store.shown(top + first)} has no folders of images; it should have one for each class")
    classes = tuple(classes) or tuple(found[first])
    for missing in set(classes) - found[first].keys():
        raise DataError(f"{store.shown(top + first)} has no folder of class {missing!r}")
    for part, images in found.items():
        for strange in images.keys() - set(classes):
            raise DataError(
                f"{store.shown(f'{top}{part}')} has a folder {strange!r}, which is none of the {len(classes)} classes "
                f"{f'in {first!r}' if found.keys() - {first} else 'given'}"
            )
    ids = {name: place for place, name in enumerate(classes)}
    return {
        part: Listing(
            tuple(name for names in images.values() for name in names),
            np.array([ids[label] for label, names in images.items() for _ in names], np.int32),
        )
        for part, images in found.items()
    }, classes


def _descend(store: Store, parts: Sequence[str]) -> str:
    top = ""
    while True:
        entries = (*filter(is_image, store.names), *store.folders)
        below = {name[len(top) :].split("/")[0] for name in entries if name.startswith(top)}
        inner = [name for name in below if f"{top}{name}" in store.folders]
        grandchildren = inner and any(name.startswith(f"{top}{inner[0]}/") for name in store.folders)
        if len(below) != 1 or not inner or inner[0] in parts or not grandchildren:
            return top
        top += inner[0] + "/"


def _classes(store: Store, top: str) -> dict[str, list[str]]:
    labels = {name[len(top) :].split("/")[0] for name in store.folders if name.startswith(top) and name != top}
    images: dict[str, list[str]] = {label: [] for label in sorted(labels)}
    for name in store.names:
        label, _, rest = name[len(top) :].partition("/")
        if name.startswith(top) and rest and is_image(name):
            images[label].append(name)
    for label, names in images.items():
        if not names:
            raise DataError(
                f"{store.shown(top + label)}: class {label!r} has no images ({', '.join(SUFFIXES)}); "
                "delete the folder or put some in"
            )
    return images


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image that can be decoded."""
    return name.lower().endswith(SUFFIXES)


def by_table(store: Store, table: str, columns: Columns, classes: Sequence[str] = ()) -> Layout:
    """A row of the CSV `table` for each image. Raises DataError naming the row and what is wrong with it.

    classes: the names that labels may have, or be numbers of; else they are the numbers 0..highest, or the names met.
    """
    rows = _rows(store, table, columns)
    _listed_once(store, table, rows, columns)
    if columns.targets:
        labels: np.ndarray = np.array(
            [[_target(table, at, row[name], name) for name in columns.label] for at, row in rows.items()], np.float32
        )
        classes = ()
    else:
        texts = {at: row[column] for at, row in rows.items() for column in columns.label}
        classes = tuple(classes) or _names(table, texts)
        ids = {name: place for place, name in enumerate(classes)}
        labels = np.array([_class(table, at, text, ids) for at, text in texts.items()], np.int32)
    names = np.array([row[columns.file] for row in rows.values()], object)
    parts = np.array([row[columns.split] if columns.split else WHOLE for row in rows.values()], object)
    chosen = {part: np.flatnonzero(parts == part) for part in dict.fromkeys(parts)}
    return {part: Listing(tuple(names[at]), labels[at]) for part, at in chosen.items()}, tuple(classes)


def _rows(store: Store, table: str, columns: Columns) -> dict[int, dict[str, str]]:
    # Rows by line number, the header being line 1.
    if table not in store.names:
        raise DataError(f"there is no {store.shown(table)}; `csv` is a path within `root`")
    try:
        reader = csv.DictReader(io.StringIO(store.read(table).decode("utf-8-sig"), newline=""), strict=True)
        rows = dict((reader.line_num, row) for row in reader)  # noqa: C402 (the line number changes with each row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{store.shown(table)} is not CSV in UTF-8: {error}") from None
    for name in (columns.file, *columns.label, *([columns.split] if columns.split else [])):
        if name not in (reader.fieldnames or ()):
            raise DataError(
                f"{store.shown(table)} has no column {name!r}; there are {', '.join(reader.fieldnames or ())}"
            )
    for at, row in rows.items():
        if None in row or None in row.values():
            raise DataError(f"{store.shown(table)} line {at} has not as many fields as the header")
    if not rows:
        raise DataError(f"{store.shown(table)} has no rows")
    return rows


def _listed_once(store: Store, table: str, rows: Mapping[int, Mapping[str, str]], columns: Columns) -> None:
    lines: dict[str, int] = {}
    present = set(store.names)
    for at, row in rows.items():
        name = row[columns.file]
        if name not in present:
            raise DataError(f"{store.shown(table)} line {at}: there is no file {store.shown(name)}")
        if name in lines:
            raise DataError(f"{store.shown(table)} lines {lines[name]} and {at} are both of {name}")
        lines[name] = at


def _target(table: str, at: int, text: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{table} line {at}: {column} is {text!r}, which is no finite number")
    return value


def _names(table: str, texts: Mapping[int, str]) -> tuple[str, ...]:
    if not all(text.lstrip("-").isdecimal() for text in texts.values()):
        return tuple(sorted(set(texts.values())))
    highest = max(int(text) for text in texts.values())
    # A class for each number up to it: an identifier taken for a label must not make millions of outputs.
    if highest >= 10 * len(texts) + 1000:
        raise DataError(f"{table}: label {highest} of {len(texts)} images; is it a class number? Or name `classes`")
    return tuple(map(str, range(highest + 1)))


def _class(table: str, at: int, text: str, ids: Mapping[str, int]) -> int:
    if text in ids:
        return ids[text]
    if text.isdecimal() and int(text) < len(ids):
        return int(text)
    raise DataError(f"{table} line {at}: label {text!r} is none of the {len(ids)} classes, nor in 0..{len(ids) - 1}")
