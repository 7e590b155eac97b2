"""The first steps of a recipe's training on a small network of its kind, beside those of an independent version of it.

A recipe is loaded from its file and shrunk in nothing but the size of its images, the number of its blocks, classes and
examples a batch; the learning rate is that of the recipe's whole length and batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from cnnjax import Experiment, Synthetic
from cnnjax.config import replace
from cnnjax.experiment import functions_of, input_shape_of
from cnnjax.experiment.length import Length
from cnnjax.lanes import lane_values
from cnnjax.run.feed import with_partners
from cnnjax.study.file import load
from cnnjax.training.state import step_key
from cnnjax.training.step import init_state, state_from, train_step

RECIPES = Path(__file__).resolve().parents[1] / "experiments" / "imagenet"
IMAGENET = 1_281_167
CLASSES, BATCH, SIDE = 10, 8, 32


def recipe(name: str) -> Experiment:
    """The experiment of a recipe's file, `name` as `torchvision_resnet50_v1`."""
    return load(RECIPES / f"{name}.py").experiment


def length(experiment: Experiment) -> Length:
    """The recipe's length on the training part of ImageNet."""
    steps = experiment.steps or -(-experiment.epochs * IMAGENET // experiment.batch_size)
    return Length(IMAGENET, experiment.batch_size, steps)


def shrunk(experiment: Experiment, **changes: Any) -> Experiment:
    """The recipe's training of two stages with a block each, on a few small images of ten classes, nothing augmented
    and no block left out at random; one group of the batch's statistics."""
    data = Synthetic(height=SIDE, width=SIDE, classes=CLASSES, examples=5 * BATCH, test_examples=BATCH)
    optim = experiment.optim.for_batch(experiment.batch_size)
    small = {"data": data, "optim": optim, "augment": (), "resolution": None, "batch_size": BATCH, "accumulate": 1}
    small |= {"model.stage_sizes": (1, 1), "model.features": 8, "model.stochastic_depth": 0.0}
    small |= {"model.norm.group": "global", "precision": "float32"}
    return replace(experiment, small | changes)


@dataclass(frozen=True)
class Steps:
    """What a training saw and became. images: [steps, B, H, W, C], normalized and mixed; targets: [steps, B, K].

    params, statistics, momenta: flat, by path, before the first step and after each. momenta: by their name in optax.
    """

    images: np.ndarray
    targets: np.ndarray
    states: list[Any]


def ours(small: Experiment, whole: Length, steps: int = 5) -> Steps:
    """So many steps of the shrunk recipe as cnnjax takes them, from weights of which none is 0 or 1."""
    form = small.data.load()
    functions = functions_of(small, whole, form=form)
    lane: Any = lane_values(small)
    drawn = jax.jit(partial(init_state, functions, image_shape=input_shape_of(small, form)))(lane)
    state = state_from(functions, lane, _off_their_start(drawn.variables))
    step, inputs = jax.jit(partial(train_step, functions)), jax.jit(functions.inputs)
    made, seen, targets = [jax.device_get(state)], [], []
    for number in range(steps):
        batch = _batch(form, number, mixed=small.mixing is not None)
        images, pairs, _ = inputs(batch, step_key(0, jnp.int32(number)), jnp.int32(number))
        seen.append(np.asarray(images))
        targets.append(sum(np.asarray(_rows(target)) * np.reshape(weight, (-1, 1)) for target, weight in pairs))
        state, _ = step(state, batch)
        made.append(jax.device_get(state))
    return Steps(np.stack(seen), np.stack(targets), made)


def _rows(target: jax.Array) -> jax.Array:
    return jax.nn.one_hot(target, CLASSES) if target.ndim == 1 else target


def _batch(form: Any, number: int, *, mixed: bool) -> dict[str, jax.Array]:
    index = np.arange(number * BATCH, (number + 1) * BATCH, dtype=np.int32)
    batch = {name: jnp.asarray(form.train.values[name][index]) for name in ("image", "label")}
    batch |= {"position": jnp.arange(BATCH, dtype=jnp.int32), "index": jnp.asarray(index)}
    return dict(with_partners(batch)) if mixed else batch


def _off_their_start(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables with scales and biases that no layer starts with: a scale of 0 would hide what is before it."""
    rng = np.random.default_rng(0)

    def moved(path: tuple[str, ...], leaf: Any) -> Any:
        if leaf.ndim > 1 or path[0] != "params":
            return leaf
        mean = 1.0 if path[-1] == "scale" else 0.0
        return jnp.asarray(rng.normal(mean, 0.1, leaf.shape), jnp.float32)

    flat = traverse_util.flatten_dict(dict(variables))
    return traverse_util.unflatten_dict({path: moved(path, leaf) for path, leaf in flat.items()})


def kept(state: Any, name: str) -> Any:
    """What the optimizer keeps under that name of optax ("trace", "mu", "nu"): a tree like the parameters."""
    return optax.tree_utils.tree_get(state.opt_state, name)


def apart(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """How far two sets of arrays are apart: the length of their difference over all arrays, computed in float64."""
    assert one.keys() == other.keys()
    return float(np.sqrt(sum(np.sum((np.float64(one[name]) - np.float64(other[name])) ** 2) for name in one)))


def rounding(arrays: Mapping[str, np.ndarray]) -> float:
    """How far arrays of float32 are from what they stand for, each number being half of its last place off."""
    return 2.0**-24 * apart(arrays, {name: np.zeros(()) for name in arrays})
