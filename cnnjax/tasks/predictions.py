"""What a trained network says of images: classes, numbers, or answers to questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cnnjax.errors import ConfigError
from cnnjax.records.resolved import OutputKind

SHOWN = 5
"""Images that the representation tells of."""


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Of N images, in their order.

    logits: the network's outputs, float32 [N, K], the mean over an image's views. outputs: the same in the units of the
    labels, [N, K]; what they are says `kind`: probabilities of one class among all ("softmax"), of independent
    questions ("sigmoid"), numbers ("continuous") or expected counts ("count"). classes: their names; empty where labels
    are no classes. probabilities: of each class, [N, C], or of each question, [N, K]; None where outputs are none.
    """

    logits: np.ndarray
    outputs: np.ndarray
    probabilities: np.ndarray | None
    classes: tuple[str, ...]
    kind: OutputKind

    def __len__(self) -> int:
        return len(self.outputs)

    @cached_property
    def labels(self) -> np.ndarray:
        """The likeliest class of each image, int32 [N]; of equals the first. Raises ConfigError without classes."""
        return self._scores.argmax(1).astype(np.int32)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the likeliest class of each image. Raises ConfigError without classes."""
        return tuple(self.classes[label] for label in self.labels)

    def top(self, count: int) -> list[list[tuple[str, float]]]:
        """For each image the `count` likeliest classes, with their probabilities (outputs where those are none).

        Raises ConfigError unless `count` is 1 to the number of classes.
        """
        scores = self._scores
        if not (isinstance(count, int) and 1 <= count <= scores.shape[1]):
            most = scores.shape[1]
            raise ConfigError(f"top = {count!r}: must be 1 to {most}, for the run has {most} classes")
        values = self.outputs if self.probabilities is None else self.probabilities
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return [
            [(self.classes[each], float(row[each])) for each in first] for first, row in zip(order, values, strict=True)
        ]

    @property
    def _scores(self) -> np.ndarray:
        """What classes rank by, [N, C]."""
        if not self.classes:
            raise ConfigError(f"there are no classes: `outputs` has {self.outputs.shape[1]} an image ({self.kind})")
        if self.logits.shape[1] >= len(self.classes):
            return self.logits[:, : len(self.classes)]
        assert self.probabilities is not None
        return self.probabilities

    def rows(self, top: int = 1) -> list[dict[str, Any]]:
        """`{"class", "probability", "top": [...]}` of each image, or `{"outputs": [...]}` without classes.

        "probability" is "output" where outputs are none.
        """
        if not self.classes:
            return [{"outputs": [float(value) for value in row]} for row in self.outputs]
        told = [[{"class": name, self._told: value} for name, value in best] for best in self.top(top)]
        return [{**best[0], "top": best} for best in told]

    def cells(self, top: int = 1) -> tuple[tuple[str, ...], list[list[str]]]:
        """A table of them: the heads of its columns, and the cells of each image."""
        if not self.classes:
            return ("outputs",), [[", ".join(f"{value:.4g}" for value in row)] for row in self.outputs]
        heads = ("class", self._told, *(["then"] if top > 1 else []))
        rows = []
        for best in self.top(top):
            told = [(name, f"{value:.1%}" if self._told == "probability" else f"{value:.4g}") for name, value in best]
            then = [", ".join(f"{name} {value}" for name, value in told[1:])] if top > 1 else []
            rows.append([*told[0], *then])
        return heads, rows

    def pictures(self, images: np.ndarray) -> None:
        """None: what is said is no picture."""
        return None

    @property
    def _told(self) -> str:
        """What the number beside a class is."""
        return "output" if self.kind in ("continuous", "count") else "probability"

    def __repr__(self) -> str:
        more = ["..."] if len(self) > SHOWN else []
        images = f"{len(self)} image{'s' * (len(self) != 1)}"
        return f"<Predictions of {images}: {', '.join([*self._shown(), *more])}>"

    def _shown(self) -> Iterator[str]:
        few = Predictions(
            self.logits[:SHOWN],
            self.outputs[:SHOWN],
            None if self.probabilities is None else self.probabilities[:SHOWN],
            self.classes,
            self.kind,
        )
        if not self.classes:
            yield from (f"[{', '.join(f'{value:.4g}' for value in row)}]" for row in few.outputs)
            return
        form = ".4g" if self.probabilities is None else ".1%"
        yield from (f"{name} {value:{form}}" for [(name, value)] in few.top(1))
