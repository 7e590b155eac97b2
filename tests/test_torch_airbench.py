"""The airbench networks against PyTorch modules put together as the source describes them."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cnnjax import models

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

pytestmark = pytest.mark.torch


class Group(nn.Module):
    """Convolution, pooling, then normalized convolutions, the last two with a shortcut if there are three."""

    def __init__(self, inputs, features, convolutions):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(features if i else inputs, features, 3, padding=1, bias=False) for i in range(convolutions)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(features, eps=1e-12) for _ in range(convolutions))

    def forward(self, x):
        x = nn.functional.gelu(self.norms[0](nn.functional.max_pool2d(self.convolutions[0](x), 2)))
        y = self.norms[1](self.convolutions[1](x))
        if len(self.norms) == 3:
            y = x + self.norms[2](self.convolutions[2](nn.functional.gelu(y)))
        return nn.functional.gelu(y)


@pytest.mark.parametrize(
    ("name", "widths", "convolutions"),
    [("airbench94", (64, 256, 256), 2), ("airbench95", (128, 384, 384), 2), ("airbench96", (128, 384, 512), 3)],
)
def test_logits_equal_torch(name, widths, convolutions):
    generator = np.random.default_rng(0)
    module, x = models.build(name), generator.normal(size=(2, 32, 32, 3)).astype(np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    drawn = jax.tree.map(lambda leaf: generator.uniform(0.2, 1, leaf.shape).astype(np.float32), shapes)
    centred = jax.tree.map(lambda leaf: (leaf - 0.6) / np.sqrt(np.prod(leaf.shape[:-1])), drawn["params"])
    variables = {"params": centred, "batch_stats": drawn["batch_stats"]}

    def kernel(name):
        return torch.tensor(np.moveaxis(centred[name]["kernel"], (3, 2), (0, 1)).copy())

    whiten = nn.Conv2d(3, 24, 2)
    groups = [Group(i, o, convolutions) for i, o in zip((24, *widths), widths, strict=False)]
    with torch.no_grad():
        whiten.weight.copy_(kernel("whiten"))
        whiten.bias.copy_(torch.tensor(centred["whiten"]["bias"]))
        for number, group in enumerate(groups, start=1):
            inner = f"residual{number}_" if convolutions == 3 else None
            for i in range(convolutions):
                at = f"{{}}{number}_{i + 1}" if inner is None or i == 0 else f"{inner}{{}}{i + 1}"
                group.convolutions[i].weight.copy_(kernel(at.format("conv")))
                norm = at.format("norm")
                group.norms[i].bias.copy_(torch.tensor(centred[norm]["bias"]))
                group.norms[i].running_mean.copy_(torch.tensor(drawn["batch_stats"][norm]["mean"]))
                group.norms[i].running_var.copy_(torch.tensor(drawn["batch_stats"][norm]["var"]))
        y = nn.functional.gelu(whiten(torch.tensor(x.transpose(0, 3, 1, 2))))
        for group in groups:
            y = group.eval()(y)
        expected = nn.functional.max_pool2d(y, 3).flatten(1).numpy() @ centred["logits"]["kernel"] / 9
    ours = np.asarray(jax.jit(module.apply)(variables, x))
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()
