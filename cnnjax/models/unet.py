"""U-Net (Ronneberger, Fischer & Brox 2015, arXiv:1505.04597, figure 1): a class for every pixel.

A contracting path of stages, each convolutions and then a step down to half the size, and an expanding path that steps
up again and joins at every size what the contracting path had there. With padding "valid", as published, convolutions
lose their borders, so that what is joined is cut to the middle and the maps show the middle of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import model_validator

from cnnjax import nn
from cnnjax.errors import ShapeError
from cnnjax.models.blocks import ConvNorm, dropout
from cnnjax.models.endpoint import Endpoint, stages
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, preset, roundings
from cnnjax.models.norm import BatchNorm, NoNorm, Norm


class UNet(Model, tag="unet"):
    """Stages down, as many up, then a 1x1 convolution: images [B, H, W, C] -> logits [B, H', W', num_classes].

    H' and W' are H and W, or less where padding is "valid" (`output_size`).

    Attributes:
        depth: times the size is halved, and doubled again.
        features: filters of every stage from the first to the bottom, depth + 1 of them; one number is the first
            stage's, and doubles from stage to stage. On the way up a stage has those of the same size on the way down.
        kernel_size: of a stage's convolutions, rows and columns, or one number for both.
        convolutions: of each stage, on the way down and up.
        down: how a map is halved: by "max" or "average" pooling of 2x2, or a 2x2 convolution in steps of 2 ("stride").
        up: how it is doubled: by a 2x2 "transposed" convolution in steps of 2, or by interpolation to the "nearest" or
            "bilinear" and a convolution of `kernel_size` that keeps the size.
        skip: whether the way up is given the maps of the way down.
        padding: of a stage's convolutions: "same", or "valid" as published.
        norm: normalization after each of them.
        activation: by name, after that.
        dropout: rate at the bottom, "at the end of the contracting path".
    """

    makes: ClassVar[Literal["logits", "maps", "objects"]] = "maps"

    depth: Depth = 4
    features: Count | tuple[Count, ...] = 64
    kernel_size: Pair = 3
    convolutions: Depth = 2
    down: Literal["max", "average", "stride"] = "max"
    up: Literal["transposed", "nearest", "bilinear"] = "transposed"
    skip: bool = True
    padding: Literal["same", "valid"] = "same"
    norm: Norm = NoNorm()
    activation: ActivationName = "relu"
    dropout: Rate = 0.0

    @model_validator(mode="after")
    def _one_width_a_stage(self) -> UNet:
        if len(self.widths) != self.depth + 1:
            stages = f"{self.depth + 1} stages (depth = {self.depth}, and the bottom)"
            raise ValueError(f"features: {len(self.widths)} widths for {stages}")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each stage, the bottom's last."""
        if isinstance(self.features, tuple):
            return self.features
        return tuple(self.features * 2**stage for stage in range(self.depth + 1))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The paper's tiles of 572x572, or its whole images."""
        return (572, 572, 1) if self.padding == "valid" else (512, 512, 1)

    @property
    def published_classes(self) -> int:
        return 2

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The way down: every stage before its map is halved, and the bottom."""
        return stages(self.widths, [1] + [2] * self.depth)

    def rescaled(self, factor: float) -> Iterator[UNet]:
        for rounded in roundings(sorted(set(self.widths)), factor):
            yield self.model_copy(update={"features": tuple(rounded[width] for width in self.widths)})

    def network(self) -> linen.Module:
        return UNetwork(self)

    # --- sizes

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the maps for images of that size, whose middle they show.

        Raises ShapeError with the arithmetic, and the next sizes that fit, where a map would have to be halved that has
        an odd number of rows or columns, or none would be left.
        """
        kernel = (self.kernel_size, self.kernel_size) if isinstance(self.kernel_size, int) else self.kernel_size
        lost = [self.convolutions * (size - 1) if self.padding == "valid" else 0 for size in kernel]
        rows, columns = (self._along(*axis) for axis in zip((height, width), lost, ("rows", "columns"), strict=True))
        return rows, columns

    def _along(self, size: int, lost: int, name: str) -> int:
        sizes = _sizes(size, lost, self.depth)
        if _fits(sizes, self.depth):
            return sizes[-1]
        # Beyond as many as every stage loses at the bottom's scale, one size in 2**depth fits.
        higher = range(size + 1, size + 2**self.depth * (4 * lost + 2))
        near = [self._first_that_fits(tried, lost) for tried in (range(size - 1, 0, -1), higher)]
        fit = " or ".join(str(n) for n in near if n is not None)
        steps = _written(sizes, lost, self.depth)
        raise ShapeError(f"depth = {self.depth}: {size} {name} of an image do not fit: {steps}; {fit} fit")

    def _first_that_fits(self, tried: range, lost: int) -> int | None:
        return next((n for n in tried if _fits(_sizes(n, lost, self.depth), self.depth)), None)


def _sizes(size: int, lost: int, depth: int) -> list[int]:
    """Rows (or columns) after each stage, down, at the bottom and up; it ends with the first that cannot go on."""
    sizes = []
    for stage in range(2 * depth + 1):
        size -= lost
        sizes.append(size)
        if size < 1 or (stage < depth and size % 2):
            break
        size = size // 2 if stage < depth else size * 2
    return sizes


def _fits(sizes: list[int], depth: int) -> bool:
    return len(sizes) == 2 * depth + 1 and sizes[-1] > 0


def _written(sizes: list[int], lost: int, depth: int) -> str:
    """`570 - 4 = 566, / 2 - 4 = 279, which is odd`."""
    taken = f" - {lost}" if lost else ""
    first = f"{sizes[0] + lost}{taken} = {sizes[0]}" if lost else str(sizes[0])
    steps = [f"{'/' if stage <= depth else 'x'} 2{taken} = {n}" for stage, n in enumerate(sizes[1:], 1)]
    return ", ".join([first, *steps]) + (", which is odd" if sizes[-1] > 0 else ": nothing is left")


# --- network


class Stage(linen.Module):
    """Convolutions of one size, `conv1`, `conv2`, ...: (batch, height, width, channels) -> (..., features).

    Attributes as in the config, one width.
    """

    features: int
    kernel_size: Pair
    convolutions: int
    padding: Literal["same", "valid"]
    norm: Norm
    activation: str

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for number in range(1, self.convolutions + 1):
            conv = ConvNorm(
                self.features,
                self.kernel_size,
                padding="valid" if self.padding == "valid" else None,
                norm=self.norm,
                activation=self.activation,
                name=f"conv{number}",
            )
            x = conv(x, train=train)
        return x


class Up(linen.Module):
    """Maps of twice the size, beside those of the way down: (batch, h, w, channels) -> (batch, 2h, 2w, features).

    beside: the maps that are joined, cut to the middle where they are larger; None where none are. Submodules `resize`
    (where it interpolates) and `conv`. Attributes as in the config, one width.
    """

    features: int
    kernel_size: Pair
    up: Literal["transposed", "nearest", "bilinear"]

    @linen.compact
    def __call__(self, x: jax.Array, beside: jax.Array | None) -> jax.Array:
        if self.up == "transposed":
            x = nn.TransposedConvolution(self.features, 2, strides=2, name="conv")(x)
        else:
            x = nn.Resize(2, method=self.up, name="resize")(x)
            x = nn.Convolution(self.features, self.kernel_size, name="conv")(x)
        return x if beside is None else jnp.concatenate([_middle(beside, x.shape[1], x.shape[2]), x], axis=-1)


def _middle(x: jax.Array, rows: int, columns: int) -> jax.Array:
    top, left = (x.shape[1] - rows) // 2, (x.shape[2] - columns) // 2
    return x[:, top : top + rows, left : left + columns]


class UNetwork(linen.Module):
    """Stages down and up, logits: images (batch, height, width, channels) -> (batch, height', width', num_classes).

    `stage1` to the bottom; from there `up1` and `merge1`, the stage that follows it, back to the size of `stage1`: the
    number is that of the stage whose maps are joined. With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps, x = self.config, {}, images
        config.output_size(images.shape[1], images.shape[2])
        for number in range(1, config.depth + 2):
            if number > 1:
                x = self._down(x, number - 1)
            x = maps[f"stage{number}"] = self._stage(number, f"stage{number}")(x, train=train)
        if endpoints:
            return maps
        x = dropout(x, config.dropout, train=train)
        for number in range(config.depth, 0, -1):
            up = Up(config.widths[number - 1], config.kernel_size, config.up, name=f"up{number}")
            x = up(x, maps[f"stage{number}"] if config.skip else None)
            x = self._stage(number, f"merge{number}")(x, train=train)
        return nn.Convolution(config.num_classes, 1, name="logits")(x)

    def _down(self, x: jax.Array, number: int) -> jax.Array:
        if self.config.down == "stride":
            return nn.Convolution(x.shape[-1], 2, strides=2, name=f"down{number}")(x)
        return nn.Pooling(self.config.down, window=2, name=f"down{number}")(x)

    def _stage(self, number: int, name: str) -> Stage:
        config = self.config
        width, convolutions = config.widths[number - 1], config.convolutions
        return Stage(width, config.kernel_size, convolutions, config.padding, config.norm, config.activation, name=name)


# --- presets, with parameters for 2 classes


@preset
def unet_2015() -> UNet:
    """As published, 572x572x1 -> 388x388x2: 31,030,658 parameters."""
    return UNet(padding="valid", dropout=0.5)


@preset
def unet_small() -> UNet:
    """For grey images of 64 to 128 pixels, normalized: 482,466 parameters."""
    return UNet(depth=3, features=16, norm=BatchNorm())
