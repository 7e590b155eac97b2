"""Whole networks against torchvision and timm: parameters, operations, logits and gradients for the same weights."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cnnjax import convert, models

torch = pytest.importorskip("torch")
from tests.torch_peers import randomized, torchvision  # noqa: E402

pytestmark = pytest.mark.torch

# Our name -> torchvision's constructor, with its arguments.
PEERS = {
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "resnet152": ("resnet152", {}),
    "wide_resnet50_2": ("wide_resnet50_2", {}),
    "resnext50_32x4d": ("resnext50_32x4d", {}),
}


def peer(name):
    constructor, arguments = PEERS[name]
    return randomized(getattr(torchvision.models, constructor)(weights=None, **arguments))


def images(shape, batch=2):
    return np.random.default_rng(1).normal(size=(batch, *shape)).astype(np.float32)


def nchw(x):
    return torch.tensor(x.transpose(0, 3, 1, 2).copy())


# Compiled once and run once: optimizing takes longer than it saves.
QUICK = {"xla_backend_optimization_level": 0}


def logits(name, variables, x, classes=1000):
    module = models.build(name, num_classes=classes)
    return jax.jit(module.apply).lower(variables, x).compile(compiler_options=QUICK)(variables, x)


@pytest.mark.parametrize("name", PEERS)
def test_logits_equal_torchvision_and_weights_go_back(name):
    theirs = peer(name)
    x = images(models.config(name).input_shape)
    with torch.no_grad():
        expected = theirs(nchw(x)).numpy()
    state = theirs.state_dict()
    variables = convert.from_torch(name, state)
    assert np.abs(logits(name, variables, x) - expected).max() < 1e-4 * np.abs(expected).max()
    returned = convert.to_torch(name, variables)
    assert all(np.array_equal(value, state[key].numpy()) for key, value in returned.items())
    assert all(models.config(name).torch_ignores(key) for key in state.keys() - returned.keys())
