"""Links in a run's or a study's folder that lead out of it: nothing is written, cut short or deleted through one."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnnjax.code import Code, Definition
from cnnjax.errors import RunError
from cnnjax.events import Started
from cnnjax.files import append_text, inside, locked, open_own, write_files
from cnnjax.launch.worker_process import Worker, new_token
from cnnjax.loggers.logger import own_folder
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.metrics_jsonl import EpochRow, append_row, keep_rows
from cnnjax.reporting import report
from cnnjax.reporting.writing import write
from cnnjax.run import small_checkpoint
from cnnjax.run.directory import RunDirectory
from cnnjax.run.stale import keep
from tests.test_reporting import make_study

PACKAGE = Path(__file__).parents[2] / "cnnjax"
PRECIOUS = "years of work\n"


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A folder of somebody else's, with a file."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "precious").write_text(PRECIOUS)
    return folder


def untouched(elsewhere: Path) -> bool:
    return {path.name: path.read_text() for path in elsewhere.iterdir()} == {"precious": PRECIOUS}


def claimed(run: Path) -> None:
    with RunDirectory(run).leased():
        pass


def aside(run: Path) -> None:
    (run / "metrics.jsonl").write_text("{}\n")
    RunDirectory(run).set_aside()


def trial_claimed(out: Path) -> None:
    with RunDirectory(out / "trials/00000000", sources=out / "code").leased():
        pass


def code_kept(folder: Path) -> None:
    keep(Code((Definition("act", "function", "a.py", 1, "abc", "def act(): ..."),)), folder / "code")


def reported(out: Path) -> None:
    make_study(out, axes={"model.features": [8, 16]})
    report(out)


def page_written(out: Path) -> None:
    write(out / "report", "arms.json", {}, {"index.html": b"", "figures/a.png": b"", "tables/a.tex": b""})


def logged(run: Path) -> None:
    started = Started(trial="t", step=0, steps=1, seed=0, config={}, folder=run, study="s", out=run, arm={})
    own_folder(started, "tensorboard")


def output_of_worker(out: Path) -> None:
    worker = Worker(str(out), "token")
    worker._run_child = lambda name, output: output.write(b"more") * 0  # type: ignore[method-assign, union-attr]
    worker._run_once("w", out / "jobs/w.log")


FOLDERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "checkpoints of a run": ("checkpoints", claimed),
    "code of a run": ("code", claimed),
    "what a run puts aside": ("stale", aside),
    "code that is kept": ("code", code_kept),
    "trials of a study": ("trials", trial_claimed),
    "a trial": ("trials/00000000", trial_claimed),
    "checkpoints of a trial": ("trials/00000000/checkpoints", trial_claimed),
    "code of a study": ("code", trial_claimed),
    "the report": ("report", reported),
    "pictures of the report": ("report/figures", page_written),
    "tables of the report": ("report/tables", page_written),
    "jobs of a study": ("jobs", new_token),
    "a logger's folder": ("tensorboard", logged),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_is_a_link_is_refused(tmp_path, elsewhere, case):
    name, act = FOLDERS[case]
    link = tmp_path / "mine" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(RunError, match=r"is a symbolic link, and nothing is written through one: remove the link"):
        act(tmp_path / "mine")
    assert untouched(elsewhere)
    assert link.is_symlink()


def append(path: Path) -> None:
    append_row(path, EpochRow(step=1))


def shortened(path: Path) -> None:
    keep_rows(path, 0)


def locked_in(path: Path) -> None:
    with locked(path.parent, taken="taken"):
        pass


def replaced(path: Path) -> None:
    write_files({path: b"new"})


REFUSED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "the lock": (".lock", locked_in),
    "rows": ("metrics.jsonl", append),
    "the log": ("log.txt", lambda path: RunDirectory(path.parent).log("more")),
    "any file that is added to": ("any", lambda path: append_text(path, "more")),
    "any file that is opened": ("any", lambda path: open_own(path, os.O_RDWR)),
    "what a worker prints": ("jobs/w.log", lambda path: output_of_worker(path.parent.parent)),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("target", ["precious", "none"])
def test_a_file_that_is_a_link_is_not_opened(tmp_path, elsewhere, case, target):
    name, act = REFUSED[case]
    link = tmp_path / "mine" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere / target)
    with pytest.raises(RunError, match="is a symbolic link"):
        act(link)
    assert untouched(elsewhere)


TAKES_ITS_PLACE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "config.json": ("config.json", lambda path: ConfigRecord().write(path)),
    "result.json": ("result.json", replaced),
    "rows that are dropped": ("metrics.jsonl", shortened),
    "a lease": ("lease.1.json", lambda path: claimed(path.parent)),
    "a page of the report": ("report/index.html", lambda path: page_written(path.parent.parent)),
}


@pytest.mark.parametrize("case", TAKES_ITS_PLACE)
def test_a_file_that_is_written_whole_takes_the_place_of_a_link(tmp_path, elsewhere, case):
    name, act = TAKES_ITS_PLACE[case]
    if case == "rows that are dropped":
        (elsewhere / "precious").write_text('{"step": 1}\n')
    if case == "a lease":
        os.utime(elsewhere / "precious", (0, 0))
    before = (elsewhere / "precious").read_text()
    link = tmp_path / "mine" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere / "precious")
    act(link)
    assert not link.is_symlink()
    assert (elsewhere / "precious").read_text() == before


@pytest.mark.parametrize("name", ["3", "4.orbax-checkpoint-tmp"])
def test_checkpoints_that_are_links_are_removed_and_not_what_they_point_to(tmp_path, elsewhere, name):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / name).symlink_to(elsewhere)
    if name == "3":
        small_checkpoint.remove(folder / name)
    else:
        small_checkpoint.clear(folder)
    assert not list(folder.iterdir())
    assert untouched(elsewhere)


def test_a_folder_that_its_user_linked_is_written_into(tmp_path, elsewhere):
    """--out itself may be a link, and so may any folder above it."""
    (tmp_path / "runs").symlink_to(elsewhere)
    (elsewhere / "disk").mkdir()
    (elsewhere / "run").symlink_to(elsewhere / "disk")
    out = tmp_path / "runs" / "run"
    aside(out)
    page_written(out)
    code_kept(out)
    small_checkpoint.write(inside(out, "checkpoints", "1"), {"w": np.ones(2, np.float32)}, {})
    there = {path.name for path in (elsewhere / "disk").iterdir()}
    assert there >= {"stale", "report", "code", "checkpoints"}


WRITERS = {
    "files.py": "locked, open_own, scratch files: every other one",
    "lease.py": "makes its files by O_EXCL",
    "streams.py": "/dev/null, which is a device",
    "run/small_checkpoint.py": "in a folder that it has just made",
    "run/checkpoint.py": "checkpoints/, looked at when the run is claimed",
    "run/directory.py": "stale/, looked at when the run is claimed",
    "launch/study_files.py": "trials/, inside",
    "loggers/logger.py": "the logger's folder, inside",
    "run/compiling.py": "the user's cache",
    "recipes/init.py": "a folder that its user names",
    "study/deaths.py": "a folder of the user's cache; the file in it by open_own",
    "data/archive.py": "beside an archive of images, by exclusive creation",
}
"""What opens or makes files and folders by itself, and why that follows no link out of a run's or a study's folder."""

ALWAYS = {"mkdir", "makedirs", "touch", "symlink_to", "mkstemp", "copyfile", "copytree", "copy2"}
WITH_CONTENT = {"write_text", "write_bytes"}


def writes(call: ast.Call) -> bool:
    """Whether a call makes or opens a file for writing, by itself and not by cnnjax.files."""
    if isinstance(call.func, ast.Name):
        return call.func.id == "open" and _mode(call, 1)
    if not isinstance(call.func, ast.Attribute):
        return False
    name, of = call.func.attr, call.func.value
    on = of.id if isinstance(of, ast.Name) else ""
    if name in ALWAYS or (name in WITH_CONTENT and on != "files"):
        return True
    if name == "open":
        if on == "os":
            return "O_RDONLY" not in ast.unparse(call)
        return _mode(call, 0) or _mode(call, 1)
    return False


def _mode(call: ast.Call, place: int) -> bool:
    given = [*call.args[place : place + 1], *(word.value for word in call.keywords if word.arg == "mode")]
    texts = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return any(len(text) < 4 and set("wax+") & set(text) for text in texts)


def test_every_file_of_the_package_that_writes_is_known():
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and writes(node)
    }
    assert found == WRITERS.keys(), (
        "write through cnnjax.files (`inside` for a folder), or say here why no link matters"
    )
