"""What a trained network says of image files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.errors import ConfigError, DataError
from cnnjax.files import write_bytes
from cnnjax.records.folders import refuse_held
from cnnjax.run.images import images_of, listed, read
from cnnjax.run.spectrograms import spectrograms
from cnnjax.run.trained import Trained
from cnnjax.tasks import Answered


@dataclass(frozen=True)
class Answers:
    """Of files, in their order.

    files: that there is an answer of. rows: what is said of each, as JSON; heads, cells: the same as a table. pictures:
    files that were written, one for each, where there are any. failed: by file, why there is no answer.
    """

    files: tuple[str, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    heads: tuple[str, ...] = ()
    cells: tuple[list[str], ...] = ()
    pictures: tuple[Path, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`{"predictions": [{"file", ...}], "failed": [{"file", "error"}]}`; with "picture", where there are any."""
        failed = [{"file": file, "error": error} for file, error in self.failed.items()]
        told = [{"file": file, **row} for file, row in zip(self.files, self.rows, strict=True)]
        for row, picture in zip(told, self.pictures, strict=False):
            row["picture"] = str(picture)
        return {"predictions": told, "failed": failed}


def predict_files(
    trained: Trained,
    paths: Sequence[Path | str],
    *,
    top: int = 1,
    batch_size: int | None = None,
    out: Path | str | None = None,
) -> Answers:
    """What the network says of files of images or of sound, read as the evaluation of its run would do (`images.read`).

    paths: files, or folders of which all are taken. top: how many answers are told, likeliest first. out: a folder for
    a PNG of what is said of each, of a task that says pictures; of sound, of its spectrogram. A file that cannot be
    read, or whose image is of another form, is in `failed`. Raises DataError where there are no files, and ConfigError
    where there are not so many answers, or no pictures.
    """
    trained.task.check_top(top, trained.classes)
    files: list[str] = []
    rows: list[dict[str, Any]] = []
    cells: list[list[str]] = []
    pictures: list[Path] = []
    heads, failed = (), dict[str, str]()
    images = read(listed(paths, trained.resolved), trained.resolved)
    for names, batch in _batches(images, batch_size or trained.most_together, failed):
        answered = trained.predict(batch, batch_size=batch_size)
        heads, own = answered.cells(top)
        if out is not None:
            refuse_held(Path(out))
            pictures += _written(_pictures(trained, answered, batch), names, Path(out), len(files))
        files += names
        rows += answered.rows(top)
        cells += own
    return Answers(tuple(files), tuple(rows), heads, tuple(cells), tuple(pictures), failed)


def _pictures(trained: Trained, answered: Answered, batch: np.ndarray) -> Iterator[bytes]:
    """A PNG of what is said of each image or, of sound, of what the network saw of it. Raises ConfigError."""
    images = _bytes(images_of(batch, trained.resolved), trained.resolved.maximum)
    pictures = answered.pictures(images)
    if pictures is None and trained.resolved.sound is not None:
        pictures = spectrograms(images)
    if pictures is None:
        raise ConfigError("out: what is said of an image is no picture; leave --out away")
    return pictures


def _written(pictures: Iterator[bytes], names: Sequence[str], out: Path, first: int) -> list[Path]:
    """Write the pictures into a folder, by number and name. Raises RunError."""
    written = []
    for number, (name, picture) in enumerate(zip(names, pictures, strict=True), first):
        path = out / f"{number:04d}_{Path(name).stem}.png"
        write_bytes(path, picture)
        written.append(path)
    return written


def _bytes(images: np.ndarray, maximum: int) -> np.ndarray:
    """Images of 0..maximum, or floats in 0..1, as uint8 of which 255 is full brightness."""
    if images.dtype == np.uint8 and maximum == 255:
        return images
    shares = images / maximum if images.dtype == np.uint8 else images
    return (255 * shares).clip(0, 255).round().astype(np.uint8)


def _batches(
    images: Iterator[tuple[str, np.ndarray | DataError]], size: int, failed: dict[str, str]
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and images, of at most `size` and of one type; what could not be read goes to `failed`."""
    for (ok, _), group in itertools.groupby(images, key=lambda each: _kind(each[1])):
        if not ok:
            failed.update((name, str(error)) for name, error in group)
            continue
        while batch := list(itertools.islice(group, size)):
            yield [name for name, _ in batch], np.stack([np.asarray(image) for _, image in batch])


def _kind(image: np.ndarray | DataError) -> tuple[bool, str]:
    return (False, "") if isinstance(image, DataError) else (True, f"{image.dtype} {image.ndim}")
