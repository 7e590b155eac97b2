"""Images per second from a prepared set to batches of 224x224 training crops: cnnjax's loader against tf.data.

Both sides make random-resized crops (0.08 to 1 of the area) of the same JPEGs, in the same order, with as many workers
as there are cores. A side is a process of its own; times begin after its first batches. Sides alternate, and the ratio
is taken within a pair.

    ours-threads     `cnnjax.data.loader.Loader` with threads: records read from disk, regions drawn from each example's
                     own generator, decoded, uint8 (flipped and normalized on the device)
    ours-processes   the same with processes
    flax             examples/imagenet of Flax: decode_and_crop_jpeg, bicubic without antialiasing, flipped, float32
                     normalized, AUTOTUNE, prefetch. Records are held in memory (it caches them), regions drawn before
    lean             the same with plain bilinear resizing and uint8 batches: less than Flax's does, for comparison

The tf.data sides run in an environment of their own, made on first use under the user's cache folder.

    python benchmarks/input.py --repeats 5 --json /tmp/input.json       the measurement
    python benchmarks/input.py --errors                                 how far crops are from whole decoding
    python benchmarks/input.py --small --sides ours-threads             does it run? seconds, no TensorFlow
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZE, WARM = 224, 6
OURS, THEIRS = ("ours-threads", "ours-processes"), ("flax", "lean")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Work:
    """What a side is to do: encoded images, and of each example its image, region and flip."""

    def __init__(self, folder: Path, batch: int):
        self.bytes = np.memmap(folder / "images.bin", np.uint8, "r").tobytes()
        arrays = np.load(folder / "work.npz")
        self.ends, self.rows, self.boxes, self.flips = (arrays[name] for name in ("ends", "rows", "boxes", "flips"))
        starts = [0, *self.ends[:-1]]
        self.images = [self.bytes[start:end] for start, end in zip(starts, self.ends, strict=True)]
        del self.bytes
        self.batch, self.batches = batch, len(self.rows) // batch

    @staticmethod
    def write(folder: Path, images: list[bytes], examples: int) -> None:
        from cnnjax.data.crop_boxes import random_box
        from cnnjax.data.decode import dimensions

        generator = np.random.default_rng(0)
        rows = np.concatenate([generator.permutation(len(images)) for _ in range(-(-examples // len(images)))])
        shapes = [dimensions(image) for image in images]
        boxes = np.array([random_box(generator, shapes[row]) for row in rows[:examples]], np.int32)
        (folder / "images.bin").write_bytes(b"".join(images))
        np.savez(
            folder / "work.npz",
            ends=np.cumsum([len(image) for image in images]),
            rows=rows[:examples],
            boxes=boxes,
            flips=generator.random(examples) < 0.5,
        )


# Our sides


def ours(data: str, examples: int, batch: int, **makers: int) -> Iterator[np.ndarray]:
    from cnnjax.data import Data
    from cnnjax.data.loader import Loader, TrainingBatches
    from cnnjax.data.order import Order

    part = Data.from_json(data).load().train
    with Loader(part, TrainingBatches(Order(0, batch, len(part))), last=examples // batch, **makers) as loader:
        yield from loader


# The tf.data sides: this part runs where there is no cnnjax


def tfdata(work: Work, workers: int, *, lean: bool) -> Iterator[Any]:
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "ABSL_MIN_LOG_LEVEL": "3"}
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")

    def one(data, box, flip):
        image = tf.image.decode_and_crop_jpeg(data, box, channels=3)
        method = tf.image.ResizeMethod.BILINEAR if lean else tf.image.ResizeMethod.BICUBIC
        image = tf.reshape(tf.image.resize(image, [SIZE, SIZE], method=method), [SIZE, SIZE, 3])
        image = tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
        return tf.cast(image, tf.uint8) if lean else (image - tf.constant(MEAN)) / tf.constant(STD)

    images = tf.constant(work.images)
    options = tf.data.Options()
    # Two cores gave their best so: more threads than cores, which is tf.data's choice elsewhere, lost a few percent.
    options.threading.private_threadpool_size = workers
    options.threading.max_intra_op_parallelism = 1
    chosen = tf.data.Dataset.from_tensor_slices((work.rows, work.boxes, work.flips))
    made = chosen.map(lambda row, box, flip: one(images[row], box, flip), num_parallel_calls=tf.data.AUTOTUNE)
    yield from made.batch(work.batch, drop_remainder=True).prefetch(10).with_options(options)


# Measuring


def run_side(side: str, folder: Path, batch: int, workers: int, examples: int) -> dict[str, Any]:
    before, batches = resident_bytes(), examples // batch
    data = (folder / "data.json").read_text()
    makers: dict[str, Callable[[], Iterator[Any]]] = {
        "ours-threads": lambda: ours(data, examples, batch, threads=workers),
        "ours-processes": lambda: ours(data, examples, batch, workers=workers),
        "flax": lambda: tfdata(Work(folder, batch), workers, lean=False),
        "lean": lambda: tfdata(Work(folder, batch), workers, lean=True),
    }
    start = cpu = ended = cpu_ended = total = 0.0
    middle = seen = 0
    for count, made in enumerate(makers[side]()):
        total += float(np.asarray(made[0, 0, 0]).sum())
        if count == WARM - 1:
            start, cpu = time.perf_counter(), time.process_time()
        if count == (WARM + batches) // 2:
            middle = resident_bytes()
        # The last batches were made ahead while others were waited for; counting up to each is fair to both.
        seen, ended, cpu_ended = count + 1 - WARM, time.perf_counter(), time.process_time()
    return {
        "side": side,
        "images": seen * batch,
        "per_second": seen * batch / (ended - start),
        # Processes' own time is not seen from here until they end.
        "per_cpu_second": None if side == "ours-processes" else seen * batch / (cpu_ended - cpu),
        "resident_before_mb": before / 1e6,
        "resident_middle_mb": middle / 1e6,
        "resident_end_mb": resident_bytes() / 1e6,
        "peak_mb": peak_bytes() / 1e6,
        "checksum": total,
    }


def resident_bytes() -> int:
    """Resident memory of this process now (Linux; 0 elsewhere)."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def peak_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def tensorflow_python() -> Path:
    """The interpreter of an environment with TensorFlow, made once (about 600 MB)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "cnnjax" / "tensorflow-cpu"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"making {folder} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "tensorflow-cpu>=2.20"], check=True)
        (folder / "complete").touch()
    return python


def chosen_data(args: argparse.Namespace, folder: Path) -> Any:
    """The set whose training part is read: a folder or tar, TFDS's imagenet2012, or else made images."""
    from cnnjax.data import TFDS, ImageFolder, RandomFit
    from cnnjax.data.prepared_sets import default_data_dir

    how: dict[str, Any] = {"size": SIZE, "train_fit": RandomFit()}
    if args.images:
        return ImageFolder(root=str(args.images), **how)
    if (default_data_dir() / "imagenet2012").is_dir() and not args.small:
        return TFDS(name="imagenet2012", **how)
    for seed in range(40):
        (folder / "made").mkdir(exist_ok=True)
        (folder / "made" / "a").mkdir(exist_ok=True)
        (folder / "made" / "a" / f"{seed:02}.jpg").write_bytes(made_jpeg(seed))
    return ImageFolder(root=str(folder / "made"), **how)


def made_jpeg(seed: int) -> bytes:
    from PIL import Image

    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
    noisy = np.asarray(coarse).astype(int) + generator.integers(-12, 13, (375, 500, 3))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def errors(images: list[bytes]) -> dict[str, Any]:
    """How far `decode_crop` is from decoding whole and resizing with Pillow: levels of 255, 4 crops an image."""
    from PIL import Image

    from cnnjax.data.crop_boxes import random_box
    from cnnjax.data.decode import decode, decode_crop
    from cnnjax.data.resize import resize_exactly

    generator, differences, exact = np.random.default_rng(1), {SIZE: [], 96: []}, 0
    same = 0
    for data in images:
        whole = decode(data)
        same += np.array_equal(whole, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        for _ in range(4):
            top, left, height, width = box = random_box(generator, (whole.shape[0], whole.shape[1]))
            region = whole[top : top + height, left : left + width]
            exact += np.array_equal(region, decode_crop(data, box=box, size=(height, width)))
            for side, found in differences.items():
                crop = decode_crop(data, box=box, size=(side, side)).astype(int)
                found.append(np.abs(crop - resize_exactly(region, (side, side))))
    report: dict[str, Any] = {
        "images": len(images),
        "decoded as Pillow does, bit for bit": same,
        "regions": 4 * len(images),
        "regions equal to those of the whole, bit for bit": exact,
    }
    for side, found in differences.items():
        means = [float(one.mean()) for one in found]
        report[f"resized to {side}"] = {
            "mean": statistics.mean(means),
            "mean of the worst region": max(means),
            "99.9 percent of values within": float(np.percentile(np.concatenate([d.ravel() for d in found]), 99.9)),
            "max": int(max(one.max() for one in found)),
        }
    return report


def measure(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    runs = []
    for repeat in range(args.repeats):
        order = list(args.sides) if repeat % 2 == 0 else list(reversed(args.sides))
        for side in order:
            python = str(args.tf_python or tensorflow_python()) if side in THEIRS else sys.executable
            command = [python, __file__, "--side", side, "--folder", str(folder), "--batch", str(args.batch)]
            command += ["--workers", str(args.workers), "--examples", str(args.examples)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{side} failed:\n{done.stderr}")
            runs.append({"repeat": repeat, **json.loads(done.stdout.splitlines()[-1])})
            print(f"{repeat} {side:15s} {runs[-1]['per_second']:7.0f} images/s", file=sys.stderr)
    return runs


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.4g} [{min(values):.4g}, {max(values):.4g}] n={len(values)}"


def summary(runs: list[dict[str, Any]], sides: list[str]) -> Iterator[str]:
    by_side = {side: [run for run in runs if run["side"] == side] for side in sides}
    for side, mine in by_side.items():
        yield f"{side:15s} images/s {spread([run['per_second'] for run in mine])}"
        if all(run["per_cpu_second"] for run in mine):
            yield f"{'':15s} images/core-second {spread([run['per_cpu_second'] for run in mine])}"
        yield f"{'':15s} peak MB {spread([run['peak_mb'] for run in mine])}"
        resident = {when: [run[f"resident_{when}_mb"] for run in mine] for when in ("before", "middle", "end")}
        yield f"{'':15s} resident MB " + ", ".join(f"{w} {statistics.median(v):.0f}" for w, v in resident.items())
    for ours in set(sides) & set(OURS):
        for theirs in set(sides) & set(THEIRS):
            for what in ("per_second", "per_cpu_second"):
                pairs = zip(by_side[ours], by_side[theirs], strict=True)
                ratios = [a[what] / b[what] for a, b in pairs if a[what] and b[what]]
                if ratios:
                    yield f"{ours} / {theirs}, {what}: {spread(ratios)}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side")
    parser.add_argument("--examples", type=int, default=4000, help="crops in a run")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads or processes of a side")
    parser.add_argument("--sides", type=lambda text: text.split(","), default=[*OURS, *THEIRS], metavar="A,B,...")
    parser.add_argument(
        "--images", type=Path, help="a folder or tar of JPEGs; else TFDS's imagenet2012, else made ones"
    )
    parser.add_argument("--tf-python", type=Path, help="an interpreter that has TensorFlow, instead of making one")
    parser.add_argument("--errors", action="store_true", help="measure pixels, not time")
    parser.add_argument("--small", action="store_true", help="made images, few of them: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.side:
        print(json.dumps(run_side(args.side, args.folder, args.batch, args.workers, args.examples)))
        return
    if args.small:
        args.examples, args.batch, args.repeats = 160, 16, 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = chosen_data(args, folder)
        part = data.load().train
        images = part.read(range(len(part)))
        source = f"{len(images)} JPEGs, {sum(map(len, images)) / len(images) / 1e3:.0f} kB on average, {data!r}"
        print(source)
        if args.errors:
            result: dict[str, Any] = {"errors": errors(images)}
            print(json.dumps(result["errors"], indent=1))
        else:
            load = os.getloadavg()
            (folder / "data.json").write_text(data.to_json())
            Work.write(folder, images, args.examples)
            result = {"runs": measure(args, folder), "load_average_at_start": load}
            print("\n".join(summary(result["runs"], args.sides)))
    if args.json:
        from cnnjax.run.environment import environment

        result |= {"source": source, "arguments": {k: str(v) for k, v in vars(args).items()}}
        args.json.write_text(json.dumps(result | {"environment": environment().to_json()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
