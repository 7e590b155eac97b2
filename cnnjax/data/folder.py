"""Image sets that lie in folders, beside a CSV file, or in an uncompressed tar of either."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field

from cnnjax.data.csv_table import Columns, by_table
from cnnjax.data.dataset import Dataset
from cnnjax.data.encoded import Decoding, Encoded, Indices, decodable, taken
from cnnjax.data.examples import Part
from cnnjax.data.layout import Layout, PartFiles, by_folders
from cnnjax.data.leftover import left_out, without_examples
from cnnjax.data.partition import Wanted
from cnnjax.data.source import Data
from cnnjax.data.spelling import as_bytes
from cnnjax.data.splits import split_off
from cnnjax.data.store import Store, open_store, stamp
from cnnjax.errors import DataError


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
        return replace(self, names=tuple(self.names[index] for index in indices), in_memory=taken(self, indices))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def contents(self) -> np.ndarray:
        """uint64 [N], one for each file: equal where their bytes are."""
        return np.array([int(digest, 16) for digest in self.store.digests(self.names)], np.uint64)

    def repeated_in(self, test: Part) -> tuple[str, ...]:
        if not isinstance(test, ImageFiles):
            return ()
        shared = np.flatnonzero(np.isin(test.contents, self.contents))
        remarks = []
        if len(shared):
            twin = np.flatnonzero(self.contents == test.contents[shared[0]])[0]
            images = f"{len(shared):,} images" if len(shared) > 1 else "an image"
            remarks.append(
                f"{images} of the test part {'are' if len(shared) > 1 else 'is'} in the training part too, byte for "
                f"byte, e.g. {test.shown(shared[0])} is {self.shown(twin)}; take such out of one of them"
            )
        if not self.has_label:
            return tuple(remarks)
        order = np.argsort(self.contents, kind="stable")
        contents, labels = self.contents[order], self.labels.reshape(len(self), -1)[order]
        differ = np.flatnonzero((contents[1:] == contents[:-1]) & (labels[1:] != labels[:-1]).any(1))
        if len(differ):
            one, other = (self.shown(index) for index in order[[differ[0], differ[0] + 1]])
            remarks.append(
                f"{len(differ):,} training images are there again with another label, e.g. {one} is {other}, byte for "
                "byte; take the wrong ones out"
            )
        return tuple(remarks)

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with any file's content, name, label or place in the order."""
        total = hashlib.sha256("\0".join(self.classes).encode())
        for name, content in zip(self.names, self.contents.tolist(), strict=True):
            total.update(b"\0%b\0%016x" % (as_bytes(name), content))
        for values in self.in_memory.values():
            total.update(np.ascontiguousarray(values).data)
        return total.hexdigest()[:12]


class ImageFolder(Decoding, Data, tag="folder"):
    """Images under `root`, a folder or an uncompressed tar: JPEG, PNG, WebP, BMP, GIF, TIFF or PPM, known by their
    suffixes.

    Without `csv`: `train/<class>/<image>` and `test/` or `val/` alike, under any common name and case, or
    `<class>/<image>` undivided; classes in the order of their names (by value where all are numbers), or of `classes`.
    With `csv`, a file within `root`: a row for each image, its path in `file_column`, its class (name or number) in
    `label_column`, its part in `split_column`; a tuple of label columns is targets. What is not divided is split: the
    share `test` is held out, stratified, the same for every seed. What lies there and is not used is a warning.

    How images are decoded: `Decoding`.

    train_split, test_split: names of the parts; without `test_split` the usual names are looked for.
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
        store = open_store(Path(self.root).expanduser())
        read_from = store.listed | self._table(store)
        found = self._layout(store)
        train, test = self._parts(store, found)
        remarks = (*found.remarks, *left_out(store), *without_examples(train, test, train.classes))
        for remark in remarks:
            warnings.warn(remark, stacklevel=2)
        parts = decodable(train, test, self.on_broken)
        return Dataset(
            Path(self.root).stem,
            classes=found.classes,
            remarks=(*remarks, *found.notes, *store.linked),
            read_from=read_from,
            **parts,
        )

    def _table(self, store: Store) -> dict[Path, tuple[int, int]]:
        file = store.root / (self.csv or "")
        return {file: stamp(file)} if self.csv and file.is_file() else {}

    def _layout(self, store: Store) -> Layout:
        wanted = Wanted(self.train_split, self.test_split)
        if self.csv is None:
            return by_folders(store, wanted, self.classes)
        label = (self.label_column,) if isinstance(self.label_column, str) else self.label_column
        columns = Columns(self.file_column, label, self.split_column, targets=label is self.label_column)
        return by_table(store, self.csv, columns, wanted, self.classes)

    def _parts(self, store: Store, found: Layout) -> tuple[ImageFiles, ImageFiles]:
        def files(listing: PartFiles) -> ImageFiles:
            return ImageFiles({"label": listing.labels}, found.classes, self.form(), store, listing.names)

        if found.test is not None:
            return files(found.train), files(found.test)
        if self.test_split:
            raise DataError(f"{store.shown('')} has no part {self.test_split!r}: it is not divided")
        return split_off(files(found.train), self.test)
