"""Time the plan of studies of LeNet-5: trials that share networks, and trials that each have their own.

Each study is planned in a process of its own, after a plan of one arm that imports and warms what all need; seconds by
the clock and of the processor, and how much the resident memory grows.

    python benchmarks/plan.py --repeats 3
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

from cnnjax import Experiment, Study, Synthetic, plan

# (trials, networks): values of the widths of three layers and of the learning rate.
STUDIES = {
    (1000, 100): (10, 10, 1, 10),
    (1000, 1000): (10, 10, 10, 1),
    (10_000, 100): (10, 10, 1, 100),
    (10_000, 1000): (10, 10, 10, 10),
}


def study(first: int, dense: int, second: int, rates: int) -> Study:
    """So many values of each axis."""
    data = Synthetic(height=28, width=28, channels=1, examples=640, test_examples=64)
    axes = {
        "optim.learning_rate": tuple(0.01 * rate for rate in range(1, rates + 1)),
        "model.layers.conv1.features": tuple(range(4, 4 + first)),
        "model.layers.conv3.features": tuple(range(10, 10 + second)),
        "model.layers.dense6.features": tuple(range(60, 60 + dense)),
    }
    return Study(Experiment(model="lenet5", data=data, epochs=2, batch_size=64), axes=axes, seeds=1)


def measure(trials: int, networks: int) -> dict[str, float]:
    """Seconds and memory of one plan, in this process."""
    plan(study(1, 1, 1, 1))
    before, wall, processor = _resident(), time.perf_counter(), time.process_time()
    planned = plan(study(*STUDIES[trials, networks]))
    assert (len(planned.trials), len(planned.programs)) == (trials, networks)
    seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    return seconds | {"megabytes": _resident() - before}


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, type=int, metavar=("TRIALS", "NETWORKS"), help="one plan, as JSON")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one)))
        return
    print("| trials | networks | wall, s (range) | processor, s (range) | memory, MB |\n|---|---|---|---|---|")
    for trials, networks in STUDIES:
        command = [sys.executable, __file__, "--one", str(trials), str(networks)]
        runs = [json.loads(subprocess.check_output(command)) for _ in range(args.repeats)]
        wall, processor = (_spread([run[name] for run in runs]) for name in ("wall", "processor"))
        print(f"| {trials:,} | {networks:,} | {wall} | {processor} | {max(run['megabytes'] for run in runs):.0f} |")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
