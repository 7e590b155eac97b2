"""Data that are streamed: the same batches and the same training, whoever makes them, and wherever it begins again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from cnnjax import (
    SGD,
    CentreFit,
    Experiment,
    Hardware,
    ImageFolder,
    Options,
    RandomFit,
    SmallCNN,
    Synthetic,
    train,
)
from cnnjax.config import replace
from cnnjax.data.loader import BatchesInOrder, Loader, Share, TrainingBatches
from cnnjax.data.order import Order
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.events import Event, StepTaken
from cnnjax.files import read_json
from cnnjax.records.metrics_jsonl import read_rows
from cnnjax.run import feed
from cnnjax.run.feed import Resident, Streamed, is_streamed
from cnnjax.run.program import Program
from tests.forking import shared
from tests.marks import slow

ALWAYS = Hardware(devices=1, resident=0.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """48 + 12 JPEGs of two classes, all of different sizes."""
    folder = tmp_path_factory.mktemp("set")
    generator = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 6)):
        for label in ("dark", "light"):
            (folder / part / label).mkdir(parents=True)
            for at in range(count):
                height, width = generator.integers(20, 60, 2)
                pixels = generator.integers(0, 128, (height, width, 3)) + 127 * (label == "light")
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / label / f"{at:02}.jpg", quality=90)
    return folder


def folder_data(root: Path, **fields) -> ImageFolder:
    return ImageFolder(root=str(root), size=16, **{"train_fit": RandomFit(), **fields})


def experiment_on(root: Path, **fields) -> Experiment:
    made = Experiment(
        model=SmallCNN(features=4, kernel_size=3, norm="batch"),
        data=folder_data(root),
        optim=SGD(learning_rate=0.05),
        augment=("flip",),
        batch_size=8,
        steps=12,
        validation=8,
        seed=3,
    )
    return replace(made, fields)


def order(**fields) -> Order:
    return Order(**{"seed": 5, "batch_size": 8, "examples": 40, "repeats": 1, **fields})


# The order


@pytest.mark.parametrize(("repeats", "parts"), [(3, 4), (4, 8), (2, 2)])
def test_repeated_examples_are_dealt_out_as_a_sampler_for_each_device_takes_them(repeats, parts):
    """Device k of n takes the examples k, k + n, k + 2n, ... of the sequence, as torchvision's RASampler."""
    plain, dealt = Order(2, 24, 40, repeats), Order(2, 24, 40, repeats, parts)
    for step in range(4):
        sequence, made = plain.indices(step), dealt.indices(step).reshape(parts, -1)
        for device in range(parts):
            np.testing.assert_array_equal(made[device], sequence[device::parts])
            # A later batch may hold the end of one permutation and the beginning of the next.
            assert step or len(set(made[device])) == 24 // parts


def test_dealing_wants_repeats_and_equal_parts():
    with pytest.raises(ConfigError, match="nothing to keep apart"):
        Experiment(model=SmallCNN(), dealt=2)
    with pytest.raises(ConfigError, match="not divisible by dealt"):
        Experiment(model=SmallCNN(), repeats=2, dealt=3)


@pytest.mark.parametrize(("batch_size", "examples", "repeats"), [(8, 40, 1), (6, 10, 4), (5, 7, 3), (12, 3, 2)])
def test_repeated_examples_follow_each_other(batch_size, examples, repeats):
    once = Order(2, 1, examples)
    drawn = [int(once.indices(step)[0]) for step in range(200)]
    expected = np.repeat(drawn, repeats)
    made = np.concatenate([Order(2, batch_size, examples, repeats).indices(step) for step in range(15)])
    np.testing.assert_array_equal(made, expected[: len(made)])


def test_every_place_has_randomness_of_its_own():
    draws = {
        (seed, step, place): Order(seed, 8, 40).generator(step, place).integers(2**62)
        for seed in range(3)
        for step in (0, 1, 2**31)
        for place in range(4)
    }
    assert len(set(draws.values())) == len(draws)
    again = Order(1, 8, 40).generator(2**31, 3).integers(2**62)
    assert again == draws[1, 2**31, 3]
    # Nor is it that of the order itself.
    permutation = np.random.Generator(np.random.Philox(key=[0, 1])).integers(2**62)
    assert permutation not in draws.values()


@pytest.mark.parametrize("hosts", [2, *slow(1, 4)])
def test_hosts_make_the_parts_of_one_batch(root, hosts):
    part = folder_data(root).load().train
    whole = TrainingBatches(order(examples=len(part)))
    for number in (0, 5):
        expected = part.stacked(*whole(number))
        shares = [TrainingBatches(order(examples=len(part)), Share(host, hosts)) for host in range(hosts)]
        np.testing.assert_array_equal(np.concatenate([part.stacked(*share(number)) for share in shares]), expected)
        assert all(len(share(number)[0]) == 8 // hosts for share in shares)
    in_order = [BatchesInOrder(10, 8, Share(host, hosts)) for host in range(hosts)]
    assert np.concatenate([share(1)[0] for share in in_order]).tolist() == [8, 9, 9, 9, 9, 9, 9, 9]
    assert np.concatenate([share.mask(1) for share in in_order]).sum() == 2


# The loader


@pytest.mark.parametrize("makers", [{"threads": 3}, {"workers": 2}, *slow({"threads": 1})], ids=str)
def test_batches_do_not_depend_on_who_makes_them(root, makers):
    part = folder_data(root).load().train
    batches = TrainingBatches(order(examples=len(part)))
    with Loader(part, batches, first=2, last=9, **makers) as loader:
        made = list(loader)
    assert len(made) == 7
    for number, batch in enumerate(made, 2):
        np.testing.assert_array_equal(batch["image"], part.stacked(*batches(number)))
        np.testing.assert_array_equal(batch["label"], part.labels[batches(number)[0]])
    assert not np.array_equal(made[0]["image"], made[1]["image"])


def test_random_regions_are_drawn_anew_and_evaluation_is_not(root):
    part = folder_data(root).load().train
    index = np.array([7])
    a, b = (part.stacked(index, lambda place, step=step: order().generator(step, place)) for step in (0, 1))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(part.stacked(index), folder_data(root, train_fit=None).load().train.stacked(index))


def test_imagenets_evaluation_is_a_share_of_the_centre():
    # Resized to 327x256 (512 * 256 / 400 = 327.68, rounded down), of which 224x224 from row 52, column 16 are cut out.
    expected = (52 * 512 / 327, 16 * 400 / 256, 224 * 512 / 327, 224 * 400 / 256)
    assert CentreFit(share=224 / 256).box((512, 400), (224, 224), None) == pytest.approx(expected)


def test_a_worker_that_dies_is_an_error_within_seconds(root):
    part = folder_data(root).load().train
    before = children()
    with Loader(part, TrainingBatches(order(examples=len(part))), last=10_000, workers=2) as loader:
        next(loader)
        os.kill(min(children() - before), signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(
            DataError, match="2 processes that read images has ended .exit code -9.*same command continues"
        ):
            for _ in loader:
                pass
        assert time.monotonic() - began < 60, "seconds, where no one else works"
    assert children() <= before, "no process is left behind"


def children() -> set[int]:
    """Process ids of multiprocessing's workers, but for its tracker of shared memory."""
    import multiprocessing

    return {process.pid for process in multiprocessing.active_children() if process.pid is not None}


KILLED = """
import multiprocessing, sys, time
from cnnjax import Data
from cnnjax.data.loader import *
if __name__ == "__main__":
    part = Data.from_json(sys.argv[1]).load().train
    loader = Loader(part, TrainingBatches(Order(0, 8, len(part))), last=10_000, workers=2)
    next(loader)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    time.sleep(600)
"""


def test_workers_end_with_a_training_that_is_killed(root, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    training = subprocess.Popen(
        [sys.executable, str(script), folder_data(root).to_json()], stdout=subprocess.PIPE, text=True
    )
    assert training.stdout is not None
    workers = [int(word) for word in training.stdout.readline().split()]
    training.kill()
    training.wait()
    assert len(workers) == 2
    deadline = time.monotonic() + 15
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, workers))


def is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_what_cannot_be_read_is_named(root, tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "MANY", 0)
    broken = tmp_path / "set"
    for file in root.rglob("*.jpg"):
        copy = broken / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes() if file.name != "05.jpg" else file.read_bytes()[:200])
    experiment = experiment_on(broken, **{"data.mean": (0.5,) * 3, "data.std": (0.2,) * 3})
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"05.jpg: image header is damaged"):
            train(experiment, tmp_path / "run", options=Options(Hardware(devices=1, workers=workers)))
    with pytest.raises(DataError, match=r"05.jpg: .*leave such images out with on_broken='skip'"):
        train(replace(experiment, {"data.mean": None, "data.std": None}), tmp_path / "other", options=Options(ALWAYS))
    with pytest.warns(UserWarning, match="4 of 60 images cannot be decoded"):
        result = train(replace(experiment, {"data.on_broken": "skip"}), tmp_path / "skip", options=Options(ALWAYS))
    assert result["skipped"] == {"train": 2, "test": 2}
    assert result["examples"] == {"train": 38, "validation": 8, "test": 10}


OWN = """
from dataclasses import dataclass, replace
from functools import cached_property
import numpy as np
from cnnjax import Data, Dataset, Experiment, SmallCNN
from cnnjax.data.examples import Part

@dataclass(frozen=True, eq=False)
class Made(Part):
    labels: np.ndarray

    @cached_property
    def image_shape(self):
        return 8, 8, 1

    def hash_into(self, total):
        total.update(self.labels.tobytes())

    def images_at(self, indices, generator=None):
        return (np.full((8, 8, 1), 100 * self.labels[index], np.uint8) for index in indices)

    def take(self, indices):
        return replace(self, labels=self.labels[indices])

class Own(Data, tag="own_made"):
    def read(self):
        labels = np.arange(32, dtype=np.int32) % 2
        return Dataset("own", Made(labels), Made(labels[:8]), classes=("a", "b"), mean=(0.5,), std=(0.5,))

experiment = Experiment(model=SmallCNN(features=2, kernel_size=3), data=Own(), batch_size=8, steps=4)
"""


@pytest.mark.slow
def test_workers_know_the_classes_of_an_experiment_file(tmp_path):
    from cnnjax.study.file import load

    (tmp_path / "own.py").write_text(OWN)
    part = load(tmp_path / "own.py").experiment.data.load().train
    batches = TrainingBatches(order(examples=len(part)))
    with Loader(part, batches, last=3, workers=2) as loader:
        made = list(loader)
    for number, batch in enumerate(made):
        np.testing.assert_array_equal(batch["image"], part.stacked(*batches(number)))
        np.testing.assert_array_equal(batch["label"], part.labels[batches(number)[0]])


@pytest.mark.slow
def test_the_benchmark_says_how_many_processes_read(root, monkeypatch):
    from cnnjax.study.data_speed import benchmark

    few = benchmark(experiment_on(root), steps=1, hardware=Hardware(devices=1, workers=1))
    assert few.workers == 0, "threads read a small set"
    monkeypatch.setattr(feed, "MANY", 0)
    assert benchmark(experiment_on(root), steps=1, hardware=Hardware(devices=1, workers=1)).workers == 1


# The feed


def test_small_sets_live_on_the_device_and_large_ones_are_streamed(root):
    small = replace(experiment_on(root), {"data": folder_data(root, train_fit=None)})
    assert not is_streamed(small, Hardware(devices=1))
    assert is_streamed(small, ALWAYS)
    assert is_streamed(experiment_on(root), Hardware(devices=1)), "random regions are decoded anew"
    assert isinstance(Program(small, hardware=Hardware(devices=1)).feed, Resident)
    assert isinstance(Program(small, hardware=ALWAYS).feed, Streamed)
    with pytest.raises(ConfigError, match="pack = 2: set.* is streamed"):
        Program(small, packed=2, hardware=ALWAYS)
    with pytest.raises(ConfigError, match="share of the device's memory"):
        Hardware(resident=2)


@pytest.mark.parametrize("mixing", [None, *slow("mixup")])
def test_streamed_is_resident(root, tmp_path, mixing):
    """A set in memory and the same set streamed give the same training."""
    experiment = replace(experiment_on(root), {"data": folder_data(root, train_fit=None), "mixing": mixing})
    results: Any = [
        train(experiment, tmp_path / str(resident), options=Options(Hardware(devices=1, resident=resident)))
        for resident in (0.25, 0.0)
    ]
    assert results[0]["metrics"] == pytest.approx(results[1]["metrics"], rel=1e-5)
    rows = [read_rows(tmp_path / str(resident) / "metrics.jsonl") for resident in (0.25, 0.0)]
    assert [row.numbers["train_loss"] for row in rows[0]] == pytest.approx(
        [row.numbers["train_loss"] for row in rows[1]], rel=1e-5
    )


@pytest.mark.parametrize(("devices", "parallel"), [(2, "jit"), *slow((8, "shard_map"), (2, "pmap"))])
def test_devices_do_not_change_a_streamed_training(root, devices, parallel: Any):
    experiment = experiment_on(root, mixing="cutmix")
    programs = [
        Program(experiment, hardware=Hardware(count, kind, resident=0.0))
        for count, kind in ((1, "jit"), (devices, parallel))
    ]
    losses = []
    for program in programs:
        state, own = program.init([experiment]), []
        for step in range(3):
            rows = program.rows([experiment], step)
            own.append(np.asarray(rows["image"]))
            state, sums = program.train(state, rows)
            own.append(float(sums["loss"]))
        losses.append((own, float(program.evaluate(state, "test")["loss"])))
        program.close()
    (one, one_test), (many, many_test) = losses
    for a, b in zip(one[::2], many[::2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1::2] == pytest.approx(many[1::2], rel=1e-4)
    assert one_test == pytest.approx(many_test, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_streamed_training_continues_bitwise(root, tmp_path, workers, monkeypatch):
    monkeypatch.setattr(feed, "MANY", 0)
    experiment = experiment_on(root, repeats=2, mixing="mixup", steps=8)
    options = Options(Hardware(devices=1, workers=workers), checkpoint_steps=1)
    whole = train(experiment, tmp_path / "whole", options=Options(ALWAYS))
    for stop_at in (5,) if workers else (1, 5):
        with pytest.raises(_Stop):
            train(experiment, tmp_path / "cut", options=options, sinks=[_stopping(stop_at)])
    continued = train(experiment, tmp_path / "cut", options=options)
    assert continued["metrics"] == whole["metrics"]
    files = [tmp_path / name / "metrics.jsonl" for name in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_json(tmp_path / "cut/result.json", remedy="")["data_fingerprint"] == whole["data_fingerprint"]


class _Stop(Exception):
    pass


def _stopping(at: int):
    def sink(event: Event) -> None:
        if isinstance(event, StepTaken) and event.step >= at:
            raise _Stop

    return sink


def test_a_training_does_not_go_on_with_other_data(root, tmp_path):
    copy = copied(root, tmp_path / "set")
    experiment, options = experiment_on(copy), Options(ALWAYS, checkpoint_steps=1)
    with pytest.raises(_Stop):
        train(experiment, tmp_path / "run", options=options, sinks=[_stopping(4)])
    script = """
from cnnjax import train, Options, Hardware
from cnnjax.experiment import Experiment
experiment = Experiment.from_json(told["experiment"])
train(experiment, told["run"], options=Options(Hardware(devices=1, resident=0.0)))
"""
    changed = copy / "train/dark/03.jpg"
    changed.write_bytes((copy / "train/dark/04.jpg").read_bytes())
    told = {"experiment": experiment.to_json(), "run": str(tmp_path / "run")}
    process = shared().start(cwd=tmp_path, said=tmp_path / "said", program=script, **told)
    assert process.wait() == 1
    assert "the data are others now" in process.err.read_text()
    assert not (tmp_path / "run" / "result.json").exists()


def test_threads_end_with_the_training(root, tmp_path):
    before = threading.active_count()
    train(experiment_on(root), tmp_path, options=Options(ALWAYS))
    deadline = time.monotonic() + 10
    while threading.active_count() > before + 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert threading.active_count() <= before + 2


def test_memory_stays_flat_over_an_epoch(tmp_path):
    """An epoch of 45 MB of images, by batches of 0.6, grows this process by a few batches at most."""
    generator = np.random.default_rng(1)
    for at in range(300):
        folder = tmp_path / "train" / "ab"[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.repeat(np.repeat(generator.integers(0, 256, (28, 28, 3)), 8, 0), 8, 1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{at}.jpg")
    part = ImageFolder(root=str(tmp_path), size=224, train_fit=RandomFit(), test=0.01).load().train
    sizes = []
    with Loader(part, TrainingBatches(Order(0, 4, len(part))), last=3 * len(part) // 4) as loader:
        for number, _ in enumerate(loader):
            if number in (30, 3 * len(part) // 4 - 1):
                sizes.append(resident_bytes())
    assert sizes[1] - sizes[0] < 15e6


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


HOST = """
import jax
jax.distributed.initialize(f"localhost:{told['port']}", 4, told["host"])
import numpy as np
from cnnjax.experiment import Experiment
from cnnjax.run import feed
from cnnjax.run.feed import Streamed
from cnnjax.training.parallel import make_mesh
experiment = Experiment.from_json(told["experiment"])
feed = Streamed(experiment, make_mesh(jax.devices()), workers=0)
rows = feed.rows([experiment], 2)
assert rows["image"].shape == (8, 16, 16, 3) and len(rows["image"].addressable_shards) == 2
for shard in rows["image"].addressable_shards:
    place = shard.index[0].start
    np.save(f"{told['made']}/{place}.npy", np.asarray(shard.data))
feed.close()
"""


@pytest.mark.slow
def test_four_hosts_stream_one_batch(root, tmp_path):
    """Four processes of two devices each: what is on each device is that place of the batch one host would make."""
    experiment = experiment_on(root)
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    told = {"port": free_port(), "experiment": experiment.to_json(), "made": str(tmp_path)}
    hosts = [
        shared().start(cwd=tmp_path, said=tmp_path / "said", program=HOST, environ=flags, host=host, **told)
        for host in range(4)
    ]
    assert [host.wait(300) for host in hosts] == [0] * 4, [host.err.read_text() for host in hosts]
    program = Program(experiment, hardware=ALWAYS)
    expected = np.asarray(program.rows([experiment], 2)["image"])
    program.close()
    made = np.concatenate([np.load(tmp_path / f"{place}.npy") for place in range(8)])
    np.testing.assert_array_equal(made, expected)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def test_a_synthetic_set_can_be_streamed_too(tmp_path):
    experiment = Experiment(
        model=SmallCNN(features=4),
        data=Synthetic(height=8, width=8, examples=64, test_examples=16),
        steps=4,
        batch_size=8,
    )
    results: Any = [
        train(experiment, tmp_path / str(resident), options=Options(Hardware(devices=1, resident=resident)))
        for resident in (0.25, 0.0)
    ]
    assert results[0]["metrics"] == pytest.approx(results[1]["metrics"], rel=1e-5)
    assert jax.device_count() == 8


def copied(root: Path, to: Path) -> Path:
    for file in root.rglob("*.jpg"):
        (to / file.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        (to / file.relative_to(root)).write_bytes(file.read_bytes())
    return to


def test_data_that_change_while_they_are_read_give_no_result(root, tmp_path):
    copy = copied(root, tmp_path / "set")

    def overwrite(event: Event) -> None:
        if isinstance(event, StepTaken) and event.step == 6:
            (copy / "train/dark/03.jpg").write_bytes((copy / "train/dark/04.jpg").read_bytes())

    with pytest.raises(RunError, match="its data changed while it was trained"):
        train(experiment_on(copy), tmp_path / "run", options=Options(ALWAYS), sinks=[overwrite])
    assert not (tmp_path / "run/result.json").exists()


def test_what_is_broken_does_not_depend_on_the_region(root, tmp_path):
    copy = copied(root, tmp_path / "set")
    generator = np.random.default_rng(2)
    # Tall, and cut short at the bottom: the central region can be decoded.
    tall = Image.fromarray(generator.integers(0, 256, (400, 40, 3)).astype(np.uint8))
    tall.save(copy / "train/dark/tall.jpg", quality=90)
    whole = (copy / "train/dark/tall.jpg").read_bytes()
    (copy / "train/dark/tall.jpg").write_bytes(whole[: int(0.9 * len(whole))])
    kept = []
    for fields in ({"fit": "crop"}, {"fit": "squash"}, {"train_fit": RandomFit()}):
        with pytest.warns(UserWarning, match=r"1 of 61 images.*tall.jpg"):
            kept.append(folder_data(copy, **{"train_fit": None, "on_broken": "skip", **fields}).load())
    assert {dataset.fingerprint for dataset in kept} == {kept[0].fingerprint}


def test_a_pipe_among_the_files_is_named(root, tmp_path):
    copy = copied(root, tmp_path / "set")
    os.mkfifo(copy / "train/dark/zz.jpg")
    with pytest.raises(DataError, match="zz.jpg is a pipe"):
        _ = folder_data(copy, train_fit=None).load().held
