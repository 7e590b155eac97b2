"""Image classification sets by their TensorFlow Datasets names, read without TensorFlow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax import cache
from cnnjax.cards import WholeSet
from cnnjax.data.dataset import Dataset
from cnnjax.data.encoded import CHUNK, Decoding, Encoded, ImageForm, Indices, decodable, taken
from cnnjax.data.prepared_sets import FORMAT, INFO, Prepared, default_data_dir, prepared
from cnnjax.data.source import Data
from cnnjax.data.store import Folder, stamp
from cnnjax.data.survey import logged
from cnnjax.data.trust import check_classes
from cnnjax.data.unread import unread
from cnnjax.errors import DataError

INSTALL = "pip install 'cnnjax[prepare]'"
OTHER_FORMAT = "is not in array_record form, which is what can be read without TensorFlow"
TEST_SPLITS = ("test", "validation")
MOST_CLASSES = 10**7
"""Of which names are made; more is damage."""


@dataclass(frozen=True, eq=False)
class Records(Encoded):
    """Records of a prepared split. source: TFDS's, of undecoded images. rows: which of its records."""

    source: Any
    folder: Path
    split: str
    rows: np.ndarray

    def read(self, indices: Indices) -> list[bytes]:
        return [example["image"] for example in _read(self.source, self.rows[np.asarray(indices)], self.shown(0))]

    def shown(self, index: int) -> str:
        return f"{self.folder} {self.split}[{self.rows[index]}]"

    def take(self, indices: np.ndarray) -> Records:
        return replace(self, rows=self.rows[indices], in_memory=taken(self, indices))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with any byte of the split's files, and with which records are taken."""
        total = hashlib.sha256(_content(self.folder, self.split).encode())
        total.update(np.ascontiguousarray(self.rows, np.int64).data)
        return total.hexdigest()[:12]


class TFDS(Decoding, Data):
    """A set prepared by TFDS in `array_record` form.

    `name` is TFDS's own name; `data_dir` is where it was prepared (default: $TFDS_DATA_DIR or TFDS's own default).
    test_split: by default "test", or else "validation", which is what ImageNet is evaluated on. How images are decoded:
    `Decoding`; those of one size need no `size`.

    train_split: the set's split to train on, by its name in TFDS; parts of one too, "train[:10%]".
    """

    name: str
    data_dir: str | None = None
    train_split: str = "train"
    test_split: str | None = None

    @classmethod
    def set_names(cls, **fields: Any) -> frozenset[str]:
        return known_names(fields.get("data_dir"))

    @classmethod
    def of_set(cls, name: str, **fields: Any) -> TFDS | None:
        names = cls.set_names(**fields)
        return cls(name=name, **fields) if name in names or name.partition("/")[0] in names else None

    def read(self) -> Dataset:
        import tensorflow_datasets as tfds

        folder = Path(self.data_dir) if self.data_dir else default_data_dir()
        _check_prepared(self.name, folder)
        check_classes(self.name, folder)
        try:
            builder: Any = tfds.builder(self.name, data_dir=folder)
            train_split, test_split = self._splits(builder)
            train, test = self._part(builder, train_split), self._part(builder, test_split)
        except NotImplementedError:
            # It looked elsewhere than where sets are, and took what it did not find for one of its default format.
            there = ", ".join(f"{version.name} {version.version}" for version in prepared(folder, self.name))
            remedy = f"name another, or {how_to_prepare(self.name, folder)}"
            raise DataError(f"in {folder} is {there}, which is not what TFDS calls {self.name!r}: {remedy}") from None
        except MemoryError:
            raise
        except Exception as error:
            # What TFDS, protobuf and array_record raise of damaged files is of no common kind.
            reason = str(error).partition("\n")[0] or type(error).__name__
            if not isinstance(error, DataError):
                reason += f"; where a file of it is damaged, {_anew(self.name, folder)}"
            raise DataError(f"data set {self.name!r} in {folder} cannot be read: {reason}") from error
        info = train.folder / INFO
        parts = decodable(train, test, self.on_broken)
        return Dataset(self.name, classes=train.classes, read_from={info: stamp(info)}, **parts)

    def unread(self, whole: WholeSet) -> Dataset:
        return unread(self.name, self.form(), whole)  # pyright: ignore[reportArgumentType]

    def _splits(self, builder: Any) -> tuple[str, str]:
        there = list(builder.info.splits)
        if not there:
            raise NotImplementedError
        test = self.test_split or next((split for split in TEST_SPLITS if split in there), TEST_SPLITS[0])
        for split in (self.train_split, test):
            # TFDS knows parts of splits, such as train[:10%], too.
            if split.partition("[")[0] not in there:
                raise DataError(f"it has no split {split!r}; there are {', '.join(there)}")
        return self.train_split, test

    def _part(self, builder: Any, split: str) -> Records:
        import tensorflow_datasets as tfds

        features = builder.info.features
        # The names themselves are made where they are asked for.
        if not {"image", "label"} <= set(features) or not hasattr(type(features["label"]), "names"):
            raise DataError(f"not an image classification set: an example has {', '.join(sorted(features))}")
        if features["label"].num_classes > MOST_CLASSES:
            raise DataError(f"it says that it has {features['label'].num_classes:,} classes")
        classes = tuple(features["label"].names)
        height, width, channels = features["image"].shape
        form = self.form(channels if channels in (1, 3) else 3)
        if form.size is None:
            form = _one_size(form, height, width)
        source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        folder = Path(builder.data_path)
        labels = _labels(source, folder, split)
        if len(labels) and labels.min() < 0:
            raise DataError(f"split {split!r} has no labels; choose another test_split")
        return Records({"label": labels}, classes, form, source, folder, split, np.arange(len(labels)))


def _one_size(form: ImageForm, height: int | None, width: int | None) -> ImageForm:
    if height is None or width is None:
        raise DataError("its images are of different sizes; say which they shall have, e.g. data.size=224")
    return form if form.train_fit is None else replace(form, size=(height, width))


def _read(source: Any, rows: np.ndarray, shown: str) -> list[dict[str, Any]]:
    try:
        return source.__getitems__(rows.tolist())
    except Exception as error:
        # What array_record and protobuf raise of damaged files is of no common kind.
        raise DataError(f"{shown} and others cannot be read: {str(error).partition(chr(10))[0]}") from None


def _content(folder: Path, split: str) -> str:
    """Hex digits of the content of a split's files."""
    store = Folder(folder)
    name = f"-{split.partition('[')[0]}.{FORMAT}-"
    files = [file for file in store.names if name in file or file.endswith(".txt")]
    return hashlib.sha256("".join([*files, *store.digests(files)]).encode()).hexdigest()


def _labels(source: Any, folder: Path, split: str) -> np.ndarray:
    """The label of every record of a split: read once, then remembered by the content of its files."""
    file = cache.place("labels", f"{_content(folder, split)} {split}", "npz")
    known = cache.recall_arrays(file)
    if known.keys() == {"labels"} and len(known["labels"]) == len(source):
        return known["labels"]
    show = logged(f"reading the labels of {folder} {split}")
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(source)))
        labels[rows] = [example["label"] for example in _read(source, rows, f"{folder} {split}[{start}]")]
        show(start + len(rows), len(source))
    cache.remember_arrays(file, {"labels": labels})
    return labels


def _check_prepared(name: str, folder: Path) -> None:
    found = prepared(folder, name)
    if not found:
        raise DataError(f"data set {name!r} is not prepared in {folder}: {how_to_prepare(name, folder)}")
    if any(version.is_readable for version in found):
        return
    if found[-1].damage:
        raise DataError(describe_damage(found[-1]))
    raise DataError(f"{found[-1].folder} {OTHER_FORMAT}: move it away, then {how_to_prepare(name, folder)}")


def describe_damage(version: Prepared) -> str:
    """What is wrong with a prepared set, and what to do."""
    root = version.folder.parents[version.name.count("/") + 1]
    return f"{version.folder} is damaged ({version.damage}): {_anew(version.name, root)}"


def _anew(name: str, folder: Path) -> str:
    return f"delete that folder, then {how_to_prepare(name, folder)}"


def how_to_prepare(name: str, folder: Path) -> str:
    """The command that prepares a set in `folder`, where TensorFlow may not be installed yet."""
    place = "" if folder == default_data_dir() else f" --data-dir {folder}"
    return f"prepare it once with  {INSTALL} && cnnjax data prepare {name}{place}"


def known_names(data_dir: str | None) -> frozenset[str]:
    """Names TFDS has a builder for, and those already prepared."""
    folder = Path(data_dir) if data_dir else default_data_dir()
    return frozenset({version.name for version in prepared(folder)} | builder_names())


@lru_cache(maxsize=1)
def builder_names() -> frozenset[str]:
    """Names of the sets TFDS can prepare."""
    import tensorflow_datasets as tfds

    return frozenset(tfds.list_builders(with_community_datasets=False))
