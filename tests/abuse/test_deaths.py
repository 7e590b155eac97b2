"""What kills its process costs the trial that does: signals, aborts of native code and exits of the user's own code,
with `--isolate` and, unasked, once it happened in the study's folder. The others are bitwise what they are without."""

from __future__ import annotations

import json
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import flax.linen as nn
import pytest

from cnnjax import (
    SGD,
    Data,
    Experiment,
    Hardware,
    Model,
    Options,
    SequentialSeeds,
    SmallCNN,
    Study,
    Synthetic,
    plan,
    sweep,
)
from cnnjax.cache import place
from cnnjax.config import replace
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.events import StepTaken
from cnnjax.launch import isolated
from cnnjax.launch.isolated import _Children, _Ended, has_seen_death, why_not
from cnnjax.launch.launcher import Launch
from cnnjax.launch.study_files import write_plan
from cnnjax.launch.work import plain_options, work
from cnnjax.lease import Lease
from cnnjax.loggers.logger import Logger
from cnnjax.records.result_json import ResultRecord
from cnnjax.run.trial import StudyOfTrials
from cnnjax.study import deaths
from cnnjax.study.file import load
from tests.forking import Forked, shared

DATA = Synthetic(height=4, width=4, channels=1, classes=2, examples=20, test_examples=8)
BASE = Experiment(model=SmallCNN(features=2, dense=0), data=DATA, optim=SGD(learning_rate=0.05), batch_size=8, steps=2)
STUDY = Study(BASE, seeds=3)
OPTIONS = Options(Hardware(devices=1))
NOBODY = 2**22 + 1
"""The number of no process."""


@pytest.fixture
def launched(tmp_path) -> Launch:
    """Three trials of one program, planned in a folder."""
    planned = plan(STUDY, hardware=OPTIONS.hardware)
    write_plan(planned, tmp_path, options=plain_options(OPTIONS, None))
    return Launch(planned, StudyOfTrials("study", tmp_path, {}), OPTIONS)


def left_by(folder: Path, worker: str, *, deaths: int = 0) -> None:
    """The lease of a process of this machine that is no longer there."""
    lease = Lease.take(folder, worker=worker)
    lease.lost.set()  # it is renewed no more
    dead = lease.record.model_copy(update={"pid": NOBODY, "deaths": deaths})
    lease.path.write_text(json.dumps(dead.to_json()))


# --- who is at fault: what each child does, by what it trains; the trials that fail, and why


CASES: dict[str, tuple[dict[str, list[Any]], list[str], str]] = {
    "one trial alone": ({"program": [["a"], []]}, ["a"], "was killed (SIGKILL)"),
    "one after the other": ({"program": [["a"], ["b"], []]}, ["a", "b"], "was killed (SIGKILL)"),
    "two together, of which one is at fault": (
        {"program": [["a", "b"], []], "a": [[]], "b": [["b"]]},
        ["b"],
        "was killed (SIGKILL)",
    ),
    "three together, and none is, alone": (
        {"program": [["a", "b", "c"]], "a": [[]], "b": [[]], "c": [[]]},
        [],
        "",
    ),
}


@pytest.mark.parametrize(("ends", "failed", "said"), CASES.values(), ids=list(CASES))
def test_the_trial_at_fault_fails_and_those_beside_it_do_not(ends, failed, said, launched, monkeypatch):
    children = _Children(launched)
    ids = dict(zip("abc", children.units.ids, strict=True))
    (program,) = children.units.programs
    runs = []

    def run(self, only):
        name = next((letter for letter, id in ids.items() if id == only), "program")
        runs.append(name)
        dying = ends[name].pop(0)
        worker = f"child-{len(runs)}"
        whole = [name] if name in ids else list(ids)
        for letter in whole:
            directory = self.units.directory(ids[letter])
            if letter in dying:
                left_by(directory.path, worker)
            elif not dying and not directory.result.exists():
                directory.path.mkdir(parents=True, exist_ok=True)
                done = {"status": "done", "seed": 0, "params": 1, "macs": 1}
                ResultRecord(id=ids[letter], **done).write(directory.result)
        return _Ended(worker, -signal.SIGKILL if dying else 0, launched.study.out / "nothing.log")

    monkeypatch.setattr(_Children, "_run", run)
    children.train(program)
    assert not children.errors
    results = {letter: json.loads(children.units.directory(id).result.read_text()) for letter, id in ids.items()}
    assert [letter for letter, result in results.items() if result["status"] == "failed"] == failed
    for letter in failed:
        assert results[letter]["cause"] == "killed"
        assert said in results[letter]["error"]
        assert "the next sweep tries it again" in results[letter]["error"]
    assert not any(ends.values()), "every child was started"


def test_a_program_that_cannot_begin_is_not_tried_for_ever(launched, monkeypatch):
    runs = []

    def run(self, only):
        runs.append(only)
        output = launched.study.out / "said.log"
        output.write_text("error: the data cannot be read\n\n")
        return _Ended("child-1", 1, output)

    monkeypatch.setattr(_Children, "_run", run)
    children = _Children(launched)
    children.train(*children.units.programs)
    assert len(runs) == 1
    assert set(children.errors.values()) == {"its process ended before it was trained: error: the data cannot be read"}


ENDED = [
    (-signal.SIGKILL, "was killed (SIGKILL), by the system where memory ran out"),
    (-signal.SIGSEGV, "died of SIGSEGV, in native code of a library or of yours"),
    (-signal.SIGABRT, "died of SIGABRT"),
    (0, "ended with exit code 0 in the midst of it"),
    (3, "ended with exit code 3 in the midst of it: leave out what calls exit there"),
]


@pytest.mark.parametrize(("code", "said"), ENDED)
def test_the_error_says_how_the_process_ended_and_what_to_do(code, said, tmp_path):
    output = tmp_path / "child.log"
    output.write_text("study: 1/6 steps\nFatal Python error: Aborted\n\nThread 1\n")
    reason = _Ended("child", code, output).reason
    assert reason.startswith(said)
    assert "it said 'Fatal Python error: Aborted'" in reason
    assert str(output) in reason


# --- when


class OwnLogger(Logger):
    name = "deaths_own"


def died(folder: Path) -> None:
    left_by(folder, "worker")


def failed(folder: Path) -> None:
    folder.mkdir(parents=True)
    said = {"status": "failed", "cause": "killed", "seed": 0, "params": 1, "macs": 1}
    ResultRecord(id=folder.name, **said).write(ResultRecord.at(folder))


def diverged(folder: Path) -> None:
    folder.mkdir(parents=True)
    said = {"status": "failed", "cause": "diverged", "seed": 0, "params": 1, "macs": 1}
    ResultRecord(id=folder.name, **said).write(ResultRecord.at(folder))


def given_back(folder: Path) -> None:
    Lease.take(folder).release()


SEEN = [(died, True), (failed, True), (diverged, False), (given_back, False), (lambda folder: None, False)]


@pytest.mark.parametrize(("leave", "seen"), SEEN)
def test_a_death_is_seen_in_the_folder(leave, seen, tmp_path):
    planned = plan(STUDY, hardware=OPTIONS.hardware)
    leave(tmp_path / "trials" / planned.trials[1].id)
    assert has_seen_death(planned, tmp_path) == seen


@pytest.mark.parametrize(("isolate", "seen", "children"), [(None, True, 1), (None, False, 0), (False, True, 0)])
def test_a_study_is_isolated_once_a_process_died_of_it(isolate, seen, children, tmp_path, monkeypatch):
    calls = []

    def instead(launched):
        calls.append(launched)
        return isolated.Outcomes()

    monkeypatch.setattr("cnnjax.launch.local_launcher.launch_isolated", instead)
    if seen:
        died(tmp_path / "trials" / plan(STUDY, hardware=OPTIONS.hardware).trials[0].id)
    sweep(STUDY, tmp_path, options=OPTIONS, isolate=isolate)
    assert len(calls) == children


def test_what_other_processes_cannot_train_stays_in_this_one(launched):
    assert why_not(launched) == ""
    adaptive = Study(BASE, seeds=3, adaptive=SequentialSeeds.model_validate({}))
    own = Options(Hardware(devices=1), log=[OwnLogger])
    planned = plan(adaptive, hardware=OPTIONS.hardware)
    assert "adaptive" in why_not(Launch(planned, launched.study, OPTIONS))
    assert "take cnnjax's own loggers alone" in why_not(Launch(launched.planned, launched.study, own))
    with pytest.raises(ConfigError, match="--isolate: .*workers elsewhere take cnnjax's own loggers alone"):
        sweep(STUDY, launched.study.out, options=own, isolate=True)
    with pytest.raises(ConfigError, match="--isolate: workers of the launcher none are processes of their own"):
        sweep(STUDY, launched.study.out, launcher="none", isolate=True)


class Leaves(nn.Module):
    """A network that ends the process while it is traced: at inference, or in training alone."""

    when: str
    classes: int

    @nn.compact
    def __call__(self, images, train: bool):
        if self.when == "always" or (train and self.when == "training"):
            sys.exit(3)
        return nn.Dense(self.classes)(images.reshape(len(images), -1))


class Leaving(Model, tag="deaths_leaving"):
    when: str = "never"

    def network(self) -> nn.Module:
        return Leaves(self.when, self.num_classes or 2)


class LeavingData(Data, tag="deaths_leaving_data"):
    def read(self):
        sys.exit("enough")


@pytest.mark.parametrize("when", ["always", "training"])
def test_an_arm_whose_code_calls_exit_is_pruned(when):
    study = Study(replace(BASE, {"model": Leaving()}), axes={"model.when": ["never", when]}, seeds=1)
    planned = plan(study, hardware=OPTIONS.hardware)
    assert [trial.arm["model.when"] for trial in planned.trials] == ["never"]
    assert "calls exit(3) (in Leaves.__call__, " in planned.pruned[0].reason


def test_data_that_call_exit_are_refused_in_words():
    with pytest.raises(DataError, match=r"data: reading LeavingData calls exit\(enough\) \(in LeavingData.read, "):
        LeavingData().load()


def test_a_training_that_calls_exit_fails_and_the_others_go_on(tmp_path):
    def leaves(event):
        if isinstance(event, StepTaken) and event.trial == trials[0].id:
            sys.exit(4)

    trials = plan(STUDY, hardware=OPTIONS.hardware).trials
    outcome = sweep(STUDY, tmp_path, options=OPTIONS, sinks=[leaves])
    assert (outcome.failed, sorted(outcome.done)) == ([trials[0].id], sorted(trial.id for trial in trials[1:]))
    assert "calls exit(4)" in outcome.errors[trials[0].id]


def test_a_worker_trains_one_program_or_trial_alone(launched):
    ids = [trial.id for trial in launched.planned.trials]
    assert work(launched.study.out, only=ids[1]).done == [ids[1]]
    with pytest.raises(RunError, match="--only 123456: .* has no program and no trial of that name"):
        work(launched.study.out, only="123456")
    assert work(launched.study.out, only=launched.planned.trials[0].program).done == [ids[0], ids[2]]


# --- while it is planned


def noted(folder: Path, text: str) -> Path:
    """What a process leaves that dies while it traces an arm of the study in that folder."""
    path = place("planning", str(folder), "txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


LEAVING = Study(replace(BASE, {"model": Leaving()}), axes={"model.when": ["never", "other", "third"]}, seeds=2)
KILLED: list[tuple[list[tuple[int, str]], list[str], list[int]]] = [
    ([(3, "")], [], [3]),
    ([(0, "died"), (2, "")], ["never"], [3, 2]),
    ([(1, "died"), (0, "died")], ["other", "third"], [3, 1]),
    ([(1, "died"), (1, "")], ["other"], [3, 1]),
    ([(2, ""), (0, "")], [], [3, 1]),  # an error of Python's, which the plan will say
]
"""(how far each child came and how it ended, the arms that are pruned, how many programs each child was given)."""


@pytest.mark.parametrize(("ends", "pruned", "given"), KILLED)
def test_after_a_death_while_planning_children_find_out_of_which_arms(ends, pruned, given, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    note, left, asked = noted(tmp_path, "model.when = other"), list(ends), []

    def child(self, experiments, devices):
        asked.append(len(experiments))
        return left.pop(0)

    monkeypatch.setattr(deaths._Watch, "_child", child)
    with deaths.watched(tmp_path, Path("exp.py")):
        planned = plan(LEAVING, hardware=OPTIONS.hardware)
        assert plan(LEAVING, hardware=OPTIONS.hardware) == planned
    assert ([arm.arm["model.when"] for arm in planned.pruned], asked, left) == (pruned, given, [])
    assert all(arm.error == "the process that traced it died" for arm in planned.pruned)
    assert note.exists() == bool(pruned), "the next plan has to ask again, or not"


def test_a_plan_notes_arms_of_the_users_own_and_leaves_no_note(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    note, seen = place("planning", str(tmp_path), "txt"), []

    class Noting(Leaving, tag="deaths_noting"):
        def network(self) -> nn.Module:
            seen.append(note.read_text())
            names = [frame.name for frame in traceback.extract_stack()]
            assert f"model.when = {self.when}" in names, "faulthandler would not say the arm"
            return super().network()

    study = Study(replace(BASE, {"model": Noting()}), axes={"model.when": ["never", "always"]}, seeds=1)
    with deaths.watched(tmp_path, None):
        plan(study, hardware=OPTIONS.hardware)
    assert list(dict.fromkeys(seen)) == ["model.when = never", "model.when = always"]
    assert not note.exists()
    with deaths.watched(tmp_path, None):
        plan(STUDY, hardware=OPTIONS.hardware)
        assert not note.exists(), "networks of cnnjax's own cost nothing"


def test_plans_of_one_study_side_by_side_do_not_mind_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with deaths.watched(tmp_path, None):
        planned = plan(LEAVING, hardware=OPTIONS.hardware)
        noted(tmp_path, "an arm")
        with deaths.watched(tmp_path, None):
            assert plan(LEAVING, hardware=OPTIONS.hardware) == planned
        assert place("planning", str(tmp_path), "txt").read_text() == "an arm"


# --- processes

FILE = '''
"""Some of these networks end the process that trains them."""
import ctypes, os, signal, time
import flax.linen as nn
import jax
from cnnjax import SGD, Experiment, Model, Study, Synthetic

SIGNALS = {"kill": signal.SIGKILL}
CODES = {"exit0": 0}

def end(how):
    if "SPARED" in os.environ:
        return
    if how == "sleep":
        time.sleep(0.5)
    elif how in CODES:
        os._exit(CODES[how])
    elif how in SIGNALS:
        os.kill(os.getpid(), SIGNALS[how])

class Net(nn.Module):
    end: str
    classes: int

    @nn.compact
    def __call__(self, images, train: bool):
        if self.end == "traced" and "SPARED" not in os.environ:
            ctypes.string_at(0)
        if train and self.end != "no":
            jax.debug.callback(lambda: end(self.end))
        return nn.Dense(self.classes)(images.reshape(len(images), -1))

class Mine(Model, tag="deaths_mine"):
    end: str = "no"

    def network(self):
        return Net(self.end, self.num_classes)

experiment = Experiment(
    model=Mine(), data=Synthetic(height=4, width=4, channels=1, classes=2, examples=20, test_examples=8),
    optim=SGD(learning_rate=0.05), batch_size=8, steps=3)
study = Study(experiment, seeds=1)
'''
WORDS = ("sweep", "exp.py", "--devices", "1", "--out", "study")


def cnnjax(place: Path, *words: str, **environ: str) -> Forked:
    """The command, which has ended."""
    (place / "exp.py").write_text(FILE)
    process = shared().start(*words, cwd=place, said=place / "said", environ=environ)
    process.wait(300)
    return process


def results(study: Path) -> dict[str, dict[str, Any]]:
    """By what ends the process."""
    found = [json.loads(path.read_text()) for path in study.glob("trials/*/result.json")]
    return {each["config"]["model"]["end"]: each for each in found}


@pytest.mark.slow
def test_each_kind_of_death_costs_its_trial_and_the_rest_is_bitwise_the_same(tmp_path):
    ends = ("no", "kill", "exit0")
    done = cnnjax(tmp_path, *WORDS, f"model.end={','.join(ends)}", "--isolate")
    assert done.returncode == 1
    assert "of 3 trials 2 failed" in done.err.read_text()
    found = results(tmp_path / "study")
    assert {end for end, result in found.items() if result["status"] == "done"} == {"no"}
    said = {"kill": "SIGKILL", "exit0": "exit code 0"}
    for end, name in said.items():
        assert found[end]["cause"] == "killed"
        assert name in found[end]["error"]
    told = json.loads(cnnjax(tmp_path, "status", "study", "--json").out.read_text())
    assert (told["done"], told["failed"], told["running"]) == (1, 2, [])
    alone = sweep(load(tmp_path / "exp.py").study, tmp_path / "alone", options=OPTIONS)
    (id,) = alone.done
    for name in ("metrics.jsonl", "evaluation.json"):
        one, other = (tmp_path / folder / "trials" / id / name for folder in ("study", "alone"))
        assert one.read_bytes() == other.read_bytes()
    again = cnnjax(tmp_path, *WORDS, f"model.end={','.join(ends)}", "--no-isolate", SPARED="1")
    assert again.returncode == 0, again.err.read_text()
    assert {result["status"] for result in results(tmp_path / "study").values()} == {"done"}


@pytest.mark.slow
def test_after_a_death_the_same_command_isolates_by_itself(tmp_path):
    words = (*WORDS, "model.end=kill,other")
    assert cnnjax(tmp_path, *words).returncode == -signal.SIGKILL
    again = cnnjax(tmp_path, *words)
    assert again.returncode == 1
    assert "a process died in the midst of a trial of this study" in again.err.read_text()
    ends = {end: result["status"] for end, result in results(tmp_path / "study").items()}
    assert ends == {"kill": "failed", "other": "done"}
    assert (tmp_path / "study" / "report" / "index.html").exists()


@pytest.mark.slow
def test_an_arm_that_kills_the_plan_is_named_and_left_out_by_the_next(tmp_path):
    words, environ = (*WORDS, "model.end=no,traced"), {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = cnnjax(tmp_path, *words, **environ)
    assert first.returncode == -signal.SIGSEGV
    assert "in model.end = traced" in first.err.read_text()
    again = cnnjax(tmp_path, *words, **environ)
    said = again.err.read_text()
    assert again.returncode == 0, said
    (pruned,) = [line for line in said.splitlines() if line.startswith("pruned")]
    assert pruned.startswith("pruned: model.end = traced: the process that traced it died of SIGSEGV, in native code")
    assert "(exp.py line " in pruned
    assert set(results(tmp_path / "study")) == {"no"}
    mended = cnnjax(tmp_path, *words, **environ, SPARED="1")
    assert "pruned" not in mended.err.read_text()
    assert results(tmp_path / "study")["traced"]["status"] == "done"
    assert not list((tmp_path / "cache/cnnjax/planning").iterdir())


@pytest.mark.slow
def test_a_request_to_stop_reaches_the_children(tmp_path):
    (tmp_path / "exp.py").write_text(FILE)
    words = (*WORDS, "model.end=sleep", "steps=1000", "--isolate")
    process = shared().start(*words, cwd=tmp_path, said=tmp_path / "said")
    until = time.monotonic() + 120
    while not list(tmp_path.glob("study/trials/*/lease.*.json")) and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(3.0)
    process.send_signal(signal.SIGTERM)
    code, said = process.wait(60), process.err.read_text()
    assert code == 130, said
    assert "all saved in" in said
    assert not list(tmp_path.glob("study/trials/*/lease.*.json"))
    assert not list(tmp_path.glob("study/trials/*/result.json"))
