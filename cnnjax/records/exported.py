"""What stands beside exported weights: how images become their inputs, and what their outputs are."""

from __future__ import annotations

from typing import Any, Literal

from cnnjax.records.record import Record
from cnnjax.records.resolved import Resolved

Format = Literal["stablehlo", "safetensors", "torch"]


class Exported(Record):
    """The JSON beside an exported file, which has that file's name and `.json` after it.

    step: of the checkpoint. weights: the training method whose they are ("ema"); None are as they were trained.
    input_shape: of a program, (batch, height, width, channels), where "b" is any batch; of
    weights None, as are `output` and `platforms`. output: "probabilities" or "outputs" (`Predictions`); None where the
    program gives a dictionary, of which `outputs` are the keys. jax: the version that wrote the program. experiment:
    its config.
    """

    format: Format
    step: int
    weights: str | None = None
    input_shape: tuple[str | int, ...] | None
    output: str | None
    outputs: tuple[str, ...] | None = None
    platforms: tuple[str, ...] | None
    jax: str
    resolved: Resolved
    experiment: dict[str, Any]
