"""Image classification sets by their TensorFlow Datasets names, read without TensorFlow."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.data.source import Data, Dataset, Examples, default_data_dir
from cnnjax.errors import DataError


class TFDS(Data):
    """A set prepared by TFDS in `array_record` form, held in memory whole (small sets: MNIST, CIFAR-10, ...).

    `name` is TFDS's own name; `data_dir` is where it was prepared (default: $TFDS_DATA_DIR or TFDS's own default).
    """

    name: str
    data_dir: str | None = None
    train_split: str = "train"
    test_split: str = "test"

    def read(self) -> Dataset:
        import tensorflow_datasets as tfds

        folder = Path(self.data_dir) if self.data_dir else default_data_dir()
        if not (folder / self.name).is_dir():
            raise DataError(f"data set {self.name!r} is not prepared in {folder}: {_prepare(self.name, folder)}")
        try:
            builder: Any = tfds.builder(self.name, data_dir=folder)
            parts = [_examples(builder.as_data_source(split=split)) for split in (self.train_split, self.test_split)]
        except NotImplementedError:
            raise DataError(
                f"{folder / self.name} is not in array_record form, which is what can be read without TensorFlow: "
                f"{_prepare(self.name, folder)}"
            ) from None
        except (ValueError, AssertionError, OSError) as error:
            raise DataError(f"data set {self.name!r} in {folder} cannot be read: {error}") from error
        features: Any = builder.info.features
        return Dataset(self.name, *parts, classes=tuple(features["label"].names))


def _prepare(name: str, folder: Path) -> str:
    return (
        "prepare it once with\n  pip install 'cnnjax[prepare]' && "
        f"tfds build {name} --data_dir {folder} --file_format array_record"
    )


def _examples(source) -> Examples:
    images, labels = [], []
    for index in range(len(source)):
        example = source[index]
        if not {"image", "label"} <= set(example):
            raise DataError(f"not an image classification set: an example has {', '.join(sorted(example))}")
        images.append(example["image"])
        labels.append(example["label"])
    return Examples(np.stack(images), np.asarray(labels, np.int32))


@lru_cache(maxsize=4)
def known_names(data_dir: str | None) -> frozenset[str]:
    """Names TFDS has a builder for, and the folders already prepared."""
    folder = Path(data_dir) if data_dir else default_data_dir()
    prepared = {entry.name for entry in folder.iterdir() if entry.is_dir()} if folder.is_dir() else set()
    import tensorflow_datasets as tfds

    return frozenset(prepared | set(tfds.list_builders(with_community_datasets=False)))
