"""Images with masks for segmentation, in folders or an uncompressed tar."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax.data.dataset import Dataset
from cnnjax.data.encoded import Decoding, decodable, naming, taken
from cnnjax.data.entries import Entry
from cnnjax.data.folder import ImageFiles
from cnnjax.data.image_form import Region
from cnnjax.data.leftover import left_out
from cnnjax.data.mask_layout import MaskLayout, Pairs, by_partners
from cnnjax.data.masks import IGNORED, class_ids, decode_mask, table_of
from cnnjax.data.partition import Wanted
from cnnjax.data.source import Data
from cnnjax.data.spelling import as_bytes
from cnnjax.data.splits import fold_off, split_off
from cnnjax.data.store import Store, open_store
from cnnjax.errors import DataError

PixelValue = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True, eq=False)
class MaskedFiles(ImageFiles):
    """Image files with masks. masks: their names within `store`. values: the pixel value of each class; ignored: the
    one of pixels that are of no class."""

    masks: tuple[str, ...]
    pixel_values: tuple[int, ...]
    ignored: int | None

    @property
    def decoded_entries(self) -> Mapping[str, Entry]:
        return {**super().decoded_entries, "mask": Entry(self.image_shape[:2], "uint8", "mask")}

    def decoded_example(
        self, index: int, data: bytes, region: Region, names: Collection[str]
    ) -> Mapping[str, np.ndarray]:
        example = super().decoded_example(index, data, region, names)
        if "mask" not in names:
            return example
        name = self.masks[index]
        with naming(self.store.shown(name)):
            pixels = decode_mask(self.store.read(name))
            # All of it is looked at, so that what is wrong does not depend on the region.
            return {**example, "mask": region.nearest(class_ids(pixels, self._table))}

    @cached_property
    def _table(self) -> np.ndarray:
        return table_of(self.pixel_values, self.ignored)

    def take(self, indices: np.ndarray) -> MaskedFiles:
        names, masks = ([files[index] for index in indices] for files in (self.names, self.masks))
        return replace(self, names=tuple(names), masks=tuple(masks), in_memory=taken(self, indices))

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with any file's content, name or place in the order, and with the classes."""
        total = hashlib.sha256(f"{super().fingerprint} {self.pixel_values} {self.ignored}".encode())
        for name, content in zip(self.masks, self.store.digests(self.masks), strict=True):
            total.update(b"\0%b\0%b" % (as_bytes(name), content.encode()))
        return total.hexdigest()[:12]


class MaskFolder(Decoding, Data):
    """Images and masks of their pixels' classes under `root`, a folder or an uncompressed tar.

    `images/<name>` and `masks/<name>` (or image/ and label/, and other common names), with `train/` and `test/` or
    `val/` above or below them, or `<name>.png` beside `<name>_mask.png` (`mask_ending`). Both have the same name, but
    for suffix and ending. A mask is PNG, TIFF or BMP of 8 bits, grey or with a palette, and as large as its image; it
    is cut out as its image is and resized by nearest neighbour.

    classes: names by class id. values: the pixel value of each, such as (0, 255); by default the ids themselves.
    ignored: the pixel value of what is of no class, which is not learned and not measured. What is not divided is
    split: the share `test` is held out or, with `folds`, fold number `fold` (from 0) of so many, which together hold
    every image once; alike for every seed. How images are decoded: `Decoding`.

    train_split, test_split: names of the folders of the parts; without `test_split` the usual names are looked for.
    """

    root: str
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=IGNORED)]
    values: tuple[PixelValue, ...] | None = None
    ignored: PixelValue | None = None
    mask_ending: str = Field(default="_mask", min_length=1)
    train_split: str = "train"
    test_split: str | None = None
    test: float = Field(default=0.2, gt=0, lt=1)
    folds: int | None = Field(default=None, ge=2)
    fold: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _every_class_has_a_value(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes = {self.classes}: a name is there twice")
        values = self.pixel_values
        if len(values) != len(self.classes) or len(set(values)) < len(values):
            raise ValueError(f"values = {values}: give another pixel value for each of {len(self.classes)} classes")
        if self.ignored in values:
            raise ValueError(f"ignored = {self.ignored} is the pixel value of class {values.index(self.ignored)} too")
        if self.fold >= (self.folds or 1):
            known = f"there are {self.folds}, from 0" if self.folds else "set folds"
            raise ValueError(f"fold = {self.fold}: {known}")
        if self.folds and self.test_split:
            raise ValueError("folds are of a set without a test part: give folds or test_split")
        return self

    @property
    def pixel_values(self) -> tuple[int, ...]:
        """The pixel value of each class."""
        return tuple(range(len(self.classes))) if self.values is None else self.values

    def read(self) -> Dataset:
        store = open_store(Path(self.root).expanduser())
        found = by_partners(store, Wanted(self.train_split, self.test_split), self.mask_ending)
        train, test = self._parts(found, store)
        remarks = (*found.remarks, *left_out(store))
        for remark in remarks:
            warnings.warn(remark, stacklevel=2)
        parts = decodable(train, test, self.on_broken)
        ignored = None if self.ignored is None else IGNORED
        return Dataset(
            Path(self.root).stem,
            classes=self.classes,
            remarks=(*remarks, *store.linked),
            read_from=store.listed,
            ignored=ignored,
            **parts,
        )

    def _parts(self, found: MaskLayout, store: Store) -> tuple[MaskedFiles, MaskedFiles]:
        def files(pairs: Pairs) -> MaskedFiles:
            form = self.form()
            return MaskedFiles(
                {}, self.classes, form, store, pairs.images, pairs.masks, self.pixel_values, self.ignored
            )

        shown = store.shown("")
        if found.test is not None:
            if self.folds:
                raise DataError(f"{shown} has a test part: folds = {self.folds} is for sets without one")
            return files(found.train), files(found.test)
        if self.test_split:
            raise DataError(f"{shown} has no part {self.test_split!r}: it is not divided")
        if self.folds:
            return fold_off(files(found.train), self.fold, self.folds)
        return split_off(files(found.train), self.test)
