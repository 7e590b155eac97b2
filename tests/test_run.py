"""The run directory: resume is bitwise, damage is named, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from cnnjax import (
    SGD,
    AlternatingFlip,
    BatchNorm,
    Experiment,
    Flip,
    Hardware,
    Mixup,
    Options,
    SmallCNN,
    Synthetic,
    load,
    train,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError, DiskFull, RunError
from cnnjax.events import StepTaken
from cnnjax.records.metrics_jsonl import read_rows
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.environment import environment, settings
from cnnjax.run.evaluate import evaluate
from cnnjax.run.loop import run_trials
from cnnjax.run.program import Program
from tests.disks import change, disk
from tests.forking import Forked, shared
from tests.marks import slow

TINY = Experiment(
    model=SmallCNN(features=4, norm=BatchNorm(), dropout=0.2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=50, test_examples=20),
    optim=SGD(learning_rate=0.05),
    augment=(Flip(), AlternatingFlip()),
    mixing=Mixup(),
    batch_size=16,
    epochs=4,
)
ONE = Hardware(devices=1)
EVERY_2 = Options(ONE, checkpoint_steps=2)


class Crash(Exception):
    pass


def crash_at(step):
    def sink(event):
        if isinstance(event, StepTaken) and event.step == step:
            raise Crash

    return sink


def final_state(folder: Path):
    checkpoints = Checkpoints(folder / "checkpoints")
    step = checkpoints.latest()
    program = Program(TINY, hardware=ONE)
    state, _ = checkpoints.restore(program.blank())
    checkpoints.close()
    return step, state


def assert_same_run(a: Path, b: Path):
    assert (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()
    assert (a / "evaluation.json").read_bytes() == (b / "evaluation.json").read_bytes()
    results = [json.loads((folder / "result.json").read_text()) for folder in (a, b)]
    assert results[0]["metrics"] == results[1]["metrics"]
    (step_a, state_a), (step_b, state_b) = final_state(a), final_state(b)
    assert step_a == step_b
    jax.tree.map(np.testing.assert_array_equal, state_a, state_b)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(TINY, folder, options=Options(ONE))
    return folder


def test_reading_a_run_leaves_alone_what_its_training_is_saving(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    unfinished = run / "checkpoints" / "14.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert load(run).step == 12
    assert evaluate(run, hardware=ONE)["test"]["count"] == 20
    assert unfinished.is_dir()


def test_the_newest_checkpoint_is_read_where_it_replaced_another_meanwhile(whole, tmp_path):
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    reader = Checkpoints(tmp_path / "checkpoints", read_only=True)
    (tmp_path / "checkpoints" / "12").rename(tmp_path / "checkpoints" / "14")
    assert reader.notes() is not None
    state, _ = reader.restore(Program(TINY, hardware=ONE).blank())
    jax.tree.map(np.testing.assert_array_equal, state, final_state(whole)[1])
    assert reader.latest() == 14


def test_a_config_that_was_lost_is_written_again_for_the_experiment_that_was_trained(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "config.json").unlink()
    with pytest.raises(RunError, match="another experiment"):
        train(replace(TINY, {"seed": 1}), run, options=Options(ONE))
    train(TINY, run, options=Options(ONE))
    assert (run / "config.json").read_bytes() == (whole / "config.json").read_bytes()


@pytest.mark.quick
def test_a_run_leaves_what_it_promises(whole):
    names = {entry.name for entry in whole.iterdir()}
    assert {"config.json", "environment.json", "metrics.jsonl", "result.json", "checkpoints", "log.txt"} <= names
    result = json.loads((whole / "result.json").read_text())
    assert result["status"] == "done"
    assert result["id"] == TINY.id
    assert result["steps"] == 12, "4 epochs of 45 training examples in batches of 16: 180 / 16, rounded up"
    assert result["examples"] == {"train": 45, "validation": 5, "test": 20}
    assert set(result["metrics"]) >= {"train_loss", "validation_accuracy", "test_accuracy", "test_loss"}
    assert Experiment.from_json(json.dumps(result["config"])) == TINY
    rows = read_rows(whole / "metrics.jsonl")
    assert [row.epoch for row in rows] == [1, 2, 3, 4]
    assert [row.step for row in rows] == [3, 6, 9, 12]
    recorded = json.loads((whole / "environment.json").read_text())
    assert recorded["versions"]["jax"] == jax.__version__


def test_one_process_records_what_each_of_its_trainings_ran_with(monkeypatch, tmp_path):
    first = environment()
    monkeypatch.setattr(sys, "argv", ["cnnjax", "train", "other.py"])
    monkeypatch.chdir(tmp_path)
    with jax.default_matmul_precision("float32"):
        second = environment()
    assert (second.command, second.settings.get("jax_default_matmul_precision")) == ("cnnjax train other.py", "float32")
    assert second.commit is None, "outside git"
    assert first.command != second.command
    assert environment().settings == first.settings
    same = {"command", "settings", "commit"}
    assert first.model_dump(exclude=same) == second.model_dump(exclude=same)


@pytest.mark.quick
def test_the_same_experiment_again_is_bitwise_the_same(whole, tmp_path):
    train(TINY, tmp_path / "again", options=Options(ONE))
    assert_same_run(whole, tmp_path / "again")


@pytest.mark.parametrize("step", [5, *slow(1, 12)])
def test_a_run_that_crashed_continues_bitwise(whole, tmp_path, step):
    with pytest.raises(Crash):
        train(TINY, tmp_path, options=EVERY_2, sinks=[crash_at(step)])
    assert not (tmp_path / "result.json").exists()
    train(TINY, tmp_path, options=EVERY_2)
    assert_same_run(whole, tmp_path)


def test_a_finished_run_is_not_trained_again(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    before = (tmp_path / "copy" / "result.json").read_bytes()
    train(TINY, tmp_path / "copy", options=Options(ONE), sinks=[crash_at(1)])
    assert (tmp_path / "copy" / "result.json").read_bytes() == before


FILE = """
from cnnjax import SGD, BatchNorm, Experiment, Flip, SmallCNN, Synthetic
experiment = Experiment(
    model=SmallCNN(features=4, norm=BatchNorm(), dropout=0.2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=50, test_examples=20),
    optim=SGD(learning_rate=0.05), augment=(Flip(),), batch_size=16, epochs=EPOCHS)
"""


def cli(*words: str, said: Path) -> Forked:
    return shared().start(*words, cwd=said.parent, said=said, environ={"XLA_FLAGS": ""})


def wait_for(path: Path, pattern: str, process: Forked, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not list(path.glob(pattern)):
        assert process.poll() is None, process.err.read_text()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, tuple[str, ...]]:
    """What `cnnjax train` makes where nothing stops it, and the words of that command but for its folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = folder / "tiny.py"
    file.write_text(FILE.replace("EPOCHS", "150"))
    words = ("train", str(file), "--checkpoint-steps", "20")
    process = cli(*words, "--out", str(folder / "whole"), said=folder / "said")
    assert process.wait() == 0, process.err.read_text()
    return folder / "whole", words


@pytest.mark.parametrize("number", [signal.SIGKILL, *slow(signal.SIGTERM)])
def test_a_killed_process_continues_bitwise(undisturbed, tmp_path, number):
    whole, words = undisturbed
    first = cli(*words, "--out", str(tmp_path / "killed"), said=tmp_path / "said")
    wait_for(tmp_path / "killed", "checkpoints/*/_CHECKPOINT_METADATA", first)
    first.send_signal(number)
    code, message = first.wait(60), first.err.read_text()
    assert not (tmp_path / "killed" / "result.json").exists(), "killed too late to test anything"
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130
        assert "the same command continues" in message
        assert "Traceback" not in message
    second = cli(*words, "--out", str(tmp_path / "killed"), said=tmp_path / "said")
    assert second.wait() == 0, second.err.read_text()
    assert_same_run(tmp_path / "killed", whole)


# --- packed


def packed(folder: Path, seeds, *, sinks=(), lanes=None, options=EVERY_2):
    experiments = [replace(TINY, {"seed": seed}) for seed in seeds]
    directories = [RunDirectory(folder / str(seed)) for seed in seeds]
    for experiment, directory in zip(experiments, directories, strict=True):
        with directory.claimed(experiment):
            pass
    program = Program(experiments[0], packed=lanes or len(seeds), hardware=ONE)
    return run_trials(program, experiments, directories, stop=threading.Event(), options=options, sinks=sinks)


@pytest.fixture(scope="module")
def whole_pack(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    packed(folder, (0, 1, 2))
    return folder


def test_a_packed_run_continues_bitwise(whole_pack, tmp_path):
    with pytest.raises(Crash):
        packed(tmp_path, (0, 1, 2), sinks=[crash_at(7)])
    packed(tmp_path, (0, 1, 2))
    for seed in "012":
        assert (tmp_path / seed / "metrics.jsonl").read_bytes() == (whole_pack / seed / "metrics.jsonl").read_bytes()


def test_a_lane_continued_without_the_others_is_bitwise_the_same(whole_pack, tmp_path):
    with pytest.raises(Crash):
        packed(tmp_path, (0, 1, 2), sinks=[crash_at(7)])
    packed(tmp_path, (1,), lanes=3)
    assert (tmp_path / "1" / "metrics.jsonl").read_bytes() == (whole_pack / "1" / "metrics.jsonl").read_bytes()


def test_a_packed_run_is_the_run_alone(whole, whole_pack):
    alone, together = (json.loads((f / "result.json").read_text())["metrics"] for f in (whole, whole_pack / "0"))
    assert together["test_loss"] == pytest.approx(alone["test_loss"], rel=1e-3)


def test_a_damaged_lane_does_not_stop_the_others(whole_pack, tmp_path):
    with pytest.raises(Crash):
        packed(tmp_path, (0, 1, 2), sinks=[crash_at(7)])
    for damaged in (tmp_path / "1" / "checkpoints").glob("*/state/**/d/*"):
        damaged.write_bytes(b"")
    broken = packed(tmp_path, (0, 1, 2))
    assert list(broken) == [1]
    assert "damaged" in str(broken[1])
    assert not (tmp_path / "1" / "result.json").exists()
    assert (tmp_path / "2" / "metrics.jsonl").read_bytes() == (whole_pack / "2" / "metrics.jsonl").read_bytes()


# --- bad input


def test_a_directory_of_another_experiment_is_refused(whole):
    with pytest.raises(RunError, match="model.features: 4 there, 5 here"):
        train(replace(TINY, {"model.features": 5}), whole)


def test_a_directory_in_use_is_refused(tmp_path):
    with (
        RunDirectory(tmp_path).claimed(TINY),
        pytest.raises(RunError, match="another process"),
        RunDirectory(tmp_path).claimed(TINY),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("result.json", '{"id": "x", ', "result.json is damaged"),
        ("result.json", "[]", "holds a list, not an object"),
        ("result.json", "{}", "status: is required"),
        ("config.json", "{", "config.json is damaged"),
        ("config.json", '{"model": 1}', "different experiment"),
    ],
)
def test_damaged_files_are_named(whole, tmp_path, name, content, words):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(RunError, match=words):
        train(TINY, tmp_path / "run", options=Options(ONE))


def test_a_damaged_metrics_line_is_named_and_a_cut_one_is_not_an_error(whole, tmp_path):
    lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(lines[:2]) + lines[2][:30])
    assert len(read_rows(path)) == 2
    path.write_text(lines[0] + lines[1][:30] + "\n" + lines[2])
    with pytest.raises(RunError, match="line 2 is damaged"):
        read_rows(path)


@pytest.mark.parametrize("how", ["bit", *slow("emptied", "cut")])
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path, capfd, how):
    with pytest.raises(Crash):
        train(TINY, tmp_path, options=EVERY_2, sinks=[crash_at(8)])
    newest = max((tmp_path / "checkpoints").iterdir(), key=lambda folder: int(folder.name))
    for file in [*newest.glob("state/**/d/*"), *newest.glob("state/**/manifest.ocdbt")]:
        content = bytearray(file.read_bytes())
        if how == "bit" and "manifest" not in file.name:
            content[len(content) // 2] ^= 1
        file.write_bytes({"emptied": b"", "cut": content[: len(content) // 2], "bit": content}[how])
    with pytest.raises(RunError, match=f"checkpoint .*{newest.name} is damaged.*delete that folder to continue from"):
        train(TINY, tmp_path, options=EVERY_2)
    assert "Traceback" not in capfd.readouterr().err, "of reads that nobody waits for any more"
    shutil.rmtree(newest)
    assert train(TINY, tmp_path, options=EVERY_2)["status"] == "done"


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file where a folder should be; .*--out"):
        train(TINY, tmp_path / "file" / "run")


@pytest.fixture
def small_disk(tmp_path):
    with disk(tmp_path / "disk", "size=400k") as folder:
        yield folder


def test_a_full_disk_loses_nothing(whole, small_disk):
    filler = small_disk / "filler"
    with pytest.raises((DiskFull, Crash)):
        train(TINY, small_disk / "run", options=EVERY_2, sinks=[crash_at(5)])
    free = os.statvfs(small_disk)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize))
    with pytest.raises(DiskFull, match="make room|mend this"):
        train(TINY, small_disk / "run", options=EVERY_2)
    filler.unlink()
    change(small_disk, "size=8m")
    train(TINY, small_disk / "run", options=EVERY_2)
    assert_same_run(whole, small_disk / "run")


def test_a_loss_that_is_not_finite_fails_with_its_step(tmp_path):
    result = train(replace(TINY, {"optim.learning_rate": 1e30}), tmp_path, options=Options(ONE))
    assert result["status"] == "failed"
    assert result["cause"] == "diverged"
    assert f"at step {result['steps']}" in result["error"]
    assert 1 < result["steps"] <= 12


def test_a_diverged_lane_leaves_the_others_alone(whole_pack, tmp_path):
    experiments = [TINY, replace(TINY, {"optim.learning_rate": 1e30}), replace(TINY, {"seed": 2})]
    directories = [RunDirectory(tmp_path / str(lane)) for lane in range(3)]
    run_trials(Program(TINY, packed=3, hardware=ONE), experiments, directories, stop=threading.Event(), options=EVERY_2)
    assert [directory.finished().status for directory in directories] == ["done", "failed", "done"]
    assert (tmp_path / "2" / "metrics.jsonl").read_bytes() == (whole_pack / "2" / "metrics.jsonl").read_bytes()


def test_more_devices_than_there_are(tmp_path):
    with pytest.raises(ConfigError, match="devices = 0: must be at least 1"):
        Hardware(devices=0)
    with pytest.raises(ConfigError, match="devices = 9: this process has 8"):
        train(TINY, tmp_path, options=Options(Hardware(devices=9)))


def test_evaluate_repeats_the_result(whole):
    parts = evaluate(whole)
    recorded = json.loads((whole / "result.json").read_text())["metrics"]
    # The same arithmetic on eight devices instead of one.
    assert parts["test"]["loss"] == pytest.approx(recorded["test_loss"], rel=1e-5)
    assert parts["test"]["count"] == 20


def test_other_data_are_normalized_as_the_runs_own(tmp_path):
    data = Synthetic(height=8, width=8, examples=40, test_examples=16)
    experiment = Experiment(model=SmallCNN(features=4), data=data, steps=2, batch_size=8)
    train(experiment, tmp_path, options=Options(ONE))

    def evaluated(data, **more):
        return evaluate(tmp_path, data=data, hardware=ONE, **more)

    other = replace(data, {"seed": 1, "noise": 1.0})
    (mean, std), own, found = data.load().scale, other.load().scale, evaluated(other)
    assert found == evaluated(replace(other, {"mean": mean, "std": std}))
    assert found != evaluated(replace(other, {"mean": own[0], "std": own[1]}))
    texts = {"data.seed": "1", "data.noise": "1.0", "data.height": "8", "data.width": "8"}
    sizes = {"data.examples": "40", "data.test_examples": "16"}
    assert evaluated("synthetic", overrides=texts | sizes) == found


def test_settings_that_change_numbers_are_recorded():
    before = settings()
    with jax.default_matmul_precision("bfloat16"):
        assert settings() == before | {"jax_default_matmul_precision": "bfloat16"}
    assert "jax_enable_x64" not in before
    assert before["XLA_FLAGS"] == os.environ["XLA_FLAGS"]
