"""Disks and tables of files that are full: one message, nothing that is finished is lost, and with room again the same
call goes on to the same numbers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Synthetic, inspect, report, train
from cnnjax.errors import DiskFull
from cnnjax.records.result_json import ResultRecord
from cnnjax.run import small_checkpoint

EXPERIMENT = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40, test_examples=12),
    optim=SGD(learning_rate=0.05),
    batch_size=12,
    epochs=4,
)
OPTIONS = Options(Hardware(devices=1), checkpoint_steps=2)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Gives a file system of its own the size that the options of its mount say, anew where it has one."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(options: str) -> Path:
        words = ["-o", f"remount,{options}"] if place.is_mount() else ["-t", "tmpfs", "-o", options, "tmpfs"]
        made = subprocess.run(["mount", *words, str(place)], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"needs the right to mount: {made.stderr.strip()}")
        return place

    yield sized
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(EXPERIMENT, out, options=OPTIONS)
    return out


def numbers(out: Path) -> tuple[bytes, dict]:
    result = ResultRecord.read(ResultRecord.at(out), remedy="")
    assert result is not None
    return (out / "metrics.jsonl").read_bytes(), result.metrics


TOO_SMALL = ["size=4k", "size=12k", "size=20k", "size=28k", "size=36k", "nr_inodes=4", "nr_inodes=8", "nr_inodes=12"]


@pytest.mark.parametrize("writer", ["small", "orbax"])
@pytest.mark.parametrize("options", TOO_SMALL)
def test_a_training_says_so_once_and_goes_on(whole, disk, capfd, monkeypatch, options: str, writer: str) -> None:
    if writer == "orbax":
        monkeypatch.setattr(small_checkpoint, "SMALL", 0)
    out = disk(options) / "run"
    capfd.readouterr()
    with pytest.raises(DiskFull, match="no space left") as error:
        train(EXPERIMENT, out, options=OPTIONS)
    assert "\n" not in str(error.value)
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert not ResultRecord.at(out).exists()
    disk(re.sub("=.*", "=4m" if "size" in options else "=1000", options))
    train(EXPERIMENT, out, options=OPTIONS)
    assert numbers(out) == numbers(whole)


@pytest.mark.parametrize("options", ["size=8k", "size=100k", "size=200k", "nr_inodes=2", "nr_inodes=6"])
def test_a_report_says_so_and_leaves_what_was_there(whole, disk, options: str) -> None:
    """The one before stays whole, or there is none."""
    place = disk(options)
    with pytest.raises(DiskFull, match="no space left to write"):
        report(whole, to=place / "report")
    assert not list(place.rglob("index.html"))
    disk(re.sub("=.*", "=20m" if "size" in options else "=1000", options))
    assert report(whole, to=place / "report").page.read_text().endswith("</html>\n")


@pytest.mark.parametrize("options", ["size=4k", "size=40k", "nr_inodes=2"])
def test_pictures_say_so(whole, disk, options: str) -> None:
    place, names = disk(options), ["filters", "confusion"]
    with pytest.raises(DiskFull, match="no space left to write"):
        inspect(whole, only=names, out=place / "inspect")
    disk(re.sub("=.*", "=20m" if "size" in options else "=1000", options))
    assert set(inspect(whole, only=names, out=place / "inspect").record.pictures) == set(names)
