"""New images of a trained network as one picture."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnjax.errors import ConfigError
from cnnjax.files import write_bytes
from cnnjax.records.folders import refuse_held
from cnnjax.run.trained import Trained

GAP = 1
"""White pixels between the images."""


@dataclass(frozen=True, eq=False, repr=False)
class Sampled:
    """images: float32 [N, H, W, C] in 0..1. path: of the picture that has them. columns: in which they stand there."""

    images: np.ndarray
    path: Path
    columns: int

    def __repr__(self) -> str:
        count, height, width, _ = self.images.shape
        return f"<Sampled {self.path}: {count} of {width}x{height}>"


def sample_file(
    trained: Trained, out: Path | str, *, count: int = 16, seed: int = 0, columns: int | None = None, enlarge: int = 1
) -> Sampled:
    """Write so many new images, of the codes drawn with `seed`, as a PNG, row by row.

    columns: images beside each other; by default about as many as rows. enlarge: pixels a side of one of theirs. None
    is chosen.

    Raises ConfigError where the task makes none (`Trained.sample`), or they are no grey or RGB images.
    """
    path, resolved = Path(out), trained.resolved
    if path.suffix.lower() != ".png":
        raise ConfigError(f"out = {str(path)!r}: a picture is written as PNG: let its name end in .png")
    for name, value in (("columns", columns), ("enlarge", enlarge)):
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise ConfigError(f"{name} = {value!r}: must be a whole number, at least 1")
    if resolved.sound is not None or resolved.input_shape[2] not in (1, 3) or resolved.space != "rgb":
        channels = resolved.input_shape[2]
        raise ConfigError(
            f"{trained.path}: its images have {channels} channels of {resolved.space}, and a picture is grey or RGB; "
            "cnnjax.load(RUN).sample(count) has them as arrays"
        )
    refuse_held(path.parent)
    images = trained.sample(count, seed=seed)
    beside = columns or math.ceil(math.sqrt(count))
    write_bytes(path, _png(tiled(images, beside).repeat(enlarge, 0).repeat(enlarge, 1)))
    return Sampled(images, path, beside)


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [N, H, W, C] in 0..1 in rows of so many, white between them and where there is none: uint8 [h, w, C]."""
    count, height, width, channels = images.shape
    beside = min(columns, count)
    rows = -(-count // beside)
    whole = np.ones((rows * beside, height + GAP, width + GAP, channels), np.float32)
    whole[:count, :height, :width] = images
    laid = whole.reshape(rows, beside, height + GAP, width + GAP, channels).swapaxes(1, 2)
    joined = laid.reshape(rows * (height + GAP), beside * (width + GAP), channels)[:-GAP, :-GAP]
    return np.round(255 * joined.clip(0, 1)).astype(np.uint8)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]).save(written, "PNG")
    return written.getvalue()
