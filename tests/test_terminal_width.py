"""No line of a report on the terminal is wider than the terminal, but for the path of its page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnjax.cli import printing
from cnnjax.console import console
from tests.test_reporting import change_result, make_study, set_metrics

SECONDS = {"compile": 1234.5, "input": 1234.5, "step": 12345.6, "evaluation": 1234.5, "idle": 1234.5}


@pytest.mark.parametrize("width", [80, 120])
def test_every_line_of_a_report_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]})
    for place, trial in enumerate(trials):
        change_result(tmp_path, trial, seconds=SECONDS, codes=[f"{place:012x}"])
        set_metrics(tmp_path, trial, test_accuracy=1.5)
    for name in ("WIDE", "out"):
        monkeypatch.setattr(printing, name, console(width=width))
    printing.print_report(tmp_path, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    text = " ".join(" ".join(lines).split())
    assert "time: compile 7,407.0 s" in text
    assert "n=6 finished trials" in text
    assert "MIXED CODE" in text.partition("time:")[0]
    assert [line for line in lines if len(line) > width and not line.startswith("report: ")] == []


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "width"), [("", 160), ("100", 100)])
def test_a_pipe_is_as_wide_as_the_environment_says(columns: str, width: int) -> None:
    code = "from cnnjax.cli.app import WIDE; print(WIDE.width)"
    known = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    known |= {"COLUMNS": columns} if columns else {}
    done = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, check=True)
    assert int(done.stdout) == width


def test_two_studies_side_by_side_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, shift in (("a", 0.0), ("b", -0.4)):
        trials = make_study(tmp_path / name, axes={"model.features": [4, 8], "model.pool": ["max", "average"]})
        for place, trial in enumerate(trials):
            set_metrics(tmp_path / name, trial, test_accuracy=0.5 + 0.03 * place + shift * (place % 5) / 5)
    monkeypatch.setattr(printing, "WIDE", console(width=80))
    printing.print_beside(tmp_path / "a", tmp_path / "b", to=None, as_json=False)
    text = capsys.readouterr().out
    heads, rows = text.partition("The same arms in both")[2].split("─" * 80)[0], text.splitlines()
    assert "its 95% interval" in heads
    assert text.count("]") >= 4, "the interval of every arm is whole"
    assert max(map(len, rows)) <= 80
