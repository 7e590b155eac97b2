"""Time the training loop against the bare compiled step it runs, at LeNet-5 size: 28x28 grey, batch 128.

Both run the same executable on the same data. "Bare" is a Python loop over precomputed indices that waits once, at the
end; "loop" is `cnnjax.train` with everything it does between two steps of one epoch: choosing the batch, looking at the
loss of the step before, keeping sums, minding checkpoints and signals. Evaluation and checkpoints are not in it. Pairs
alternate; the ratio is of each pair, and its median is what counts.

    python benchmarks/loop_overhead.py --repeats 7 --json /tmp/overhead.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import jax

from cnnjax import SGD, Experiment, Hardware, Options, Synthetic, models, train
from cnnjax.events import Event, StepTaken
from cnnjax.run.environment import environment
from cnnjax.run.program import Program

BATCH, SKIPPED = 128, 20


def experiment(steps: int) -> Experiment:
    # One epoch holds every step, so none of them evaluates.
    data = Synthetic(height=28, width=28, channels=1, examples=BATCH * (steps + 1), test_examples=BATCH)
    return Experiment(
        model=models.config("lenet5"),
        data=data,
        optim=SGD(learning_rate=0.01),
        batch_size=BATCH,
        steps=steps,
        validation=0,
    )


def bare_seconds(program: Program, steps: int) -> float:
    chosen = program.experiment
    state = program.advance(program.init([chosen]), [chosen], 0, SKIPPED)
    jax.block_until_ready(state)
    start = time.perf_counter()
    state = program.advance(state, [chosen], SKIPPED, steps)
    jax.block_until_ready(state)
    return time.perf_counter() - start


def loop_seconds(chosen: Experiment, steps: int) -> float:
    seen: dict[int, float] = {}

    def note(event: Event) -> None:
        if isinstance(event, StepTaken):
            seen[event.step] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        train(chosen, folder, options=Options(Hardware(devices=1)), sinks=[note])
    return seen[steps] - seen[SKIPPED]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="pairs measured")
    parser.add_argument("--steps", type=int, default=300, help="steps each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    args = parser.parse_args()
    chosen = experiment(args.steps)
    program = Program(chosen, hardware=Hardware(devices=1))
    bare_seconds(program, args.steps)
    pairs = [(bare_seconds(program, args.steps), loop_seconds(chosen, args.steps)) for _ in range(args.repeats)]
    ratios = sorted(loop / bare for bare, loop in pairs)
    measured = args.steps - SKIPPED
    print(f"bare step {1e3 * statistics.median(bare for bare, _ in pairs) / measured:.3f} ms, ", end="")
    print(f"in the loop {1e3 * statistics.median(loop for _, loop in pairs) / measured:.3f} ms a step")
    print(f"loop / bare: median {statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}], n={len(ratios)}")
    if args.json:
        args.json.write_text(json.dumps({"pairs": pairs, "environment": environment().to_json()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
