"""The networks for keywords against PyTorch: the same weights, the same logits."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cnnjax import models

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def theirs(params, statistics, x, *, depth, pool, dilated):
    """The paper's network by PyTorch's functions, of a spectrogram [B, bands, frames, 1]: time comes first there."""
    functional = torch.nn.functional

    def convolved(x, number, dilation=1):
        # Rows and columns are swapped, as in the image.
        kernel = torch.tensor(np.array(params[f"conv{number}"]["kernel"]).transpose(3, 2, 1, 0))
        return functional.relu(functional.conv2d(x, kernel, padding=dilation, dilation=dilation))

    x = convolved(torch.tensor(x.transpose(0, 3, 2, 1)), 0)
    x = old = x if pool == 1 else functional.avg_pool2d(x, pool[::-1])
    for number in range(1, depth + 1):
        y = convolved(x, number, 2 ** ((number - 1) // 3) if dilated else 1)
        x = y
        if number % 2 == 0:
            x = old = y + old
        own = {name: torch.tensor(np.array(value)) for name, value in statistics[f"norm{number}"].items()}
        x = functional.batch_norm(x, own["mean"], own["var"], eps=1e-5)
    x = x.mean((2, 3))
    return (x @ torch.tensor(np.array(params["logits"]["kernel"]))) + torch.tensor(np.array(params["logits"]["bias"]))


@pytest.mark.parametrize(
    ("name", "pool", "dilated", "depth"), [("res8_narrow", (3, 4), False, 6), ("res15_narrow", 1, True, 13)]
)
def test_logits_are_pytorchs(name, pool, dilated, depth):
    network = models.build(name)
    generator = np.random.default_rng(0)
    x = generator.random((2, 20, 24, 1)).astype(np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    # Statistics are above 0, weights small.
    variables = jax.tree.map(lambda leaf: generator.uniform(0.1, 0.3, leaf.shape).astype(np.float32), shapes)
    variables["params"] = jax.tree.map(lambda leaf: (leaf - 0.2) * np.float32(10 / leaf.size**0.5), variables["params"])
    ours = jax.jit(network.apply)(variables, x)
    expected = theirs(variables["params"], variables["batch_stats"], x, depth=depth, pool=pool, dilated=dilated)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-3, atol=1e-4)
