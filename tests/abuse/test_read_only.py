"""Runs and studies on media that can only be read: what reads works, and what writes says where to write instead."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnjax
from tests.abuse.conftest import make
from tests.disks import change, disk


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Iterator[Path]:
    """A finished run and a study on a disk that can only be read; root may write whatever permissions say."""
    with disk(tmp_path_factory.mktemp("media"), "size=16m") as folder:
        make(folder)
        shutil.rmtree(folder / "study/report", ignore_errors=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")
        change(folder, "ro")
        yield folder


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
    assert len(cnnjax.results(media / "study")) == 4
    assert len(cnnjax.curves(media / "study")) == 12
    assert cnnjax.load(media / "run").step == 14


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
