"""Disks and tables of files that are full: one message, nothing that is finished is lost, and with room the same call
goes on to the same numbers."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from pathlib import Path
from unittest.mock import ANY

import jax
import pytest

from cnnjax import Hardware, Options, train
from cnnjax.cli import show_warnings
from cnnjax.errors import DiskFull
from cnnjax.records.result_json import ResultRecord
from cnnjax.run import compiling, program_cache, small_checkpoint
from cnnjax.study.file import load as load_file
from tests.forking import forking
from tests.marks import slow

ROOM = "size=200m,nr_inodes=100000"


def one_line(err: str) -> str:
    """The line that says what is wrong. There is no other, but those of progress."""
    lines = [line for line in err.splitlines() if " steps, " not in line]
    assert len(lines) == 1, err
    return lines[0]


def same_numbers(one: Path, other: Path) -> bool:
    names = ("metrics.jsonl", "evaluation.json")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


TRAINS = [
    ("train", "size=48k"),
    ("sweep", "nr_inodes=30"),
    *slow(
        *[("sweep", f"size={size}k") for size in (4, 90)],
        *[("sweep", f"nr_inodes={number}") for number in (3, 60)],
    ),
]
"""(the command, the disk that it gets)."""


@pytest.mark.parametrize(("command", "disk"), TRAINS)
def test_a_training_goes_on_once_there_is_room(run, place, mount, command, disk, request):
    out = mount(disk) / "new"
    words = (command, "exp.py", "--out", out, "--devices", 1, "--checkpoint-steps", 1)
    code, _, err = run(*words)
    assert code == 1, "the disk was large enough"
    assert "no space left" in one_line(err)
    assert not list(out.rglob("*.tmp*")), "what was begun is cleared away"
    mount(ROOM)
    request.getfixturevalue("undrawn")
    code, _, err = run(*words)
    assert code == 0, err
    if command == "train":
        assert same_numbers(out, place / "run")
    else:
        for trial in (place / "study/trials").iterdir():
            assert same_numbers(out / "trials" / trial.name, trial)


# Both writers on disks of all sizes, small and large.
TOO_SMALL = ["size=4k", "size=12k", "size=36k", "size=28k", "nr_inodes=4", "nr_inodes=8", "nr_inodes=12", "nr_inodes=4"]


@pytest.mark.parametrize(("writer", "options"), zip(["small", "orbax"] * 4, TOO_SMALL, strict=True))
def test_checkpoints_of_either_writer_say_so_once(made, mount, capfd, monkeypatch, options, writer):
    if writer == "orbax":
        monkeypatch.setattr(small_checkpoint, "SMALL", 0)
    experiment, out = load_file(made / "exp.py").experiment, mount(options) / "new"
    often = Options(Hardware(devices=1), checkpoint_steps=2)
    capfd.readouterr()
    with pytest.raises(DiskFull, match="no space left") as error:
        train(experiment, out, options=often)
    assert "\n" not in str(error.value)
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert not ResultRecord.at(out).exists()
    mount(ROOM)
    train(experiment, out, options=often)
    assert same_numbers(out, made / "run")


WRITES = [
    *[("report study --out disk/new", each) for each in ("size=200k", "nr_inodes=6")],
    ("report disk/study", "full"),
    ("report study run --out disk/new", "size=16k"),
    *[("inspect run --only filters,examples --out disk/new", each) for each in ("size=8k", "nr_inodes=2")],
    ("inspect run --only filters,confusion --out disk/new", "size=40k"),
    ("evaluate disk/run --keep-predictions", "full"),
    ("export run disk/net.safetensors", "size=4k"),
    ("export run disk/net.stablehlo", "size=4k"),
    ("export run disk/net.safetensors", "nr_inodes=1"),
    ("describe lenet5 --plot disk/a.png", "size=4k"),
    ("data show synthetic --plot disk/a.png", "size=4k"),
    ("init mnist/lenet5 disk/new", "nr_inodes=2"),
]
"""(a command, the disk that it gets; `full`: one that has a finished run and study, and no room)."""


@pytest.mark.parametrize(("words", "disk"), WRITES)
def test_a_command_leaves_nothing_half_and_works_once_there_is_room(run, place, mount, words, disk):
    folder = mount("size=20m" if disk == "full" else disk)
    if disk == "full":
        for name in ("run", "study"):
            shutil.copytree(place / name, folder / name)
        free = os.statvfs(folder)
        (folder / "filler").write_bytes(b"x" * (free.f_bavail * free.f_frsize))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    several = "report" in words
    code, _, err = run(*words.split())
    assert code == 1, "the disk was large enough"
    assert "o space left" in one_line(err)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before, "what was finished is there"
    assert not [path for path in after if path.name.startswith(".")], "no scratch file stays"
    if several:
        assert after.keys() == before.keys(), "of the files of a report all are written, or none"
    (folder / "filler").unlink(missing_ok=True)
    mount(ROOM)
    code, _, err = run(*words.split())
    assert code == 0, err


# --- what was compiled


@pytest.fixture(scope="module")
def process():
    """Runs `cnnjax` in a folder, in a process that keeps every program in its own cache: exit code and errors."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    own |= {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

    with forking(own) as forks:

        def process(place: Path, words: str, **environ: str) -> tuple[int, str]:
            run = forks.start(*words.split(), cwd=place, said=place / "said", environ=environ, only=own)
            return run.wait(), run.err.read_text()

        yield process


@pytest.fixture(scope="module")
def at_once(process, made, tmp_path_factory) -> Path:
    """What `cnnjax train exp.py` makes where its cache can be written."""
    folder = tmp_path_factory.mktemp("at-once")
    shutil.copy(made / "exp.py", folder)
    assert process(folder, "train exp.py --out run") == (0, ANY)
    return folder / "run"


@pytest.mark.parametrize("disk", slow("size=16k", "nr_inodes=3", "ro"))
def test_a_cache_that_cannot_be_written_costs_one_line(process, place, at_once, mount, disk):
    folder = mount("size=10m" if disk == "ro" else disk)
    if disk == "ro":
        mount("ro")
    code, err = process(place, "train exp.py --out new", XDG_CACHE_HOME=str(folder))
    assert code == 0, err
    assert one_line(err).startswith("warning: ")
    assert same_numbers(place / "new", at_once)


def test_a_cache_folder_that_cannot_be_made_is_a_warning(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    program_cache._say.cache_clear()
    before = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        with pytest.warns(UserWarning, match=r"cannot be kept in /dev/null/.* \(Not a directory\): next time"):
            assert compiling.remember_compiled.__wrapped__() is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_that_jax_cannot_remember_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(sys, "warnoptions", [])
    show_warnings()
    for name in ("jit_step", "jit_chunk"):
        text = f"Error writing persistent compilation cache entry for '{name}': OSError: [Errno 28] No space left"
        warnings.showwarning(UserWarning(text), UserWarning, "a.py", 1)
    warnings.showwarning(UserWarning("mind the gap"), UserWarning, "a.py", 1)
    first, second = capsys.readouterr().err.splitlines()
    assert ("jit_step" in first, second) == (True, "warning: mind the gap")
