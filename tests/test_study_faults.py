"""Faults in the midst of a study with several workers: nothing finished is lost or counted twice, and it goes on."""

from __future__ import annotations

import json
import re
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

from cnnjax import Experiment, Hardware, Options, SmallCNN, Study, sweep
from cnnjax.data.folder import ImageFolder
from cnnjax.errors import DiskFull, Interrupted, RunError
from cnnjax.events import EpochEnded, Finished, Started
from cnnjax.launch.cancel import SECONDS, cancelled
from cnnjax.launch.status import status
from cnnjax.launch.work import work
from cnnjax.run.program import Program
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
def disk(tmp_path) -> Iterator[Path]:
    """A file system in memory, too small for a study, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=240k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


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


def test_a_disk_that_is_full_in_the_midst_of_two_workers(whole, disk):
    planned(disk, TWELVE)
    finished = []

    def note(event):
        if isinstance(event, Finished):
            finished.append(event.trial)

    def run(name):
        return work(disk, options=OPTIONS, name=name, workers=1, sinks=[note])

    first = both(run)
    assert any(isinstance(each, DiskFull) for each in first), first
    assert all(isinstance(each, DiskFull) or not each.failed for each in first), first
    before = numbers(disk)
    assert 0 < len(before) < 12, "the file system has another size than the test needs"
    assert before == {id: numbers(whole)[id] for id in before}
    assert sorted(finished) == sorted(before)
    make_room(disk)
    outcomes = both(run)
    assert sorted(finished) == sorted(numbers(whole))
    assert sorted(id for each in outcomes for id in each.done) == sorted(numbers(whole).keys() - before)
    assert numbers(disk) == numbers(whole)
    assert not list(disk.glob("trials/*/lease.*"))


@pytest.mark.slow
def test_a_disk_that_is_full_under_two_processes(whole, disk):
    planned(disk, TWELVE)
    words = [sys.executable, "-m", "cnnjax", "work", str(disk), "--side-by-side", "1", "--devices", "1", "--json"]

    def run():
        pair = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        return [(*each.communicate(timeout=120), each.returncode) for each in pair]

    for out, err, code in run():
        assert code == 1, out
        assert re.search("no space left (to write|on device).* run the same command again", err), err
    before = numbers(disk)
    make_room(disk)
    ended = run()
    assert [code for _, _, code in ended] == [0, 0], ended
    done = [id for out, _, _ in ended for id in json.loads(out)["done"]]
    assert sorted(done) == sorted(numbers(whole).keys() - before)
    assert numbers(disk) == numbers(whole)


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
    assert "delete it, and the same command runs the rest of this trial again" in outcome.errors[ids[0]]
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
