"""Image classification sets by their TensorFlow Datasets names, read without TensorFlow."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.data.catalogue import Prepared, prepared
from cnnjax.data.source import Data, Dataset, Examples, default_data_dir
from cnnjax.errors import DataError

INSTALL = "pip install 'cnnjax[prepare]'"
OTHER_FORMAT = "is not in array_record form, which is what can be read without TensorFlow"


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
        _check_prepared(self.name, folder)
        try:
            builder: Any = tfds.builder(self.name, data_dir=folder)
            parts = [_examples(builder.as_data_source(split=split)) for split in (self.train_split, self.test_split)]
        except NotImplementedError:
            # It looked elsewhere than where sets are, and took what it did not find for one of its default format.
            there = ", ".join(f"{version.name} {version.version}" for version in prepared(folder, self.name))
            remedy = f"name another, or {how_to_prepare(self.name, folder)}"
            raise DataError(f"in {folder} is {there}, which is not what TFDS calls {self.name!r}: {remedy}") from None
        except (ValueError, AssertionError, OSError, RuntimeError, DataError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"data set {self.name!r} in {folder} cannot be read: {reason}") from error
        features: Any = builder.info.features
        return Dataset(self.name, *parts, classes=tuple(features["label"].names))


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
    remedy = f"delete that folder, then {how_to_prepare(version.name, root)}"
    return f"{version.folder} is damaged ({version.damage}): {remedy}"


def how_to_prepare(name: str, folder: Path) -> str:
    """The command that prepares a set in `folder`, where TensorFlow may not be installed yet."""
    place = "" if folder == default_data_dir() else f" --data-dir {folder}"
    return f"prepare it once with  {INSTALL} && cnnjax data prepare {name}{place}"


def _examples(source) -> Examples:
    images, labels = [], []
    for index in range(len(source)):
        example = source[index]
        if not {"image", "label"} <= set(example):
            raise DataError(f"not an image classification set: an example has {', '.join(sorted(example))}")
        images.append(example["image"])
        labels.append(example["label"])
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise DataError(f"its images are of {len(sizes)} different sizes, which cannot be held in memory as one array")
    return Examples(np.stack(images), np.asarray(labels, np.int32))


@lru_cache(maxsize=4)
def known_names(data_dir: str | None) -> frozenset[str]:
    """Names TFDS has a builder for, and those already prepared."""
    folder = Path(data_dir) if data_dir else default_data_dir()
    return frozenset({version.name for version in prepared(folder)} | builder_names())


@lru_cache(maxsize=1)
def builder_names() -> frozenset[str]:
    """Names of the sets TFDS can prepare."""
    import tensorflow_datasets as tfds

    return frozenset(tfds.list_builders(with_community_datasets=False))
