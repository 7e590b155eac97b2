"""Images of any number of bands: arrays in .npy files and TIFF files with a page for each band, by folder."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from cnnjax.data.dataset import Dataset
from cnnjax.data.examples import Examples
from cnnjax.data.layout import PartFiles, by_folders
from cnnjax.data.partition import Wanted
from cnnjax.data.source import Data
from cnnjax.data.splits import split_off
from cnnjax.data.store import FileKind, Store, open_store
from cnnjax.errors import DataError
from cnnjax.machine import physical_memory

BANDED = FileKind("an image of bands", "images of bands", (".npy", ".tif", ".tiff"))
BROKEN = "mend or delete it, or leave such images out with on_broken='skip'"
Band = Annotated[int, Field(ge=0)]


class Banded(Data, abstract=True):
    """Data whose images have bands, of which some may be taken.

    bands: which, counted from 0, in this order; None takes all. An axis of these asks whether a band matters.
    """

    bands: tuple[Band, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> Banded:
        if self.bands is not None and len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands = {self.bands}: one stands there twice")
        return self

    def chosen(self, images: np.ndarray) -> np.ndarray:
        """The bands of images [..., C] that are taken. Raises DataError where there is none of that number."""
        if self.bands is None:
            return images
        if max(self.bands) >= images.shape[-1]:
            there = images.shape[-1]
            raise DataError(f"bands = {self.bands}: there {_are(there)}, numbered from 0 to {there - 1}")
        return np.ascontiguousarray(images[..., list(self.bands)])


class BandFolder(Banded, tag="band_folder"):
    """Images of bands under `root`, a folder or an uncompressed tar, with classes by folder as `folder` has them.

    A .npy file holds one array [H, W, C] or, of one band, [H, W]; a TIFF a page for each band, or pages of several. All
    have the same size and number of bands. limits: the numbers that become black and full brightness, between which
    others are rounded to 8 bits and beyond which they are cut off; without, files hold numbers of 8 bits. Mean and
    standard deviation are each band's own, of the training part.

    test: the share that is held out where there is no test part, stratified, the same for every seed. on_broken:
    whether a file that cannot be read is an error, or left out and counted. All images are held in memory.

    train_split, test_split: names of the folders of the parts; without `test_split` the usual names are looked for, and
    a set that has none is split. classes: their names, in the order of their numbers; empty takes the folders', in
    their order.
    """

    root: str
    limits: tuple[float, float] | None = None
    train_split: str = "train"
    test_split: str | None = None
    test: float = Field(default=0.2, gt=0, lt=1)
    classes: tuple[str, ...] = ()
    on_broken: Literal["error", "skip"] = "error"

    @model_validator(mode="after")
    def _limits_in_order(self) -> BandFolder:
        if self.limits is not None and not (np.isfinite(self.limits).all() and self.limits[0] < self.limits[1]):
            raise ValueError(f"limits = {self.limits}: the first must be below the second")
        return self

    def read(self) -> Dataset:
        store = open_store(Path(self.root).expanduser())
        found = by_folders(store, Wanted(self.train_split, self.test_split), self.classes, BANDED)
        for remark in found.remarks:
            warnings.warn(remark, stacklevel=2)
        train, lost = self._part(store, found.train, found.classes)
        test, lost_test = (None, []) if found.test is None else self._part(store, found.test, found.classes)
        if reasons := [*lost, *lost_test]:
            warnings.warn(f"{len(reasons)} images cannot be read and are left out; {reasons[0]}", stacklevel=2)
        if test is None:
            train, test = split_off(train, self.test)
        return Dataset(
            Path(self.root).stem,
            train,
            test,
            classes=found.classes,
            skipped={part: len(why) for part, why in (("train", lost), ("test", lost_test)) if why},
            remarks=(*found.remarks, *found.notes),
            read_from=store.listed,
        )

    def _part(self, store: Store, files: PartFiles, classes: Sequence[str]) -> tuple[Examples, list[str]]:
        """The images of those files, and why others cannot be read. Raises DataError."""

        def read(name: str) -> np.ndarray | str:
            try:
                return self.chosen(scaled(decode_bands(store.read(name)), self.limits))
            except DataError as error:
                return f"{store.shown(name)}: {error}"

        self._check_room(store, files.names)
        with ThreadPoolExecutor() as pool:
            made = list(pool.map(read, files.names, chunksize=16))
        reasons = [why for why in made if isinstance(why, str)]
        if reasons and self.on_broken == "error":
            more = f" ({len(reasons)} of {len(made)} cannot be read)" if len(reasons) > 1 else ""
            raise DataError(f"{reasons[0]}{more}; {BROKEN}")
        whole = [(place, image) for place, image in enumerate(made) if not isinstance(image, str)]
        labels = np.asarray(files.labels)[[place for place, _ in whole]].astype(np.int32)
        if lost := set(np.asarray(files.labels).tolist()) - set(labels.tolist()):
            raise DataError(f"no image of class {classes[min(lost)]!r} can be read: {reasons[0]}")
        first = whole[0][1].shape
        for place, image in whole:
            if image.shape != first:
                raise DataError(
                    f"{store.shown(files.names[place])}: it is {_said(image.shape)}, and "
                    f"{store.shown(files.names[whole[0][0]])} is {_said(first)}: all must be alike"
                )
        return Examples(np.stack([image for _, image in whole]), labels), reasons

    def _check_room(self, store: Store, names: Sequence[str]) -> None:
        needed, there = 2 * sum(store.version(name)[0] for name in names), physical_memory()
        # Of a tar the size is that of the whole.
        if store.root.is_dir() and needed > there:
            raise DataError(f"{store.shown('')}: its images take more memory than this machine has ({there:,} bytes)")


def decode_bands(data: bytes) -> np.ndarray:
    """The numbers of a .npy or TIFF file as they are stored, [H, W, C] of any type. Raises DataError."""
    image = _npy(data) if data.startswith(b"\x93NUMPY") else _tiff(data)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or not image.size or image.dtype.kind not in "uif":
        raise DataError(f"it is {image.dtype} {list(image.shape)}: an image of bands is numbers [height, width, bands]")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise DataError("it has numbers that are NaN or infinite")
    return image


def scaled(image: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    """Numbers as uint8, of which limits[0] is 0 and limits[1] 255. Raises DataError without limits, unless they are."""
    if limits is None:
        if image.dtype != np.uint8:
            raise DataError(
                f"it has numbers of type {image.dtype}, from {image.min():g} to {image.max():g}: say with "
                "limits=(LOW, HIGH) which are black and full brightness"
            )
        return image
    low, high = limits
    return np.round(255 * ((image.astype(np.float64) - low) / (high - low)).clip(0, 1)).astype(np.uint8)


def _npy(data: bytes) -> np.ndarray:
    try:
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError):
        raise DataError("not a whole .npy file of numbers, as np.save writes them") from None


def _tiff(data: bytes) -> np.ndarray:
    """The pages, one after the other along the last axis."""
    from PIL import Image

    pages = []
    try:
        picture = Image.open(io.BytesIO(data), formats=("TIFF",))
        for page in range(getattr(picture, "n_frames", 1)):
            picture.seek(page)
            if picture.mode not in ("L", "RGB", "F", "I") and not picture.mode.startswith("I;16"):
                raise DataError(f"page {page} is of mode {picture.mode}: save bands as grey pages, or as .npy")
            pages.append(np.atleast_3d(np.asarray(picture)))
    except DataError:
        raise
    except Exception as error:  # Pillow raises most of what there is of damaged bytes.
        raise DataError(f"not a whole TIFF that can be read, {error}; .npy files can be") from None
    if len({page.shape[:2] for page in pages}) > 1:
        sizes = sorted({f"{page.shape[1]}x{page.shape[0]}" for page in pages})
        raise DataError(f"its pages are of several sizes, {' and '.join(sizes)}: each is a band of one image")
    if len({page.dtype for page in pages}) > 1:
        raise DataError("its pages are of several types of numbers: each is a band of one image")
    return np.concatenate(pages, axis=-1)


def _said(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]} with {shape[2]} band{'s' * (shape[2] != 1)}"


def _are(count: int) -> str:
    return f"are {count} bands" if count != 1 else "is 1 band"
