"""Runs and studies on media that can only be read: what reads works, and what writes says where to write instead."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import Hardware, Options, sweep, train
from cnnjax.study.file import load as load_file

FILE = """
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0), data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40,
    test_examples=12), optim=SGD(learning_rate=0.05), batch_size=12, epochs=1)
study = Study(experiment, axes={"optim.learning_rate": [0.05, 0.1]}, seeds=1)
"""


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Iterator[Path]:
    """A finished run and a study on a disk that can only be read; root may write whatever permissions say."""
    folder = tmp_path_factory.mktemp("media")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        (folder / "exp.py").write_text(FILE)
        loaded, one = load_file(folder / "exp.py"), Options(Hardware(devices=1))
        train(loaded.experiment, folder / "run", options=one)
        sweep(loaded.study, folder / "study", name="exp", options=one)
        shutil.rmtree(folder / "study/report", ignore_errors=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


READS = [
    "report MEDIA/study --out there",
    "report MEDIA/run --out there --json",
    "report MEDIA/study MEDIA/run --out there",
    "inspect MEDIA/run --only filters,confusion --out there --devices 1",
    "evaluate MEDIA/run --devices 1",
    "evaluate MEDIA/run --devices 1 --json",
    "describe MEDIA/run --plot there.png",
    "describe MEDIA/exp.py",
    "predict MEDIA/run MEDIA/a.png",
    "status MEDIA/study",
    "export MEDIA/run there.safetensors",
    "sweep MEDIA/exp.py --out MEDIA/study --dry-run --devices 1",
    "work MEDIA/study --devices 1",
    "train MEDIA/run --out there --devices 1",
    "data show MEDIA/exp.py --plot there.png",
]


@pytest.mark.parametrize("command", READS)
def test_what_reads_works(run, media, command):
    code, _, err = run(*command.replace("MEDIA", str(media)).split())
    assert code == 0, err


def test_what_reads_works_in_python_too(media):
    assert len(cnnjax.results(media / "study")) == 2
    assert len(cnnjax.curves(media / "study")) == 2
    assert cnnjax.load(media / "run").step == 3


ELSEWHERE = "choose another folder with --out"
WRITES = {
    "report MEDIA/study": "cnnjax report STUDY --out FOLDER",
    "report MEDIA/run": "cnnjax report STUDY --out FOLDER",
    "report MEDIA/study --out MEDIA/there": "--out FOLDER",
    "inspect MEDIA/run --only filters": "cnnjax inspect RUN --out DIR",
    "inspect MEDIA/run --only filters --out MEDIA/there": "--out DIR",
    "evaluate MEDIA/run --devices 1 --keep-predictions": "write elsewhere",
    "export MEDIA/run MEDIA/there.safetensors": "write elsewhere",
    "train MEDIA/exp.py --out MEDIA/there --devices 1": ELSEWHERE,
    "train MEDIA/exp.py --out MEDIA/run --devices 1": ELSEWHERE,
    "sweep MEDIA/exp.py --out MEDIA/study --devices 1": ELSEWHERE,
    "sweep MEDIA/exp.py --out MEDIA/there --devices 1": ELSEWHERE,
    "cancel MEDIA/study": "make it writable",
    "init digits/baseline MEDIA/there": "choose another folder",
    "describe MEDIA/run --plot MEDIA/there.png": "it cannot be written",
    "data show digits --plot MEDIA/there.png": "it cannot be written",
}


@pytest.mark.parametrize("command", WRITES)
def test_what_writes_says_where_to(run, media, command):
    code, _, err = run(*command.replace("MEDIA", str(media)).split())
    said = " ".join(err.split())
    assert code == 1, said
    assert "Read-only file system" in said
    assert WRITES[command] in said
