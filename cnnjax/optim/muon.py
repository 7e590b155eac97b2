"""Muon: orthogonalized momentum of kernels, AdamW for the rest."""

from __future__ import annotations

from math import prod
from operator import and_
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from pydantic import Field

from cnnjax.config import lane, later
from cnnjax.errors import ConfigError
from cnnjax.optim.decay_mask import is_decayed
from cnnjax.optim.groups import check_patterns, group_at, matching, paths_of
from cnnjax.optim.optim import Optim
from cnnjax.optim.promotion import promoting

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(Optim, tag="muon"):
    """Momentum orthogonalized by a Newton-Schulz iteration (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    For kernels: m = `momentum` m + g; m, or g + `momentum` m with `nesterov`, as a matrix of (features, all other axes)
    becomes the nearest matrix whose singular values are about 1 (`orthogonalized`, in float32), multiplied by a factor
    of its shape. shape_scale: "original" is the root of features / others where that is above 1; "match_rms_adamw" is
    0.2 times the root of the larger one, so that AdamW's learning rates fit (Liu et al. 2025, arXiv:2502.16982, section
    2.2); "none" is 1, as airbench94_muon has it. Convolutions with groups are one matrix over all groups, and layers
    that `nn.scan` repeats one over all layers: name these in `rest`. The author's code takes the factor of a
    convolution from its height and width, so that it is 1 there.

    For the rest: AdamW with `b1`, `b2`, `eps`, whose learning rate is `rest_rate` times that of the kernels. The rest
    is biases and scales, what has fewer than two dimensions or one input (depthwise kernels, a first layer of grey
    images), embeddings, and what a pattern of `rest` matches, which by default is the output layer, `logits`. A pattern
    that matches no parameter is refused when an experiment is checked. Weight decay is decoupled, everywhere. rest_by:
    "sgd" trains the rest by SGD instead, with `rest_momentum` and `nesterov`, and adds its decay to the gradient before
    the momentum, as PyTorch's SGD does.

    normalize_kernels: at every step, kernels are brought to a Frobenius norm of the root of their features before they
    are moved, as in airbench94_muon, so that all layers turn at the pace of the learning rate. A kernel of zeros stays.

    `momentum`, `b1`, `b2` in [0, 1); `eps`, `rest_rate` > 0; `iterations` at least 1.
    """

    learning_rate: float = lane(0.02, gt=0)
    momentum: float = lane(0.95, ge=0, lt=1)
    nesterov: bool = True
    iterations: int = Field(default=5, ge=1)
    shape_scale: Literal["original", "match_rms_adamw", "none"] = "original"
    rest: tuple[str, ...] = ("*logits.*",)
    rest_rate: float = lane(0.015, gt=0)
    b1: float = lane(0.9, ge=0, lt=1)
    b2: float = lane(0.95, ge=0, lt=1)
    eps: float = lane(1e-10, gt=0)
    normalize_kernels: bool = later(False)
    rest_by: Literal["adamw", "sgd"] = later("adamw")
    rest_momentum: float = lane(0.9, later=True, ge=0, lt=1)

    def check_params(self, params: Any) -> None:
        super().check_params(params)
        check_patterns("optim.rest", self.rest, params)
        orthogonalized = jax.tree.leaves(self.orthogonalizes(params))
        moves = [not group_at(self.groups, path).frozen for path in paths_of(params)]
        if not any(map(and_, orthogonalized, moves)):
            raise ConfigError(
                "optim: muon orthogonalizes kernels, and here optim.rest and frozen groups leave none, so that its "
                "AdamW would train all; use adamw, or change them"
            )

    def orthogonalizes(self, params: Any) -> Any:
        """The tree of `params` with whether each one is orthogonalized, or else of the rest."""

        def is_matrix(path: Any, param: Any, decays: bool, left: bool) -> bool:
            embedding = "embedding" in jax.tree_util.keystr(path[-1:])
            return decays and not left and not embedding and param.ndim > 1 and param.shape[-2] > 1

        kernels, left = is_decayed(params), matching(self.rest, params)
        return jax.tree_util.tree_map_with_path(is_matrix, params, kernels, left)

    def direction(self) -> optax.GradientTransformation:
        def rest(params: Any) -> Any:
            return jax.tree.map(lambda orthogonal: not orthogonal, self.orthogonalizes(params))

        momentum = optax.trace(self.momentum, nesterov=self.nesterov)
        kernels = optax.masked(optax.chain(momentum, optax.stateless(self._orthogonalized)), self.orthogonalizes)
        if self.rest_by == "sgd":
            others = optax.chain(self.decay(), optax.trace(self.rest_momentum, nesterov=self.nesterov))
            return optax.chain(
                optax.chain(kernels, optax.masked(self.decay(), self.orthogonalizes)),
                optax.masked(optax.chain(others, optax.scale(self.rest_rate)), rest),
            )
        adam = promoting(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps))
        return optax.chain(
            kernels,
            optax.masked(adam, rest),
            self.decay(),
            optax.masked(optax.scale(self.rest_rate), rest),
        )

    def around(self, every: optax.GradientTransformation, rate: optax.Schedule) -> optax.GradientTransformation:
        if not self.normalize_kernels:
            return every
        return optax.chain(every, optax.masked(optax.stateless(_from_normalized), self.orthogonalizes))

    def _orthogonalized(self, updates: Any, params: Any) -> Any:
        return jax.tree.map(self._of_kernel, updates)

    def _of_kernel(self, update: jax.Array) -> jax.Array:
        others, features = prod(update.shape[:-1]), update.shape[-1]
        matrix = orthogonalized(update.reshape(others, features), iterations=self.iterations)
        factors = {
            "original": max(1, features / others) ** 0.5,
            "match_rms_adamw": 0.2 * max(features, others) ** 0.5,
            "none": 1.0,
        }
        return (factors[self.shape_scale] * matrix).reshape(update.shape).astype(update.dtype)


def _from_normalized(updates: Any, params: Any) -> Any:
    """Updates of kernels that bring them to a norm of the root of their features too."""

    def added(update: jax.Array, param: jax.Array) -> jax.Array:
        norm = optax.safe_norm(param, 0.0)
        scale = jnp.where(norm > 0, param.shape[-1] ** 0.5 / jnp.where(norm > 0, norm, 1), 1)
        return update + (scale - 1) * param

    return jax.tree.map(added, updates, params)


def orthogonalized(matrix: jax.Array, *, iterations: int) -> jax.Array:
    """About the orthogonal factor U V' of a matrix U S V', computed in float32 at least.

    A quintic Newton-Schulz iteration with Jordan's coefficients, from the matrix over its Frobenius norm: five
    iterations bring singular values of at least 0.002 of that norm to 0.68..1.21. A matrix of zeros stays one.
    """
    x = matrix if matrix.dtype == jnp.float64 else matrix.astype(jnp.float32)
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / (optax.safe_norm(wide, 0.0) + 1e-7)
    a, b, c = _COEFFICIENTS
    with jax.default_matmul_precision("highest"):
        for _ in range(iterations):
            square = wide @ wide.T
            wide = a * wide + (b * square + c * (square @ square)) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T
