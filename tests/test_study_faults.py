"""Faults in the midst of a study with several workers: nothing finished is lost or counted twice, and it goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from cnnjax import Experiment, Hardware, Options, SmallCNN, Study, sweep, train
from cnnjax.data.folder import ImageFolder
from cnnjax.errors import DiskFull, Interrupted, RunError
from cnnjax.events import EpochEnded, Finished, Sink, Started, Waiting
from cnnjax.launch.cancel import SECONDS, cancelled
from cnnjax.launch.status import status
from cnnjax.launch.work import work
from cnnjax.lease import Lease, holding
from cnnjax.run.program import Program
from tests.disks import change, disk
from tests.test_workers import BASE, OPTIONS, numbers, planned

FOUR = Study(BASE, seeds=4)
TWELVE = Study(BASE, seeds=12)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The study of twelve trials, trained by one worker."""
    folder = tmp_path_factory.mktemp("whole")
    assert sweep(TWELVE, folder, options=OPTIONS).complete
    return folder


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """Too small for a study."""
    with disk(tmp_path / "disk", "size=240k") as folder:
        yield folder


def both(run: Callable) -> list:
    """What two workers, threads of this process, return or raise."""

    def one(name):
        try:
            return run(name)
        except Exception as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, "ab"))


# --- a full disk


def test_a_disk_that_is_full_in_the_midst_of_two_workers(whole, small_disk):
    planned(small_disk, TWELVE)
    finished = []

    def note(event):
        if isinstance(event, Finished):
            finished.append(event.trial)

    def run(name):
        return work(small_disk, options=OPTIONS, name=name, workers=1, sinks=[note])

    first = both(run)
    assert any(isinstance(each, DiskFull) for each in first), first
    assert all(isinstance(each, DiskFull) or not each.failed for each in first), first
    before = numbers(small_disk)
    assert 0 < len(before) < 12, "the file system has another size than the test needs"
    assert before == {id: numbers(whole)[id] for id in before}
    assert sorted(finished) == sorted(before)
    change(small_disk, "size=64m")
    outcomes = both(run)
    assert sorted(finished) == sorted(numbers(whole))
    assert sorted(id for each in outcomes for id in each.done) == sorted(numbers(whole).keys() - before)
    assert numbers(small_disk) == numbers(whole)
    assert not list(small_disk.glob("trials/*/lease.*"))


@pytest.mark.slow
def test_a_disk_that_is_full_under_two_processes(whole, small_disk):
    planned(small_disk, TWELVE)
    words = [sys.executable, "-m", "cnnjax", "work", str(small_disk), "--side-by-side", "1", "--devices", "1", "--json"]

    def run():
        pair = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        return [(*each.communicate(timeout=120), each.returncode) for each in pair]

    for out, err, code in run():
        assert code == 1, out
        assert re.search("no space left (to write|on device).* run the same command again", err), err
    before = numbers(small_disk)
    change(small_disk, "size=64m")
    ended = run()
    assert [code for _, _, code in ended] == [0, 0], ended
    done = [id for out, _, _ in ended for id in json.loads(out)["done"]]
    assert sorted(done) == sorted(numbers(whole).keys() - before)
    assert numbers(small_disk) == numbers(whole)


# --- no memory


def exhausted() -> Exception:
    """What XLA raises."""
    return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes.")


def test_a_program_that_cannot_be_compiled_for_lack_of_memory_packs_fewer(tmp_path, monkeypatch):
    compile_step = Program._compile

    def limited(self, *args):
        if self.packed > 2:
            raise exhausted()
        return compile_step(self, *args)

    monkeypatch.setattr(Program, "_compile", limited)
    outcome = sweep(FOUR, tmp_path, options=OPTIONS, pack=4)
    assert outcome.complete
    assert len(outcome.done) == 4


def test_memory_that_runs_out_late_lets_fewer_go_on_from_their_checkpoints(tmp_path, monkeypatch):
    """In the evaluation after the last step, of four trials of which two have diverged by then."""
    study = Study(BASE, axes={"optim.learning_rate": [1e30, 0.1]}, seeds=2)
    evaluate, begun = Program.evaluate, []

    def limited(self, state, split):
        if self.packed > 2 and split == "test":
            raise exhausted()
        return evaluate(self, state, split)

    def note(event):
        if isinstance(event, Started):
            begun.append(event.step)

    monkeypatch.setattr(Program, "evaluate", limited)
    outcome = sweep(study, tmp_path / "four", options=OPTIONS, pack=4, sinks=[note])
    assert (len(outcome.done), len(outcome.failed)) == (2, 2)
    assert all("diverged" in error for error in outcome.errors.values())
    assert begun == [0, 0, 0, 0, 4, 4]
    monkeypatch.undo()
    assert len(sweep(study, tmp_path / "two", options=OPTIONS, pack=2).done) == 2
    for id in outcome.done:
        paths = (tmp_path / name / "trials" / id / "result.json" for name in ("four", "two"))
        four, two = (json.loads(path.read_text())["metrics"] for path in paths)
        assert four == pytest.approx(two, rel=1e-5)


# --- broken data


def test_data_that_break_fail_their_trials_and_the_others_go_on(tmp_path):
    generator = np.random.default_rng(0)
    sets = [tmp_path / "good", tmp_path / "bad"]
    for folder in sets:
        for part, label, number in [(p, c, n) for p in ("train", "test") for c in "ab" for n in range(4)]:
            file = folder / part / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(file)
    broken = sets[1] / "train" / "a" / "2.png"
    image = broken.read_bytes()
    known = {"size": (8, 8), "mean": (0.5,) * 3, "std": (0.2,) * 3}
    data = [ImageFolder(root=str(folder), **known) for folder in sets]
    base = Experiment(model=SmallCNN(features=2, dense=0), data=data[0], batch_size=4, steps=3)
    study, options = Study(base, axes={"data": data}, seeds=1), Options(Hardware(1, resident=0.0))
    # It is whole when the study is planned.
    planned(tmp_path / "study", study)
    broken.write_bytes(image[:-40])
    outcome = work(tmp_path / "study", options=options)
    assert len(outcome.done) == 1
    [(failed, error)] = outcome.errors.items()
    assert "2.png: PNG cut short or damaged" in error
    assert json.loads((tmp_path / "study" / "trials" / failed / "result.json").read_text())["cause"] == "data"
    broken.write_bytes(image)
    assert sweep(study, tmp_path / "study", options=options).complete


# --- a damaged result


def test_a_damaged_result_is_said_and_stops_no_other(tmp_path):
    ids = planned(tmp_path, FOUR)
    assert len(work(tmp_path, options=OPTIONS).done) == 4
    first, second = (tmp_path / "trials" / id for id in ids[:2])
    (second / "result.json").unlink()
    (first / "result.json").write_text('{"id": ')
    before = status(tmp_path)
    assert (before.done, list(before.damaged)) == (2, [ids[0]])
    outcome = work(tmp_path, options=OPTIONS)
    assert outcome.done == [ids[1]]
    assert "result.json is damaged" in outcome.errors[ids[0]]
    assert "delete it and run the study again: it repeats this trial only" in outcome.errors[ids[0]]
    # So does a sweep say, whatever it is to retry.
    again = sweep(FOUR, tmp_path, options=OPTIONS, retry_failed=True)
    assert not again.complete
    (first / "result.json").unlink()
    assert work(tmp_path, options=OPTIONS).done == [ids[0]]
    assert status(tmp_path).done == 4


# --- stopping on a failure, trying again


def test_a_failure_stops_the_other_workers_too(tmp_path):
    """One worker is at a long trial when that of another fails."""
    study = Study(BASE.model_copy(update={"steps": 20}), axes={"optim.learning_rate": [0.1, 1e30]}, seeds=1)
    good, bad = planned(tmp_path, study)
    begun = threading.Event()

    def wait(event):
        if isinstance(event, EpochEnded) and event.trial == good:
            begun.set()
            until = time.monotonic() + 60
            while cancelled(tmp_path) is None and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(SECONDS + 0.2)

    def run(name):
        if name == "b":
            assert begun.wait(60)
        return work(tmp_path, options=OPTIONS, name=name, workers=1, sinks=[wait], stop_on_failure=name == "b")

    first, second = both(run)
    assert isinstance(first, Interrupted)
    assert f"stopped on failure: trial {bad} failed: " in str(first)
    assert "all saved in" in str(first)
    assert isinstance(second, RunError)
    assert "--stop-on-failure: all else is saved in" in str(second)
    found = status(tmp_path)
    assert (found.done, found.failed, found.begun) == (0, 1, 1)
    outcome = sweep(study, tmp_path, options=OPTIONS)
    assert (outcome.done, outcome.failed) == ([good], [bad])


# --- a worker that is lost, or that sleeps


@pytest.mark.slow
def test_a_worker_says_what_it_waits_for(tmp_path):
    [id] = planned(tmp_path, Study(BASE, seeds=1))
    for run in (lambda sink: work(tmp_path, options=OPTIONS, sinks=[sink]), lambda sink: train_alone(tmp_path, sink)):
        folder, said = tmp_path / "trials" / id, []
        lose(Lease.take(folder, worker="far"), silent=59.5)
        run(said.append)
        first = next(event for event in said if isinstance(event, Waiting))
        assert first.trial == id
        assert re.fullmatch(
            r"waiting for worker far, process \d+ on elsewhere, since .*, last heard of (59|60) s ago: if it is lost, "
            r"this goes on in [01] s",
            first.reason,
        )
        assert (folder / "result.json").exists()
        (folder / "result.json").unlink()


def train_alone(out: Path, sink: Sink) -> None:
    """Train the one trial of a study as `cnnjax train` does."""
    [folder] = (out / "trials").iterdir()
    train(BASE, folder, options=OPTIONS, sinks=[sink])


def lose(lease: Lease, *, silent: float) -> None:
    """Make a lease that of a process of another machine, which was not heard of for so many seconds."""
    lease.lost.set()
    record = lease.record.model_copy(update={"host": "elsewhere", "process": ""})
    lease.path.write_text(json.dumps(record.to_json()))
    then = lease.path.stat().st_mtime - silent
    os.utime(lease.path, (then, then))


SLEEPER = """
import json, sys, time
from cnnjax import Experiment, Hardware, Options, train
from cnnjax.events import StepTaken
from cnnjax.lease import Lease

Lease.take.__func__.__kwdefaults__["seconds"] = 1.0

def slow(event):
    if isinstance(event, StepTaken):
        print(event.step, flush=True)
        time.sleep(0.02)

try:
    options = Options(Hardware(devices=1), checkpoint_steps=2)
    train(Experiment.from_json(sys.argv[1]), sys.argv[2], options=options, sinks=[slow])
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.mark.slow
def test_a_process_that_was_stopped_and_wakes_up_writes_over_nothing(tmp_path):
    """SIGSTOP, for longer than its lease lasts; another one finishes the training; SIGCONT."""
    step, out = 12, tmp_path / "stopped"
    long = BASE.model_copy(update={"steps": 40})
    words = [sys.executable, "-c", SLEEPER, long.to_json(), str(out)]
    sleeper = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert sleeper.stdout is not None
        while sleeper.stdout.readline() != f"{step}\n":
            assert sleeper.poll() is None
        sleeper.send_signal(signal.SIGSTOP)
        until = time.monotonic() + 20
        while (held := holding(out)) is None or not held.over:
            assert time.monotonic() < until
            time.sleep(0.1)
        begun = []
        train(long, out, options=Options(Hardware(devices=1), checkpoint_steps=2), sinks=[begun.append])
        assert next(event.step for event in begun if isinstance(event, Started)) in range(step - 4, step + 3)
        before = files_of(out)
        sleeper.send_signal(signal.SIGCONT)
        said, _ = sleeper.communicate(timeout=60)
    finally:
        sleeper.kill()
    assert said.splitlines()[-1].startswith(f"Lost {out}: this process was not heard of for more than 1 s")
    assert files_of(out) == before
    alone = train(long, tmp_path / "alone", options=OPTIONS)
    assert json.loads((out / "result.json").read_text())["metrics"] == alone["metrics"]


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Which file each is, and when it was written."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}
