"""source.json: where the weights of an imported run come from."""

from __future__ import annotations

from typing import ClassVar

from cnnjax.records.record import Record


class SourceRecord(Record):
    """source.json: the file of PyTorch's that a run's weights were taken from.

    file: its name, and sha256 its content's. image_shape: (height, width, channels) of the network's input. key: which
    of several weights in the file were taken, and other_keys which were not. fresh_head: whether the layers of logits
    were drawn anew.
    """

    filename: ClassVar[str] = "source.json"

    architecture: str
    file: str
    sha256: str
    image_shape: tuple[int, int, int]
    classes: int
    key: str | None = None
    other_keys: tuple[str, ...] = ()
    fresh_head: bool = False
