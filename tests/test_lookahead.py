"""Lookahead: its arithmetic, and where it is refused."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import SGD, Constant, Experiment, Lookahead, ScheduleFreeSGD, SmallCNN, Synthetic
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.training.state import TrainState
from tests.steps_of_methods import stepped

CURVATURE = np.asarray([1.0, 4.0, 0.5], np.float32)
START = np.asarray([3.0, -1.0, 2.0], np.float32)
SLOW_BY_HAND = SGD(learning_rate=0.1, momentum=0.5, nesterov=False, schedule=Constant())


def test_slow_weights_on_a_quadratic_are_those_of_the_paper():
    """f(w) = sum a w^2 / 2 under SGD with momentum, five steps with a pull back after the second and the fourth."""
    found = stepped(
        Lookahead(every=2, share=0.3), SLOW_BY_HAND, {"w": START}, lambda p: (CURVATURE * p["w"] ** 2).sum() / 2
    )
    slow = fast = START.astype(np.float64)
    velocity = np.zeros(3)
    for step, (params, own) in enumerate(found, 1):
        velocity = 0.5 * velocity + CURVATURE * fast
        fast = fast - 0.1 * velocity
        if step % 2 == 0:
            slow = slow + 0.3 * (fast - slow)
            fast = slow
        # float32 of three operations a step.
        assert_allclose(params["w"], fast, rtol=1e-6)
        assert_allclose(own["w"], slow, rtol=1e-6)


def test_the_whole_way_is_the_optimizer_alone():
    def loss(p):
        return (CURVATURE * p["w"] ** 2).sum() / 2

    ahead = stepped(Lookahead(every=2, share=1.0), SLOW_BY_HAND, {"w": START}, loss)
    plain = stepped(Lookahead(every=100), SLOW_BY_HAND, {"w": START}, loss)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-6), ahead[-1][0], plain[-1][0])
    assert jnp.array_equal(plain[-1][1]["w"], START)


def test_a_share_that_falls_and_an_end_between_two_pulls():
    """The share after 2 and 4 of 5 steps is 1 - 0.7 (t / 5)^3; the fifth step goes back to the slow weights."""
    method = Lookahead(every=2, share=1.0, final_share=0.3, power=3.0, ends_slow=True)
    with pytest.raises(ConfigError, match="use what lasting returns"):
        stepped(method, SLOW_BY_HAND, {"w": START}, lambda p: p["w"].sum())
    lasting = method.lasting(steps=5, steps_per_epoch=5)
    found = stepped(lasting, SLOW_BY_HAND, {"w": START}, lambda p: (CURVATURE * p["w"] ** 2).sum() / 2)
    slow = fast = START.astype(np.float64)
    velocity = np.zeros(3)
    for step, (params, own) in enumerate(found, 1):
        velocity = 0.5 * velocity + CURVATURE * fast
        fast = fast - 0.1 * velocity
        if step % 2 == 0:
            slow = slow + (1 - 0.7 * (step / 5) ** 3) * (fast - slow)
        if step in (2, 4, 5):
            fast = slow
        assert_allclose(params["w"], fast, rtol=1e-6)
        assert_allclose(own["w"], slow, rtol=1e-6)


def test_batch_statistics_go_back_too():
    """Share 0.5 of every step: what the network left at 8 comes half of the way from 0."""
    method = Lookahead(every=1, share=0.5, batch_statistics="slow")
    own = method.init({"w": jnp.zeros(2)}, {"batch_stats": {"mean": jnp.zeros(2)}})
    stepped_to = TrainState(jnp.int32(1), {"w": jnp.full(2, 4.0)}, {"mean": jnp.full(2, 8.0)}, (), {})
    own, after = method.after(own, stepped_to, stepped_to)
    assert_allclose(after.params["w"], 2)
    assert_allclose(after.batch_stats["mean"], 4)
    assert_allclose(own["batch_stats"]["mean"], 4)


def test_a_power_of_no_share_is_refused():
    with pytest.raises(ConfigError, match="the share stays as it is without final_share"):
        Lookahead(power=2.0)


def test_slow_weights_that_never_move_are_refused():
    experiment = Experiment(model=SmallCNN(features=2), data=Synthetic(height=8, width=8), batch_size=8, steps=4)
    with pytest.raises(ConfigError, match=re.escape("every = 5: the slow weights never move, for the training has 4")):
        check(replace(experiment, {"methods": (Lookahead(),)}))


def test_weights_that_others_are_made_of_are_not_moved():
    experiment = Experiment(model=SmallCNN(features=2), data=Synthetic(height=8, width=8), batch_size=8, steps=10)
    changes = {"optim": ScheduleFreeSGD(learning_rate=0.1), "methods": (Lookahead(),)}
    with pytest.raises(ConfigError, match="lookahead moves the weights after the update, of which schedule_free_sgd"):
        replace(experiment, changes)
