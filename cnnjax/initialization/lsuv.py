"""Layer-sequential unit-variance initialization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import traverse_util
from pydantic import Field

from cnnjax.config import lane
from cnnjax.initialization.initialization import Initialization
from cnnjax.initialization.kernel import Kernel, replaced
from cnnjax.initialization.orthogonal import orthogonal_kernel


class LSUV(Initialization, tag="lsuv"):
    """Orthogonal kernels, each then divided, from the first layer to the last, by the deviation of its outputs.

    Outputs are those of a convolution or dense layer, before what follows it, on the first training batch: the images,
    augmented, mixed and normalized, and the masks of dropout, that the first step sees, in training mode. A layer whose
    variance is within `tolerance` (a lane) of 1 stays, and so does one after `iterations` divisions, or whose outputs
    are all equal; so do standardized weights and kernels within a gate (`Kernel.direct`). What the batch
    does to running statistics is dropped.
    Mishkin and Matas 2016 (arXiv:1511.06422), algorithm 1.
    """

    fits: ClassVar[bool] = True

    tolerance: float = lane(0.1, gt=0)
    iterations: int = Field(default=10, ge=1)

    def draw(self, kernel: Kernel, key: jax.Array) -> jax.Array:
        return orthogonal_kernel(kernel, key)

    def fitted(
        self, params: Any, kernels: Mapping[str, Kernel], variances: Mapping[str, jax.Array], tries: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array]:
        variance = jnp.stack([variances[path] for path in kernels])
        off = (jnp.abs(variance - 1) >= self.tolerance) & (variance > 0) & (tries < self.iterations)
        off &= jnp.array([kernel.direct for kernel in kernels.values()])
        first = off & (jnp.cumsum(off) == 1)
        shares = jnp.where(first, jax.lax.rsqrt(jnp.where(first, variance, 1)), 1)
        flat: Any = traverse_util.flatten_dict(dict(params), sep=".")
        scaled = {path: flat[path] * share for path, share in zip(kernels, shares, strict=True)}
        return replaced(params, scaled), tries + first.astype(jnp.int32), off.any()
