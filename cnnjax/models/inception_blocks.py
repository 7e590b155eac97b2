"""Inception blocks, branches of convolutions side by side.

Szegedy et al. 2016 (arXiv:1512.00567, kinds "A" to "E") and 2017 (arXiv:1602.07261, the others).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import model_validator

from cnnjax import nn
from cnnjax.config import Config
from cnnjax.models.blocks import ConvNorm, scaled
from cnnjax.models.endpoint import Endpoint, last_blocks
from cnnjax.models.fields import Count, Pair


class Block(Config):
    """An Inception block: branches of convolutions side by side, n being its `kernel_size`.

    kind: "A" 1x1; 1x1, nxn; 1x1, 3x3, 3x3; pooling, 1x1.
    "B" 3x3/2; 1x1, nxn, 3x3/2; pooling/2.
    "C" 1x1; 1x1, 1xn, nx1; 1x1, nx1, 1xn, nx1, 1xn; pooling, 1x1.
    "D" 1x1, 3x3/2; 1x1, 1xn, nx1, 3x3/2; pooling/2.
    "E" 1x1; 1x1, 1xn beside nx1; 1x1, 3x3, 1xn beside nx1; pooling, 1x1.
    "F" 1x1; 1x1, 1xn beside nx1; 1x1, nx1, 1xn, 1xn beside nx1; pooling, 1x1.
    "G" 1x1, 3x3/2; 1x1, 3x3/2; 1x1, nxn, 3x3/2; pooling/2.
    "H" 1x1; 1x1, nxn; 1x1, nxn, nxn.
    "I" 1x1; 1x1, 1xn, nx1.
    features: filters of every convolution of every branch; of two side by side, each has as many.
    """

    kind: Literal["A", "B", "C", "D", "E", "F", "G", "H", "I"]
    kernel_size: Count
    features: tuple[tuple[Count, ...], ...]

    @model_validator(mode="after")
    def _one_width_a_convolution(self) -> Block:
        wanted, given = (tuple(map(len, branches)) for branches in (self.kernels, self.features))
        if wanted != given:
            raise ValueError(f"features: {given} convolutions in the branches, kind {self.kind} has {wanted}")
        return self

    @property
    def reduces(self) -> bool:
        """Whether it halves the maps."""
        return self.kind in ("B", "D", "G")

    @property
    def pools(self) -> bool:
        """Whether one of its branches pools what comes in."""
        return self.kind not in ("H", "I")

    @property
    def kernels(self) -> tuple[tuple[Pair | None, ...], ...]:
        """Kernel sizes of every branch with convolutions; None stands for a row and a column side by side."""
        n, row, column = self.kernel_size, (1, self.kernel_size), (self.kernel_size, 1)
        return {
            "A": ((1,), (1, n), (1, 3, 3), (1,)),
            "B": ((3,), (1, n, 3)),
            "C": ((1,), (1, row, column), (1, column, row, column, row), (1,)),
            "D": ((1, 3), (1, row, column, 3)),
            "E": ((1,), (1, None), (1, 3, None), (1,)),
            "F": ((1,), (1, None), (1, column, row, None), (1,)),
            "G": ((1, 3), (1, 3), (1, n, 3)),
            "H": ((1,), (1, n), (1, n, n)),
            "I": ((1,), (1, row, column)),
        }[self.kind]

    def outputs(self, inputs: int, width: float) -> int:
        """Channels that it makes of so many: those of its branches at that width, and a reduction's pooled inputs."""
        branches = zip(self.features, self.kernels, strict=True)
        made = sum(scaled(counts[-1], width) * (2 if sizes[-1] is None else 1) for counts, sizes in branches)
        return made + inputs if self.reduces else made


def block_ends(blocks: Mapping[str, Block], inputs: int, width: float, *, stem: tuple[int, int]) -> dict[str, Endpoint]:
    """The endpoints of a sequence of blocks, by their block: the last before each reduction, and the last of all.

    inputs, stem: the channels and the strides of the maps that the first block reads. width: factor of all channels.
    """
    sizes, features = [], inputs
    for name, block in blocks.items():
        features = block.outputs(features, width)
        sizes.append((name, 2 if block.reduces else 1, features))
    return last_blocks(sizes, stem=stem)


def timm_branch(block: Block, path: str) -> str:
    """timm's name, within the block, of the module at `path` there, such as `branch2_conv1.conv`."""
    found = re.fullmatch(r"branch(\d)_conv(\d)([ab]?)\.(.+)", path)
    if found is None:
        return path
    branch, number = int(found[1]) - 1, int(found[2]) - 1
    sizes = block.kernels[branch]
    if sizes[-1] is None:
        return f"branch{branch}_{number}{found[3]}.{found[4]}"
    pools = block.pools and not block.reduces and branch == len(block.kernels) - 1
    # One convolution alone has no number; behind a pooling it is the second layer.
    place = ".1" if pools else f".{number}" if len(sizes) > 1 else ""
    return f"branch{branch}{place}.{found[4]}"


class Mixed(linen.Module):
    """The branches of a block: (batch, height, width, channels) -> (batch, height', width', channels').

    conv: makes a unit from features and kernel size. block, width: as in the config. pool: of its pooling branch.
    count_padding: whether an average at every place counts the padding as zeros.
    """

    conv: Callable[..., ConvNorm]
    block: Block
    width: float
    pool: Literal["max", "average"]
    count_padding: bool

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        block, last = self.block, len(self.block.kernels)
        pooled = self._pooled(x) if block.pools else x
        inputs = [pooled if block.pools and not block.reduces and n == last else x for n in range(1, last + 1)]
        outputs = [self._branch(number, given, train) for number, given in enumerate(inputs, start=1)]
        return jnp.concatenate([*outputs, pooled] if block.reduces else outputs, axis=-1)

    def _pooled(self, x: jax.Array) -> jax.Array:
        if self.block.reduces:
            return nn.Pooling(self.pool, window=3, strides=2, name="pool")(x)
        counted = self.count_padding
        return nn.Pooling(self.pool, window=3, strides=1, padding=1, count_padding=counted, name="pool")(x)

    def _branch(self, branch: int, x: jax.Array, train: bool) -> jax.Array:
        kernels = self.block.kernels[branch - 1]
        widths = [scaled(count, self.width) for count in self.block.features[branch - 1]]
        for number, (features, kernel_size) in enumerate(zip(widths, kernels, strict=True), start=1):
            conv = partial(self.conv, features)
            if self.block.reduces and number == len(kernels):
                conv = partial(conv, strides=2, padding="valid")
            x = self._unit(conv, kernel_size, x, f"branch{branch}_conv{number}", train)
        return x

    def _unit(self, conv: Callable[..., ConvNorm], kernel_size: Pair | None, x: jax.Array, name: str, train: bool):
        if kernel_size is not None:
            return conv(kernel_size, name=name)(x, train=train)
        n = self.block.kernel_size
        sides = [conv(size, name=f"{name}{side}")(x, train=train) for side, size in (("a", (1, n)), ("b", (n, 1)))]
        return jnp.concatenate(sides, axis=-1)
