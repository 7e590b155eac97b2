"""What tests of abuse share: an experiment file with a run and a study of it, in which commands are run, and disks."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cnnjax.reporting import find, writing
from tests.disks import change, disk

FILE = """
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0), data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40,
    test_examples=12), optim=SGD(learning_rate=0.05), batch_size=8, epochs=3)
study = Study(experiment, axes={"optim.learning_rate": [0.05, 0.1]}, seeds=2)
"""

Mount = Callable[[str], Path]


def make(folder: Path) -> Path:
    """Put the file (`exp.py`), a run and a study of it into the folder."""
    from cnnjax import Hardware, Options, sweep, train
    from cnnjax.study.file import load

    (folder / "exp.py").write_text(FILE)
    loaded, one = load(folder / "exp.py"), Options(Hardware(devices=1))
    train(loaded.experiment, folder / "run", options=one)
    sweep(loaded.study, folder / "study", name="exp", options=one)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """An experiment file, a run and a study."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def place(made, tmp_path, run) -> Path:
    """A copy of `made`, where commands are run."""
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Reports are written without their pictures, which take most of the time and show nothing here."""
    monkeypatch.setattr(writing, "find", functools.partial(find, draw=False))


@pytest.fixture
def mount(tmp_path) -> Iterator[Mount]:
    """Mounts a small disk at `disk`, or gives the one there another size."""
    folder = tmp_path / "disk"
    with contextlib.ExitStack() as stack:

        def mounted(options: str) -> Path:
            if folder.is_mount():
                change(folder, options)
                return folder
            return stack.enter_context(disk(folder, options))

        yield mounted
