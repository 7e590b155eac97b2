"""Workers that share a study's folder: no trial is trained twice, none is lost, and results are those of one worker."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cnnjax import Experiment, Hardware, Options, SmallCNN, Study, Synthetic, plan, sweep
from cnnjax.errors import ConfigError, Interrupted, RunError
from cnnjax.events import EpochEnded, Finished, StepTaken
from cnnjax.launch import one_program
from cnnjax.launch.cancel import cancel, go_on
from cnnjax.launch.claims import MOST_DEATHS
from cnnjax.launch.status import status
from cnnjax.launch.study_files import write_plan
from cnnjax.launch.work import work
from cnnjax.launch.worker import Worker
from cnnjax.lease import Lease
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.work_json import WorkRecord, changes, with_changes
from tests.forking import shared

DATA = Synthetic(height=4, width=4, channels=1, classes=2, examples=20, test_examples=8)
BASE = Experiment(model=SmallCNN(features=2, dense=0), data=DATA, batch_size=8, steps=4)
STUDY = Study(BASE, axes={"model.features": [2, 3]}, seeds=2)
OPTIONS = Options(Hardware(devices=1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The study, trained by one worker."""
    folder = tmp_path_factory.mktemp("whole")
    assert sweep(STUDY, folder, options=OPTIONS).complete
    return folder


def planned(folder: Path, study: Study = STUDY) -> list[str]:
    made = plan(study, hardware=OPTIONS.hardware)
    write_plan(made, folder)
    return [trial.id for trial in made.trials]


def numbers(folder: Path) -> dict[str, tuple]:
    """What each trial measured: rows, and the result without what a clock or a command line says."""
    found = {}
    for path in sorted(folder.glob("trials/*/result.json")):
        result = json.loads(path.read_text())
        timed = {key for key in result if "seconds" in key} | {"compilations", "shares", "checksum", "environment"}
        kept = {key: value for key, value in result.items() if key not in timed}
        found[path.parent.name] = (kept, (path.parent / "metrics.jsonl").read_bytes())
    return found


# --- joining


def test_a_worker_needs_the_folder_alone(whole, tmp_path):
    ids = planned(tmp_path)
    outcome = work(tmp_path, options=OPTIONS, name="other")
    assert sorted(outcome.done) == sorted(ids)
    assert numbers(tmp_path) == numbers(whole)
    assert not list(tmp_path.glob("**/lease.*"))


def test_two_workers_share_the_trials(whole, tmp_path):
    ids, seen, outcomes = planned(tmp_path), [], []

    def run(name):
        outcomes.append(work(tmp_path, options=OPTIONS, name=name, sinks=[seen.append], workers=1))

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(event.trial for event in seen if isinstance(event, Finished)) == sorted(ids)
    assert sorted(outcomes[0].done + outcomes[1].done) == sorted(ids)
    assert numbers(tmp_path) == numbers(whole)


def test_a_trial_that_another_holds_is_waited_for_or_left(tmp_path):
    ids = planned(tmp_path)
    lease = Lease.take(tmp_path / "trials" / ids[0], worker="other")
    alone = work(tmp_path, options=OPTIONS, wait=False)
    assert sorted(alone.done) == sorted(ids[1:])
    threading.Timer(0.5, lease.release).start()
    assert work(tmp_path, options=OPTIONS).done == [ids[0]]


def test_who_lost_a_trial_writes_nothing_more(whole, tmp_path):
    """A worker sleeps past its lease; another one, of another machine, finishes the trial; the first wakes up."""
    study = Study(BASE, seeds=1)
    [id] = planned(tmp_path, study)
    folder, taken = tmp_path / "trials" / id, []

    def sleep(event):
        if isinstance(event, StepTaken) and event.step == 2 and not taken:
            [path] = folder.glob("lease.*")
            record = json.loads(path.read_text()) | {"process": ""}
            path.write_text(json.dumps(record))
            os.utime(path, (0, 0))
            taken.append(work(tmp_path, options=OPTIONS, name="other"))
            for lease in held:
                lease._renewed -= 1000

    held: list[Lease] = []
    take = Lease.take
    Lease.take = classmethod(lambda cls, *args, **words: held.append(take(*args, **words)) or held[-1])  # type: ignore
    try:
        outcome = work(tmp_path, options=OPTIONS, sinks=[sleep])
    finally:
        Lease.take = take  # type: ignore
    assert taken[0].done == [id]
    assert (outcome.done, outcome.skipped, outcome.errors) == ([], [id], {})
    assert numbers(tmp_path)[id] == numbers(whole)[id]


def test_programs_side_by_side_in_several_processes_are_refused(monkeypatch):
    """They would train one after the other all the same."""
    monkeypatch.setattr("cnnjax.launch.worker.processes", lambda: 2)
    assert Worker(OPTIONS, programs=1).programs == 1
    with pytest.raises(ConfigError, match=r"workers = 3 .*2 processes train each program together.*leave it out"):
        Worker(OPTIONS, programs=3)


def test_a_second_sweep_joins(whole, tmp_path):
    outcomes = []
    gate = threading.Event()

    def late(event):
        gate.set()

    first = threading.Thread(target=lambda: outcomes.append(sweep(STUDY, tmp_path, options=OPTIONS, sinks=[late])))
    first.start()
    gate.wait()
    outcomes.append(sweep(STUDY, tmp_path, options=OPTIONS))
    first.join()
    assert sorted(outcomes[0].done + outcomes[1].done) == sorted(numbers(whole))
    assert all(outcome.complete for outcome in outcomes)
    assert numbers(tmp_path) == numbers(whole)


def test_changes_make_the_other_again():
    base, other = {"a": 1, "b": {"c": [1, 2], "d": {"x": 1}}}, {"a": True, "b": {"c": [1], "d": {"y": 1}}}
    assert changes(base, other) == {"a": True, "b.c": [1], "b.d": {"y": 1}}
    assert with_changes(base, changes(base, other)) == other
    assert repr(with_changes({"a": 1}, changes({"a": 1}, {"a": 1.0}))) == "{'a': 1.0}"


def test_a_wider_study_stays_workable(tmp_path):
    ids = planned(tmp_path)
    planned(tmp_path, Study(BASE, axes={"model.features": [2, 3]}, seeds=1))
    assert sorted(json.loads(WorkRecord.at(tmp_path).read_text())["trials"]) == sorted(ids)


# --- what cannot be joined


def test_a_folder_that_is_not_seen_is_said(tmp_path):
    with pytest.raises(RunError, match="is no folder that this machine sees"):
        work(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="no study that others can work on"):
        work(tmp_path)


class Own(SmallCNN):
    pass


def test_a_study_of_own_classes_without_a_file_says_why(tmp_path):
    planned(tmp_path, Study(Experiment(model=Own(features=2, dense=0), data=DATA, batch_size=8, steps=2), seeds=1))
    with pytest.raises(RunError, match="was started from Python, without an experiment file"):
        work(tmp_path, options=OPTIONS)


def test_another_experiment_under_the_same_id_is_refused(tmp_path):
    [id, *_] = planned(tmp_path)
    path = WorkRecord.at(tmp_path)
    held = json.loads(path.read_text())
    held["trials"][id]["optim.learning_rate"] = 0.123
    path.write_text(json.dumps(held))
    with pytest.raises(RunError, match=f"trial {id} of .* is another experiment here"):
        work(tmp_path, options=OPTIONS)


def test_other_data_are_refused(tmp_path):
    planned(tmp_path)
    path = PlanRecord.at(tmp_path)
    held = json.loads(path.read_text())
    for trial in held["trials"]:
        trial["data_fingerprint"] = "other"
    path.write_text(json.dumps(held))
    with pytest.raises(RunError, match="other data than there are here"):
        work(tmp_path, options=OPTIONS)


def test_another_version_of_cnnjax_is_refused(tmp_path):
    planned(tmp_path)
    path = WorkRecord.at(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cnnjax": "0.0.1"}))
    with pytest.raises(RunError, match=r"was planned by cnnjax 0\.0\.1"):
        work(tmp_path)


# --- cancelling


def test_a_cancelled_study_stops_and_its_sweep_goes_on(whole, tmp_path):
    long = Study(BASE.model_copy(update={"steps": 4}), axes={"model.features": [2, 3]}, seeds=2)

    def stop(event):
        if isinstance(event, EpochEnded):
            cancel(tmp_path)
            time.sleep(2.5)

    with pytest.raises(Interrupted, match="cancelled by .*; all saved in"):
        sweep(long, tmp_path, options=OPTIONS, sinks=[stop], workers=1)
    assert "cancelled by" in str(status(tmp_path).cancelled)
    with pytest.raises(RunError, match="--undo"):
        work(tmp_path)
    go_on(tmp_path)
    assert sweep(long, tmp_path, options=OPTIONS).complete
    assert numbers(tmp_path) == numbers(whole)


# --- faults

DIVERGES = Study(BASE, axes={"optim.learning_rate": [1e30]}, seeds=1)


def test_a_poison_trial_fails_and_the_others_go_on(tmp_path):
    ids = planned(tmp_path)
    folder = tmp_path / "trials" / ids[0]
    lease = Lease.take(folder)
    # It is renewed no more, and no process has that number.
    lease.lost.set()
    dead = lease.record.model_copy(update={"deaths": MOST_DEATHS - 1, "pid": 2**22 + 1})
    lease.path.write_text(json.dumps(dead.to_json()))
    outcome = work(tmp_path, options=OPTIONS)
    assert outcome.failed == [ids[0]]
    assert f"was killed {MOST_DEATHS} times in a row before its first checkpoint" in outcome.errors[ids[0]]
    assert json.loads((folder / "result.json").read_text())["cause"] == "killed"
    assert sorted(outcome.done) == sorted(ids[1:])
    assert sweep(STUDY, tmp_path, options=OPTIONS).complete


def test_out_of_memory_packs_fewer_and_then_suggests_accumulation(tmp_path, monkeypatch):
    run, packs = one_program.run_trials, []

    def limited(program, experiments, *args, **words):
        packs.append(program.packed)
        if program.packed > most[0]:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes")
        return run(program, experiments, *args, **words)

    monkeypatch.setattr(one_program, "run_trials", limited)
    most = [2]
    study = Study(BASE, seeds=4)
    assert sweep(study, tmp_path / "two", options=OPTIONS, pack=4).complete
    assert packs == [4, 2, 2]
    most[0] = 0
    outcome = sweep(study, tmp_path / "none", options=OPTIONS, pack=1)
    assert len(outcome.failed) == 4
    for error in outcome.errors.values():
        assert error.startswith("out of memory: accumulate=2 computes a batch of 8 in 2 parts")
    most[0] = 1
    assert sweep(study, tmp_path / "none", options=OPTIONS, pack=1).complete


def test_diverged_trials_are_trained_again_only_where_asked(tmp_path):
    first = sweep(DIVERGES, tmp_path, options=OPTIONS)
    [id] = first.failed
    result = tmp_path / "trials" / id / "result.json"
    before = result.stat().st_mtime_ns
    assert sweep(DIVERGES, tmp_path, options=OPTIONS).failed == [id]
    assert result.stat().st_mtime_ns == before
    assert sweep(DIVERGES, tmp_path, options=OPTIONS, retry_failed=True).failed == [id]
    assert result.stat().st_mtime_ns != before
    assert (tmp_path / "trials" / id / "stale" / "1" / "result.json").exists()


def test_stop_on_failure_stops_the_study(tmp_path):
    study = Study(BASE, axes={"optim.learning_rate": [1e30, 0.1]}, seeds=2)
    with pytest.raises(RunError, match="failed: .*diverged.*\n--stop-on-failure"):
        sweep(study, tmp_path, options=OPTIONS, pack=1, workers=1, stop_on_failure=True)
    found = status(tmp_path)
    assert (found.done, found.failed) == (0, 1)
    assert "stopped on failure" in str(found.cancelled)
    assert len(sweep(study, tmp_path, options=OPTIONS).done) == 2


# --- status


def test_status_says_who_runs_what_from_files_alone(tmp_path):
    study = Study(BASE, axes={"model.features": [2, 3, 4]}, seeds=2)
    ids = planned(tmp_path, study)
    lease = Lease.take(tmp_path / "trials" / ids[5], worker="slow")
    lost = Lease.take(tmp_path / "trials" / ids[4], worker="lost")
    lease.step = 3
    lease.renew()
    record = lost.record.model_copy(update={"process": ""})
    lost.lost.set()
    lost.path.write_text(json.dumps(record.to_json()))
    os.utime(lost.path, (0, 0))
    work(tmp_path, options=OPTIONS, wait=False)
    found = status(tmp_path)
    assert (found.trials, found.done, found.failed, found.pruned) == (6, 5, 0, 0)
    [running] = found.running
    assert (running.trial, running.worker, running.pid) == (ids[5], "slow", os.getpid())
    assert (running.step, running.steps) == (3, 4)
    assert not running.lost
    assert found.seconds_left is not None
    assert found.measured == 5
    assert not found.over
    lease.release()


def test_status_needs_no_jax(whole):
    code = f"from cnnjax.launch.status import status; import pathlib; print(status(pathlib.Path({str(whole)!r})).done)"
    code += "\nimport sys; assert 'jax' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"


# --- kills at random moments

FILE = """
from cnnjax import SGD, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=2, dense=0), data=Digits(), optim=SGD(learning_rate=0.05), batch_size=256, epochs=6,
)
study = Study(
    experiment,
    axes={"model.features": [2, 3]},
    seeds=3,
)
"""


@pytest.mark.slow
def test_random_kills_change_nothing(tmp_path):
    """6 trials, 2 workers, of which one is killed again and again: the results are those of one that was not."""
    from cnnjax.study.file import load

    (tmp_path / "study.py").write_text(FILE)
    study = load(tmp_path / "study.py").study
    out, options = tmp_path / "killed", Options(Hardware(devices=1), checkpoint_steps=4)
    assert sweep(study, tmp_path / "whole", options=options, workers=1).complete
    write_plan(plan(study, hardware=options.hardware), out, options={"devices": 1, "checkpoint_steps": 4})
    draw, workers, kills = random.Random(0), [], 0

    def start():
        return shared().start("work", str(out), "--side-by-side", "1", "--json", cwd=tmp_path, said=tmp_path / "said")

    workers = [start() for _ in range(2)]
    until = time.monotonic() + 400
    try:
        while not status(out).over and time.monotonic() < until:
            time.sleep(draw.uniform(0.02, 0.3))
            # One that was just started trains nothing yet.
            if kills < 3 and (running := status(out).running):
                victim = draw.choice(running).pid
                position = next((i for i, each in enumerate(workers) if each.pid == victim), 0)
                workers[position].end()
                workers[position], kills = start(), kills + 1
    finally:
        for each in workers:
            each.end()
    assert status(out).done == 6
    assert kills == 3, "it was over too soon"
    assert numbers(out) == numbers(tmp_path / "whole")
    rows = [json.loads(line)["step"] for line in next(out.glob("trials/*/metrics.jsonl")).read_text().splitlines()]
    assert rows == sorted(set(rows))
