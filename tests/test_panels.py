"""The panels of a report: what each says is shown by page, Markdown, LaTeX and JSON alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.reporting import Finding, collect, find, findings, report
from cnnjax.reporting.panels import PANELS
from cnnjax.reporting.study_table import Table
from tests.test_reporting import make_study

ROWS = Grid("Of planted numbers", (Column("what"), Column("number", "number")), [("planted", "0.12345")])


def planted(table: Table) -> Finding:
    blocks = [ROWS, paragraph("A remark about the planted.")]
    return Finding("planted", "Planted", blocks, answers=("The planted is 0.12345.",), data={"planted": 0.12345})


def silent(table: Table) -> None:
    return None


def test_a_panel_is_shown_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(tmp_path)
    monkeypatch.setattr(findings, "PANELS", [planted, silent, *PANELS])
    summary = report(tmp_path)
    for name in ("index.html", "report.md"):
        text = (summary.folder / name).read_text()
        arms = "Arms<" if name == "index.html" else "## Arms"
        places = [text.index(said) for said in ("The planted is 0.12345.", "A remark about the planted.", arms)]
        assert places == sorted(places)
        assert "Of planted numbers" in text
    assert r"planted & 0.12345 \\" in (summary.folder / "tables" / "planted.tex").read_text()
    assert json.loads(summary.json)["findings"]["planted"] == {"planted": 0.12345}


def test_every_finding_has_a_name_and_an_anchor_of_its_own(tmp_path: Path) -> None:
    make_study(tmp_path)
    found = find(collect(tmp_path), draw=False)
    names = [finding.name for finding in found.every]
    assert len(set(names)) == len(names) > 5
    assert all(name.isidentifier() for name in names)
    assert not found.pictures
    json.dumps(found.data, allow_nan=False)
