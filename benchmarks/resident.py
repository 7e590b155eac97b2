"""What a data set that lives on the device costs a training: CIFAR-10's shape, random crop, flip and cutout, ResNet-20.

50,000 images of 32x32x3 (synthetic: their values do not matter to the time) are on the device as uint8. "Data" is all
that a step does before the network: the order, gathering, augmenting, normalizing, as a program of its own; "step" is a
whole training step with it. Both are timed in blocks that alternate, and the ratio is taken of each pair.

    python benchmarks/resident.py --repeats 7 --json /tmp/resident.json
    python benchmarks/resident.py --small                                 does it run?
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax

from cnnjax import SGD, Cutout, Experiment, Flip, Hardware, RandomCrop, Synthetic, models
from cnnjax.run.environment import environment
from cnnjax.run.program import Program
from cnnjax.study.data_speed import batch_maker


def experiment(examples: int, batch_size: int) -> Experiment:
    return Experiment(
        model=models.config("resnet20"),
        data=Synthetic(examples=examples, test_examples=batch_size),
        optim=SGD(learning_rate=0.1, momentum=0.9),
        augment=(RandomCrop(padding=4), Flip(), Cutout(size=16)),
        batch_size=batch_size,
        validation=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="pairs of blocks")
    parser.add_argument("--steps", type=int, default=4, help="training steps in a block; ten times as many of data")
    parser.add_argument("--small", action="store_true", help="few examples and steps: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    args = parser.parse_args()
    if args.small:
        args.repeats, args.steps = 2, 1
    chosen = experiment(512 if args.small else 50_000, 16 if args.small else 128)
    program = Program(chosen, hardware=Hardware(devices=1))
    made, state, pairs = batch_maker(program), program.init([chosen]), []
    jax.block_until_ready(made(0))
    state = program.advance(state, [chosen], 0, args.steps)
    for repeat in range(args.repeats):
        start = time.perf_counter()
        for step in range(10 * args.steps):
            jax.block_until_ready(made(10 * args.steps * repeat + step))
        data = (time.perf_counter() - start) / (10 * args.steps)
        start = time.perf_counter()
        state = program.advance(state, [chosen], args.steps * repeat, args.steps * (repeat + 1))
        jax.block_until_ready(state)
        pairs.append((data, (time.perf_counter() - start) / args.steps))
    report(pairs, args.json)


def report(pairs: list[tuple[float, float]], path: Path | None) -> None:
    result: dict[str, Any] = {"pairs": pairs, "environment": environment().to_json()}
    for name, values in zip(("data, ms", "step, ms"), zip(*pairs, strict=True), strict=True):
        milliseconds = [1e3 * value for value in values]
        spread = f"[{min(milliseconds):.2f}, {max(milliseconds):.2f}]"
        print(f"{name}: median {statistics.median(milliseconds):.2f} {spread} n={len(pairs)}")
    ratios = [data / step for data, step in pairs]
    print(f"data / step: median {statistics.median(ratios):.4f} [{min(ratios):.4f}, {max(ratios):.4f}] n={len(ratios)}")
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
