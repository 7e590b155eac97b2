"""Time every lowering of a table of convolutions and of their two gradients, for the rules in cnnjax.nn.lowering_rules.

Each is compiled alone, with the options of a training's step, float32, and timed in turn with the others of its row,
several rounds; the smallest time of each counts. A lowering eight times slower than the quickest is timed four times.
Writes a line per convolution, what is wanted and lowering; where the file exists, its times stay if they are smaller.
`--check` says what the rules lose against the best of each row, and where most.

    python benchmarks/convolution.py --out benchmarks/convolution.csv
    python benchmarks/convolution.py --check benchmarks/convolution.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import jax
import numpy as np

from cnnjax.arithmetic import resolve_padding
from cnnjax.nn.geometry import Geometry
from cnnjax.nn.lowering_rules import choose
from cnnjax.nn.trilinear import OPERANDS, compute
from cnnjax.run.compiling import compiled

FIELDS = ("net", "batch", "size", "channels", "kernel", "features", "strides", "groups")
CANDIDATES = ("xla", "direct", "patches", "taps")


def layers() -> list[tuple]:
    """(net, batch, size, channels, kernel, features, strides, groups), padding "same"; images of `size` squared."""
    rows = [("resnet50", 16, 224, 3, 7, 64, 2, 1)]
    for width, size, entering in ((64, 56, 64), (128, 28, 256), (256, 14, 512), (512, 7, 1024)):
        strides = 1 if width == 64 else 2
        first = size * strides
        rows += [
            ("resnet50", 16, first, entering, 1, width, 1, 1),
            ("resnet50", 16, first, width, 3, width, strides, 1),
            ("resnet50", 16, size, width, 1, 4 * width, 1, 1),
            ("resnet50", 16, first, entering, 1, 4 * width, strides, 1),
            ("resnet50", 16, size, 4 * width, 1, width, 1, 1),
            ("resnet50", 16, size, width, 3, width, 1, 1),
        ]
    rows += [("resnet18", 32, 64, 3, 7, 64, 2, 1), ("resnet18", 32, 16, 64, 3, 64, 1, 1)]
    for width, size in ((128, 8), (256, 4), (512, 2)):
        rows += [
            ("resnet18", 32, 2 * size, width // 2, 3, width, 2, 1),
            ("resnet18", 32, 2 * size, width // 2, 1, width, 2, 1),
            ("resnet18", 32, size, width, 3, width, 1, 1),
        ]
    for size, before, after in ((32, 3, 32), (32, 32, 32), (16, 32, 64), (16, 64, 64), (8, 64, 128), (8, 128, 128)):
        rows.append(("vgg", 128, size, before, 3, after, 1, 1))
    rows += [("lenet5", 128, 28, 1, 5, 6, 1, 1), ("lenet5", 128, 14, 6, 5, 16, 1, 1)]
    for features in (8, 16, 32):
        for kernel in (3, 5):
            rows.append(("digits", 64, 8, 1, kernel, features, 1, 1))
            rows.append(("digits", 64, 4, features, kernel, 2 * features, 1, 1))
    for size, channels, strides in ((112, 32, 1), (56, 144, 1), (28, 192, 2), (14, 384, 1), (7, 960, 1)):
        rows.append(("mobilenet", 16, size, channels, 3, channels, strides, channels))
    rows += [("resnext", 16, 56, 128, 3, 128, 1, 32), ("resnext", 16, 14, 512, 3, 512, 1, 32)]
    return list(dict.fromkeys(rows))


def geometry(row: tuple) -> Geometry:
    _, _, size, _, kernel, _, strides, groups = row
    sizes, window, steps = (size, size), (kernel, kernel), (strides, strides)
    padding = resolve_padding((kernel - 1) // 2, sizes, kernel=window, strides=steps)
    return Geometry(sizes, window, steps, padding, (1, 1), groups)


def operands(row: tuple, wanted: str) -> list[jax.Array]:
    _, batch, size, channels, kernel, features, _, groups = row
    shapes = {
        "input": (batch, size, size, channels),
        "kernel": (kernel, kernel, channels // groups, features),
        "output": (batch, *geometry(row).output, features),
    }
    rng = np.random.default_rng(0)
    return [jax.numpy.asarray(rng.normal(size=shapes[name]).astype(np.float32)) for name in OPERANDS[wanted]]


def timed(row: tuple, wanted: str, rounds: int, seconds: float) -> dict[str, float]:
    """Milliseconds of each candidate; of those that are one program for this shape, the same."""
    g, (a, b) = geometry(row), operands(row, wanted)
    programs, texts, same, times = {}, {}, {}, {}
    for name in CANDIDATES:
        lowered = jax.jit(lambda a, b, name=name: compute(wanted, a, b, g, name)).lower(a, b)
        same[name] = next((other for other in programs if texts[other] == lowered.as_text()), name)
        texts[name] = lowered.as_text()
        if same[name] == name:
            programs[name] = compiled(lowered)
    for name, function in programs.items():
        start = time.perf_counter()
        jax.block_until_ready(function(a, b))
        times[name] = time.perf_counter() - start
    until = time.perf_counter() + seconds
    for number in range(rounds):
        for name, function in programs.items():
            if number > 2 and times[name] > 8 * min(times.values()):
                continue
            start = time.perf_counter()
            jax.block_until_ready(function(a, b))
            times[name] = min(times[name], time.perf_counter() - start)
        if time.perf_counter() > until:
            break
    return {name: 1e3 * times[other] for name, other in same.items()}


def measure(out: Path, *, rounds: int, seconds: float, only: str | None) -> None:
    before = read(out) if out.exists() else {}
    with out.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*FIELDS, "wanted", "lowering", "ms"))
        for row in layers():
            for wanted in OPERANDS:
                times = {} if only and row[0] not in only.split(",") else timed(row, wanted, rounds, seconds)
                for name, milliseconds in before.get((row, wanted), {}).items():
                    times[name] = min(milliseconds, times.get(name, milliseconds))
                if not times:
                    continue
                table.writerows((*row, wanted, name, f"{value:.4g}") for name, value in times.items())
                file.flush()
                best = min(times, key=times.__getitem__)
                print(*row, wanted, best, {name: float(f"{v:.3g}") for name, v in times.items()}, flush=True)


def read(path: Path) -> dict[tuple, dict[str, float]]:
    """(row, wanted) -> milliseconds by lowering."""
    table: dict[tuple, dict[str, float]] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            row = tuple(line[name] if name == "net" else int(line[name]) for name in FIELDS)
            table.setdefault((row, line["wanted"]), {})[line["lowering"]] = float(line["ms"])
    return table


def chosen(row: tuple, wanted: str) -> str:
    """The lowering by the rules; of an input's gradient, that of its largest phase."""
    _, _, _, channels, _, features, _, _ = row
    g = geometry(row)
    if wanted != "input":
        return choose(wanted, g, channels, features)
    window = (-(-g.kernel[0] // g.strides[0]), -(-g.kernel[1] // g.strides[1]))
    phase = Geometry(g.output, window, (1, 1), g.padding if window == g.kernel else ((0, 0), (0, 0)), (1, 1), g.groups)
    return choose("output", phase, features, channels)


def losses(table: dict[tuple, dict[str, float]]) -> dict[tuple, float]:
    """(row, wanted) -> time of the chosen lowering as a multiple of the quickest one's."""
    ratios = {}
    for (row, wanted), times in table.items():
        ratios[row, wanted] = times[chosen(row, wanted)] / min(times.values())
    return ratios


def check(path: Path) -> None:
    ratios = losses(table := read(path))
    for wanted in OPERANDS:
        of = [ratio for (_, kind), ratio in ratios.items() if kind == wanted]
        xla = [times["xla"] / min(times.values()) for (_, kind), times in table.items() if kind == wanted]
        means = (np.exp(np.mean(np.log(values))) for values in (of, xla))
        print("{}: chosen {:.3f} of the best, XLA's own {:.2f} (geometric means, n={})".format(wanted, *means, len(of)))
    for (row, wanted), ratio in sorted(ratios.items(), key=lambda item: -item[1])[:15]:
        print(f"{ratio:.2f}", *row, wanted, chosen(row, wanted), table[row, wanted])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/convolution.csv"))
    parser.add_argument("--check", type=Path, metavar="CSV", help="measure nothing")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="at most so long for a line of the table's candidates"
    )
    parser.add_argument("--only", metavar="NETS", help="of these networks, separated by commas")
    args = parser.parse_args()
    if args.check:
        check(args.check)
        return
    measure(args.out, rounds=args.rounds, seconds=args.seconds, only=args.only)


if __name__ == "__main__":
    main()
