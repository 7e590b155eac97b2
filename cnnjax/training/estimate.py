"""Batch statistics estimated anew, for weights that are evaluated but were not those of the training's steps.

The running statistics of a training are those of the weights it went through. Where other weights are evaluated, such
as the average of many, their own are the means over training batches of the statistics that each batch has by itself
(Izmailov et al. 2018, arXiv:1803.05407, section 3.2; `torch.optim.swa_utils.update_bn`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax import calling
from cnnjax.errors import ConfigError
from cnnjax.training.state import TrainState, derive, root_key
from cnnjax.training.step import Batch, StepFunctions, with_weights_of

# So far from any statistic that the share kept of it is found to the last digits of float32, and a power of two.
_FAR = 2.0**20


def begun_anew(state: TrainState, name: str) -> TrainState:
    """The state before the first batch of the estimate for the weights called `name`."""
    return _with(state, name, {**state.estimated[name], "step": state.step * 0})


def ended(state: TrainState, name: str) -> TrainState:
    """The state after the last batch: its estimate for the weights `name` is one of its own step."""
    return _with(state, name, {**state.estimated[name], "step": jnp.copy(state.step)})


def _with(state: TrainState, name: str, held: Any) -> TrainState:
    return state.replace(estimated={**state.estimated, name: held})


def estimate_step(functions: StepFunctions, state: TrainState, batch: Batch, *, name: str) -> Any:
    """The estimate for the weights `name` with one batch more: what the state has of it, as the state has it.

    The mean over batches; "step" counts them. batch: as of `train_step`; images are passed as they are evaluated
    (not augmented, in all their views), through the network as it is trained, dropout included.
    """
    functions, so_far = functions.bound(state.lane), state.estimated[name]
    count = so_far["step"]
    key = jax.random.fold_in(derive(root_key(state.lane["seed"]), "batch statistics"), count)
    of_batch = _batch_statistics(functions, with_weights_of(functions, state, name), batch, key)

    def mean(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(count == 0, new, old + (new - old) / (count + 1).astype(new.dtype))

    means = jax.tree.map(
        lambda old, new: mean(old, new) if jnp.issubdtype(new.dtype, jnp.floating) else new,
        so_far["batch_stats"],
        of_batch,
    )
    return {"batch_stats": means, "step": count + 1}


def _batch_statistics(functions: StepFunctions, state: TrainState, batch: Batch, key: jax.Array) -> Any:
    """What the batch's own statistics are, whatever module keeps them.

    A module that moves running statistics r to m r + (1 - m) b is run from two values of r, and so tells m and b.
    """
    views = functions.views(batch["image"], batch["index"])
    images = views.reshape(-1, *views.shape[2:])
    running, inference = state.batch_stats, functions.inference

    def started(r: jax.Array, path: Any, old: jax.Array) -> jax.Array:
        # Modules that are trained as at inference normalize by what they have.
        module = jax.tree_util.keystr(path[:-1], simple=True, separator=".")
        stays = not _is_number(old) or (inference is not None and inference(module))
        return old if stays else jnp.full_like(old, r)

    def passed(r: jax.Array) -> tuple[Any, Any]:
        start = jax.tree_util.tree_map_with_path(partial(started, r), running)
        outputs, left = calling.apply(
            functions.network,
            {**state.variables, "batch_stats": start},
            images,
            train=True,
            streams=partial(derive, key),
            inference=inference,
        )
        return outputs, left["batch_stats"]

    try:
        # Mapped over the two values alone: what does not depend on them is computed once.
        _, moved = jax.vmap(passed, out_axes=(None, 0))(jnp.asarray([0.0, _FAR]))
    except ValueError as error:
        if "out_axes" not in str(error):
            raise
        raise ConfigError(
            "the batch statistics of the evaluated weights cannot be estimated: the network uses its running "
            "statistics in training too, so a batch has none of its own; evaluate weights with statistics of their own"
        ) from None

    def solved(old: jax.Array, ends: jax.Array) -> jax.Array:
        if not _is_number(old):
            return old
        kept = (ends[1] - ends[0]) / _FAR
        # Those that nothing moves stay.
        return jnp.where(kept == 1, old, ends[0] / jnp.where(kept == 1, 1, 1 - kept))

    return jax.tree.map(solved, running, moved)


def _is_number(array: jax.Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)
