"""Grad-CAM of the same weights as PyTorch computes it, by hooks."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import calling
from cnnjax.inspection.attribution import saliency
from cnnjax.inspection.grad_cam import grad_cam
from cnnjax.inspection.network import Network

pytestmark = pytest.mark.torch


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), name="first")(x))
        x = nn.relu(nn.Conv(6, (3, 3), (2, 2), padding=1, name="second")(x))
        return nn.Dense(5, name="logits")(nn.tanh(nn.Dense(7, name="hidden")(x.mean((1, 2)))))


def test_grad_cam_and_saliency_are_those_of_hooks():
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).random((3, 12, 12, 3), np.float32)
    target = np.array([1, 4, 0])
    module = Net()
    variables = calling.init(module, jax.random.key(0), jnp.asarray(images))
    network = Network.of(module, variables, (12, 12, 3))

    def conv(name, **fields):
        own = variables["params"][name]
        kernel = np.asarray(own["kernel"])
        layer = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1, **fields)
        layer.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
        layer.bias.data = torch.tensor(np.asarray(own["bias"]))
        return layer

    def dense(name):
        own = variables["params"][name]
        layer = torch.nn.Linear(*own["kernel"].shape)
        layer.weight.data = torch.tensor(np.asarray(own["kernel"]).T.copy())
        layer.bias.data = torch.tensor(np.asarray(own["bias"]))
        return layer

    last = torch.nn.ReLU()
    pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    body = [conv("first"), torch.nn.ReLU(), conv("second", stride=2), last]
    net = torch.nn.Sequential(*body, pooled, dense("hidden"), torch.nn.Tanh(), dense("logits"))
    held = {}
    last.register_forward_hook(lambda _, __, output: held.update(maps=output))
    last.register_full_backward_hook(lambda _, __, gradient: held.update(gradient=gradient[0]))
    x = torch.tensor(images.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    net(x)[torch.arange(3), torch.tensor(target)].sum().backward()
    weights = held["gradient"].mean((2, 3), keepdim=True)
    expected = torch.relu((weights * held["maps"]).sum(1)).detach().numpy()
    found = grad_cam(network, jnp.asarray(images), jnp.asarray(target), "second.relu")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected.max() > 0
    assert x.grad is not None
    own = saliency(network.outputs, jnp.asarray(images), jnp.asarray(target))
    np.testing.assert_allclose(own, x.grad.numpy().transpose(0, 2, 3, 1), atol=1e-5)
