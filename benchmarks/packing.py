"""Time a step of several trials under vmap against the same trials one after the other, by image size.

What it decides is in cnnjax/launch/one_program.py: up to which size trials of one program are trained together.
SmallCNN with 16 filters, 3x3, batch 64; milliseconds a step of all trials, compiling not counted; each a median of
`--repeats`.

    python benchmarks/packing.py --trials 4
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax

from cnnjax import Experiment, Hardware, SmallCNN, Synthetic
from cnnjax.config import replace
from cnnjax.run.program import Program


def step_seconds(experiments: list[Experiment], *, packed: int, steps: int, repeats: int) -> float:
    """Median seconds of a step of `packed` trials."""
    program = Program(experiments[0], packed=packed, hardware=Hardware(devices=1))
    chosen = experiments[:packed]
    state = program.init(chosen)
    seconds = []
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        state = program.advance(state, chosen, 0, steps)
        jax.block_until_ready(state)
        if repeat:
            seconds.append((time.perf_counter() - start) / steps)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=4, help="trials trained together")
    parser.add_argument("--steps", type=int, default=20, help="steps a measurement")
    parser.add_argument("--repeats", type=int, default=5, help="measurements")
    args = parser.parse_args()
    print("| image | together, ms | one after the other, ms | ratio |\n|---|---|---|---|")
    for size, channels in ((8, 1), (16, 1), (28, 1), (32, 3)):
        data = Synthetic(height=size, width=size, channels=channels, examples=640, test_examples=64)
        base = Experiment(model=SmallCNN(features=16), data=data, batch_size=64, steps=1000)
        experiments = [replace(base, {"seed": seed}) for seed in range(args.trials)]
        together = step_seconds(experiments, packed=args.trials, steps=args.steps, repeats=args.repeats)
        alone = args.trials * step_seconds(experiments, packed=1, steps=args.steps, repeats=args.repeats)
        print(f"| {size}x{size}x{channels} | {1e3 * together:.2f} | {1e3 * alone:.2f} | {together / alone:.2f} |")


if __name__ == "__main__":
    main()
