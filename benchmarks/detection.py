"""Time a training step of a detector in one stage: cnnjax, the same network in plain Flax Linen, and in PyTorch.

A step is forward, assignment, focal loss, GIoU and centre-ness, backward and an SGD update with momentum 0.9, float32,
on one batch (8 images of 256x256, 3 classes, up to 16 boxes) that is already on the device. Five convolutions with
pooling, a feature pyramid of strides 8, 16 and 32, towers of two convolutions with group normalization. Linen has
cnnjax's loss, which is plain JAX; PyTorch has its own, without a loop over images. How they
are timed: `turns.py`.

    python benchmarks/detection.py --small
    python benchmarks/detection.py --repeats 9 --json /tmp/detection.json
"""

from __future__ import annotations

from typing import Any

import numpy as np
import turns
from turns import Step, Weights

CLASSES, MOST, LEVELS, DEPTH, WIDTH, STRIDE = 3, 16, 3, 2, 64, 8
Size = tuple[int, int, int]
"""Features of the first convolution, images, rows and columns of each."""


def batch(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Images and targets [B, MOST, 6]: class id (-1 for none), box, 0."""
    _, count, pixels = size
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.7 * pixels, (count, MOST, 2))
    high = np.minimum(low + np.exp(rng.uniform(2, 5, (count, MOST, 2))), pixels)
    labels = np.where(rng.random((count, MOST, 1)) < 0.6, rng.integers(0, CLASSES, (count, MOST, 1)), -1)
    target = np.concatenate([labels, low, high, 0 * labels], -1).astype(np.float32)
    return rng.normal(size=(count, pixels, pixels, 3)).astype(np.float32), target


def ours(size: Size) -> tuple[Any, Any]:
    """cnnjax's task, and its network."""
    from cnnjax import AnchorFree, Detection, SmallCNN

    task = Detection(head=AnchorFree(stride=STRIDE, levels=LEVELS, features=WIDTH, depth=DEPTH))
    return task, task.network(SmallCNN(features=size[0], blocks=5, num_classes=CLASSES))


def weights(size: Size) -> Weights:
    """By the path of cnnjax's parameter."""
    import jax
    import jax.numpy as jnp

    _, network = ours(size)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    rng, found = np.random.default_rng(1), {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name.endswith("kernel"):
            said = name.split(".")[1] in ("logits", "box", "quality")
            scale = 0.01 if said else (2 / np.prod(leaf.shape[:3])) ** 0.5
            found[name] = (rng.normal(size=leaf.shape) * scale).astype(np.float32)
        else:
            base = 1.0 if name.endswith(("scale", "scales")) else 0.0
            found[name] = (base + 0.1 * rng.normal(size=leaf.shape)).astype(np.float32)
    return found


def cnnjax_step(size: Size) -> Step:
    from cnnjax.run.compiling import XLA_CPU

    return _jax_step(ours(size)[1], size, XLA_CPU)


def linen_step(size: Size) -> Step:
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    from cnnjax.models.detectors import places_of

    class Tower(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(WIDTH, (3, 3), use_bias=False, name="conv")(x)
            return nn.relu(nn.GroupNorm(8, epsilon=1e-5, name="norm")(x))

    class Backbone(nn.Module):
        @nn.compact
        def __call__(self, x):
            maps = []
            for number in range(5):
                x = nn.relu(nn.Conv(size[0] * 2**number, (3, 3), name=f"conv{number + 1}")(x))
                x = nn.max_pool(x, (2, 2), (2, 2))
                maps.append(x)
            return maps[2:]

    class Head(nn.Module):
        @nn.compact
        def __call__(self, maps):
            sides = [nn.Conv(WIDTH, (1, 1), name=f"stage{n + 3}_side")(x) for n, x in enumerate(maps)]
            for level in (1, 0):
                shape = sides[level].shape
                sides[level] += jax.image.resize(sides[level + 1], shape, "nearest")
            sides = [nn.Conv(WIDTH, (3, 3), name=f"stage{n + 3}_smooth")(x) for n, x in enumerate(sides)]
            towers = {of: [Tower(name=f"{of}_conv{n + 1}") for n in range(DEPTH)] for of in ("classes", "box")}
            outputs = {"logits": CLASSES, "box": 4, "quality": 1}
            said = {name: nn.Conv(count, (3, 3), name=name) for name, count in outputs.items()}
            scales = self.param("scales", nn.initializers.ones, (LEVELS,))
            rows = []
            for level, x in enumerate(sides):
                classes = box = x
                for of_class, of_box in zip(towers["classes"], towers["box"], strict=True):
                    classes, box = of_class(classes), of_box(box)
                stride = STRIDE * 2**level
                reference = places_of(*x.shape[1:3], stride, jnp.full((1, 2), float(stride)))
                shape = (len(x), len(reference), -1)
                parts = [
                    jnp.broadcast_to(reference, (len(x), *reference.shape)),
                    jnp.full((*shape[:2], 1), float(stride)),
                    jnp.exp(jnp.minimum(scales[level] * said["box"](box).reshape(shape), 4.135)),
                    said["quality"](box).reshape(shape),
                    said["logits"](classes).reshape(shape),
                ]
                rows.append(jnp.concatenate(parts, -1))
            return jnp.concatenate(rows, 1)

    class Detector(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return Head(name="head")(Backbone(name="backbone")(x))

    return _jax_step(Detector(), size, None)


def _jax_step(network: Any, size: Size, options: Any) -> Step:
    from cnnjax import Focal

    task, _ = ours(size)

    def objective(params, rest, images, target):
        outputs = network.apply({"params": params}, images, train=True)
        return task.losses(outputs, target, loss=Focal(), form=None).mean(), rest

    return turns.jax_step(objective, {"params": turns.nested(weights(size))}, batch(size), options)


def torch_step(size: Size, *, compiles: bool = False) -> Step:
    import torch
    from torch import nn
    from torch.nn import functional as F

    flat = {path: torch.tensor(value) for path, value in weights(size).items()}

    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.held = nn.ParameterDict()
            for path, value in flat.items():
                kernel = path.endswith("kernel")
                own = value.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last) if kernel else value
                self.held[path.replace(".", "_")] = nn.Parameter(own)

        def conv(self, x, path):
            kernel = self.held[f"{path}_kernel"]
            bias = self.held.get(f"{path}_bias")
            return F.conv2d(x, kernel, bias, padding=kernel.shape[2] // 2)

        def tower(self, x, of):
            for number in range(1, DEPTH + 1):
                path = f"head_{of}_conv{number}"
                norm = self.held[f"{path}_norm_scale"], self.held[f"{path}_norm_bias"]
                x = F.relu(F.group_norm(self.conv(x, f"{path}_conv"), 8, *norm))
            return x

        def forward(self, x):
            maps = []
            for number in range(1, 6):
                x = F.max_pool2d(F.relu(self.conv(x, f"backbone_conv{number}")), 2)
                maps.append(x)
            sides = [self.conv(x, f"head_stage{n + 3}_side") for n, x in enumerate(maps[2:])]
            for level in (1, 0):
                larger = sides[level].shape[2:]
                sides[level] = sides[level] + F.interpolate(sides[level + 1], size=larger, mode="nearest")
            found = []
            for level, side in enumerate(sides):
                x = self.conv(side, f"head_stage{level + 3}_smooth")
                classes, box = self.tower(x, "classes"), self.tower(x, "box")
                codes = torch.exp((self.held["head_scales"][level] * self.conv(box, "head_box")).clamp(max=4.135))
                parts = [codes, self.conv(box, "head_quality"), self.conv(classes, "head_logits")]
                found.append([part.flatten(2).transpose(1, 2) for part in parts])
            return [torch.cat(parts, 1) for parts in zip(*found, strict=True)]

    images, target = (torch.tensor(x) for x in batch(size))
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    middles, strides = [], []
    for level in range(LEVELS):
        step, count = STRIDE * 2**level, size[2] // (STRIDE * 2**level)
        y, x = torch.meshgrid(*[step * (torch.arange(count) + 0.5)] * 2, indexing="ij")
        middles.append(torch.stack([x, y], -1).reshape(-1, 2))
        strides.append(torch.full((count * count,), float(step)))
    middles, strides = torch.cat(middles), torch.cat(strides)

    def loss_of(codes, quality, logits):
        labels, boxes = target[..., 0], target[..., 1:5]
        ends = (middles[None, :, None] - boxes[:, None, :, :2]), (boxes[:, None, :, 2:] - middles[None, :, None])
        sides = torch.cat(ends, -1) / strides[None, :, None, None]
        near = (middles[None, :, None] - (boxes[..., :2] + boxes[..., 2:])[:, None] / 2).abs().amax(-1)
        far = sides.amax(-1)
        low = torch.where(strides == strides[0], 0.0, 4.0)[None, :, None]
        high = torch.where(strides == strides[-1], torch.inf, 8.0)[None, :, None]
        could = (sides.amin(-1) > 0) & (near < 1.5 * strides[None, :, None]) & (far > low) & (far <= high)
        could &= (labels >= 0)[:, None]
        areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)[:, None].expand(could.shape)
        smallest = torch.where(could, areas, torch.inf).min(-1)
        says, own = could.any(-1), smallest.indices
        count = says.sum(1).clamp(min=1)
        label = torch.gather(labels, 1, own).long()
        wanted = F.one_hot(label.clamp(min=0), CLASSES) * says[..., None]
        wanted = wanted.float()
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        p = logits.sigmoid()
        wrong = torch.where(wanted > 0, 1 - p, p)
        focal = (torch.where(wanted > 0, 0.25, 0.75) * wrong**2 * entropy).sum((1, 2))
        truth = torch.gather(sides, 2, own[..., None, None].expand(-1, -1, 1, 4))[:, :, 0][says]
        said = codes[says]
        shared = torch.minimum(said, truth)
        around = torch.maximum(said, truth)
        area = [(x[:, 0] + x[:, 2]) * (x[:, 1] + x[:, 3]) for x in (said, truth, shared, around)]
        union = area[0] + area[1] - area[2]
        giou = area[2] / union - (area[3] - union) / area[3]
        left, up, right, down = truth.unbind(1)
        centre = torch.minimum(left, right) / torch.maximum(left, right)
        centre = (centre * torch.minimum(up, down) / torch.maximum(up, down)).sqrt()
        of_quality = F.binary_cross_entropy_with_logits(quality[..., 0][says], centre, reduction="none")
        image = says.nonzero()[:, 0]
        of_boxes = torch.zeros(len(images)).index_add(0, image, 1 - giou + of_quality)
        return ((focal + of_boxes) / count).mean()

    network = Detector().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=turns.RATE, momentum=turns.MOMENTUM)
    called = torch.compile(network) if compiles else network

    def run() -> float:
        optimizer.zero_grad()
        loss = loss_of(*called(images))
        loss.backward()
        optimizer.step()
        return loss.item()

    return sum(parameter.numel() for parameter in network.parameters()), run


def torch_compiled_step(size: Size) -> Step:
    return torch_step(size, compiles=True)


MAKE = {"cnnjax": cnnjax_step, "linen": linen_step, "torch": torch_step, "torch_compiled": torch_compiled_step}


if __name__ == "__main__":
    turns.command(__doc__ or "", MAKE, {"16 features": (16, 8, 256)}, {"4 features": (4, 2, 64)})
