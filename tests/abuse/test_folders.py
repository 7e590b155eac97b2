"""Folders that are another's: a run, a study, a report or pictures are not put where something else is, and no file
is overwritten, cut or moved that cnnjax did not write."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import cnnjax
from cnnjax import Hardware, Options, train
from cnnjax.study.file import load
from tests.abuse.conftest import FILE
from tests.test_reporting import make_study

ONE = Options(Hardware(devices=1))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A finished run, a study, a report of it that stands elsewhere, and other people's folders."""
    place = tmp_path_factory.mktemp("made")
    (place / "exp.py").write_text(FILE)
    train(load(place / "exp.py").experiment, place / "run", options=ONE)
    make_study(place / "study", axes={"model.features": [8, 16]}, seeds=(0, 1))
    (place / "site").mkdir()
    for name in ("index.html", "report.md", "filters.png", "lenet5.py"):
        (place / "site" / name).write_text("mine")
    for name, content in STRANGE.items():
        folder = place / f"with {name}"
        folder.mkdir()
        (folder / name).write_text(content)
    (place / "project").mkdir()
    (place / "project/config.json").write_text('{"name": "web", "data": []}')
    return place


STRANGE = {
    "environment.json": '{"name": "conda"}',
    "evaluation.json": '["a"]',
    "resolved.json": "{}",
    "metrics.jsonl": '{"loss": 1}\n',
    "log.txt": "what happened\n",
    "plan.json": '{"goal": "world"}',
    "work.json": "[]",
    "config.json": '{"theme": "dark"}',
    "study.json": '{"subject": "latin"}',
    "result.json": '{"score": 3}',
}
"""Files of other programs that have the names of ours."""
OF_RUNS = [name for name in STRANGE if name not in ("plan.json", "work.json")]
OF_STUDIES = ["plan.json", "work.json", "config.json", "study.json"]


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    copied = Path(shutil.copytree(made, tmp_path / "made"))
    monkeypatch.chdir(copied)
    return copied


def contents(place: Path) -> dict[str, bytes]:
    """Every file there, but for the locks that say who is at work."""
    found = {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.endswith(".lock") and "lease." not in name}


HOLDS_STUDY, HOLDS_RUN, CHOOSE = "holds a study", "holds a run", "choose another folder"
WITHIN_STUDY, WITHIN_RUN = "study, which holds a study", "run, which holds a run"
OTHERS = "has files of another origin"
REFUSED: dict[str, str | tuple[str, str]] = {
    "train exp.py --out study": HOLDS_STUDY,
    "train exp.py --out study/trials": WITHIN_STUDY,
    "train exp.py --out study/report": WITHIN_STUDY,
    "train exp.py --out study/trials/mine": WITHIN_STUDY,
    "train exp.py --out run/inner": WITHIN_RUN,
    "train exp.py --out run/checkpoints/a/b": WITHIN_RUN,
    "train exp.py seed=3 --out run": "holds a different experiment",
    "train exp.py --out .": "exp.py lies in it",
    "sweep exp.py --out run": HOLDS_RUN,
    "sweep exp.py --out run/inner": WITHIN_RUN,
    "sweep exp.py --out study": "holds another study",
    "sweep exp.py --out study/inner": WITHIN_STUDY,
    "sweep exp.py --out .": "exp.py lies in it",
    "reproduce digits/baseline --out run": HOLDS_RUN,
    "reproduce digits/baseline --out study/inner": WITHIN_STUDY,
    "report study --out study": HOLDS_STUDY,
    "report study --out run": HOLDS_RUN,
    "report study --out site": OTHERS,
    "report study study2 --out site": OTHERS,
    "inspect run --only filters --out study": HOLDS_STUDY,
    "inspect run --only filters --out run": HOLDS_RUN,
    "inspect run --only filters --out site": OTHERS,
    "init digits/baseline run": HOLDS_RUN,
    "init digits/baseline study": HOLDS_STUDY,
    "export run run/config.json --format safetensors": "exists: choose another name",
    **{f"train exp.py --out 'with {name}'": name for name in OF_RUNS},
    **{f"sweep exp.py --out 'with {name}'": name for name in OF_STUDIES},
}


def words(command: str) -> list[str]:
    import shlex

    return shlex.split(command)


@pytest.mark.parametrize("command", REFUSED)
def test_what_is_anothers_is_refused_and_stays(run, place, monkeypatch, command):
    monkeypatch.chdir(place)
    if "study2" in command:
        shutil.copytree(place / "study", place / "study2")
    before = contents(place)
    code, _, err = run(*words(command), *(["--devices", "1"] if words(command)[0] in ("train", "sweep") else []))
    assert code == 1, err
    assert REFUSED[command] in " ".join(err.split())
    assert contents(place) == before


@pytest.mark.parametrize("out", ["run", "run/inner", "study/inner", "with plan.json"])
def test_a_dry_run_says_it_too(run, place, monkeypatch, out):
    monkeypatch.chdir(place)
    code, printed, _ = run("sweep", "exp.py", "--out", out, "--dry-run", "--devices", 1)
    assert code == 0
    assert "a sweep would stop: " in printed


TAKEN: dict[str, str] = {
    "an empty folder": "train exp.py --out empty",
    "beside what is not ours": "train exp.py --out notes",
    "in a project that has a config.json of its own": "train exp.py --out project/runs/a",
    "the run again": "train exp.py --out run",
    "a report beside other files": "report study --out notes",
    "a report where one stands": "report study --out elsewhere",
    "pictures where some stand": "inspect run --only filters --out pictures",
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_free_is_taken(run, place, monkeypatch, case):
    monkeypatch.chdir(place)
    (place / "empty").mkdir()
    (place / "notes").mkdir()
    (place / "notes/mine.txt").write_text("mine")
    for _ in range(2):
        code, _, err = run(*words(TAKEN[case]), *(["--devices", "1"] if "train" in TAKEN[case] else []))
        assert code == 0, err
    assert (place / "notes/mine.txt").read_text() == "mine"


NAMES: dict[str, tuple[str, str]] = {
    "nothing": ("", "it names nothing"),
    "blanks": ("  ", "it names nothing"),
    "the root": ("/", "is the root of all files"),
    "the root, the long way": ("/usr/../", "is the root of all files"),
    "an end of a line": ("a\n", "has an end of a line"),
    "an escape": ("a\x1b[2Jb", "has an end of a line or another control character"),
    "a file": ("exp.py", "is a file: name a folder"),
    "the package": (str(Path(cnnjax.__file__).parent / "runs"), "is within the package"),
    "a home of nobody": ("~no-such-user/a", "there is no such home"),
}
WRITE = {
    "train": "train exp.py --out",
    "sweep": "sweep exp.py --out",
    "reproduce": "reproduce digits/baseline --out",
    "report": "report study --out",
    "inspect": "inspect run --out",
    "predict": "predict run a.png --out",
    "import-torch": "import-torch lenet5 exp.py",
    "init": "init digits/baseline",
    "data show": "data show exp.py --plot",
    "describe": "describe exp.py --plot",
    "export": "export run",
    "data list": "data list --data-dir",
}
OF_FILES = {"data show", "describe", "export", "data list"}
"""Commands of which the path need not be a folder's."""


@pytest.mark.parametrize("command", WRITE)
def test_a_path_that_cannot_be_meant_is_refused(run, place, monkeypatch, command):
    monkeypatch.chdir(place)
    before = contents(place)
    for case, (name, said) in NAMES.items():
        if command in OF_FILES and case in ("the root", "the root, the long way", "a file", "the package"):
            continue
        code, _, err = run(*WRITE[command].split(), name)
        assert code == 2, (case, err)
        assert said in " ".join(err.split()), case
        assert "Value error" not in err
    assert contents(place) == before


READ = ["report", "status", "evaluate", "inspect", "describe", "train", "sweep", "work", "predict run", "data show"]


@pytest.mark.parametrize("command", READ)
def test_an_empty_argument_is_not_this_folder(run, place, monkeypatch, command):
    """As of a shell's variable that is not set."""
    monkeypatch.chdir(place)
    before = contents(place)
    code, _, err = run(*command.split(), "")
    assert code == 2
    assert "it names nothing (an empty text)" in " ".join(err.split())
    assert contents(place) == before


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_path_that_is_not_utf_8_is_refused_before_anything_is_trained(run, place, monkeypatch, command):
    """Given, or in the working directory's own name: checkpoints cannot be written there."""
    folder = Path(os.fsdecode(os.fsencode(place) + b"/caf\xe9"))
    folder.mkdir()
    for given, inside in ((folder / "out", place), (Path("out"), folder)):
        monkeypatch.chdir(inside)
        code, out, err = run(command, place / "exp.py", "--out", given, "--devices", 1)
        assert (code, out, list(folder.iterdir())) == (1, "", [])
        assert "a name in this path is not UTF-8, and no checkpoint can be written there: rename" in " ".join(
            err.split()
        )


def test_the_home_is_meant_where_the_shell_left_it(run, place, monkeypatch, tmp_path):
    """As in --out=~/a, of which a shell makes nothing."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run("report", "study", "--out=~/a")[0] == 0
    assert (tmp_path / "home/a/index.html").exists()
    assert not (place / "~").exists()


def test_a_report_takes_away_what_it_wrote_alone(run, place, monkeypatch):
    monkeypatch.chdir(place)
    assert run("report", "study", "--out", "there")[0] == 0
    (place / "there/figures/mine.png").write_text("mine")
    (place / "there/mine.html").write_text("mine")
    summary = json.loads((place / "there/arms.json").read_text())
    summary["files"] += ["mine.html/../../exp.py", "../exp.py", "figures/old.png"]
    (place / "there/arms.json").write_text(json.dumps(summary))
    (place / "there/figures/old.png").write_text("an earlier report's")
    assert run("report", "study", "--out", "there")[0] == 0
    assert (place / "exp.py").read_text() == FILE
    assert (place / "there/figures/mine.png").read_text() == "mine"
    assert (place / "there/mine.html").read_text() == "mine"
    assert not (place / "there/figures/old.png").exists()
