"""Time what cnnjax adds to the steps of a training, and to each of many short trainings.

By default the training loop against the bare compiled step it runs, at LeNet-5 size: 28x28 grey, batch 128.

Both run the same executable on the same data. "Bare" is a Python loop over precomputed indices that waits once, at the
end; "loop" is `cnnjax.train` with everything it does between two steps of one epoch: choosing the batch, looking at the
loss of the step before, keeping sums, minding checkpoints and signals. Evaluation and checkpoints are not in it. Pairs
alternate; the ratio is of each pair, and its median is what counts.

    python benchmarks/loop_overhead.py --repeats 7 --json /tmp/overhead.json

With `--family`, studies of so many trials of one program (scikit-learn's digits, 20 steps of 64, which take some ms),
each `cnnjax.sweep` in a process of its own: seconds a trial from the end of the first one to that of the last (wall and
processor), the same for what is no engine (`bare`: first state, steps, one evaluation of each part), how much the
resident memory grows meanwhile, and the files that a trial leaves.

    python benchmarks/loop_overhead.py --family 8 64 512 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from cnnjax import SGD, Digits, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, models, sweep, train
from cnnjax.config import replace
from cnnjax.events import Event, Finished, StepTaken
from cnnjax.machine import resident_memory
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


# --- many trials of one program


SHORT = Experiment(model=SmallCNN(features=8), data=Digits(), optim=SGD(learning_rate=0.05), batch_size=64, steps=20)


def family(trials: int) -> dict[str, float]:
    """Seconds a trial of a study of so many, in this process."""
    ended: list[tuple[float, float, float]] = []

    def note(event: Event) -> None:
        if isinstance(event, Finished):
            ended.append((time.perf_counter(), time.process_time(), resident_memory() or 0.0))

    with tempfile.TemporaryDirectory() as folder:
        sweep(Study(SHORT, seeds=trials), folder, options=Options(Hardware(devices=1)), sinks=[note])
        files = [path for path in Path(folder, "trials", SHORT.id).rglob("*") if path.is_file()]
        left = {"files": len(files), "kilobytes": sum(512 * path.stat().st_blocks for path in files) / 1e3}
    wall, processor, memory = (last - first for first, last in zip(ended[0], ended[-1], strict=True))
    bare = bare_trials(min(trials, 50))
    return {
        "wall": wall / (trials - 1),
        "processor": processor / (trials - 1),
        "bare_wall": bare[0],
        "bare_processor": bare[1],
        "memory_megabytes": memory / 1e6,
        **left,
    }


def bare_trials(trials: int) -> tuple[float, float]:
    """Seconds (wall, processor) of a trial's first state, steps and evaluations, without anything that is written."""
    program = Program(SHORT, hardware=Hardware(devices=1))
    times: list[tuple[float, float]] = []
    for seed in range(trials):
        chosen = replace(SHORT, {"seed": seed})
        start = time.perf_counter(), time.process_time()
        state = program.advance(program.init([chosen]), [chosen], 0, program.steps)
        for split in ("validation", "test"):
            program.evaluate(state, split)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return statistics.median(wall for wall, _ in times[1:]), statistics.median(used for _, used in times[1:])


def families(sizes: list[int], repeats: int) -> list[dict[str, Any]]:
    """Each size so many times, in processes of their own, in turn."""
    runs: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for _ in range(repeats):
        for size, found in runs.items():
            command = [sys.executable, __file__, "--one-family", str(size)]
            found.append(json.loads(subprocess.check_output(command)))
    print("| trials | ms a trial, wall | processor | bare, wall | processor | memory grows, MB | files | kB |")
    print("|---|---|---|---|---|---|---|---|")
    for size, found in runs.items():
        of = {name: [run[name] for run in found] for name in found[0]}
        times = (_milliseconds(of[name]) for name in ("wall", "processor", "bare_wall", "bare_processor"))
        rest = f"{max(of['memory_megabytes']):.0f} | {of['files'][0]:.0f} | {of['kilobytes'][0]:.0f}"
        print(f"| {size} | {' | '.join(times)} | {rest} |", flush=True)
    return [{"trials": size, "runs": found} for size, found in runs.items()]


def _milliseconds(seconds: list[float]) -> str:
    low, middle, high = (1e3 * x for x in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="pairs measured")
    parser.add_argument("--steps", type=int, default=300, help="steps each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--family", type=int, nargs="+", metavar="TRIALS", help="time studies of so many trials")
    parser.add_argument("--one-family", type=int, metavar="TRIALS", help="one such study in this process, as JSON")
    args = parser.parse_args()
    if args.one_family:
        print(json.dumps(family(args.one_family)))
        return
    if args.family:
        found = families(args.family, args.repeats)
        if args.json:
            args.json.write_text(
                json.dumps({"families": found, "environment": environment().to_json()}, indent=1) + "\n"
            )
        return
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
