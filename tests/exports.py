"""What an exported program says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

import cnnjax


def said_by_program(
    trained: cnnjax.Trained, images: np.ndarray, folder: Path, *, batch_size: int | None = None
) -> dict[str, np.ndarray]:
    """The arrays by name that the program of a network gives for images; by default it is for any number of them."""
    made = cnnjax.export(trained, folder / "net.stablehlo", platforms=["cpu"], batch_size=batch_size)
    program = jax.export.deserialize(bytearray((folder / "net.stablehlo").read_bytes()))
    said: Any = program.call(images)
    assert made.output is None
    assert made.outputs == tuple(sorted(said))
    return {name: np.asarray(array) for name, array in said.items()}


def check_boxes_of_program(trained: cnnjax.Trained, images: np.ndarray, folder: Path) -> None:
    """The program of a detector gives every array that `predict` has found, and nothing else."""
    said, found = said_by_program(trained, images, folder), vars(trained.predict(images))
    assert said.keys() == {name for name, field in found.items() if isinstance(field, np.ndarray)}
    for name, array in said.items():
        # Batches of three and of four round differently.
        np.testing.assert_allclose(array, found[name], rtol=1e-4, atol=1e-5, err_msg=name)
