"""Initial weights that are fitted to the first training batch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.initialization import Initialization, Kernel, kernels_of
from cnnjax.initialization.outputs import output_variances
from cnnjax.training.state import TrainState, derive, root_key, step_key
from cnnjax.training.step import Batch, StateFunctions, StepFunctions, training_stream


def fits(functions: StateFunctions) -> bool:
    """Whether the first weights are fitted to a batch."""
    chosen = functions.initialization
    return chosen is not None and (chosen.fits or chosen.fits_images)


def first_tries(functions: StateFunctions, image_shape: tuple[int, ...]) -> jax.Array:
    """What the first `fit_step` is given as tries."""
    return jnp.zeros(len(_kernels(functions, jnp.zeros((1, *image_shape), jnp.float32))), jnp.int32)


def fit_step(
    functions: StepFunctions, state: TrainState, tries: jax.Array, batch: Batch
) -> tuple[TrainState, jax.Array, jax.Array]:
    """One correction of the first weights: (state, tries, whether another is to follow).

    batch: the whole of the first training batch, as `train_step` is given it on one device. The network sees what it
    sees in the first step. What the optimizer and the methods keep stays as it was.
    """
    functions = functions.bound(state.lane)
    key, chosen = step_key(state.lane["seed"], state.step), _initialization(functions)
    images, *_ = functions.inputs(batch, key, state.step)
    kernels = _kernels(functions, images[:1])
    if chosen.fits_images:
        unaugmented = functions.views(batch["image"])[:, 0]
        state = state.replace(params=chosen.fitted_to_images(state.params, kernels, unaugmented))
    if not chosen.fits:
        return state, tries, jnp.bool_(False)
    streams = partial(training_stream, derive(key, "dropout"))
    variances = output_variances(functions.network, state.variables, images, kernels, streams=streams)
    params, tries, more = chosen.fitted(state.params, kernels, variances, tries)
    return state.replace(params=params), tries, more


def _kernels(functions: StateFunctions, images: Any) -> Mapping[str, Kernel]:
    streams = partial(derive, root_key(0))
    return _initialization(functions).chosen(kernels_of(functions.network, images, streams))


def _initialization(functions: StateFunctions) -> Initialization:
    assert functions.initialization is not None
    return functions.initialization
