"""Adaptive gradient clipping."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from cnnjax.optim.decay_mask import is_decayed
from cnnjax.optim.groups import matching

# Brock et al. 2021, section 4: so that a unit of zeros can move.
_SMALLEST_NORM = 1e-3


def adaptive_grad_clip(ratio: Any, skips: tuple[str, ...]) -> optax.GradientTransformation:
    """Scales each unit's gradient to a norm of at most `ratio` times that of its parameters.

    Parameters with a norm below 0.001 count as having that. A unit is what makes one output: a kernel's axes but the
    last, which are height, width and inputs. Biases, scales and other vectors are one unit each. skips: patterns of
    paths that are left as they are. Brock et al. 2021, arXiv:2102.06171, section 4.
    """

    def update(updates: Any, params: Any) -> Any:
        def clipped(update: jax.Array, param: jax.Array, kernel: bool, skipped: bool) -> jax.Array:
            if skipped:
                return update
            axes = tuple(range(param.ndim - 1)) if kernel and param.ndim > 1 else None
            norm, limit = _norm(update, axes), ratio * jnp.maximum(_norm(param, axes), _SMALLEST_NORM)
            return jnp.where(norm < limit, update, update * (limit / jnp.maximum(norm, 1e-6)))

        return jax.tree.map(clipped, updates, params, is_decayed(params), matching(skips, params))

    return optax.stateless(update)


def _norm(x: jax.Array, axes: tuple[int, ...] | None) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(x), axis=axes, keepdims=True))
