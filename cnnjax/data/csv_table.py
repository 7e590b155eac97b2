"""Which files are images, of which part and with which label: by the rows of a CSV file."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnjax.data.layout import Layout, PartFiles, alike
from cnnjax.data.partition import TEST, TRAIN, VALIDATION, ChosenParts, Wanted, choose, family
from cnnjax.data.spelling import in_order, listed, plainly, tidy, whole_number
from cnnjax.data.store import Store, is_image
from cnnjax.data.table_files import resolved
from cnnjax.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
# How spreadsheets and pandas write that there is nothing.
_NOTHING = frozenset(("", "nan", "<na>", "#n/a"))
# Words in the names of columns that say which part a row is of, such as `is_valid`, and how many parts there may be.
_SPLITS = frozenset(("split", "splits", "subset", "partition", "fold", "folds", *TRAIN, *TEST, *VALIDATION))
_PARTS = 20

Rows = Mapping[int, Mapping[str, str]]
"""Rows by line number, the header being line 1."""


@dataclass(frozen=True)
class Columns:
    """The names of a CSV's columns; without a `split` one it is undivided. targets: labels are numbers, not classes."""

    file: str
    label: tuple[str, ...]
    split: str | None = None
    targets: bool = False

    @property
    def all(self) -> tuple[str, ...]:
        """Those that a table must have."""
        return (self.file, *self.label, *([self.split] if self.split else []))


def by_table(store: Store, table: str, columns: Columns, wanted: Wanted, classes: Sequence[str] = ()) -> Layout:
    """A row of the CSV `table` for each image. Raises DataError naming the row and what is wrong with it.

    classes: the names that labels may have, or be numbers of. Else, where all labels are whole numbers, they are the
    numbers 0..highest, or 1..highest where each of those is met and 0 is not; otherwise the names met, in order.
    """
    rows, shown = _rows(store, table, columns), store.shown(table)
    files = resolved(store, shown, {at: row[columns.file] for at, row in rows.items()})
    remarks = [*_unlisted(store, shown, files), *_unused_column(shown, rows, columns)]
    if columns.targets:
        labels: np.ndarray = np.array(
            [[_target(shown, at, row[name], name) for name in columns.label] for at, row in rows.items()], np.float32
        )
        classes = ()
    else:
        texts = {at: _label(shown, at, row[columns.label[0]]) for at, row in rows.items()}
        classes = tuple(map(tidy, classes)) or _names(shown, texts)
        labels = _ids(shown, texts, classes)
        remarks += alike(classes)
    at = np.array(list(rows))
    names = np.array(list(files.values()), object)
    if columns.split is None:
        return Layout(PartFiles(tuple(names), labels), None, classes, tuple(remarks))
    parts, chosen = _parts(shown, {at: row[columns.split] for at, row in rows.items()}, wanted)
    unused = dict(_unused_parts(shown, at, parts, chosen))
    notes = [unused.pop(part) for part in list(unused) if family(part)]
    inside = {part: np.flatnonzero(parts == part) for part in (chosen.train, chosen.test)}
    if chosen.test is not None and classes:
        _check_trained(shown, at, labels, classes, inside[chosen.train], inside[chosen.test])
    listings = {part: PartFiles(tuple(names[rows]), labels[rows]) for part, rows in inside.items()}
    test = None if chosen.test is None else listings[chosen.test]
    return Layout(listings[chosen.train], test, classes, (*remarks, *unused.values()), tuple(notes))


# --- reading


def _rows(store: Store, table: str, columns: Columns) -> dict[int, dict[str, str]]:
    if table not in store.names:
        raise DataError(f"there is no {store.shown(table)}; `csv` is a path within `root`")
    shown = store.shown(table)
    text = _text(store.read(table), shown)
    try:
        header, separator = _header(text, columns, shown)
        reader = csv.DictReader(io.StringIO(text, newline=""), header, strict=True, delimiter=separator)
        next(reader, None)
        rows = dict((reader.line_num, row) for row in reader)  # noqa: C402 (the line number changes with each row)
    except csv.Error as error:
        raise DataError(f"{shown} is not CSV: {error}") from None
    for at, row in rows.items():
        if None in row or None in row.values():
            raise DataError(f"{shown} line {at} has not as many fields as the header")
        for name in columns.all:
            if "\n" in row[name] or "\r" in row[name]:
                raise DataError(
                    f"{shown} line {at}: {name} has a line break in it, {row[name][:40]!r}: a quotation mark above may "
                    "be without its other one"
                )
    if not rows:
        raise DataError(f"{shown} has no rows")
    return rows


def _text(content: bytes, shown: str) -> str:
    if content.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{shown} is a workbook of a spreadsheet or an archive, no CSV; save its table as CSV in UTF-8")
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{shown} is not CSV in UTF-8: line {line}: {error}; save it as UTF-8") from None


def _header(text: str, columns: Columns, shown: str) -> tuple[list[str], str]:
    """The names of the columns, and what separates them: of `SEPARATORS`, that by which those asked for are there."""
    headers = {}
    for separator in SEPARATORS:
        first = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        headers[separator] = [_column(name, columns) for name in first]
    separator = next((some for some, header in headers.items() if set(columns.all) <= set(header)), SEPARATORS[0])
    header = headers[separator]
    for name in columns.all:
        if name not in header:
            fields = {columns.file: "file_column", columns.split: "split_column"}
            there = f"there are {', '.join(header)}" if header else "it is empty"
            raise DataError(f"{shown} has no column {name!r}; {there}: name it with {fields.get(name, 'label_column')}")
    alike: dict[str, list[str]] = {}
    for name in filter(None, header):
        alike.setdefault(plainly(name), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            called = " and ".join(map(repr, dict.fromkeys(names)))
            raise DataError(f"{shown} line 1: {len(names)} columns are called {called}; rename all but one")
    return header, separator


def _column(name: str, columns: Columns) -> str:
    return next((wanted for wanted in columns.all if name == wanted), tidy(name))


# --- labels


def _label(shown: str, at: int, text: str) -> str:
    label = tidy(text)
    if label.casefold() in _NOTHING:
        raise DataError(f"{shown} line {at}: the label is {text!r}; give the image one, or take the row out")
    return label


def _target(shown: str, at: int, text: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{shown} line {at}: {column} is {text!r}, which is no finite number")
    return value


def _names(shown: str, texts: Mapping[int, str]) -> tuple[str, ...]:
    met = set(texts.values())
    if any(whole_number(text) is None for text in met):
        return tuple(in_order(met))
    numbers = {whole_number(text) or 0 for text in met}
    highest = max(numbers)
    if highest < 0:
        raise DataError(f"{shown}: all labels are negative; classes count from 0")
    # A class for each number up to it: an identifier taken for a label must not make millions of outputs.
    if highest >= 10 * len(texts) + 1000:
        raise DataError(f"{shown}: label {highest} of {len(texts)} images; is it a class number? Or name `classes`")
    from_one = numbers == set(range(1, highest + 1))
    return tuple(map(str, range(int(from_one), highest + 1)))


def _ids(shown: str, texts: Mapping[int, str], classes: Sequence[str]) -> np.ndarray:
    """int32 class ids of labels: the place of their name among `classes` or, of those that are words, their number."""
    ids = {name: place for place, name in enumerate(classes)}
    if len(ids) < len(classes):
        raise DataError(f"classes = {listed(classes)}: a name is given twice")
    numbers = [whole_number(name) for name in classes]
    by_number = {number if None not in numbers else place: place for place, number in enumerate(numbers)}
    known: dict[str, int] = {}
    for at, text in texts.items():
        if text not in known:
            place = ids.get(text, by_number.get(whole_number(text)))
            if place is None:
                where = f"none of the {len(ids)} classes"
                where += f", nor in 0..{len(ids) - 1}" if None in numbers else f", {listed(classes)}"
                raise DataError(f"{shown} line {at}: label {text!r} is {where}")
            known[text] = place
    return np.array([known[text] for text in texts.values()], np.int32)


# --- parts


def _parts(shown: str, texts: Mapping[int, str], wanted: Wanted) -> tuple[np.ndarray, ChosenParts]:
    """The part of each row, by the name it was first met with, and which are used."""
    first: dict[str, str] = {}
    for at, text in texts.items():
        name = tidy(text)
        if name.casefold() in _NOTHING:
            raise DataError(f"{shown} line {at}: the split is {text!r}; say which part the row is of, or take it out")
        first.setdefault(name.casefold(), name)
    parts = np.array([first[tidy(text).casefold()] for text in texts.values()], object)
    return parts, choose(list(first.values()), wanted, shown)


def _unused_parts(shown: str, at: np.ndarray, parts: np.ndarray, chosen: ChosenParts) -> Iterator[tuple[str, str]]:
    """A remark for each part that is not used, by its name."""
    for part in dict.fromkeys(parts):
        if part not in (chosen.train, chosen.test):
            rows = np.flatnonzero(parts == part)
            rows_are = f"{len(rows):,} rows of split {part!r} are" if len(rows) > 1 else f"a row of split {part!r} is"
            used = " and ".join(repr(name) for name in (chosen.train, chosen.test) if name is not None)
            yield (
                part,
                f"{shown} line {at[rows[0]]}: {rows_are} not used, only {used}; correct the name, or choose it with "
                "train_split or test_split",
            )


def _check_trained(
    shown: str, at: np.ndarray, labels: np.ndarray, classes: Sequence[str], train: np.ndarray, test: np.ndarray
) -> None:
    for label in sorted(set(labels[test].tolist()) - set(labels[train].tolist())):
        line = at[test[np.flatnonzero(labels[test] == label)[0]]]
        raise DataError(
            f"{shown} line {line}: class {classes[label]!r} is in the test part and in no row of the training part; "
            "correct the label, or take its rows out"
        )


# --- what is left out


def _unlisted(store: Store, shown: str, files: Mapping[int, str]) -> Iterator[str]:
    named = set(files.values())
    others = [name for name in store.names if is_image(name) and name not in named]
    if others:
        are = "images under it are" if len(others) > 1 else "image under it is"
        yield f"{shown}: {len(others):,} {are} in no row and not used, e.g. {store.shown(others[0])}"


def _unused_column(shown: str, rows: Rows, columns: Columns) -> Iterator[str]:
    if columns.split is not None:
        return
    for name in next(iter(rows.values())).keys() - set(columns.all):
        values = {row[name] for row in rows.values()}
        called_so = not _SPLITS.isdisjoint(re.split(r"[\W_\d]+", name.casefold())) and len(values) <= _PARTS
        if len(values) > 1 and (called_so or all(family(value) for value in values)):
            chosen = ", train_split and test_split" if called_so and not all(map(family, values)) else ""
            yield (
                f"{shown} has a column {name!r} of {listed(sorted(values))}, which is not used: the test part is drawn "
                f"at random; with split_column={name!r}{chosen} the parts are those"
            )
