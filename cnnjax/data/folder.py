"""Image sets that lie in folders, beside a CSV file, or in an uncompressed tar of either."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field

from cnnjax.data import layout
from cnnjax.data.encoded import Decoding, Encoded, Indices, decodable
from cnnjax.data.source import Data, Dataset
from cnnjax.data.splits import split_off
from cnnjax.data.store import Store, open_store
from cnnjax.errors import DataError

TEST_PARTS = ("test", "val", "validation", "valid")


@dataclass(frozen=True, eq=False)
class ImageFiles(Encoded):
    """Image files. names: within `store`."""

    store: Store
    names: tuple[str, ...]

    def read(self, indices: Indices) -> list[bytes]:
        return [self.store.read(self.names[index]) for index in indices]

    def shown(self, index: int) -> str:
        return self.store.shown(self.names[index])

    def take(self, indices: np.ndarray) -> ImageFiles:
        return replace(self, names=tuple(self.names[index] for index in indices), labels=self.labels[indices])

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with any file's content, name, label or place in the order."""
        total = hashlib.sha256("\0".join(self.classes).encode())
        for name, digest in zip(self.names, self.store.digests(self.names), strict=True):
            total.update(f"\0{name}\0{digest}".encode())
        total.update(np.ascontiguousarray(self.labels).data)
        return total.hexdigest()[:12]


class ImageFolder(Decoding, Data, tag="folder"):
    """Images under `root`, a folder or an uncompressed tar: JPEG, PNG, WebP or BMP, known by their suffixes.

    Without `csv`: `train/<class>/<image>` and `test/` or `val/` alike, or `<class>/<image>` undivided; classes in the
    order of their names, or of `classes`. With `csv`, a file within `root`: a row for each image, its path in
    `file_column`, its class (name or number) in `label_column`, its part in `split_column`; a tuple of label columns is
    targets. What is not divided is split: the share `test` is held out, stratified, the same for every seed.

    How images are decoded: `Decoding`.
    """

    root: str
    train_split: str = "train"
    test_split: str | None = None
    test: float = Field(default=0.2, gt=0, lt=1)
    csv: str | None = None
    file_column: str = "file"
    label_column: str | tuple[str, ...] = "label"
    split_column: str | None = None
    classes: tuple[str, ...] = ()

    def read(self) -> Dataset:
        train, test = self._files()
        parts = decodable(train, test, self.on_broken)
        return Dataset(Path(self.root).stem, classes=train.classes, **parts)

    def _files(self) -> tuple[ImageFiles, ImageFiles]:
        store = open_store(Path(self.root).expanduser())
        parts, classes = self._layout(store)
        lists = {
            part: ImageFiles(listing.labels, classes, self.form(), store, listing.names)
            for part, listing in parts.items()
        }
        undivided = lists.get(layout.WHOLE)
        train = undivided or lists.get(self.train_split)
        if train is None:
            raise DataError(f"{self.root} has no part {self.train_split!r}; there are {', '.join(lists)}")
        held_out = next((part for part in self._test_parts() if part in lists), None)
        if held_out is not None:
            return train, lists[held_out]
        if self.test_split:
            raise DataError(f"{self.root} has no part {self.test_split!r}; there are {', '.join(lists)}")
        return split_off(train, self.test)

    def _layout(self, store: Store) -> layout.Layout:
        if self.csv is None:
            return layout.by_folders(store, (self.train_split, *self._test_parts()), self.classes)
        label = (self.label_column,) if isinstance(self.label_column, str) else self.label_column
        targets = label is self.label_column
        columns = layout.Columns(self.file_column, label, self.split_column, targets)
        return layout.by_table(store, self.csv, columns, self.classes)

    def _test_parts(self) -> Sequence[str]:
        return (self.test_split,) if self.test_split else TEST_PARTS
