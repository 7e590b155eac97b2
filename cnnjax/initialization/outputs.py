"""The variances of layers' outputs, measured where a network is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from cnnjax import calling
from cnnjax.errors import ConfigError
from cnnjax.initialization.kernel import holds_kernel

COLLECTION = "output_variances"


def output_variances(
    network: nn.Module, variables: Any, images: jax.Array, paths: Iterable[str], *, streams: Callable[[str], jax.Array]
) -> dict[str, jax.Array]:
    """The variance of all numbers that the layer of each kernel gives for these images in training mode.

    paths: of kernels. Of a layer that is called more than once it is its first output. float32 whatever the images are.
    Raises ConfigError for a layer whose output is not seen: under `nn.scan`, or no array.
    """
    with nn.intercept_methods(_measuring):
        _, left = calling.apply(network, variables, images, train=True, streams=streams, left=[COLLECTION])
    found: Any = traverse_util.flatten_dict(dict(left.get(COLLECTION, {})), sep=".")
    measured = {path.rpartition(".")[0] + ".kernel": variance for path, variance in found.items()}
    for path in paths:
        if path not in measured:
            raise ConfigError(
                f"initialization: the output of the layer with {path} is not seen in training (it is under nn.scan or "
                "the like, returns no array, or is not called), so that it cannot be fitted to",
                path="initialization",
            )
    return {path: measured[path] for path in paths}


def _measuring(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
    returned, module = method(*args, **kwargs), context.module
    if context.method_name == "__call__" and isinstance(returned, jax.Array) and holds_kernel(module):
        variance = jnp.var(returned.astype(jnp.float32))
        module.sow(COLLECTION, "variance", variance, reduce_fn=_first, init_fn=lambda: None)
    return returned


def _first(held: Any, new: Any) -> Any:
    return new if held is None else held
