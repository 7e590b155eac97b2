"""Files of a run or a study that are damaged, or in whose place something else stands: what is wrong is named, nothing
is waited for, and no number of another trial is lost."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnjax import (
    Experiment,
    Hardware,
    ImageFolder,
    Options,
    SmallCNN,
    curves,
    inspect,
    load,
    results,
    sweep,
    train,
)
from cnnjax.data.tfds import TFDS
from cnnjax.errors import CnnjaxError, DataError
from cnnjax.launch.status import status
from cnnjax.launch.work import work
from cnnjax.reporting import collect, find
from cnnjax.run.evaluate import evaluate
from cnnjax.study.file import load as load_file
from tests.marks import slow
from tests.test_trust import features, prepared_set

FILE = """
import flax.linen as nn
from cnnjax import SGD, Experiment, Model, Study, Synthetic
class Mine(Model):
    width: int = 2
    def network(self):
        return Net(self)
class Net(nn.Module):
    config: Mine
    @nn.compact
    def __call__(self, images, train):
        return nn.Dense(2, name="logits")(images.reshape(len(images), -1)[:, : 8 * self.config.width])
experiment = Experiment(model=Mine(), data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40,
    test_examples=12), optim=SGD(learning_rate=0.05), batch_size=12, epochs=2)
study = Study(experiment, axes={"optim.learning_rate": [0.05, 0.1]}, seeds=2)
"""
HARDWARE = Hardware(devices=1)
OPTIONS = Options(HARDWARE, keep_predictions=True)


@dataclass(frozen=True)
class Made:
    """A finished study of four trials of a user's own network. file: its experiment file. first: the trial that is
    damaged; others: those that are not."""

    file: Path
    study: Path

    @property
    def first(self) -> str:
        return sorted(path.name for path in (self.study / "trials").iterdir())[0]

    @property
    def others(self) -> set[str]:
        return {path.name for path in (self.study / "trials").iterdir()} - {self.first}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    (folder / "exp.py").write_text(FILE)
    found = Made(folder / "exp.py", folder / "study")
    outcome = swept(found, found.study)
    assert outcome.complete
    return found


@pytest.fixture(scope="module")
def numbers(made) -> Mapping[str, Any]:
    """What the whole study is reported with, by trial."""
    return {"report": accuracies(made.study), "curves": losses(made.study)}


@pytest.fixture
def out(made, tmp_path) -> Path:
    return Path(shutil.copytree(made.study, tmp_path / "study"))


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """What waits for a pipe is interrupted."""

    def late(*_: Any) -> None:
        raise AssertionError("it waits for what never comes")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# --- what is done to a file


def gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def held(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 10 * 2**30)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "100,000 brackets": held(b"[" * 100_000 + b"\n"),
    "500 brackets": held(b'{"version": 1, "a": ' + b"[" * 500 + b"]" * 500 + b"}\n"),
    "5,000 digits": held(b'{"step": ' + b"1" * 5000 + b"}\n"),
    "no UTF-8": held(b'{"step": "\xff\xfe\xe9"}\n'),
    "a byte order mark": held(b"\xef\xbb\xbf{}\n"),
    "nothing": held(b""),
    "NUL bytes": held(b"\0" * 4096 + b"\n"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "10 GB": sparse,
    "no permission": held(b"{}\n"),
}
"""What stands in place of a file."""

BRIEF = ("100,000 brackets", "a folder", "a pipe", "a link to nothing", "10 GB")
"""Those of which the others are variants where the same reader reads."""


def damaged(path: Path, damage: str) -> contextlib.AbstractContextManager[None]:
    """The file, damaged; in the context this process may do no more than permissions say."""
    gone(path)
    DAMAGE[damage](path)
    if damage != "no permission":
        return contextlib.nullcontext()
    path.chmod(0)
    return within_permissions()


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]  # linux/capability.h


@contextlib.contextmanager
def within_permissions() -> Iterator[None]:
    """Without the right of root to ignore permissions (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH), in this thread and those
    that it starts."""
    if os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux takes this right from root")
    libc, header, sets = ctypes.CDLL(None), _Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    effective = sets[0]
    sets[0] = effective & ~0b110
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(ctypes.byref(header), sets) == 0


# --- what is asked of a study


def accuracies(out: Path) -> dict[str, float]:
    table = collect(out)
    find(table, draw=False)
    return dict(zip(table.done["id"], table.done["test_accuracy"], strict=True))


def losses(out: Path) -> dict[str, list[float]]:
    found = curves(out)
    return {str(name): rows["train_loss"].tolist() for name, rows in found.groupby("id")}


def swept(made: Made, out: Path) -> Any:
    return sweep(load_file(made.file).study, out, name="exp", options=OPTIONS, file=made.file)


def by_status(made: Made, out: Path, numbers: Mapping[str, Any]) -> str:
    found = status(out)
    assert (found.done, list(found.damaged), found.over) == (3, [made.first], True)
    return found.damaged[made.first]


def by_report(made: Made, out: Path, numbers: Mapping[str, Any]) -> str:
    assert accuracies(out) == {name: numbers["report"][name] for name in made.others}
    table = collect(out)
    assert "3 of 4 planned trials finished, 1 failed" in " ".join(find(table, draw=False).first)
    bad = table.trials[table.trials["status"] == "failed"]
    assert (bad["id"].tolist(), bad["cause"].tolist()) == ([made.first], ["damaged"])
    return bad["error"].iloc[0]


def by_results(made: Made, out: Path, numbers: Mapping[str, Any]) -> str:
    found = results(out).set_index("id")
    assert len(found) == 4
    assert {name: found.loc[name, "test_accuracy"] for name in made.others} == {
        name: numbers["report"][name] for name in made.others
    }
    assert found.loc[made.first, "status"] == "failed"
    return str(found.loc[made.first, "error"])


def by_curves(made: Made, out: Path, numbers: Mapping[str, Any]) -> str:
    assert losses(out) == {name: numbers["curves"][name] for name in made.others}
    return ""


def told(made: Made, outcome: Any) -> str:
    assert (set(outcome.skipped), outcome.done, outcome.failed) == (made.others, [], [])
    assert list(outcome.errors) == [made.first]
    return outcome.errors[made.first]


def by_sweep(made: Made, out: Path, numbers: Mapping[str, Any]) -> str:
    return told(made, swept(made, out))


def by_worker(made: Made, out: Path, numbers: Mapping[str, Any]) -> str:
    return told(made, work(out))


COMMANDS = {
    "status": by_status,
    "report": by_report,
    "results": by_results,
    "curves": by_curves,
    "sweep": by_sweep,
    "work": by_worker,
}
OF_RESULT = ["result.json", "config.json", "resolved.json", "environment.json", "evaluation.json", "metrics.jsonl"]
"""What a result is believed with."""


READ_ALIKE = ("result.json", "metrics.jsonl", "plan.json")
"""Of a trial's JSON, of rows, and of the study's JSON, the file that stands for the others, which one reader reads."""


def rows(names: Mapping[str, list[str]]) -> list[tuple[str, str, str]]:
    """(file, command, damage): all damage for the report and one file of a reader, and what is unlike for the rest; of
    that three, in turn, where all commands read the file, and one where they plan the study again."""

    def damages(name: str, command: str, turn: int) -> Iterable[str]:
        if command == "report":
            return DAMAGE if name in READ_ALIKE else BRIEF
        if len(names[name]) < len(COMMANDS):
            return BRIEF
        return [*BRIEF, *BRIEF][turn % 5 :][: 1 if command in ("sweep", "work") else 3]

    return [
        (name, command, damage)
        for at, name in enumerate(names)
        for turn, command in enumerate(names[name], at)
        for damage in damages(name, command, turn)
    ]


@pytest.mark.parametrize(("name", "command", "damage"), rows({name: list(COMMANDS) for name in OF_RESULT}))
def test_a_damaged_file_costs_its_own_trial_alone(made, numbers, out, name, damage, command):
    with damaged(out / "trials" / made.first / name, damage):
        said = COMMANDS[command](made, out, numbers)
    if command != "curves":
        assert name in said
        assert any(way in said for way in ("delete", "bring it back", "remove", "ask its owner")), said


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", ["100,000 brackets", "a pipe", "a link to nothing", "10 GB", "no permission"])
def test_what_stands_in_place_of_a_trial_costs_that_alone(made, numbers, out, damage, command):
    with damaged(out / "trials" / made.first, damage):
        said = COMMANDS[command](made, out, numbers)
    assert command == "curves" or made.first in said


REST = ["log.txt", "checkpoints", "predictions.npz", "inspect/inspect.json", "lease.1.json", "source.json"]
"""What is beside a result and no part of it."""


@pytest.mark.parametrize(
    ("command", "name", "damage"),
    # Each damage of each file, and each of both for each command.
    [
        (command, *of)
        for command, of in zip(
            itertools.cycle(["status", "report", "sweep", "work"]), itertools.product(REST, BRIEF * 2), strict=False
        )
    ],
)
def test_what_no_result_needs_costs_none(made, numbers, out, name, damage, command):
    path = out / "trials" / made.first / name
    path.parent.mkdir(exist_ok=True)
    with damaged(path, damage):
        if command == "status":
            assert status(out).done == 4
        elif command == "report":
            assert accuracies(out) == numbers["report"]
        else:
            assert (swept(made, out) if command == "sweep" else work(out)).errors == {}


# --- a trial that has not finished


CHECKPOINT = "checkpoints/6"
BEGUN = ["config.json", "resolved.json", "metrics.jsonl", "log.txt", "checkpoints", CHECKPOINT]
BEGUN += [f"{CHECKPOINT}/{name}" for name in ("notes/metadata", "state/_METADATA", "state/manifest.ocdbt")]
GOES_ON = {("log.txt", "100,000 brackets"), ("log.txt", "10 GB"), ("checkpoints", "a folder")}
"""What training goes on with: a log that is text no longer, and no checkpoints."""


@pytest.mark.parametrize(
    ("name", "damage"),
    # What a result is believed with too, and files inside of a checkpoint, are damaged in two ways each, in turn.
    [
        *itertools.product(["log.txt", "checkpoints", CHECKPOINT], BRIEF),
        *zip([name for name in BEGUN[:3] + BEGUN[6:] for _ in range(2)], itertools.cycle(BRIEF), strict=False),
    ],
)
def test_a_trial_that_cannot_go_on_stops_no_other(made, numbers, out, name, damage):
    for each in ("result.json", "evaluation.json"):
        (out / "trials" / made.first / each).unlink()
    with damaged(out / "trials" / made.first / name, damage):
        outcome = swept(made, out)
    assert set(outcome.skipped) == made.others
    if (name, damage) in GOES_ON:
        assert outcome.done == [made.first]
        assert accuracies(out) == numbers["report"]
    else:
        assert name.partition("/")[0] in outcome.errors[made.first]
        assert accuracies(out) == {other: numbers["report"][other] for other in made.others}


@pytest.mark.parametrize("damage", ["a folder", "a pipe", "a link to nothing"])
def test_what_is_no_lease_stops_no_other(made, out, damage):
    (out / "trials" / made.first / "result.json").unlink()
    with damaged(out / "trials" / made.first / "lease.1.json", damage):
        assert "lease.1.json" in told(made, swept(made, out))
        assert "lease.1.json" in status(out).damaged[made.first]


# --- a run by itself


RUN: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "load": (load, ["config.json", "resolved.json", "result.json", CHECKPOINT, f"{CHECKPOINT}/notes/metadata"]),
    "evaluate": (
        lambda run: evaluate(run, hardware=HARDWARE),
        ["config.json", "resolved.json", "result.json", f"{CHECKPOINT}/state/manifest.ocdbt"],
    ),
    "inspect": (inspect, ["config.json", "resolved.json", CHECKPOINT]),
}
"""Command: (what it does, the files that it cannot do without)."""


@pytest.mark.parametrize(
    ("command", "name", "damage"),
    [(command, name, damage) for command, (_, names) in RUN.items() for name in names for damage in BRIEF],
)
def test_a_damaged_run_is_named(made, out, command, name, damage):
    run = out / "trials" / made.first
    with damaged(run / name, damage), pytest.raises(CnnjaxError) as refused:
        RUN[command][0](run)
    assert name in str(refused.value) or CHECKPOINT in str(refused.value)


# --- the study's own files


STUDY: dict[str, list[str]] = {
    "study.json": ["status", "report", "sweep"],
    "plan.json": ["status", "report", "sweep", "work"],
    "work.json": ["work"],
    "adaptive.json": ["status", "report"],
    "cancel.json": ["status"],
}
"""File: who cannot do without it, or must not go on where it is damaged."""


@pytest.mark.parametrize(("name", "command", "damage"), rows(STUDY))
def test_a_damaged_file_of_the_study_is_named(made, numbers, out, name, command, damage):
    with damaged(out / name, damage), pytest.raises(CnnjaxError) as refused:
        COMMANDS[command](made, out, numbers)
    assert name in str(refused.value)


@pytest.mark.parametrize("damage", BRIEF)
def test_code_that_was_kept_and_is_damaged_is_named_and_costs_nothing(made, numbers, out, damage):
    (path,) = (out / "code").iterdir()
    with damaged(path, damage):
        assert path.name in " ".join(find(collect(out), draw=False).first)
        assert accuracies(out) == numbers["report"]
        assert (status(out).done, swept(made, out).errors) == (4, {})


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_report_is_none(out, damage):
    (out / "report").mkdir(exist_ok=True)
    with damaged(out / "report" / "arms.json", damage):
        assert (status(out).done, status(out).reported) == (4, None)


# --- images


NO_IMAGE = ["100,000 brackets", "nothing", "NUL bytes", "a pipe", "a link to a device", "a link to nothing", "10 GB"]


@pytest.mark.parametrize("how", [{}, {"csv": "labels.csv", "split_column": "part"}], ids=["folder", "csv"])
@pytest.mark.parametrize("damage", NO_IMAGE)
def test_what_is_no_image_is_named(tmp_path, damage, how):
    places = [f"{part}/{label}/{n}.png" for part in ("train", "test") for label in "ab" for n in range(3)]
    for number, place in enumerate(places):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(tmp_path / place)
    lines = [f"{place},{place.split('/')[1]},{place.split('/')[0]}" for place in places]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,part", *lines]) + "\n")
    data = ImageFolder(root=str(tmp_path), size=(8, 8), **how)
    experiment = Experiment(model=SmallCNN(features=2, dense=0), data=data, batch_size=2, epochs=1, validation=0)
    with damaged(tmp_path / places[0], damage), pytest.raises(DataError, match=places[0]):
        train(experiment, tmp_path / "run", options=OPTIONS)


# --- a set that TFDS prepared


def number(old: str, new: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


def instead(damage: str) -> Callable[[Path], Any]:
    return lambda path: (gone(path), DAMAGE[damage](path))


RECORDS = "own_set-train.array_record-00000-of-00001"
OF_TFDS: list[tuple[str, str, Callable[[Path], Any], str]] = [
    *(
        (name, damage, instead(damage), said)
        for name, said in (("features.json", "own_set"), ("dataset_info.json", "dataset_info.json cannot be read"))
        for damage in ("100,000 brackets", "500 brackets", "5,000 digits", "a folder", "a pipe", "10 GB")
    ),
    ("features.json", "a device", instead("a link to a device"), "features.json is no regular file"),
    ("features.json", "half", lambda path: path.write_text(path.read_text()[:99]), "delete that folder, then prepare"),
    ("features.json", "classes without end", number('"2"', '"999999999999"'), "it has 999,999,999,999 classes"),
    ("features.json", "a type that is none", number("uint8", "strange"), "cannot be read"),
    ("dataset_info.json", "fewer than none", number('"1"', '"-1"'), "cannot be read"),
    (RECORDS, "no records", lambda path: None, r"train\[0\] and others cannot be read"),
    (RECORDS, "a pipe", instead("a pipe"), "train has 0 of its 1 files"),
]


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [(name, damage, said) for name, _, damage, said in OF_TFDS],
    ids=[f"{name[:13]}, {how}" for name, how, _, _ in OF_TFDS],
)
def test_a_damaged_set_of_tfds_is_named(tmp_path, name, damage, said):
    described = features()
    described["featuresDict"]["features"]["image"]["image"] |= {"dtype": "uint8", "encodingFormat": "png"}
    folder = prepared_set(tmp_path, described)
    damage(folder / "own_set/1.0.0" / name)
    with pytest.raises(DataError, match=said):
        TFDS(name="own_set", data_dir=str(folder)).read()


# --- as the commands say it


@pytest.mark.parametrize(
    ("name", "damage"),
    [("environment.json", "a pipe"), *slow(("result.json", "nothing"), ("metrics.jsonl", "a folder"))],
)
@pytest.mark.usefixtures("undrawn")
def test_the_commands_name_it_in_one_sentence(run, made, out, name, damage):
    with damaged(out / "trials" / made.first / name, damage):
        code, _, err = run("sweep", made.file, "--out", out, "--devices", 1, "--keep-predictions")
        text = " ".join(err.split())
        assert (code, name in text, "Traceback" in text) == (1, True, False)
        assert "of 4 trials 1 could not be trained" in text
        code, told, err = run("status", out)
        assert (code, name in told) == (0, True), told
