"""benchmarks/RESULTS.md has the tables that the files of results/ make, and each says where its numbers are from."""

from __future__ import annotations

import json
import re
import runpy
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "benchmarks"
SCRIPT = runpy.run_path(str(ROOT / "tables.py"))
PAGE = (ROOT / "RESULTS.md").read_text()
FILES = sorted((ROOT / "results").glob("*.json"))


def test_the_page_has_what_the_files_say():
    assert SCRIPT["page"](PAGE) == PAGE, "run python benchmarks/tables.py"
    rest = re.sub(r"<!-- (\w+) -->.*?<!-- end of \1 -->", "", PAGE, flags=re.DOTALL)
    assert not re.findall(r"^\|", rest, re.MULTILINE), "a table that no file makes"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_what_measured_it(path):
    found = SCRIPT["read"](path)
    assert found["versions"]
    for script in re.findall(r"benchmarks/\w+\.py", found["command"]):
        assert (ROOT.parent / script).is_file()
        assert script in PAGE
    assert re.fullmatch(r"[0-9a-f]{7,12}", found.get("commit") or found["recorded_in"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    if "commit" in found:
        assert found["commit"] in PAGE


@pytest.mark.parametrize(
    ("cell", "column", "text"),
    [
        (Decimal("1.50"), {}, "1.50"),
        (12345, {"thousands": True}, "12,345"),
        (Decimal("24.0"), {"unit": "%"}, "24.0%"),
        ([Decimal("0.31"), Decimal("0.30"), Decimal("0.32")], {"bold": True}, "**0.31** (0.30 to 0.32)"),
        ([2, 1, 3], {"brackets": True}, "2 [1, 3]"),
        ("words", {"bold": True}, "words"),
        (None, {}, ""),
    ],
)
def test_a_cell_is_written_so(cell, column, text):
    assert SCRIPT["_cell"](cell, column) == text


def test_a_file_that_lacks_something_is_refused(tmp_path):
    whole = json.loads(FILES[0].read_text())
    for key in ("command", "hardware", "n", "commit" if "commit" in whole else "recorded_in"):
        (tmp_path / "a.json").write_text(json.dumps({name: each for name, each in whole.items() if name != key}))
        with pytest.raises(ValueError, match=r"a\.json lacks "):
            SCRIPT["read"](tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps(whole | {"rows": [*whole["rows"], [1]]}))
    with pytest.raises(ValueError, match="a cell for each column"):
        SCRIPT["read"](tmp_path / "a.json")
    with pytest.raises(ValueError, match="without a file or markers: no_such"):
        SCRIPT["page"](f"{PAGE}<!-- no_such -->\n")
