"""The first steps of recipes against PyTorch: the same weights, statistics and momenta on the same batches.

What the recipes' files say is trained on, mixed and normalized by cnnjax; PyTorch sees the same arrays.
docs/recipes_exact.md has what the sources' own code gives beside it.
"""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import Constant
from cnnjax.config import replace
from tests import torch_recipes
from tests.recipe_steps import Steps, apart, length, ours, recipe, rounding, shrunk
from tests.torch_peers import torch
from tests.torch_recipes import After, as_torch, tensors, trained

pytestmark = [pytest.mark.torch, pytest.mark.slow]

SOURCES = {
    "torchvision_resnet50_v1": torch_recipes.torchvision_v1(),
    "torchvision_resnet50_v2": torch_recipes.torchvision_v2(),
    "rsb_resnet50_a2": torch_recipes.rsb_a2(),
    "ffcv_resnet18": torch_recipes.ffcv_resnet18(),
    "flax_resnet50": torch_recipes.flax_resnet50(),
}
STEPS = 5
OF_FLOAT32 = {"nu": 2e-5}
"""1 - 0.999 has so many digits less in float32, in which a step computes with `b2`; its correction, 1 - b2^t, has the
same, so that the step does not."""


@cache
def steps_of(name: str) -> Steps:
    whole = recipe(name)
    return ours(shrunk(whole), length(whole), STEPS)


@cache
def trainings(name: str) -> tuple[After, list[After], list[After], list[After]]:
    """The start, and the states after each step: ours, and the source's in float32 and in float64."""
    small, source, found = shrunk(recipe(name)), SOURCES[name], steps_of(name)
    start, *mine = (as_torch(small.model, state, source.buffers) for state in found.states)
    given = tensors(small.model, found.states[0].variables)
    theirs = [trained(source, given, found, dtype) for dtype in (torch.float32, torch.float64)]
    return start, mine, *theirs


def sets(after: After) -> dict[str, dict[str, np.ndarray]]:
    return {"params": after.params, "statistics": after.statistics, **after.buffers}


@pytest.mark.parametrize("name", SOURCES)
def test_one_step_is_the_sources(name):
    start, mine, theirs, _ = trainings(name)
    before, found = sets(start), sets(mine[0])
    for what, wanted in sets(theirs[0]).items():
        allowed = OF_FLOAT32.get(what, 1e-5) * apart(wanted, before[what]) + rounding(wanted)
        assert apart(found[what], wanted) < allowed, what


@pytest.mark.parametrize("name", SOURCES)
def test_five_steps_are_as_near_to_float64_as_the_sources(name):
    start, mine, theirs, exact = trainings(name)
    for step in range(STEPS):
        found, its, wanted = sets(mine[step]), sets(theirs[step]), sets(exact[step])
        for what in wanted:
            # Two roundings of one sum differ: up to twice as far is as near, and as near as float32 can tell.
            allowed = 2 * apart(its[what], wanted[what]) + rounding(wanted[what])
            allowed += OF_FLOAT32.get(what, 0) * apart(wanted[what], sets(start)[what])
            assert apart(found[what], wanted[what]) <= allowed, (what, step)


@pytest.mark.parametrize("name", SOURCES)
def test_every_array_moves_as_the_sources(name):
    """Each by itself, so that none hides behind larger ones."""
    start, mine, theirs, _ = trainings(name)
    for what in ("params", *SOURCES[name].buffers):
        for array, wanted in sets(theirs[-1])[what].items():
            moved = np.linalg.norm(wanted - sets(start)[what][array])
            allowed = 1e-4 * moved + STEPS * 2 * rounding({array: wanted})
            assert np.linalg.norm(sets(mine[-1])[what][array] - wanted) <= allowed, (what, array)


@pytest.mark.parametrize("name", SOURCES)
def test_decays_what_the_source_decays(name):
    """At a gradient of 0, and a learning rate at which the decay is seen: it would be rounded away in few steps."""
    small, start = shrunk(recipe(name)), steps_of(name).states[0]
    rate = 0.1 / small.optim.weight_decay
    optimizer = replace(small.optim, {"learning_rate": rate, "schedule": Constant()}).build(steps=9, steps_per_epoch=9)
    zeros = jax.tree.map(jnp.zeros_like, start.params)
    updates, _ = jax.jit(optimizer.update)(zeros, optimizer.init(start.params), start.params)
    found = as_torch(small.model, start.replace(params=updates), ()).params
    wanted = torch_recipes.decayed(SOURCES[name], tensors(small.model, start.variables), rate)
    assert any(array.any() for array in wanted.values())
    for array, change in wanted.items():
        # The source's is the difference of two parameters of size one.
        assert_allclose(found[array], change, rtol=1e-4, atol=1e-6, err_msg=array)
