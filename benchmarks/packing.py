"""How many trials of one program to train together, on this machine: a step by width, a sweep, and steps in chunks.

    python benchmarks/packing.py                    # one GPU: about 2 minutes, at most `--minutes` of measuring widths
    python benchmarks/packing.py --small            # does it run? tiny, on any machine

Three tables:

- SmallCNN at 28x28x1, batch 128: milliseconds of one trial's step when 1, 2, 4, ... trials are one program under vmap,
  against one after the other (a program of one trial, called for each); each a median of `--repeats` blocks of
  `--steps` steps in calls of many steps, compiling not counted; the fastest width is the chosen one;
- `cnnjax.sweep` of `--seeds` seeds of the same network: seconds from start to end and of it compiling, with each trial
  alone and with the chosen width, and the largest difference of their test losses; no compilation is remembered;
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


def step_seconds(base: Experiment, width: int, *, a_call: int, steps: int, repeats: int) -> dict[str, Any]:
    """Seconds of one trial's step in a program of `width` trials, with `a_call` steps a call; and of compiling."""
    trials = [replace(base, {"seed": seed}) for seed in range(width)]
    program = Program(base, packed=width, hardware=ONE_DEVICE)
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
        "a_call": a_call,
        "ms": 1e3 * statistics.median(seconds),
        "range": [1e3 * min(seconds), 1e3 * max(seconds)],
        "compile_seconds": program.compile_seconds,
    }


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
        "packed": sorted({result.get("packed", 1) for result in results}),
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
        widths = []
        print("| trials together | ms a trial and step [lowest, highest] | one after the other / this | compiling, s |")
        print("|---|---|---|---|")
        for width in size.widths:
            if widths and time.perf_counter() - began > 60 * args.minutes:
                print(f"| {width} | not measured: {args.minutes} minutes are over | | |")
                continue
            widths.append(found := step_seconds(base, width, a_call=a_call, **timing))
            ratio, spread = widths[0]["ms"] / found["ms"], ", ".join(f"{x:.3f}" for x in found["range"])
            print(
                f"| {width} | {found['ms']:.3f} [{spread}] | {ratio:.2f} | {found['compile_seconds']:.1f} |", flush=True
            )
        chosen = min(widths, key=lambda found: found["ms"])
        print(f"\nChosen: {chosen['width']}, {widths[0]['ms'] / chosen['ms']:.2f}x one after the other.\n")
        chunks = [step_seconds(base, 1, a_call=count, **timing) for count in dict.fromkeys((1, a_call))]
        print("| steps a call, one trial | ms a step [lowest, highest] |\n|---|---|")
        for found in chunks:
            print(f"| {found['a_call']} | {found['ms']:.3f} [{', '.join(f'{x:.3f}' for x in found['range'])}] |")
        print(
            f"\n| sweep of {seeds} seeds | seconds | compiling, s | packed | done |\n|---|---|---|---|---|", flush=True
        )
        sweeps = []
        for pack in dict.fromkeys((chosen["width"], None, 1)):
            with tempfile.TemporaryDirectory() as folder:
                sweeps.append(found := swept(base, seeds, pack, Path(folder)))
            name = "as cnnjax chooses" if pack is None else f"--pack {pack}"
            cells = [name, f"{found['seconds']:.1f}", f"{found['compile_seconds']:.1f}", found["packed"], found["done"]]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    losses = [found["test_loss"] for found in sweeps]
    apart = max(abs(a - b) for other in losses for a, b in zip(losses[-1], other, strict=True))
    print(f"\nTest losses differ by at most {apart:.2g} from those of trials trained alone (n = {seeds}).")
    args.out.mkdir(parents=True, exist_ok=True)
    record = {"device": device.device_kind, "widths": widths, "chunks": chunks, "sweeps": sweeps, "apart": apart}
    (args.out / "packing.json").write_text(json.dumps(record, indent=1))


def base_steps(base: Experiment) -> int:
    """Steps of the training."""
    return cnnjax.plan(Study(base, axes={}, seeds=1)).trials[0].steps


if __name__ == "__main__":
    main()
