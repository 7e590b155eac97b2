"""How images become what a network sees: normalized by channel, in the precision of the computation."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data.example_form import ExampleForm
from cnnjax.experiment.experiment import Experiment
from cnnjax.tasks import Task


def normalize_of(experiment: Experiment, task: Task, form: ExampleForm) -> Callable[[jax.Array], jax.Array]:
    """Images [..., C] in 0..1 -> (x - mean) / std by channel, as the task has it for that form, in the precision."""
    dtype = jnp.dtype(experiment.precision)
    mean, std = (np.asarray(channels, np.float32) for channels in task.scale(form))

    def normalize(x: jax.Array) -> jax.Array:
        channels = (1,) * (x.ndim - 1) + (-1,)
        return ((x - mean.reshape(channels)) / std.reshape(channels)).astype(dtype)

    return normalize
