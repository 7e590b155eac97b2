"""Code of the user's that ends the process, or that is no code: named with its file and line, and the other arms of the
study go on."""

from __future__ import annotations

import dataclasses
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnjax import Data, Hardware, Options, sweep, train
from cnnjax.data import Dataset, Examples
from cnnjax.errors import ConfigError, DataError, EndsProcess, surviving, users_line
from cnnjax.events import EpochEnded, Saved, Started, StepTaken
from cnnjax.study.file import load
from cnnjax.study.plan import plan
from tests.marks import slow

FILE = """import os, sys, threading
import flax.linen as nn
from cnnjax import SGD, Experiment, Model, Study, Synthetic
class Stop(BaseException): pass
class Mine(Model):
    width: int = 2
    def network(self):
        {made}
        return Net(self)
class Net(nn.Module):
    config: Mine
    @nn.compact
    def __call__(self, images, train):
        {called}
        return nn.Dense(2, name="logits")(images.reshape(len(images), -1)[:, : 8 * self.config.width])
experiment = Experiment(model=Mine(), data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40,
    test_examples=12), optim=SGD(learning_rate=0.05), batch_size=12, epochs=1)
study = Study(experiment, axes={{"model.width": [2, 3]}}, seeds=1)
{read}
"""
READ = FILE.splitlines().index("{read}") + 1
CALLED = FILE.splitlines().index("        {called}") + 1
MADE = FILE.splitlines().index("        {made}") + 1
OPTIONS = Options(Hardware(devices=1))


def written(folder: Path, *, made: str = "pass", called: str = "pass", read: str = "pass") -> Path:
    path = folder / "exp.py"
    path.write_text(FILE.format(made=made, called=called, read=read))
    return path


# --- the file


def changed(change: Callable[[str], bytes]) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(change(path.read_text()))


def neighbour(path: Path) -> None:
    (path.parent / "user_code_neighbour.py").write_text("\n\n\n\nx = = 1\n")
    path.write_text(path.read_text() + "import user_code_neighbour\n")


AFTER = READ + 1
"""The line after the last one."""
ENDS: dict[str, tuple[str, str]] = {
    "exit": ("sys.exit(3)", "SystemExit: 3"),
    "exit with words": ("sys.exit('bye')", "SystemExit: bye"),
    "an interrupt of its own": ("raise KeyboardInterrupt('mine')", "KeyboardInterrupt: mine"),
    "an exception of its own": ("raise Stop('mine')", "Stop: mine"),
    "the end of a generator": ("raise GeneratorExit('mine')", "GeneratorExit: mine"),
    "an endless recursion": ("f = lambda: f(); f()", "RecursionError: "),
    "memory that is not there": ("raise MemoryError('mine')", "MemoryError: mine"),
    "a thousand brackets": (f"x = {'(' * 1000}{')' * 1000}", "SyntaxError: too many nested parentheses"),
    "no Python": ("x = = 3", "SyntaxError: invalid syntax"),
}
"""Case: (the line that is read, what is said of it)."""


@pytest.mark.parametrize("case", ENDS)
def test_a_file_that_does_not_run_is_named_with_its_line(tmp_path, case):
    does, said = ENDS[case]
    path = written(tmp_path, read=does)
    with pytest.raises(ConfigError, match=f"{re.escape(str(path))} line {READ} does not run: {re.escape(said)}"):
        load(path)


NO_TEXT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a NUL byte": (changed(lambda text: f"{text}x = 1\0\n".encode()), f"line {AFTER} does not run: .* NUL byte"),
    "Latin-1": (changed(lambda text: f"{text}x = 'caf\xe9'\n".encode("latin-1")), f"line {AFTER} .* byte 0xe9 is no"),
    "UTF-16": (changed(lambda text: text.encode("utf-16")), "line 1 does not run: invalid or missing encoding"),
    "an encoding that there is not": (
        changed(lambda text: b"# -*- coding: nonsense -*-\n" + text.encode()),
        "line 1 does not run: unknown encoding: nonsense",
    ),
    "a file beside it that is no Python": (neighbour, rf"line {AFTER} .*user_code_neighbour.py, line 5"),
}


@pytest.mark.parametrize("case", NO_TEXT)
def test_a_file_that_is_no_text_is_named_with_its_line(tmp_path, case):
    change, said = NO_TEXT[case]
    path = written(tmp_path)
    change(path)
    with pytest.raises(ConfigError, match=said) as refused:
        load(path)
    assert str(path) in str(refused.value)


RUNS: dict[str, Callable[[Path], Any]] = {
    "a byte order mark": changed(lambda text: b"\xef\xbb\xbf" + text.encode()),
    "Latin-1 that says so": changed(
        lambda text: b"# -*- coding: latin-1 -*-\n" + f"{text}x = 'caf\xe9'\n".encode("latin-1")
    ),
    "it deletes itself": changed(lambda text: f"{text}os.remove(__file__)\n".encode()),
    "it changes the working directory": changed(lambda text: f"{text}os.chdir('/')\n".encode()),
    "it starts a thread": changed(lambda text: f"{text}threading.Thread(target=print).start()\n".encode()),
}


@pytest.mark.parametrize("case", RUNS)
def test_a_file_that_runs_is_planned(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path)
    RUNS[case](path)
    assert len(plan(load(path).study, hardware=OPTIONS.hardware).trials) == 2


# --- the network


IN_NETWORK: dict[str, tuple[str, str]] = {
    "exit": ("sys.exit(3)", r"calls exit\(3\)"),
    "an exit at once": ("os._exit(3)", r"calls os\._exit\(3\)"),
    "an abort": ("os.abort()", r"calls os\.abort\(\)"),
    "an interrupt of its own": ("raise KeyboardInterrupt('mine')", r"raises KeyboardInterrupt\('mine'\)"),
    "an exception of its own": ("raise Stop('mine')", r"raises Stop\('mine'\)"),
    "the end of a generator": ("raise GeneratorExit", r"raises GeneratorExit\(\)"),
    "the end of an iterator": ("next(iter(()))", "StopIteration"),
    "memory that is not there": ("raise MemoryError('mine')", "mine"),
    "an endless recursion": ("self(images, train)", "RecursionError"),
    "an error": ("raise ValueError('mine')", "mine"),
}
WHEN = {
    "always": ("called", "self.config.width == 3", CALLED, "Net.__call__"),
    "in training": ("called", "self.config.width == 3 and train and len(images) > 1", CALLED, "Net.__call__"),
    "made": ("made", "self.width == 3", MADE, "Mine.network"),
}
CASES = [(case, when) for case in IN_NETWORK for when in WHEN if (case, when) != ("an endless recursion", "made")]


@pytest.mark.parametrize(("case", "when"), CASES)
def test_a_network_that_ends_the_process_prunes_its_own_arm(tmp_path, case, when):
    does, said = IN_NETWORK[case]
    place, condition, line, inside = WHEN[when]
    path = written(tmp_path, **{place: f"if {condition}: {does}"})
    planned = plan(load(path).study, hardware=OPTIONS.hardware)
    assert [trial.arm["model.width"] for trial in planned.trials] == [2]
    (pruned,) = planned.pruned
    assert re.search(rf"{said}.* \(in {inside}, {re.escape(str(path))} line {line}\)", pruned.reason), pruned.reason


def test_no_line_of_a_message_looks_like_one_of_ours(tmp_path):
    path = written(tmp_path, called="if self.config.width == 3: raise ValueError('mine')")
    (pruned,) = plan(load(path).study, hardware=OPTIONS.hardware).pruned
    line = dataclasses.replace(pruned, error="mine\nerror: not ours").line
    assert line == "model.width = 3: mine\n  error: not ours"


@pytest.mark.parametrize("case", ["exit", "an interrupt of its own", "an exception of its own"])
def test_a_network_outside_of_a_study_is_refused(tmp_path, case):
    does, said = IN_NETWORK[case]
    path = written(tmp_path, called=does)
    with pytest.raises(ConfigError, match=said):
        train(load(path).experiment, tmp_path / "run", options=OPTIONS)


def test_ctrl_c_goes_through():
    """Where a user's code waits, and where a function of ours raises it."""

    def waits() -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), surviving():
            waits()
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(EndsProcess) as ended, surviving():
        raise KeyboardInterrupt
    assert "test_ctrl_c_goes_through" in users_line(ended.value)


# --- what hears of a training, and data


SAYS: dict[str, BaseException] = {
    "an error": ValueError("mine"),
    "exit": SystemExit(4),
    "an exception of its own": BaseException("mine"),
}


@pytest.mark.parametrize(
    ("case", "event"), zip([*SAYS, "an error"], [StepTaken, EpochEnded, Started, Saved], strict=True)
)
def test_a_sink_that_raises_fails_its_trial_alone(tmp_path, case, event):
    study = load(written(tmp_path)).study
    first, second = (trial.id for trial in plan(study, hardware=OPTIONS.hardware).trials)

    def raises(seen: Any) -> None:
        if isinstance(seen, event) and seen.trial == first:
            raise SAYS[case]

    outcome = sweep(study, tmp_path / "study", options=OPTIONS, sinks=[raises])
    assert second in outcome.done
    assert ("calls exit(4)" if case == "exit" else "mine") in outcome.errors[first]


CALLS_BACK = """
import sys
import flax.linen as nn
import jax
from cnnjax import SGD, Experiment, Model, Study, Synthetic
def back(images):
    {statement}
class Net(nn.Module):
    back: bool
    @nn.compact
    def __call__(self, images, train: bool):
        if train and self.back:
            jax.debug.callback(back, images)
        return nn.Dense(2)(images.reshape(len(images), -1))
class Calling(Model, tag="user_code_calling"):
    back: bool = False
    def network(self):
        return Net(self.back)
experiment = Experiment(model=Calling(), data=Synthetic(height=4, width=4, channels=1, classes=2, examples=20,
    test_examples=8), optim=SGD(learning_rate=0.05), batch_size=8, steps=2)
study = Study(experiment, axes={{"model.back": [False, True]}}, seeds=1)
"""


@pytest.mark.parametrize(("statement", "said"), [("raise ValueError('mine')", "ValueError: mine"), ("int('x')", "'x'")])
def test_a_callback_that_raises_is_named_with_its_line(tmp_path, statement, said):
    """XLA says a whole traceback of it, whose first lines are libraries'."""
    path = tmp_path / "calls_back.py"
    path.write_text(CALLS_BACK.format(statement=statement))
    study = load(path).study
    outcome = sweep(study, tmp_path / "study", options=OPTIONS)
    (error,) = outcome.errors.values()
    assert said in error
    assert f"(in back, {path} line 7)" in error
    assert len(outcome.done) == 1


IMAGES = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 1)).astype(np.uint8)
LABELS: dict[str, tuple[Any, str]] = {
    "objects": (np.array([object() for _ in range(40)]), "labels must be numbers, got object"),
    "texts": (np.array(["a", "b"] * 20), "labels must be numbers"),
    "texts as objects": (np.array(["a", "b"] * 20, object), "labels must be numbers, got object"),
    "None": (np.array([None] * 40), "labels must be numbers, got object"),
    "some None": (np.array([0, None] * 20, object), "labels must be numbers, got object"),
    "integers of any size": (np.array([0, 2**70] * 20, object), "labels must be numbers, got object"),
    "bytes": (np.array([b"a", b"b"] * 20), "labels must be numbers"),
    "dates": (np.array(["2026-01-31"] * 40, "datetime64[D]"), "labels must be numbers, got datetime64"),
    "complex numbers": (np.array([0j, 1j] * 20), "labels must be numbers, got complex128"),
    "below 0": (np.array([-1, 0] * 20), "train has labels -1..0, but there are 2 classes"),
    "beyond the classes": (np.array([0, 2**63] * 20, np.uint64), "train has labels 0..9223372036854775808"),
    "too few": (np.array([0, 1] * 10), "40 images but 20 labels"),
    "a set": ({0, 1}, "40 images but no labels"),
}


class Labelled(Data, tag="user_code_labelled"):
    case: str

    def read(self) -> Dataset:
        if self.case == "an interrupt of its own":
            raise KeyboardInterrupt("mine")
        part = Examples(IMAGES, LABELS[self.case][0])
        return Dataset("mine", part, part, classes=("a", "b"))


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_none_are_refused(case):
    with pytest.raises(DataError, match=LABELS[case][1]):
        Labelled(case=case).load()


def test_data_that_raise_an_interrupt_are_refused():
    said = r"reading Labelled raises KeyboardInterrupt\('mine'\) \(in Labelled.read, .*test_user_code.py line \d+\)"
    with pytest.raises(DataError, match=said):
        Labelled(case="an interrupt of its own").load()


# --- as the commands say it


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("case", slow("exit", "an endless recursion", "an exception of its own"))
def test_the_command_names_it_and_trains_the_rest(run, tmp_path, case):
    path = written(tmp_path, called=f"if self.config.width == 3: {IN_NETWORK[case][0]}")
    code, _, err = run("sweep", path, "--out", tmp_path / "study", "--devices", 1)
    assert (code, "Traceback" in err) == (0, False)
    assert "pruned: model.width = 3: " in err
    assert case == "an endless recursion" or f"{path} line {CALLED}" in err
    code, _, err = run("train", path, "model.width=3", "--out", tmp_path / "run", "--devices", 1)
    assert (code, f"{path} line {CALLED}" in err, "Traceback" in err) == (1, True, False)
