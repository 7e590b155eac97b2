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
