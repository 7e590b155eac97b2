"""What a trained network makes of images that is an image itself, beside what it was given and what is true."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

from cnnjax import metrics
from cnnjax.errors import ConfigError

SHOWN = 5
"""Images that the representation tells of."""
GAP = 2
"""White pixels between the images of a picture."""
SIDE = 96
"""Pixels that the shorter side of an image in a picture has at least."""


@dataclass(frozen=True, eq=False, repr=False)
class Pictures:
    """Of N images, in their order, each float32 in 0..1.

    outputs: what the network made, [N, H, W, C]. truth: what it should have made, of the same shape, by the image that
    was given. inputs: what it saw of that image, [N, h, w, c].
    """

    outputs: np.ndarray
    truth: np.ndarray
    inputs: np.ndarray

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def images(self) -> np.ndarray:
        """`outputs` as pixels, uint8 [N, H, W, C]."""
        return _pixels(self.outputs)

    @cached_property
    def psnr(self) -> np.ndarray:
        """Of each output against the truth, in decibels, float32 [N] (`metrics.psnr`)."""
        return np.asarray(metrics.psnr(jnp.asarray(self.outputs), jnp.asarray(self.truth)))

    @cached_property
    def ssim(self) -> np.ndarray:
        """Structural similarity of each output and the truth, float32 [N] (`metrics.ssim`)."""
        return np.asarray(metrics.ssim(jnp.asarray(self.outputs), jnp.asarray(self.truth)))

    def rows(self, top: int = 1) -> list[dict[str, Any]]:
        """`{"psnr", "ssim"}` of each image. Raises ConfigError unless `top` is 1."""
        if top != 1:
            raise ConfigError(f"top = {top!r}: must be 1, for what is made of an image is one image")
        return [{"psnr": float(psnr), "ssim": float(ssim)} for psnr, ssim in zip(self.psnr, self.ssim, strict=True)]

    def cells(self, top: int = 1) -> tuple[tuple[str, ...], list[list[str]]]:
        """A table of them: the heads of its columns, and the cells of each image."""
        return ("PSNR", "SSIM"), [[f"{row['psnr']:.2f} dB", f"{row['ssim']:.4f}"] for row in self.rows(top)]

    def pictures(self, images: np.ndarray | None = None) -> Iterator[bytes]:
        """A PNG of each: what the network saw, what it made and what is true, from left to right.

        Small images are enlarged, each pixel to a square, and what the network saw to the size of the others. Of more
        than three channels the first three are shown, of two the first. images: not needed.
        """
        from PIL import Image

        for seen, made, true in zip(self.inputs, self.outputs, self.truth, strict=True):
            height, width = true.shape[:2]
            factor = max(1, -(-SIDE // min(height, width)))
            shown = [_shown(image, factor * height, factor * width) for image in (seen, made, true)]
            gap = np.full((factor * height, GAP, 3), 255, np.uint8)
            picture = Image.fromarray(np.concatenate([shown[0], gap, shown[1], gap, shown[2]], axis=1))
            written = io.BytesIO()
            picture.save(written, "PNG")
            yield written.getvalue()

    def __repr__(self) -> str:
        few = [f"{psnr:.1f} dB" for psnr in self.psnr[:SHOWN]]
        more = ["..."] if len(self) > SHOWN else []
        return f"<Pictures of {len(self)} image{'s' * (len(self) != 1)}: PSNR {', '.join([*few, *more])}>"


def _pixels(images: np.ndarray) -> np.ndarray:
    return np.round(255 * images.clip(0, 1)).astype(np.uint8)


def _shown(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image [h, w, c] as pixels uint8 [height, width, 3]: each takes the nearest of its own."""
    rows, columns = (np.arange(size) * own // size for size, own in zip((height, width), image.shape, strict=False))
    channels = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
    return np.broadcast_to(_pixels(channels[rows[:, None], columns]), (height, width, 3))
