"""Optimizers and clipping against PyTorch's and timm's."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

from cnnjax.config import replace
from cnnjax.optim import LAMB, LARS, SGD, Adafactor, Adam, Constant, Lion, Muon, RMSProp
from cnnjax.optim.muon import orthogonalized
from tests.test_optimizers import GRADIENTS, PARAMS, STEPS, decays, flat, nested, updates_of

torch = pytest.importorskip("torch")
from tests.torch_peers import timm  # noqa: E402

zeropower_via_newtonschulz = importlib.import_module(f"{timm.__name__}.optim.muon").zeropower_via_newtonschulz
pytestmark = pytest.mark.torch


def of_torch(path, array):
    """An array as PyTorch lays it out: features first."""
    return torch.tensor(np.moveaxis(array, -1, 0).astype(np.float32).copy() if array.ndim > 1 else np.float32(array))


PAIRS = {
    "adam": (Adam(weight_decay=0.1), lambda p: torch.optim.Adam(p, 1e-3)),
    "rmsprop": (
        RMSProp(weight_decay=0.1, momentum=0.9),
        lambda p: torch.optim.RMSprop(p, 1e-2, alpha=0.99, momentum=0.9),
    ),
    "centered rmsprop": (RMSProp(centered=True), lambda p: torch.optim.RMSprop(p, 1e-2, centered=True)),
    "rmsprop of tensorflow": (
        RMSProp(weight_decay=0.1, momentum=0.9, alpha=0.9, eps=1e-3, form="tensorflow"),
        lambda p: timm.optim.RMSpropTF(p, 1e-2, alpha=0.9, momentum=0.9, eps=1e-3),
    ),
    "lars": (LARS(weight_decay=0.1), lambda p: timm.optim.Lars(p, 1.0, momentum=0.9, trust_coeff=1e-3)),
    "lamb": (LAMB(weight_decay=0.1, clip_norm=1.0), lambda p: timm.optim.Lamb(p, 1e-3)),
    "adafactor": (
        Adafactor(weight_decay=0.1, min_dim_size_to_factor=2),
        lambda p: torch.optim.Adafactor(p, 1e-2, weight_decay=0.1),
    ),
    "lion": (Lion(), lambda p: timm.optim.Lion(p, 1e-4, betas=(0.9, 0.99))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_five_steps_of_pytorch_and_timm(name):
    optim, make = PAIRS[name]
    theirs = {path: torch.nn.Parameter(of_torch(path, array)) for path, array in PARAMS.items()}
    decay = optim.weight_decay
    reference = make([{"params": [p], "weight_decay": decay * decays(path)} for path, p in theirs.items()])
    optimizer = replace(optim, {"schedule": Constant()}).build(steps=STEPS, steps_per_epoch=STEPS)
    params = nested(PARAMS)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradients in GRADIENTS:
        for path, parameter in theirs.items():
            parameter.grad = of_torch(path, gradients[path])
        reference.step()
        updates, state = update(nested(gradients), state, params)
        params = optax.apply_updates(params, updates)
    for path, leaf in flat(params).items():
        if name == "adafactor" and path == "conv.kernel":
            continue  # PyTorch's factors a kernel's rows and columns, which are its last axes, not the largest.
        moved = np.abs(leaf - PARAMS[path]).max()
        # Parameters of size 1 are rounded at 6e-8 in every step; Adam's 1 - 0.999^t keeps four digits.
        assert_allclose(
            of_torch(path, leaf), theirs[path].detach().numpy(), rtol=0, atol=1e-4 * moved + 5e-7, err_msg=path
        )


def test_muon_is_that_of_pytorch_but_for_its_bfloat16():
    matrix = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    theirs = zeropower_via_newtonschulz(
        torch.tensor(matrix), 5, [(3.4445, -4.7750, 2.0315)], dtype=torch.float32
    ).numpy()
    assert_allclose(orthogonalized(jnp.asarray(matrix), iterations=5), theirs, atol=1e-4)
    # torch.optim.Muon, of matrices alone, computes in bfloat16: 0.4% a rounding, multiplied in five iterations.
    weight = torch.nn.Parameter(torch.tensor(matrix.T.copy()))
    params = {"kernel": jnp.asarray(matrix)}
    reference = torch.optim.Muon([weight], lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True)
    optimizer = Muon(weight_decay=0.1, rest=(), schedule=Constant()).build(steps=STEPS, steps_per_epoch=STEPS)
    state = optimizer.init(params)
    for step in range(STEPS):
        gradient = np.random.default_rng(1 + step).normal(size=(5, 12)).astype(np.float32)
        weight.grad = torch.tensor(gradient.T.copy())
        reference.step()
        updates, state = optimizer.update({"kernel": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
    moved = np.abs(np.asarray(params["kernel"]) - matrix).max()
    assert_allclose(params["kernel"], weight.detach().numpy().T, atol=0.05 * moved)


def test_adaptive_clipping_is_that_of_timm():
    optim = SGD(learning_rate=1.0, momentum=0.0, nesterov=False, schedule=Constant(), adaptive_clip=0.5)
    [made] = updates_of(optim, nested(PARAMS), [nested(GRADIENTS[0])])
    for path, leaf in flat(made).items():
        parameter = torch.nn.Parameter(of_torch(path, PARAMS[path]))
        parameter.grad = of_torch(path, GRADIENTS[0][path])
        if not path.startswith("logits"):
            timm.utils.adaptive_clip_grad([parameter], clip_factor=0.5)
        assert_allclose(-of_torch(path, leaf), parameter.grad.numpy(), rtol=1e-5, atol=1e-7, err_msg=path)
