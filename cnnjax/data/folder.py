"""Image sets that lie in folders, beside a CSV file, or in an uncompressed tar of either."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from cnnjax.data import layout
from cnnjax.data.crop import fitting_box
from cnnjax.data.decode import Space, check, decode, decode_crop
from cnnjax.data.source import Data, Dataset, Examples, split_off
from cnnjax.data.store import Store, open_store
from cnnjax.errors import DataError

TEST_PARTS = ("test", "val", "validation", "valid")


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Encoded images and their labels, read one by one: what a set too large for memory is streamed from.

    names: within `store`. labels: int32 [N] class ids, or float32 [N, K] targets. It can be pickled, and used by many
    threads at once.
    """

    store: Store
    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    channels: int = 3
    space: Space = "rgb"

    def __len__(self) -> int:
        return len(self.names)

    def encoded(self, index: int) -> tuple[bytes, np.ndarray]:
        """The bytes of a file, for `decode` or `decode_crop`, and its label."""
        return self.store.read(self.names[index]), self.labels[index]

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (uint8 [H, W, C], of its own size) and label. Raises DataError naming the file."""
        return self.decoded(index, None, "squash"), self.labels[index]

    def decoded(self, index: int, size: tuple[int, int] | None, fit: Literal["crop", "squash"]) -> np.ndarray:
        """An image resized to `size`, or as it is: uint8 [H, W, C]. Raises DataError naming the file."""
        try:
            data = self.store.read(self.names[index])
            if size is None:
                return decode(data, channels=self.channels, space=self.space)
            box = partial(fitting_box, size=size) if fit == "crop" else _whole
            return decode_crop(data, box=box, size=size, channels=self.channels, space=self.space)
        except DataError as error:
            raise DataError(f"{self.store.shown(self.names[index])}: {error}") from None

    def take(self, indices: np.ndarray) -> ImageFiles:
        """The files at `indices`, in that order."""
        return replace(self, names=tuple(self.names[index] for index in indices), labels=self.labels[indices])

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with any file's content, name, label or place in the order."""
        total = hashlib.sha256("\0".join(self.classes).encode())
        for name, digest in zip(self.names, self.store.digests(self.names), strict=True):
            total.update(f"\0{name}\0{digest}".encode())
        total.update(np.ascontiguousarray(self.labels).data)
        return total.hexdigest()[:12]


def _whole(shape: tuple[int, int]) -> tuple[int, int, int, int]:
    return 0, 0, *shape


class ImageFolder(Data, tag="folder"):
    """Images under `root`, a folder or an uncompressed tar: JPEG, PNG, WebP or BMP, known by their suffixes.

    Without `csv`: `train/<class>/<image>` and `test/` or `val/` alike, or `<class>/<image>` undivided; classes in the
    order of their names, or of `classes`. With `csv`, a file within `root`: a row for each image, its path in
    `file_column`, its class (name or number) in `label_column`, its part in `split_column`; several label columns are
    targets. What is not divided is split: the share `test` is held out, stratified, the same for every seed.

    size: (height, width), or the side of a square; not needed where all images are of one size. fit: "crop" resizes
    the largest centred region of that shape, "squash" the whole image. channels: 3, or 1 for grey. space: "rgb",
    "hsv" or "lab" (`decode`). on_broken: whether an image that cannot be decoded is an error, or left out with a
    warning that counts them.
    """

    root: str
    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    fit: Literal["crop", "squash"] = "crop"
    channels: Literal[1, 3] = 3
    space: Literal["rgb", "hsv", "lab"] = "rgb"
    on_broken: Literal["error", "skip"] = "error"
    train_split: str = "train"
    test_split: str | None = None
    test: float = Field(default=0.2, gt=0, lt=1)
    csv: str | None = None
    file_column: str = "file"
    label_column: str | tuple[str, ...] = "label"
    split_column: str | None = None
    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _colours(self) -> Self:
        check(self.channels, self.space)
        return self

    def read(self) -> Dataset:
        train, test = self.files()
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        parts = [_in_memory(files, size, self) for files in (train, test)]
        return Dataset(Path(self.root).stem, *parts, classes=train.classes)

    def files(self) -> tuple[ImageFiles, ImageFiles]:
        """The train and the test part, nothing of them read yet. Raises DataError."""
        store = open_store(Path(self.root).expanduser())
        parts, classes = self._layout(store)
        lists = {
            part: ImageFiles(store, listing.names, listing.labels, classes, self.channels, self.space)
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
        # Splitting asks for labels, a length and `take` alone.
        return cast(Any, split_off(cast(Any, train), self.test))

    def _layout(self, store: Store) -> layout.Layout:
        if self.csv is None:
            return layout.by_folders(store, (self.train_split, *self._test_parts()), self.classes)
        label = (self.label_column,) if isinstance(self.label_column, str) else self.label_column
        return layout.by_table(
            store, self.csv, layout.Columns(self.file_column, label, self.split_column), self.classes
        )

    def _test_parts(self) -> Sequence[str]:
        return (self.test_split,) if self.test_split else TEST_PARTS


def _in_memory(files: ImageFiles, size: tuple[int, int] | None, chosen: ImageFolder) -> Examples:
    images, kept, broken = np.empty((0, 0, 0, 0), np.uint8), [], []
    for index, image in enumerate(_decoded(files, size, chosen.fit)):
        if isinstance(image, DataError):
            if chosen.on_broken == "error":
                raise DataError(f"{image}; mend or delete the file, or leave such out with on_broken='skip'")
            broken.append(image)
            continue
        if not kept:
            _fits(files, image)
            images = np.empty((len(files), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise DataError(
                f"{files.store.shown(files.names[index])} is {_sides(image)}, images before it {_sides(images[0])}; "
                "give the `size` that all shall have"
            )
        images[len(kept)] = image
        kept.append(index)
    _all_classes(files, kept, broken)
    return Examples(images[: len(kept)], files.labels[kept])


def _sides(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _decoded(files: ImageFiles, size: tuple[int, int] | None, fit: Any) -> Iterator[np.ndarray | DataError]:
    def attempt(index: int) -> np.ndarray | DataError:
        try:
            return files.decoded(index, size, fit)
        except DataError as error:
            return error

    # Some at a time: what is decoded waits in memory for what was asked for before it.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), 256):
            yield from pool.map(attempt, range(start, min(start + 256, len(files))))


def _fits(files: ImageFiles, image: np.ndarray) -> None:
    needed, there = len(files) * image.nbytes, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there / 2:
        raise DataError(
            f"{files.store.root}: {len(files)} images of {_sides(image)} take {needed / 1e9:.1f} GB "
            f"in memory, over half of this machine's {there / 1e9:.1f}; choose a smaller `size`"
        )


def _all_classes(files: ImageFiles, kept: list[int], broken: list[DataError]) -> None:
    if not broken:
        return
    if files.labels.ndim == 1:
        for lost in set(files.labels) - set(files.labels[kept]):
            raise DataError(
                f"{files.store.root}: no image of class {files.classes[lost]!r} can be decoded: {broken[0]}"
            )
    warnings.warn(
        f"{files.store.root}: {len(broken)} of {len(files)} images cannot be decoded and are left out; {broken[0]}",
        stacklevel=2,
    )
