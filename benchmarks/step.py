"""Time whole training steps: cnnjax's networks in a loop of one's own, plain Flax Linen, PyTorch.

The first are made by `models.build` and compiled by `cnnjax.jit`; Linen is as its users write it, and once more with
cnnjax's options for XLA.

A step is forward, backward and an SGD update with momentum 0.9, float32, on one batch already on the device. Each side
runs in a process of its own, in turn, `--repeats` times over; a process compiles, warms up and times `--steps` steps,
of which it gives the smallest. Ratios are taken within a repetition. PyTorch (channels-last, as its own documentation
advises for CPUs) is skipped, and it is said so, where torch and torchvision are missing.

    python benchmarks/step.py --small                                           # does it run? some seconds
    python benchmarks/step.py --nets resnet50 --repeats 5 --json /tmp/step.json

The networks: ResNet-50 (v1.5), ResNet-18 with a 7x7 stem, a plain VGG (two 3x3 convolutions of 32, 64 and 128 filters,
each pair followed by pooling; then one dense layer), LeNet-5 with tanh and average pooling.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

NETS = {
    "resnet50": (16, 224, 3, 1000),
    "resnet18": (32, 64, 3, 1000),
    "vgg": (128, 32, 3, 10),
    "lenet5": (128, 28, 1, 10),
}
"""Batch, image size, channels, classes."""
SIDES = ("cnnjax", "linen", "linen_with_options", "torch")
MOMENTUM, RATE, DECAY = 0.9, 1e-3, 1e-4


def batch(shape: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    size, pixels, channels, classes = shape
    rng = np.random.default_rng(0)
    images = rng.normal(size=(size, pixels, pixels, channels)).astype(np.float32)
    return images, rng.integers(0, classes, size).astype(np.int32)


# --- the sides: each gives a function that takes one step, waits for it and returns the loss


def cnnjax_step(net: str, shape: tuple[int, int, int, int]) -> Callable[[], float]:
    import flax.linen as nn

    import cnnjax
    from cnnjax import models
    from cnnjax import nn as blocks

    class Vgg(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            for features in (32, 64, 128):
                for _ in range(2):
                    x = nn.relu(blocks.Convolution(features, 3)(x))
                x = blocks.Pooling("max", 2)(x)
            return blocks.FullyConnected(shape[3])(x.reshape(len(x), -1))

    network = Vgg() if net == "vgg" else models.config(net, num_classes=shape[3]).build()
    return _jax_step(network, shape, decay=0, jit=cnnjax.jit)


def linen_step(net: str, shape: tuple[int, int, int, int], options: Any = None) -> Callable[[], float]:
    import jax
    import linen_networks

    # The ImageNet example of Flax adds the weights' squares to its loss.
    decay = DECAY if net.startswith("resnet") else 0
    return _jax_step(
        linen_networks.NETWORKS[net](shape[3]), shape, decay=decay, jit=partial(jax.jit, compiler_options=options)
    )


def linen_with_options_step(net: str, shape: tuple[int, int, int, int]) -> Callable[[], float]:
    """Linen compiled with the options that cnnjax compiles with."""
    from cnnjax.run.compiling import XLA_CPU

    return linen_step(net, shape, XLA_CPU)


def _jax_step(network: Any, shape: tuple[int, int, int, int], *, decay: float, jit: Callable) -> Callable[[], float]:
    import jax
    import jax.numpy as jnp
    import optax

    images, labels = map(jnp.asarray, batch(shape))
    variables = dict(jax.jit(lambda: network.init(jax.random.key(0), images[:1], train=False))())
    params = variables.pop("params")
    optimizer = optax.sgd(RATE, momentum=MOMENTUM, nesterov=bool(decay))
    state = (params, variables, optimizer.init(params))

    def step(state, images, labels):
        params, variables, opt_state = state

        def objective(params):
            logits, after = network.apply({"params": params, **variables}, images, train=True, mutable=[*variables])
            targets = jax.nn.one_hot(labels, shape[3])
            loss = optax.softmax_cross_entropy(logits, targets).mean()
            if decay:
                loss += decay / 2 * sum((p**2).sum() for p in jax.tree.leaves(params) if p.ndim > 1)
            return loss, after

        (loss, after), gradients = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), after, opt_state), loss

    start = time.perf_counter()
    compiled = jit(step, donate_argnums=0).lower(state, images, labels).compile()
    NOTES["compile_s"] = time.perf_counter() - start
    NOTES["temporary_mb"] = compiled.memory_analysis().temp_size_in_bytes / 1e6

    def run() -> float:
        nonlocal state
        state, loss = compiled(state, images, labels)
        jax.block_until_ready(state)
        return float(loss)

    return run


def torch_step(net: str, shape: tuple[int, int, int, int]) -> Callable[[], float]:
    import torch
    from torch import nn

    _, pixels, channels, classes = shape
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms") if torch.version.cuda is None else ():
        # torchvision's wheel is built for PyTorch with CUDA; its two missing operators are never called.
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

    def vgg() -> nn.Module:
        layers, before = [], channels
        for features in (32, 64, 128):
            for _ in range(2):
                layers += [nn.Conv2d(before, features, 3, padding=1), nn.ReLU()]
                before = features
            layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * (pixels // 8) ** 2, classes))

    def lenet() -> nn.Module:
        first = [nn.Conv2d(channels, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh()]
        last = [nn.AvgPool2d(2), nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(), nn.Linear(120, 84), nn.Tanh()]
        return nn.Sequential(*first, *last, nn.Linear(84, classes))

    if net.startswith("resnet"):
        from torchvision import models

        network = getattr(models, net)(num_classes=classes)
    else:
        network = vgg() if net == "vgg" else lenet()
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    images, labels = batch(shape)
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels).long()

    def run() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


MAKE = {"cnnjax": cnnjax_step, "linen": linen_step, "linen_with_options": linen_with_options_step, "torch": torch_step}
NOTES: dict[str, float] = {}


# --- timing


def child(side: str, net: str, shape: tuple[int, int, int, int], steps: int) -> None:
    """In a process of its own: print the times as JSON."""
    run = MAKE[side](net, shape)
    loss = run()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    NOTES["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"seconds": min(times), "all": times, "first_loss": loss, **NOTES}))


def timed(side: str, net: str, shape: tuple[int, int, int, int], steps: int, *, huge_pages: bool) -> dict[str, Any]:
    environ = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    if huge_pages:
        environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    command = [
        sys.executable,
        __file__,
        "--child",
        side,
        "--nets",
        net,
        "--steps",
        str(steps),
        "--shape",
        json.dumps(shape),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if found.returncode:
        raise SystemExit(f"{side} failed on {net}:\n{found.stderr[-2000:]}")
    return json.loads(found.stdout.splitlines()[-1])


def report(net: str, rounds: list[dict[str, dict[str, Any]]]) -> None:
    for side in rounds[0]:
        seconds = sorted(found[side]["seconds"] for found in rounds)
        line = (
            f"{net} {side}: {1e3 * statistics.median(seconds):.1f} ms [{1e3 * seconds[0]:.1f}, {1e3 * seconds[-1]:.1f}]"
        )
        if side != "cnnjax":
            ratios = sorted(found["cnnjax"]["seconds"] / found[side]["seconds"] for found in rounds)
            line += f"; cnnjax / {side}: {statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]"
        notes = {
            name: round(rounds[0][side][name], 1)
            for name in ("compile_s", "temporary_mb", "peak_mb")
            if name in rounds[0][side]
        }
        print(line, f"n={len(rounds)}", notes or "", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nets", default=",".join(NETS), help="of resnet50, resnet18, vgg, lenet5, separated by commas"
    )
    parser.add_argument("--sides", default=",".join(SIDES), help="of " + ", ".join(SIDES))
    parser.add_argument("--repeats", type=int, default=3, help="processes a side and network")
    parser.add_argument("--steps", type=int, default=5, help="timed steps a process")
    parser.add_argument(
        "--huge-pages",
        choices=("cnnjax", "all", "none"),
        default="cnnjax",
        help="which sides get memory in huge pages; `cnnjax train` asks for them itself",
    )
    parser.add_argument("--small", action="store_true", help="small batches of small images, once: a smoke run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.nets, args.shape, args.steps)
        return
    sides = args.sides.split(",")
    if "torch" in sides and not all(map(importlib.util.find_spec, ("torch", "torchvision"))):
        print("torch: skipped, PyTorch or torchvision is not installed")
        sides.remove("torch")
    from cnnjax.run.environment import environment

    results = {}
    for net in ("lenet5", "resnet18") if args.small else args.nets.split(","):
        shape, steps = NETS[net], args.steps
        if args.small:
            shape, steps = (2, 32 if net == "resnet18" else 28, *shape[2:]), 1
        rounds = []
        for number in range(1 if args.small else args.repeats):
            order = sides if number % 2 == 0 else sides[::-1]
            pages = {side: args.huge_pages == "all" or args.huge_pages == side for side in order}
            rounds.append({side: timed(side, net, shape, steps, huge_pages=pages[side]) for side in order})
        report(net, [{side: found[side] for side in sides} for found in rounds])
        results[net] = rounds
    if args.json:
        args.json.write_text(json.dumps({"results": results, "environment": environment().to_json()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
