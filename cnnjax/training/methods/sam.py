"""Sharpness-aware minimization."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.config import lane, later
from cnnjax.training.methods.method import Gradient, Method


class SAM(Method, tag="sam"):
    """Sharpness-aware minimization (Foret et al. 2021, arXiv:2010.01412, equation 2 and algorithm 1).

    With g the gradient at the parameters w, a step takes the gradient at w + e in its place, e = `rho` g / |g|, and
    updates w with it. `rho` is greater than 0; |g| is the norm over all parameters, of the whole batch over all devices
    and accumulated parts. Both passes see the same batch, augmentation and dropout. Running statistics and the reported
    loss and accuracy are those of the first pass. A step costs two passes.

    adaptive: e = rho w^2 g / |w g|, element by element, which is unchanged where weights are rescaled (ASAM, Kwon et
    al. 2021, arXiv:2102.11600, equation 5 with T = |w|). It takes a larger rho, 0.5 to 2.

    every: of so many steps (at least 1) only the last is such a step, and the others are plain ones of one pass
    (Composer's `interval`).
    """

    rho: float = lane(0.05, gt=0)
    adaptive: bool = False
    every: int = later(1, ge=1)

    def around(self, gradient: Gradient, own: Any, *, key: jax.Array, step: jax.Array) -> Gradient:
        def sharpness_aware(params: Any) -> tuple[Any, Any, dict[str, jax.Array]]:
            plain, statistics, sums = gradient(params)

            def again() -> Any:
                return gradient(self._ascended(params, plain))[0]

            if self.every == 1:
                return again(), statistics, sums
            due = step % self.every == self.every - 1
            return jax.lax.cond(due, again, lambda: plain), statistics, sums

        return sharpness_aware

    def _ascended(self, params: Any, gradients: Any) -> Any:
        """w + e."""

        def stretched(tree: Any) -> Any:
            return jax.tree.map(lambda w, x: jnp.abs(w) * x, params, tree) if self.adaptive else tree

        scaled = stretched(gradients)
        squares = [jnp.sum(jnp.square(leaf.astype(_at_least_float32(leaf)))) for leaf in jax.tree.leaves(scaled)]
        norm = jnp.sqrt(jnp.sum(jnp.stack(squares)))
        # Where the gradient is 0 there is no way up.
        length = jnp.asarray(self.rho, norm.dtype) / jnp.where(norm > 0, norm, jnp.ones_like(norm))
        return jax.tree.map(lambda w, x: w + length.astype(w.dtype) * x, params, stretched(scaled))


def _at_least_float32(array: jax.Array) -> Any:
    return array.dtype if jnp.finfo(array.dtype).bits >= 32 else jnp.float32
