"""Time a training step of U-Net: cnnjax, the same network in plain Flax Linen, and in PyTorch.

A step is forward, backward and an SGD update with momentum 0.9 of the mean cross-entropy over all pixels, float32, on
one batch (8 grey images of 128x128, 2 classes) that is already on the device. Depth 4, "same" padding, 2x2 transposed
convolutions, skip connections, no normalization. All sides start from the same weights, drawn by NumPy. PyTorch is
channels-last; `torch_compiled` is that under `torch.compile`. How they are timed: `turns.py`.

    python benchmarks/unet.py --small                                                   # does it run?
    python benchmarks/unet.py --only "32 features" --repeats 9 --json /tmp/unet.json    # idle machine
    sudo python benchmarks/unet.py --only "32 features" --repeats 9 --first             # a machine with other work
"""

from __future__ import annotations

from typing import Any

import numpy as np
import turns
from turns import Step, Weights

CLASSES, CHANNELS = 2, 1
Size = tuple[int, int, int, int]
"""Features of the first stage, depth, images, rows and columns of each."""


def batch(images: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, pixels, pixels, CHANNELS)).astype(np.float32)
    return x, rng.integers(0, CLASSES, (images, pixels, pixels)).astype(np.int32)


def weights(features: int, depth: int) -> Weights:
    """He et al. 2015, biases not zero so that no side can lose them."""
    rng = np.random.default_rng(1)
    found: Weights = {}

    def conv(path: str, size: int, before: int, after: int) -> None:
        incoming = before * (1 if path.startswith("up") else size**2)
        found[f"{path}.kernel"] = rng.normal(size=(size, size, before, after)) * (2 / incoming) ** 0.5
        found[f"{path}.bias"] = rng.normal(size=after) * 0.1

    def stage(path: str, before: int, after: int) -> None:
        conv(f"{path}.conv1.conv", 3, before, after)
        conv(f"{path}.conv2.conv", 3, after, after)

    widths = [features * 2**level for level in range(depth + 1)]
    for number, (before, after) in enumerate(zip([CHANNELS, *widths], widths, strict=False), start=1):
        stage(f"stage{number}", before, after)
    for number in range(depth, 0, -1):
        conv(f"up{number}.conv", 2, widths[number], widths[number - 1])
        stage(f"merge{number}", 2 * widths[number - 1], widths[number - 1])
    conv("logits", 1, widths[0], CLASSES)
    return {path: value.astype(np.float32) for path, value in found.items()}


def cnnjax_step(size: Size) -> Step:
    from cnnjax import models
    from cnnjax.run.compiling import XLA_CPU

    features, depth, *_ = size
    network = models.config("unet", features=features, depth=depth, num_classes=CLASSES).build()
    return _jax_step(network, turns.nested(weights(features, depth)), size, XLA_CPU)


def linen_step(size: Size) -> Step:
    import flax.linen as nn
    import jax.numpy as jnp

    features, depth, *_ = size

    class UNet(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            def stage(x, path, width):
                for number in (1, 2):
                    x = nn.relu(nn.Conv(width, (3, 3), name=f"{path}.conv{number}.conv")(x))
                return x

            maps = []
            for level in range(depth + 1):
                x = stage(x if level == 0 else nn.max_pool(x, (2, 2), (2, 2)), f"stage{level + 1}", features * 2**level)
                maps.append(x)
            for level in range(depth - 1, -1, -1):
                width = features * 2**level
                x = nn.ConvTranspose(width, (2, 2), (2, 2), padding="VALID", name=f"up{level + 1}.conv")(x)
                x = stage(jnp.concatenate([maps[level], x], -1), f"merge{level + 1}", width)
            return nn.Conv(CLASSES, (1, 1), name="logits")(x)

    params: dict[str, Any] = {}
    for path, value in weights(features, depth).items():
        module, _, leaf = path.rpartition(".")
        # Linen flips the kernels of its transposed convolutions.
        params.setdefault(module, {})[leaf] = value[::-1, ::-1] if path.startswith("up") and leaf == "kernel" else value
    return _jax_step(UNet(), params, size, None)


def _jax_step(network: Any, params: Any, size: Size, options: Any) -> Step:
    import jax
    import optax

    images, labels = batch(*size[2:])
    expected = jax.eval_shape(lambda: network.init(jax.random.key(0), images[:1], train=False))["params"]
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, expected)

    def objective(params, rest, images, labels):
        logits = network.apply({"params": params}, images, train=True)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), rest

    return turns.jax_step(objective, {"params": params}, (images, labels), options)


def torch_step(size: Size, *, compiles: bool = False) -> Step:
    import torch
    from torch import nn

    features, depth, *_ = size

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolutions = nn.ModuleDict()
            for path, value in weights(features, depth).items():
                if not path.endswith("kernel"):
                    continue
                rows, _, before, after = value.shape
                make = nn.Conv2d(before, after, rows, padding=rows // 2)
                if path.startswith("up"):
                    make = nn.ConvTranspose2d(before, after, 2, stride=2)
                self.convolutions[path.removesuffix(".kernel").replace(".", "_")] = make

        def stage(self, x, path):
            for number in (1, 2):
                x = nn.functional.relu(self.convolutions[f"{path}_conv{number}_conv"](x))
            return x

        def forward(self, x):
            maps = []
            for level in range(1, depth + 2):
                x = self.stage(x if level == 1 else nn.functional.max_pool2d(x, 2), f"stage{level}")
                maps.append(x)
            for level in range(depth, 0, -1):
                x = self.convolutions[f"up{level}_conv"](x)
                x = self.stage(torch.cat([maps[level - 1], x], 1), f"merge{level}")
            return self.convolutions["logits"](x)

    network = UNet()
    with torch.no_grad():
        for path, value in weights(features, depth).items():
            module, _, leaf = path.rpartition(".")
            conv = network.convolutions[module.replace(".", "_")]
            axes = (2, 3, 0, 1) if path.startswith("up") else (3, 2, 0, 1)
            target = conv.bias if leaf == "bias" else conv.weight
            target.copy_(torch.tensor(value if leaf == "bias" else value.transpose(axes)))
    return turns.torch_step(network, *batch(*size[2:]), compiles=compiles)


def torch_compiled_step(size: Size) -> Step:
    return torch_step(size, compiles=True)


MAKE = {"cnnjax": cnnjax_step, "linen": linen_step, "torch": torch_step, "torch_compiled": torch_compiled_step}


if __name__ == "__main__":
    turns.command(
        __doc__ or "",
        MAKE,
        {"32 features": (32, 4, 8, 128), "64 features": (64, 4, 8, 128)},
        {"4 features": (4, 2, 2, 16)},
    )
