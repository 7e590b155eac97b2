"""What stands beside a picture of `cnnjax stylize`: what it was made of, and its losses."""

from __future__ import annotations

from cnnjax.records.record import Record


class Stylized(Record):
    """The JSON beside a picture, which has that file's name and `.json` after it.

    content_file, style_file: whose content and style it has. run, step, checksum, weights: of the network's
    checkpoint, as in inspect.json. content_layers, style_layers: that were compared. content_weight, style_weight,
    variation: the weights of the losses. optimizer: "lbfgs" or "adam"; rate: of the latter, else None. start: what the
    picture began as. size: its (height, width). losses: "total", "content", "style" and "variation", of the picture it
    began as and after each step, the last three without their weights.
    """

    content_file: str
    style_file: str
    run: str
    step: int
    checksum: int
    weights: str | None
    content_layers: tuple[str, ...]
    style_layers: tuple[str, ...]
    content_weight: float
    style_weight: float
    variation: float
    optimizer: str
    rate: float | None
    start: str
    seed: int
    size: tuple[int, int]
    losses: dict[str, tuple[float, ...]]
