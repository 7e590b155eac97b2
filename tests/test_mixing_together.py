"""Examples that are mixed by one draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import CutMix, Digits, Experiment, Mixup, SmallCNN, Switch
from cnnjax.errors import ConfigError
from cnnjax.experiment import entries_used, parts_of
from cnnjax.experiment.training_examples import training_examples
from cnnjax.run.feed import first_batch


def shares(mixing):
    """The share of each of eight examples in its mixed image."""
    experiment = Experiment(model=SmallCNN(features=2), data=Digits(), mixing=mixing, batch_size=8)
    form = experiment.data.load()
    seen = training_examples(experiment, form, entries_used(experiment, form), examples=len(parts_of(experiment).train))
    batch = jax.tree.map(jnp.asarray, first_batch(experiment))
    ((_, share), (_, rest)) = jax.jit(seen)(batch, jax.random.key(0), jnp.int32(0))
    np.testing.assert_allclose(share + rest, 1, rtol=1e-6)
    return np.asarray(share)


@pytest.mark.parametrize("mixing", [Mixup, CutMix])
def test_examples_share_a_draw_as_asked(mixing):
    assert len(set(shares(mixing()))) > 4
    fours = shares(mixing(together=4))
    assert len(set(fours[:4])) == len(set(fours[4:])) == 1
    assert fours[0] != fours[4]
    assert len(set(shares(mixing(together="batch")))) == 1


def test_a_switch_s_choice_is_shared_too():
    switch = Switch(mixings=(Mixup(), CutMix()), probabilities=(0.5, 0.5), together="batch")
    assert len(set(shares(switch))) == 1
    with pytest.raises(ConfigError, match="together of the switch"):
        Switch(mixings=(Mixup(together=4),), probabilities=(0.5,))
