"""How a training step spreads over devices: what they exchange, and how long a step takes (weak scaling).

For 1, 2, 4, ... devices the batch grows with them. Collectives are counted in the compiled program, with the bytes
that each device puts in: gradients should be one all-reduce, batch normalization's statistics are apart. Times are of a
bare step, median of `--repeats` blocks that alternate over the numbers of devices; on devices that are parts of one
processor (as `--xla_force_host_platform_device_count` makes them) they share its cores, so that only what they exchange
and compute means something there, not the time.

    python benchmarks/scaling.py --model resnet18 --size 64 --batch 32 --json /tmp/scaling.json
    python benchmarks/scaling.py --cpu-devices 8 --model small_cnn --size 16 --batch 8 --repeats 1
    python benchmarks/scaling.py --small                                                       does it run?
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")


@dataclass(frozen=True)
class Collective:
    """One exchange in a compiled program. arrays, bytes: what a device puts in."""

    kind: str
    arrays: int
    bytes: int


def collectives(compiled: Any) -> list[Collective]:
    """The exchanges of a compiled program, the largest first. An asynchronous pair counts once."""
    found = []
    for line in compiled.as_text().splitlines():
        match = re.search(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(", line)
        if match:
            shapes = re.findall(r"(\w+)\[([\d,]*)\]", match.group(1))
            sizes = [BYTES.get(kind, 4) * _product(dimensions) for kind, dimensions in shapes]
            found.append(Collective(match.group(2), len(sizes), sum(sizes)))
    return sorted(found, key=lambda collective: -collective.bytes)


def _product(dimensions: str) -> int:
    product = 1
    for length in filter(None, dimensions.split(",")):
        product *= int(length)
    return product


def make_program(args: argparse.Namespace, devices: int) -> Any:
    from cnnjax import SGD, Experiment, Hardware, Synthetic, models
    from cnnjax.run.program import Program

    experiment = Experiment(
        model=models.config(args.model),
        data=Synthetic(height=args.size, width=args.size, examples=2 * args.batch * devices, test_examples=devices),
        optim=SGD(learning_rate=0.1, momentum=0.9),
        batch_size=args.batch * devices,
        precision=args.precision,
        validation=0,
    )
    return Program(experiment, hardware=Hardware(devices, args.parallel))


class Run:
    """A training on some devices, of which blocks of steps are timed."""

    def __init__(self, args: argparse.Namespace, devices: int):
        self.program = make_program(args, devices)
        self.state = self.program.init([self.program.experiment])
        self.step, self.seconds = 0, []
        self.block(1)
        self.seconds.clear()

    def block(self, steps: int) -> None:
        import jax

        start = time.perf_counter()
        self.state = self.program.advance(self.state, [self.program.experiment], self.step, self.step + steps)
        self.step += steps
        jax.block_until_ready(self.state)
        self.seconds.append((time.perf_counter() - start) / steps)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    import jax

    counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= jax.local_device_count()]
    runs = {devices: Run(args, devices) for devices in counts}
    for _ in range(args.repeats):
        for run in runs.values():
            run.block(args.steps)
    base = statistics.median(runs[1].seconds)
    results = []
    for devices, run in runs.items():
        found = collectives(run.program.compiled("train"))
        median = statistics.median(run.seconds)
        results.append(
            {
                "devices": devices,
                "batch_size": args.batch * devices,
                "params": run.program.analysis.params,
                "seconds": run.seconds,
                "images_per_second": args.batch * devices / median,
                "efficiency": base / median,
                "collectives": [asdict(one) for one in found],
            }
        )
        print(line(results[-1], found, median), flush=True)
    return results


def line(result: dict[str, Any], found: list[Collective], median: float) -> str:
    exchanged = "nothing"
    if found:
        largest, rest = found[0], found[1:]
        share = largest.bytes / result["params"]
        exchanged = (
            f"{largest.kind} of {largest.arrays} arrays, {largest.bytes:,} bytes, {share:.2f} a parameter; "
            f"{len(rest)} more, {sum(one.bytes for one in rest):,} bytes"
        )
    return (
        f"{result['devices']:3d} devices, batch {result['batch_size']:5d}: {1e3 * median:8.1f} ms a step "
        f"(n={len(result['seconds'])}), {result['images_per_second']:8.0f} images/s, "
        f"efficiency {result['efficiency']:.2f}; exchanged: {exchanged}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64, help="pixels of an image's side")
    parser.add_argument("--batch", type=int, default=32, help="examples a device and step")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--parallel", default="jit", choices=["jit", "shard_map"])
    parser.add_argument("--steps", type=int, default=5, help="steps in a timed block")
    parser.add_argument("--repeats", type=int, default=5, help="blocks for each number of devices")
    parser.add_argument("--cpu-devices", type=int, metavar="N", help="make N devices of this processor")
    parser.add_argument("--small", action="store_true", help="two CPU devices, a tiny network: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    args = parser.parse_args()
    if args.small:
        args.cpu_devices, args.model, args.size, args.batch, args.steps, args.repeats = 2, "small_cnn", 8, 4, 1, 1
    if args.cpu_devices:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={args.cpu_devices}"
        os.environ["JAX_PLATFORMS"] = "cpu"
    results = measure(args)
    if args.json:
        from cnnjax.run.environment import environment

        chosen = {name: str(value) for name, value in vars(args).items()}
        content = {"results": results, "arguments": chosen, "environment": environment().to_json()}
        args.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
