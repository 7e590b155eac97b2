"""Time a training step of U-Net: cnnjax, the same network in plain Flax Linen, and in PyTorch.

A step is forward, backward and an SGD update with momentum 0.9 of the mean cross-entropy over all pixels, float32, on
one batch (8 grey images of 128x128, 2 classes) that is already on the device. Depth 4, "same" padding, 2x2 transposed
convolutions, skip connections, no normalization. Each side is a process of its own that compiles and takes two steps;
then, `--repeats` times over, each in turn is asked for two steps, of which the second is timed while the others wait.
Ratios are taken within a turn. All sides start from the same weights, drawn by NumPy, and it is refused where their
parameters or first losses differ. PyTorch is channels-last; `torch_compiled` is that under `torch.compile`, and the
ratio is to the quicker of both in that turn.

    python benchmarks/unet.py --small                                             # does it run?
    python benchmarks/unet.py --features 32 --repeats 9 --json /tmp/unet.json     # idle machine
    sudo python benchmarks/unet.py --features 32 --repeats 9 --first              # a machine with other work

With `--first` (Linux, root) the side that is timed goes before all other processes of the machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDES = ("cnnjax", "linen", "torch", "torch_compiled")
CLASSES, CHANNELS, MOMENTUM, RATE = 2, 1, 0.9, 1e-3
Weights = dict[str, np.ndarray]
"""By the path of cnnjax's parameter; kernels (height, width, channels, features), not flipped."""


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


# --- the sides: each gives its number of parameters and a function that takes one step and returns the loss before it

Step = tuple[int, Callable[[], float]]


def cnnjax_step(size: tuple[int, int, int, int]) -> Step:
    from cnnjax import models
    from cnnjax.run.compiling import XLA_CPU

    features, depth, *_ = size
    network = models.config("unet", features=features, depth=depth, num_classes=CLASSES).build()
    params: dict[str, Any] = {}
    for path, value in weights(features, depth).items():
        *modules, leaf = path.split(".")
        place = params
        for module in modules:
            place = place.setdefault(module, {})
        place[leaf] = value
    return _jax_step(network, params, size, XLA_CPU)


def linen_step(size: tuple[int, int, int, int]) -> Step:
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


def _jax_step(network: Any, params: Any, size: tuple[int, int, int, int], options: Any) -> Step:
    import jax
    import jax.numpy as jnp
    import optax

    images, labels = map(jnp.asarray, batch(*size[2:]))
    expected = jax.eval_shape(lambda: network.init(jax.random.key(0), images[:1], train=False))["params"]
    params = jax.tree.map(jnp.asarray, params)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)
    optimizer = optax.sgd(RATE, momentum=MOMENTUM)
    state = (params, optimizer.init(params))

    def step(state, images, labels):
        params, opt_state = state

        def objective(params):
            logits = network.apply({"params": params}, images, train=True)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        loss, gradients = jax.value_and_grad(objective)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state, images, labels).compile(compiler_options=options)
    NOTES["compile_s"] = time.perf_counter() - start
    NOTES["temporary_mb"] = compiled.memory_analysis().temp_size_in_bytes / 1e6

    def run() -> float:
        nonlocal state
        state, loss = compiled(state, images, labels)
        jax.block_until_ready(state)
        return float(loss)

    return sum(leaf.size for leaf in jax.tree.leaves(params)), run


def torch_step(size: tuple[int, int, int, int], *, compiles: bool = False) -> Step:
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
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    images, labels = batch(*size[2:])
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels).long()
    called = torch.compile(network) if compiles else network

    def run() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(called(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return sum(parameter.numel() for parameter in network.parameters()), run


def torch_compiled_step(size: tuple[int, int, int, int]) -> Step:
    return torch_step(size, compiles=True)


MAKE = {"cnnjax": cnnjax_step, "linen": linen_step, "torch": torch_step, "torch_compiled": torch_compiled_step}
NOTES: dict[str, float] = {}


# --- timing


def child(side: str, size: tuple[int, int, int, int]) -> None:
    """In a process of its own: take two steps for every line that comes in; print the time of the second as JSON."""
    params, run = MAKE[side](size)
    loss = run()
    run()
    print(json.dumps({"params": params, "first_loss": loss, **NOTES}), flush=True)
    for _ in sys.stdin:
        run()
        start, before = time.perf_counter(), time.process_time()
        run()
        found = {"seconds": time.perf_counter() - start, "cpu_s": time.process_time() - before}
        print(json.dumps(found), flush=True)


class Side:
    """One side's process. notes: its parameters, first loss, and what compiling said."""

    def __init__(self, name: str, size: tuple[int, int, int, int], *, first: bool) -> None:
        # `cnnjax train` asks for memory in huge pages itself.
        environ = os.environ | ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} if name == "cnnjax" else {})
        command = [sys.executable, sys.argv[0], "--child", name, "--size", json.dumps(size)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ)
        self.first = first
        self.notes = self._read()

    def step(self) -> dict[str, float]:
        time.sleep(0.5)  # Threads of PyTorch go on for a while, waiting for more.
        self._go_first(self.first)
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        found = self._read()
        self._go_first(False)
        return found

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended early, status {self.process.wait()}")
        return json.loads(line)

    def _go_first(self, first: bool) -> None:
        if not self.first:
            return
        policy = (os.SCHED_RR, os.sched_param(1)) if first else (os.SCHED_OTHER, os.sched_param(0))
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            os.sched_setscheduler(int(thread.name), *policy)


def measured(size: tuple[int, int, int, int], sides: list[str], repeats: int, *, first: bool) -> dict[str, Any]:
    """Notes of each side, and for each turn the times of each."""
    started: dict[str, Side] = {}
    try:
        for name in sides:
            started[name] = Side(name, size, first=first)
        check({name: side.notes for name, side in started.items()})
        turns = []
        for number in range(repeats):
            found = {name: started[name].step() for name in (sides if number % 2 == 0 else sides[::-1])}
            turns.append({name: found[name] for name in sides})
    finally:
        for side in started.values():
            side.end()
    return {"notes": {name: side.notes for name, side in started.items()}, "turns": turns}


def check(found: dict[str, dict[str, Any]]) -> None:
    """The same network on every side: as many parameters, and the first loss equal up to rounding."""
    ours = found["cnnjax"]
    for side, other in found.items():
        if other["params"] != ours["params"] or abs(other["first_loss"] / ours["first_loss"] - 1) > 1e-4:
            both = [(each["params"], each["first_loss"]) for each in (ours, other)]
            raise SystemExit(f"cnnjax and {side} are not the same network: parameters and first loss {both}")


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def report(features: int, found: dict[str, Any]) -> None:
    notes, turns = found["notes"], found["turns"]
    ours = notes["cnnjax"]
    print(f"features {features}: {ours['params']:,} parameters, first loss {ours['first_loss']:.5f}, n={len(turns)}")
    for side, said in notes.items():
        seconds, cpu = (spread([turn[side][name] for turn in turns]) for name in ("seconds", "cpu_s"))
        more = {name: round(said[name], 1) for name in ("compile_s", "temporary_mb") if name in said}
        print(f"  {side}: {seconds} s, processor seconds {cpu} {more or ''}")
    peers = {"linen": ["linen"], "PyTorch, the quicker": [side for side in notes if side.startswith("torch")]}
    for name, sides in peers.items():
        if sides and set(sides) <= notes.keys():
            ratios = [turn["cnnjax"]["seconds"] / min(turn[side]["seconds"] for side in sides) for turn in turns]
            print(f"  cnnjax / {name}: {spread(ratios, 3)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", default="32,64", help="filters of the first stage, separated by commas")
    parser.add_argument("--sides", default=",".join(SIDES), help="of " + ", ".join(SIDES))
    parser.add_argument("--repeats", type=int, default=5, help="timed steps a side")
    parser.add_argument("--first", action="store_true", help="time each side before all other processes (root)")
    parser.add_argument("--batch", type=int, default=8, help="images")
    parser.add_argument("--pixels", type=int, default=128, help="rows and columns of an image")
    parser.add_argument("--small", action="store_true", help="a small network on small images, once: a smoke run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.size)
        return
    sides = args.sides.split(",")
    if importlib.util.find_spec("torch") is None:
        print("torch: skipped, PyTorch is not installed")
        sides = [side for side in sides if not side.startswith("torch")]
    from cnnjax.run.environment import environment

    results = {}
    for features in [4] if args.small else map(int, args.features.split(",")):
        size = (features, 2, 2, 16) if args.small else (features, 4, args.batch, args.pixels)
        results[features] = measured(size, sides, 1 if args.small else args.repeats, first=args.first)
        report(features, results[features])
    if args.json:
        args.json.write_text(json.dumps({"results": results, "environment": environment().to_json()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
