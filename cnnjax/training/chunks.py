"""Several training steps in one call: a compiled loop whose number of steps is an argument.

However a training is cut into calls, every step runs the same compiled body, so that its numbers are bitwise the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Jaxpr, jaxprs_in_params

PER_STEP = ("index",)
"""The rows that differ between the steps of a chunk."""

COUNT = "count"
"""The name, among the rows of a chunk, of how many steps it takes (int32)."""


def in_chunks(step: Callable, most: int) -> Callable:
    """`step(state, data, rows, fixed) -> (state, sums)` as a function that takes up to `most` steps, one by one.

    Its rows have `most` rows on the first axis where they are PER_STEP, of which the first rows["count"] are used. It
    returns the last state and the sums of each step, [most, ...], which are zeros beyond those that were taken.
    """
    # As a function of its own it is traced once, for its shapes and as the loop's body.
    step = jax.jit(step)

    def chunk(state: Any, data: Any, rows: dict[str, jax.Array], fixed: Any):
        shared = {name: row for name, row in rows.items() if name not in (*PER_STEP, COUNT)}

        def rows_of(number: jax.Array) -> dict[str, jax.Array]:
            return shared | {name: lax.dynamic_index_in_dim(rows[name], number, keepdims=False) for name in PER_STEP}

        def body(number: jax.Array, carried: tuple[Any, Any]) -> tuple[Any, Any]:
            state, sums = step(carried[0], data, rows_of(number), fixed)
            kept = jax.tree.map(
                lambda every, own: lax.dynamic_update_index_in_dim(every, own, number, 0), carried[1], sums
            )
            return state, kept

        shapes = jax.eval_shape(step, state, data, rows_of(jnp.int32(0)), fixed)[1]
        empty = jax.tree.map(lambda own: jnp.zeros((most, *own.shape), own.dtype), shapes)
        return lax.fori_loop(jnp.int32(0), rows[COUNT], body, (state, empty))

    return chunk


def convolves(jaxpr: Jaxpr) -> bool:
    """Whether there is a convolution of XLA's own in it, as Flax's layers have.

    cnnjax's convolutions are not traced as such. XLA:CPU computes the gradients of others in the body of a loop one
    number after the other, a hundred times slower (`nn.xla_convolution`).
    """
    return any(
        equation.primitive.name == "conv_general_dilated" or any(map(convolves, jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )
