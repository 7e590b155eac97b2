"""How many trials of one program to train together, on this machine: a step by width, a sweep, and steps in chunks.

    python benchmarks/packing.py                    # one GPU: about 2 minutes, at most `--minutes` of measuring widths
    python benchmarks/packing.py --small            # does it run? tiny, on any machine

Three tables:

- SmallCNN at 28x28x1, batch 128: milliseconds of one trial's step when 1, 2, 4, ... trials are one program, under vmap
  and with convolutions as batched products (on a CPU the two are one), against one after the other (a program of one
  trial, called for each); each a median of `--repeats` blocks of `--steps` steps in calls of many steps, compiling not
  counted; then what cnnjax finds fastest by its own measurement (`cnnjax.run.measured_packing`), and how long it takes;
- `cnnjax.sweep` of `--seeds` seeds of the same network: seconds from start to end and of it compiling, with each trial
  alone, with as many together as were measured to be fastest, and as cnnjax chooses without being asked, and the
  largest difference of their test losses; no compilation is remembered;
- the same network alone with one step a call and with as many steps a call as a program takes.

Everything printed is in OUT/packing.json too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

import cnnjax
from cnnjax import SGD, Constant, Experiment, Hardware, SmallCNN, Study, Synthetic
from cnnjax.config import replace
from cnnjax.run.measured_packing import WAYS, MeasuredPacking
from cnnjax.run.packing import ALONE, Packing
from cnnjax.run.program import Program

ONE_DEVICE = Hardware(devices=1)


@dataclass(frozen=True)
class Size:
    """What is measured."""

    pixels: int = 28
    batch: int = 128
    features: int = 16
    examples: int = 12_800
    widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    epochs: int = 4


FULL = Size()
SMALL = Size(pixels=8, batch=8, features=4, examples=64, widths=(1, 2, 4), epochs=1)


def base_of(size: Size) -> Experiment:
    """The training that is packed."""
    data = Synthetic(
        height=size.pixels, width=size.pixels, channels=1, examples=size.examples, test_examples=size.examples // 10
    )
    model, optim = SmallCNN(features=size.features), SGD(learning_rate=0.02, schedule=Constant())
    return Experiment(model=model, data=data, optim=optim, batch_size=size.batch, epochs=size.epochs)


def step_seconds(base: Experiment, packing: Packing, *, a_call: int, steps: int, repeats: int) -> dict[str, Any]:
    """Seconds of one trial's step in a program of so many trials, with `a_call` steps a call; and of compiling."""
    width = packing.width
    trials = [replace(base, {"seed": seed}) for seed in range(width)]
    program = Program(base, packed=packing, hardware=ONE_DEVICE)
    state, seconds = program.init(trials), []
    for repeat in range(repeats + 1):
        jax.block_until_ready(state)
        start = time.perf_counter()
        for first in range(0, steps, a_call):
            state, _ = program.take(state, trials, first % program.spans[0].steps, a_call)
        jax.block_until_ready(state)
        if repeat:
            seconds.append((time.perf_counter() - start) / steps / width)
    return {
        "width": width,
        "way": packing.way,
        "a_call": a_call,
        "ms": 1e3 * statistics.median(seconds),
        "range": [1e3 * min(seconds), 1e3 * max(seconds)],
        "compile_seconds": program.compile_seconds,
    }


def widths_table(
    base: Experiment, size: Size, a_call: int, timing: dict[str, int], until: float
) -> list[dict[str, Any]]:
    """Time and print each width and way, until the clock says `until`."""
    print("| trials together | way | ms a trial and step [lowest, highest] | alone / this | compiling, s |")
    print("|---|---|---|---|---|")
    found: list[dict[str, Any]] = []
    for width in size.widths:
        for way in WAYS if width > 1 else WAYS[:1]:
            if found and time.perf_counter() > until:
                print(f"| {width} | {way} | not measured: the time is over | | |")
                continue
            found.append(each := step_seconds(base, Packing(width, way), a_call=a_call, **timing))
            ratio, compiling = found[0]["ms"] / each["ms"], each["compile_seconds"]
            print(f"| {width} | {way} | {spread(each)} | {ratio:.2f} | {compiling:.1f} |", flush=True)
    return found


def spread(found: dict[str, Any]) -> str:
    """Milliseconds, with the lowest and the highest."""
    low, high = found["range"]
    return f"{found['ms']:.3f} [{low:.3f}, {high:.3f}]"


def swept(base: Experiment, seeds: int, pack: int | None, folder: Path) -> dict[str, Any]:
    """Seconds of a sweep of so many seeds, what its trials say of compiling, how it packed, and each test loss."""
    start = time.perf_counter()
    outcome = cnnjax.sweep(Study(base, axes={}, seeds=seeds), folder, pack=pack)
    seconds = time.perf_counter() - start
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("trials/*/result.json"))]
    return {
        "pack": pack,
        "seconds": seconds,
        "done": len(outcome.done),
        "compile_seconds": sum(result["compile_seconds"] for result in results),
        "packed": sorted({result["packed"] for result in results}),
        "packing": results[0]["packing"],
        "test_loss": [result["metrics"]["test_loss"] for result in results],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="tiny, on any machine: does it run at all?")
    parser.add_argument("--seeds", type=int, default=None, help="trials of the sweep (default 64, small: 4)")
    parser.add_argument("--steps", type=int, default=64, help="steps of a block")
    parser.add_argument("--repeats", type=int, default=5, help="blocks")
    parser.add_argument("--minutes", type=float, default=1.25, help="no further width is measured after so many")
    parser.add_argument("--out", type=Path, default=Path("runs/packing"), metavar="FOLDER", help="for packing.json")
    args = parser.parse_args()
    size = SMALL if args.small else FULL
    base, seeds, began = base_of(size), args.seeds or (4 if args.small else 64), time.perf_counter()
    device = jax.local_devices()[0]
    print(f"{device.device_kind}, jax {jax.__version__}, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as cache:
        # Compiling is part of what is measured: nothing is remembered from before, or from one table for the next.
        os.environ["XDG_CACHE_HOME"] = cache
        jax.config.update("jax_enable_compilation_cache", False)
        most = Program(base, hardware=ONE_DEVICE).chunk or 1
        a_call = min(most, args.steps, base_steps(base))
        timing = {"steps": args.steps - args.steps % a_call, "repeats": args.repeats}
        found = widths_table(base, size, a_call, timing, began + 60 * args.minutes)
        start = time.perf_counter()
        chosen = MeasuredPacking(base, ONE_DEVICE, {}).best(1_000_000, max(size.widths))
        took = time.perf_counter() - start
        print(f"\ncnnjax for a long study: {chosen} one after the other; measuring took {took:.1f} s.\n", flush=True)
        chunks = [step_seconds(base, ALONE, a_call=count, **timing) for count in dict.fromkeys((1, a_call))]
        print("| steps a call, one trial | ms a step [lowest, highest] |\n|---|---|")
        for each in chunks:
            print(f"| {each['a_call']} | {spread(each)} |")
        print(
            f"\n| sweep of {seeds} seeds | seconds | compiling, s | packed | done |\n|---|---|---|---|---|", flush=True
        )
        sweeps = []
        # The measured packing is remembered now, so that a sweep which is not told how to pack takes it.
        for name, pack in (("as cnnjax measured", None), (f"--pack {chosen.width}", chosen.width), ("--pack 1", 1)):
            with tempfile.TemporaryDirectory() as folder:
                sweeps.append(swept_so := swept(base, seeds, pack, Path(folder)))
            seconds, compiling = f"{swept_so['seconds']:.1f}", f"{swept_so['compile_seconds']:.1f}"
            cells = [name, seconds, compiling, swept_so["packed"], swept_so["packing"], swept_so["done"]]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    losses = [found["test_loss"] for found in sweeps]
    apart = max(abs(a - b) for other in losses for a, b in zip(losses[-1], other, strict=True))
    print(f"\nTest losses differ by at most {apart:.2g} from those of trials trained alone (n = {seeds}).")
    args.out.mkdir(parents=True, exist_ok=True)
    record = {
        "device": device.device_kind,
        "widths": found,
        "chosen": str(chosen),
        "measuring_seconds": took,
        "chunks": chunks,
        "sweeps": sweeps,
        "apart": apart,
    }
    (args.out / "packing.json").write_text(json.dumps(record, indent=1))


def base_steps(base: Experiment) -> int:
    """Steps of the training."""
    return cnnjax.plan(Study(base, axes={}, seeds=1)).trials[0].steps


if __name__ == "__main__":
    main()
