"""What a trained network says of image files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.errors import ConfigError, DataError
from cnnjax.run.images import listed, read
from cnnjax.run.trained import Trained


@dataclass(frozen=True)
class Answer:
    """Of one image. top: the likeliest classes, with probabilities or outputs. outputs: where labels are no classes."""

    file: str
    top: tuple[tuple[str, float], ...] = ()
    outputs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Answers:
    """Of files, in their order. failed: by file, why there is no answer. value: what the numbers of `top` are."""

    answers: tuple[Answer, ...]
    failed: dict[str, str] = field(default_factory=dict)
    value: str = "probability"

    def to_json(self) -> dict[str, Any]:
        """`{"predictions": [{"file", "class", "probability", "top"} or {"file", "outputs"}], "failed": [...]}`."""
        failed = [{"file": file, "error": error} for file, error in self.failed.items()]
        return {"predictions": [self._answer(answer) for answer in self.answers], "failed": failed}

    def _answer(self, answer: Answer) -> dict[str, Any]:
        if not answer.top:
            return {"file": answer.file, "outputs": list(answer.outputs)}
        top = [{"class": name, self.value: value} for name, value in answer.top]
        return {"file": answer.file, **top[0], "top": top}


def predict_files(
    trained: Trained, paths: Sequence[Path | str], *, top: int = 1, batch_size: int | None = None
) -> Answers:
    """What the network says of image files, decoded and resized as the evaluation of its run would do (`images.read`).

    paths: files, or folders of which all images are taken. top: how many classes are told, likeliest first. A file that
    cannot be read, or whose image is of another form, is in `failed`. Raises DataError where there are no files, and
    ConfigError where there are not so many classes.
    """
    most = len(trained.classes) or 1
    if not 1 <= top <= most:
        raise ConfigError(f"top = {top}: must be 1 to {most}, for the run has {len(trained.classes) or 'no'} classes")
    answers: list[Answer] = []
    failed: dict[str, str] = {}
    images = read(listed(paths), trained.resolved)
    for names, batch in _batches(images, batch_size or trained.most_together, failed):
        answers += _answers(trained, names, batch, top, batch_size)
    scored = trained.classes and trained.resolved.kind in ("continuous", "count")
    return Answers(tuple(answers), failed, "output" if scored else "probability")


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
    return (False, "") if isinstance(image, DataError) else (True, str(image.dtype))


def _answers(trained: Trained, names: list[str], images: np.ndarray, top: int, batch_size: int | None) -> list[Answer]:
    predictions = trained.predict(images, batch_size=batch_size)
    if not trained.classes:
        return [
            Answer(name, outputs=tuple(map(float, row))) for name, row in zip(names, predictions.outputs, strict=True)
        ]
    return [Answer(name, top=tuple(best)) for name, best in zip(names, predictions.top(top), strict=True)]
