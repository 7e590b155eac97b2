"""DropBlock: dropout of whole squares of feature maps."""

from __future__ import annotations

from math import prod
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.arithmetic import Extent, per_axis
from cnnjax.errors import ConfigError
from cnnjax.nn.dropout import local_mask
from cnnjax.nn.input_checks import check_images, located
from cnnjax.nn.mesh import manual_axes


class DropBlock(nn.Module):
    """Zeroes blocks of maps in training: (batch, height, width, channels) -> same shape and dtype (Ghiasi et al. 2018,
    arXiv:1810.12890, algorithm 1).

    At each place where a whole block fits there is one with probability

        gamma = rate / (b_h b_w) x (h w) / ((h - b_h + 1) (w - b_w + 1)),

    b_h x b_w being the block, clipped to the map (h, w): so about `rate` of all numbers are dropped, fewer as blocks
    overlap. What is left is divided by its share of the whole batch's numbers. At inference nothing happens. The random
    stream is "dropout", and masks and share do not depend on the number of devices, as of InvertedDropout. Raises
    ShapeError for what is no batch of maps, and ConfigError unless 0 <= rate < 1.

    Attributes:
        rate: share to drop. A traced scalar is allowed, and not checked; a plain 0 costs nothing.
        block_size: rows and columns of a block, or one number for both.
        shared: one mask for all channels of an example, as timm's layer has it; else each channel has its own, as the
            paper prefers (section 3).
    """

    layer_op: ClassVar[str] = "drop_block"
    rate: float | jax.Array
    block_size: Extent = 7
    shared: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        with located(self):
            check_images(x)
            rows, columns = per_axis(self.block_size, name="block_size")
            if isinstance(self.rate, int | float):
                if not 0 <= self.rate < 1:
                    raise ConfigError(f"rate = {self.rate!r}: must be at least 0 and below 1")
                train = train and self.rate > 0
        if not train:
            return x
        block = min(rows, x.shape[1]), min(columns, x.shape[2])
        places = x.shape[1] - block[0] + 1, x.shape[2] - block[1] + 1
        gamma = jnp.asarray(self.rate, jnp.float32) * (prod(x.shape[1:3]) / (prod(block) * prod(places)))
        corners = (x.shape[0], *places, 1 if self.shared else x.shape[3])
        kept = _outside_of_blocks(~local_mask(self.make_rng("dropout"), 1 - gamma, corners), block)
        # By example first, so that numbers are counted exactly in batches of any size.
        share = kept.sum((1, 2, 3)).astype(jnp.float32).mean() / prod(kept.shape[1:])
        for axis in manual_axes():
            share = lax.pmean(share, axis)
        # Where all is dropped there is nothing to divide.
        return jnp.where(kept, x / jnp.where(share > 0, share, 1).astype(x.dtype), jnp.zeros((), x.dtype))


def _outside_of_blocks(corners: jax.Array, block: tuple[int, int]) -> jax.Array:
    """Which places [B, H, W, C] are in no block, from where blocks have their first: [B, H - rows + 1, ...]."""
    padding = [(0, 0), *((size - 1, size - 1) for size in block), (0, 0)]
    return ~lax.reduce_window(corners, False, lax.bitwise_or, (1, *block, 1), (1, 1, 1, 1), padding)
