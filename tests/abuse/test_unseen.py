"""What texts of others would do to a terminal, or hide, is seen: in names, values and messages, wherever they go."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnjax.console import console
from cnnjax.documents.csv_cells import cell
from cnnjax.documents.document import Column, Grid, Remarks, Section
from cnnjax.documents.html import section
from cnnjax.documents.latex import latex
from cnnjax.documents.markdown import markdown
from cnnjax.documents.terminal_text import terminal
from cnnjax.progress.showing import _lines
from cnnjax.reporting import report
from cnnjax.run.directory import RunDirectory
from cnnjax.visible import in_json, one_line, visible
from tests.test_reporting import make_study

NASTY = {
    "clear the screen": "\x1b[2J",
    "the clipboard": "\x1b]52;c;QUJD\x07",
    "over the line": "safe\rrm -rf",
    "back": "a\b\b\bb",
    "delete": "a\x7fb",
    "one byte for two": "\x9b2J",
    "right to left": "\u202egnp.exe",
    "isolate": "\u2066a\u2069",
    "mark": "a\u200fb",
    "zero width": "a\u200bb",
    "joiner": "a\u200db",
    "byte order": "a\ufeffb",
    "soft hyphen": "a\xadb",
    "filler": "a\u3164b",
    "null": "a\0b",
    "half a pair": "a\ud800b",
    "not UTF-8": os.fsdecode(b"caf\xe9"),
    "line separator": "a\u2028b",
    "next line": "a\x85b",
    "tag": "a\U000e0041b",
}
ALL = "".join(NASTY.values())
VALUE = "".join(sign for sign in ALL if not "\ud800" <= sign <= "\udfff")
FILE_NAME = ALL.replace("\0", "").replace("\ud800", "")


def unseen(text: str) -> set[str]:
    """What is in a text that is not seen, but for ends of lines."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    return {sign for sign in text if unicodedata.category(sign) in hidden or sign in "\u3164"} - {"\n"}


@pytest.mark.parametrize("case", NASTY)
def test_what_is_not_seen_is_its_escape(case):
    text = NASTY[case]
    assert unseen(text)
    assert not unseen(visible(text))
    assert visible(visible(text)) == visible(text)
    assert len(visible(text)) > len(text)
    # The same text for two different ones would be another lie.
    assert len({visible(each) for each in NASTY.values()}) == len(NASTY)
    assert not unseen(in_json(json.dumps(text, ensure_ascii=False)))
    assert json.loads(in_json(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("text", ["", "plain ~", "naïve – 中文 ü ± µ ²", "a\n\tb", "👍🏽 e\u0301", "a\u00a0b\u3000c"])
def test_what_is_seen_stays(text):
    assert visible(text) == text
    assert in_json(text) == text


def test_escapes_are_pythons():
    assert visible("\x1b\u202e\U000e0041\r" + os.fsdecode(b"\xe9")) == r"\x1b\u202e\U000e0041\r\xe9"
    assert visible("a\r\nb") == "a\nb"
    assert one_line("a\r\nb\tc") == r"a\nb\tc"


GRID = Grid(ALL, (Column(ALL), Column("n", "count")), [(ALL + "\nerror: b", 1)], marked=0, mark=ALL, keys=[ALL])
DRAWN: dict[str, Callable[[], str]] = {
    "terminal": lambda: printed(terminal([GRID, Remarks((ALL,)), Remarks((ALL,), ALL)], 200)),
    "Markdown": lambda: markdown([GRID, Remarks((ALL,)), Remarks((ALL,), ALL)]),
    "LaTeX": lambda: latex([GRID, Remarks((ALL,)), Remarks((ALL,), ALL)]),
    "HTML": lambda: section(Section(ALL, [GRID, Remarks((ALL,)), Remarks((ALL,), ALL)], anchor="a")),
}


def printed(thing: object) -> str:
    screen = console(width=200)
    with screen.capture() as captured:
        screen.print(thing)
    return captured.get()


@pytest.mark.parametrize("form", DRAWN)
def test_documents_show_all(form):
    drawn = DRAWN[form]()
    assert not unseen(drawn)
    assert "error: b" in drawn
    if form != "HTML":  # There a line may end anywhere.
        assert not any(line.lstrip("| ").startswith("error: b") for line in drawn.splitlines())


def test_a_log_has_no_line_of_others(tmp_path):
    RunDirectory(tmp_path).log(f"failed: {ALL}\n2026-01-01 00:00:00 done: accuracy 100%")
    text = (tmp_path / "log.txt").read_text()
    assert not unseen(text)
    assert [line[:4] for line in text.splitlines()] == [text[:4], "    "]


def test_a_line_of_progress_is_one(capsys):
    show = _lines(console(stderr=True), "a", clock=iter(range(0, 1000, 60)).__next__)
    show(1, 2, f"{ALL}\nb")
    err = capsys.readouterr().err
    assert (err.count("\n"), unseen(err)) == (1, set())


CELLS = {
    "formula": ("=1+1", "'=1+1"),
    "plus": ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
    "minus": ("-1+1", "'-1+1"),
    "at": ("@SUM(A1)", "'@SUM(A1)"),
    "wide": ("＝1+1", "'＝1+1"),
    "tab": ("\t=1", r"\t=1"),
    "carriage return": ("\r=1", r"\r=1"),
    "negative": ("-3.5e-2", "-3.5e-2"),
    "number": (-3.5, -3.5),
    "none": (None, None),
    "lines": ("a\n=1", r"a\n=1"),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_text_of_csv_is_no_formula(case):
    given, expected = CELLS[case]
    assert cell(given) == expected


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A study whose values, name, question, base and failure hold all of it, and formulas."""
    out = tmp_path_factory.mktemp("study") / f"study{FILE_NAME}"
    values = [f"=1{VALUE}", f"-2{VALUE}", "+3"]
    chosen = [{"model.tag": tag, "model.scale": scale} for tag, scale in zip(values, (-1.5, 2.0, 2.0), strict=True)]
    axes = {"model.tag": values, "model.scale": [-1.5, 2.0]}
    trials = make_study(out, axes=axes, chosen=chosen, seeds=(0, 1), question=f"Why {VALUE}?\nB")
    for trial in trials:
        environment = out / "trials" / trial["id"] / "environment.json"
        strange = {"cnnjax": VALUE, "hardware": f"={VALUE}", "processor": VALUE, "versions": {"jax": VALUE}}
        environment.write_text(json.dumps(json.loads(environment.read_text()) | strange))
    name = out / "study.json"
    name.write_text(json.dumps(json.loads(name.read_text()) | {"name": f"=name{VALUE}"}))
    result = out / "trials" / trials[0]["id"] / "result.json"
    failed = {"status": "failed", "cause": "crashed", "error": f"@{VALUE}\nerror: b", "metrics": {}}
    result.write_text(json.dumps(json.loads(result.read_text()) | failed))
    return out


def test_no_file_of_a_report_has_what_is_not_seen(study, tmp_path):
    report(study, to=tmp_path / "to")
    texts = {
        path: path.read_text()
        for path in (tmp_path / "to").rglob("*")
        if path.suffix in (".html", ".md", ".csv", ".json", ".tex", ".svg")
    }
    assert {path.suffix for path in texts} == {".html", ".md", ".csv", ".json", ".tex", ".svg"}
    assert {path.name: found for path, text in texts.items() if (found := unseen(text))} == {}
    assert json.loads(texts[tmp_path / "to/arms.json"])["name"] == f"=name{VALUE}"
    cells = pd.read_csv(tmp_path / "to/trials.csv")
    assert set(cells["model.tag"].astype(str).str[:2]) == {"'=", "'-", "+3"}
    assert set(cells["model.scale"]) == {-1.5, 2.0}
    assert cells["error"].dropna().str.startswith("'@").all()


FILE = """
import logging
import warnings
from cnnjax import SGD, Experiment, ImageFolder, Model, SmallCNN, Study
class Tagged(SmallCNN):
    words: str = "a"
    def network(self):
        if self.words == "raise":
            raise ValueError(SAID)
        return super().network()
SAID = {said!r}
{more}
experiment = Experiment(model=Tagged(features=2, dense=0), data=ImageFolder(root="images", size=8, channels=1),
    optim=SGD(learning_rate=0.05), batch_size=8, epochs=1)
study = Study(experiment, axes={{"model.words": ["b", SAID]}}, seeds=1)
"""
COMMANDS = [
    *("train NAME", "sweep NAME", "work NAME", "cancel NAME", "status NAME", "report NAME", "evaluate NAME"),
    *("describe NAME", "predict NAME NAME", "inspect NAME", "export NAME a.pt", "export NAME NAME", "data show NAME"),
    *("data show images --plot NAME", "data prepare NAME", "data list --data-dir NAME", "init NAME", "recipes NAME"),
    *("reproduce NAME", "import-torch NAME a.pt b", "import-torch lenet5 NAME b", "NAME", "data NAME"),
    *("train exp.py --NAME", "train exp.py --NAME=1", "train exp.py --seeds NAME", "train exp.py --devices NAME"),
    *("train exp.py NAME", "train exp.py NAME=1", "train exp.py model.NAME=1", "train exp.py model.features=NAME"),
    *(
        "train exp.py model=NAME",
        "train exp.py data.root=NAME",
        "train exp.py --parallel NAME",
        "train exp.py --on NAME",
    ),
    *(
        "train exp.py --stale NAME",
        "train exp.py --log NAME",
        "sweep exp.py --launcher NAME",
        "sweep exp.py --zip NAME",
    ),
    *(
        "sweep exp.py --match NAME",
        "sweep exp.py --exclude NAME",
        "sweep exp.py --group NAME",
        "sweep exp.py --arm NAME",
    ),
    *("sweep exp.py --dry-run", "sweep exp.py --dry-run --json", "sweep exp.py --halving NAME", "describe exp.py"),
    *("sweep exp.py --time NAME --launcher slurm", "sweep exp.py --budget NAME", "describe exp.py --input NAME"),
    *("describe lenet5 --against NAME", "describe exp.py --format NAME", "describe exp.py model.words=raise"),
    *("report NAME NAME", "data show exp.py", "data show exp.py --json", "data benchmark NAME", "train raises.py"),
    *(
        "train says.py model.features=no",
        "predict . NAME",
        "describe NAME.py",
        "train NAME.py",
        "sweep NAME.py --dry-run",
    ),
    *("train syntax.py", "sweep exp.py --design NAME", "sweep exp.py --dry-run --device-kind NAME --devices 3"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Experiment files, one of them with such a name, and a folder of images whose classes have such names."""
    folder = tmp_path_factory.mktemp("place")
    more = {"raises": "raise RuntimeError(SAID)", "says": "warnings.warn(SAID); logging.getLogger('cnnjax').info(SAID)"}
    for name in ("exp", "raises", "says", FILE_NAME):
        (folder / f"{name}.py").write_text(FILE.format(said=VALUE, more=more.get(name, "")))
    (folder / "syntax.py").write_text(f"a = '{VALUE.replace(chr(0), '').replace(chr(13), '')}' b\n")
    for part in ("train", "test"):
        for number, name in enumerate(("a", FILE_NAME)):
            (folder / "images" / part / name).mkdir(parents=True)
            for each in range(8):
                pixels = np.full((8, 8), 20 * each + 2 * number + (part == "test"), np.uint8)
                Image.fromarray(pixels).save(folder / "images" / part / name / f"{each}{FILE_NAME[:40]}.png")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_is_not_seen(run, place, monkeypatch, command):
    monkeypatch.chdir(place)
    _, out, err = run(*(word.replace("NAME", FILE_NAME) for word in command.split()))
    assert (unseen(out), unseen(err)) == (set(), set())
    assert out or err
    assert ("raise" in command, "Traceback" in err) != (False, True)


@pytest.mark.slow
def test_no_command_on_a_sweep_prints_what_is_not_seen(run, place, tmp_path, monkeypatch):
    """From one whose file, values and classes have such names: sweep, and what is done with it."""
    monkeypatch.chdir(place)
    out = tmp_path / "out"
    _, printed, err = run("sweep", f"{FILE_NAME}.py", "--out", out, "--devices", 1)
    assert "report:" in printed, err
    trial = next((out / "trials").iterdir())
    image = next((place / "images/test" / FILE_NAME).iterdir())
    said = [printed, err]
    for words in (
        ("status", out),
        ("evaluate", trial, "--file", f"{FILE_NAME}.py", "--devices", 1),
        ("predict", trial, image, "--file", f"{FILE_NAME}.py", "--top", 2),
        ("predict", trial, image, "--file", f"{FILE_NAME}.py", "--json"),
        ("describe", trial, "--file", f"{FILE_NAME}.py", "--format", "markdown"),
        ("report", out, "--json"),
        ("data", "show", "exp.py", "--plot", tmp_path / "a.svg"),
        ("inspect", trial, "--file", f"{FILE_NAME}.py", "--only", "confusion", "--devices", 1),
    ):
        code, *printed = run(*words)
        assert code == 0, printed
        said += printed
    said += [path.read_text() for path in out.rglob("*") if path.suffix in (".txt", ".html", ".md", ".csv", ".json")]
    assert [found for text in said if (found := unseen(text))] == []
    assert sum("clear" in text or r"\x1b[2J" in text for text in said) > 8
