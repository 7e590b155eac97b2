"""What benchmarks of one training step on several sides share: processes, turns, ratios, the command line.

Each side is a process of its own that compiles and takes two steps; then, `--repeats` times over, each in turn is asked
for two steps, of which the second is timed while the others wait. Ratios are taken within a turn. It is refused where
the parameters or first losses of two sides differ. A ratio to PyTorch is to the quicker, in that turn, of its sides.

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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MOMENTUM, RATE = 0.9, 1e-3
Weights = dict[str, np.ndarray]
"""By the path of cnnjax's parameter; kernels (height, width, channels, features), not flipped."""
Step = tuple[int, Callable[[], float]]
"""Number of parameters, and a function that takes one step and returns the loss before it."""
Size = Sequence[int]
NOTES: dict[str, float] = {}
"""What a side says of itself beside its parameters and first loss."""


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of the values at paths with dots."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *modules, leaf = path.split(".")
        place = tree
        for module in modules:
            place = place.setdefault(module, {})
        place[leaf] = value
    return tree


def jax_step(objective: Callable[..., Any], variables: Any, batch: Sequence[Any], options: Any) -> Step:
    """SGD on `objective(params, rest, *batch)`, which gives the loss and what `rest` becomes.

    variables: of Flax, "params" and the rest. options: XLA's, or None for its own.
    """
    import jax
    import jax.numpy as jnp
    import optax

    batch = [jnp.asarray(each) for each in batch]
    rest = jax.tree.map(jnp.asarray, dict(variables))
    params = rest.pop("params")
    optimizer = optax.sgd(RATE, momentum=MOMENTUM)
    state = (params, optimizer.init(params), rest)

    def step(state, *batch):
        params, opt_state, rest = state
        (loss, rest), gradients = jax.value_and_grad(objective, has_aux=True)(params, rest, *batch)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, rest), loss

    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state, *batch).compile(compiler_options=options)
    NOTES["compile_s"] = time.perf_counter() - start
    NOTES["temporary_mb"] = compiled.memory_analysis().temp_size_in_bytes / 1e6

    def run() -> float:
        nonlocal state
        state, loss = compiled(state, *batch)
        jax.block_until_ready(state)
        return float(loss)

    return sum(leaf.size for leaf in jax.tree.leaves(params)), run


def torch_step(network: Any, images: np.ndarray, labels: np.ndarray, *, compiles: bool) -> Step:
    """SGD on the mean cross-entropy of a PyTorch network, channels last; images NHWC, labels [B, ...]."""
    import torch

    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    held = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    wanted = torch.from_numpy(labels).long()
    called = torch.compile(network) if compiles else network

    def run() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(called(held), wanted)
        loss.backward()
        optimizer.step()
        return loss.item()

    return sum(parameter.numel() for parameter in network.parameters()), run


# --- timing


def child(make: Mapping[str, Callable[[Any], Step]], side: str, size: Size) -> None:
    """In a process of its own: take two steps for every line that comes in; print the time of the second as JSON."""
    params, run = make[side](size)
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

    def __init__(self, name: str, size: Size, *, first: bool) -> None:
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


def measured(size: Size, sides: list[str], repeats: int, *, first: bool) -> dict[str, Any]:
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


def report(title: str, found: dict[str, Any]) -> None:
    notes, turns = found["notes"], found["turns"]
    ours = notes["cnnjax"]
    print(f"{title}: {ours['params']:,} parameters, first loss {ours['first_loss']:.5f}, n={len(turns)}")
    for side, said in notes.items():
        seconds, cpu = (spread([turn[side][name] for turn in turns]) for name in ("seconds", "cpu_s"))
        more = {name: round(said[name], 1) for name in said if name not in ("params", "first_loss")}
        print(f"  {side}: {seconds} s, processor seconds {cpu} {more or ''}")
    peers = {"linen": ["linen"], "PyTorch, the quicker": [side for side in notes if side.startswith("torch")]}
    for name, sides in peers.items():
        if sides and set(sides) <= notes.keys():
            ratios = [turn["cnnjax"]["seconds"] / min(turn[side]["seconds"] for side in sides) for turn in turns]
            print(f"  cnnjax / {name}: {spread(ratios, 3)}", flush=True)


def command(
    doc: str, make: Mapping[str, Callable[[Any], Step]], sizes: Mapping[str, Size], small: Mapping[str, Size]
) -> None:
    """The command line of a benchmark.

    make: each side's step for a size, cnnjax's first. sizes, small: what is timed by title, and a smoke run's.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--sides", default=",".join(make), help="of " + ", ".join(make))
    parser.add_argument("--only", choices=sizes, help="of what is timed, only this")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps a side")
    parser.add_argument("--first", action="store_true", help="time each side before all other processes (root)")
    parser.add_argument("--small", action="store_true", help="a small size, once: a smoke run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(make, args.child, args.size)
        return
    sides = args.sides.split(",")
    if importlib.util.find_spec("torch") is None:
        print("torch: skipped, PyTorch is not installed")
        sides = [side for side in sides if not side.startswith("torch")]
    chosen = small if args.small else {title: sizes[title] for title in ([args.only] if args.only else sizes)}
    results = {}
    for title, size in chosen.items():
        results[title] = measured(size, sides, 1 if args.small else args.repeats, first=args.first)
        report(title, results[title])
    if args.json:
        from cnnjax.run.environment import environment

        args.json.write_text(json.dumps({"results": results, "environment": environment().to_json()}, indent=1) + "\n")
