"""Time a training step of a keyword network: cnnjax, the same network in plain Flax Linen, and in PyTorch.

A step is forward, backward and an SGD update with momentum 0.9 of the mean cross-entropy, float32, on one batch (64
log-mel images of 40 bands and 101 frames, 12 words) that is already on the device. The network is res8 (Tang & Lin
2018, arXiv:1710.10361). All sides start from the same weights, drawn by NumPy. The front end, from a second of sound at
16 kHz to the image, is timed by itself in the note `front_ms`, of one batch. PyTorch is channels-last;
`torch_compiled` is that under `torch.compile`. How they are timed: `turns.py`.

    python benchmarks/keywords.py --small
    python benchmarks/keywords.py --repeats 9 --json /tmp/keywords.json
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import turns
from turns import Step, Weights

CLASSES, BANDS, FRAMES, WIDTH = 12, 40, 101, 45
DECAY = 0.99
"""Of the running mean and variance: a step of training does not read them, but writes them."""
Size = tuple[int]
"""Images."""


def batch(size: Size) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(size[0], BANDS, FRAMES, 1)).astype(np.float32)
    return images, rng.integers(0, CLASSES, size[0]).astype(np.int32)


def weights() -> Weights:
    """By the path of cnnjax's parameter."""
    rng = np.random.default_rng(1)
    found = {"logits.kernel": 0.1 * rng.normal(size=(WIDTH, CLASSES)), "logits.bias": 0.1 * rng.normal(size=CLASSES)}
    for number in range(7):
        before = WIDTH if number else 1
        found[f"conv{number}.kernel"] = rng.normal(size=(3, 3, before, WIDTH)) * (2 / (9 * before)) ** 0.5
    return {path: value.astype(np.float32) for path, value in found.items()}


def cnnjax_step(size: Size) -> Step:
    import jax

    from cnnjax import LogMel, Sound, models
    from cnnjax.run.compiling import XLA_CPU

    front = jax.jit(Sound(rate=16000, samples=16000, front=LogMel(window=480, hop=160, bands=BANDS)).images)
    clips = np.random.default_rng(2).integers(-3000, 3000, (size[0], 16000)).astype(np.int16)
    assert front(clips).shape == (size[0], BANDS, FRAMES, 1)
    start = time.perf_counter()
    for _ in range(10):
        front(clips).block_until_ready()
    turns.NOTES["front_ms"] = 100 * (time.perf_counter() - start)
    return _jax_step(models.config("res8", num_classes=CLASSES).build(), size, XLA_CPU)


def linen_step(size: Size) -> Step:
    import flax.linen as nn

    class Res8(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            x = nn.relu(nn.Conv(WIDTH, (3, 3), use_bias=False, name="conv0")(x))
            x = old = nn.avg_pool(x, (3, 4), (3, 4))
            for number in range(1, 7):
                x = nn.relu(nn.Conv(WIDTH, (3, 3), use_bias=False, name=f"conv{number}")(x))
                if number % 2 == 0:
                    x = old = x + old
                norm = nn.BatchNorm(momentum=DECAY, use_bias=False, use_scale=False, name=f"norm{number}")
                x = norm(x, use_running_average=not train)
            return nn.Dense(CLASSES, name="logits")(x.mean((1, 2)))

    return _jax_step(Res8(), size, None)


def _jax_step(network: Any, size: Size, options: Any) -> Step:
    import jax
    import optax

    images, labels = batch(size)
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), images[:1], train=False))
    norms = {name: {"mean": np.zeros(WIDTH, "f4"), "var": np.ones(WIDTH, "f4")} for name in variables["batch_stats"]}

    def objective(params, rest, images, labels):
        logits, rest = network.apply({"params": params, **rest}, images, train=True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), rest

    started = {"params": turns.nested(weights()), "batch_stats": norms}
    assert jax.tree.map(np.shape, started) == jax.tree.map(np.shape, dict(variables))
    return turns.jax_step(objective, started, (images, labels), options)


def torch_step(size: Size, *, compiles: bool = False) -> Step:
    import torch
    from torch import nn

    class Res8(nn.Module):
        def __init__(self):
            super().__init__()
            of = [nn.Conv2d(WIDTH if number else 1, WIDTH, 3, padding=1, bias=False) for number in range(7)]
            self.conv = nn.ModuleList(of)
            self.norm = nn.ModuleList([nn.BatchNorm2d(WIDTH, momentum=1 - DECAY, affine=False) for _ in range(6)])
            self.logits = nn.Linear(WIDTH, CLASSES)

        def forward(self, x):
            x = old = nn.functional.avg_pool2d(self.conv[0](x).relu(), (3, 4))
            for number in range(1, 7):
                x = self.conv[number](x).relu()
                if number % 2 == 0:
                    x = old = x + old
                x = self.norm[number - 1](x)
            return self.logits(x.mean((2, 3)))

    network = Res8()
    flat = {path: torch.tensor(value) for path, value in weights().items()}
    with torch.no_grad():
        for number, conv in enumerate(network.conv):
            conv.weight.copy_(flat[f"conv{number}.kernel"].permute(3, 2, 0, 1))
        network.logits.weight.copy_(flat["logits.kernel"].T)
        network.logits.bias.copy_(flat["logits.bias"])
    return turns.torch_step(network, *batch(size), compiles=compiles)


def torch_compiled_step(size: Size) -> Step:
    return torch_step(size, compiles=True)


MAKE = {"cnnjax": cnnjax_step, "linen": linen_step, "torch": torch_step, "torch_compiled": torch_compiled_step}


if __name__ == "__main__":
    turns.command(__doc__ or "", MAKE, {"res8, 64 images": (64,)}, {"res8, 4 images": (4,)})
