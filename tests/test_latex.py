"""The tables of reports compile with pdflatex, booktabs and graphicx, whatever stands in their cells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cnnjax.documents.document import Column, Grid, Remarks
from cnnjax.documents.latex import latex
from cnnjax.reporting import Findings, collect, find
from cnnjax.reporting.beside.pair import pair
from cnnjax.reporting.beside.writing import find_beside
from cnnjax.reporting.writing import files_of
from tests.test_reporting import BASE, change_result, diverge, make_study

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="there is no pdflatex: apt-get install texlive-latex-base texlive-latex-recommended",
)
NAMES = [
    r"_ % & # $ \ ~ ^ { } <script>",
    "µ × ± → − μ ∞ ≤ – … ° é ł",
    "中文 \U0001f600 Ŋ «a»",
    "|",
    "[1]",
    "-0.5",
    "a\n\nb",
]
"""What a value of an axis may be called."""


def compiled(folder: Path, *inputs: Path) -> str:
    """The text of what pdflatex complains of in a minimal document of these files; empty where it compiles."""
    lines = [r"\documentclass{article}", r"\usepackage{booktabs,graphicx}", r"\begin{document}"]
    lines += [rf"\input{{{path}}}\clearpage" for path in inputs]
    (folder / "document.tex").write_text("\n".join([*lines, r"\end{document}"]), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error", "document.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return "" if done.returncode == 0 else done.stdout.decode(errors="replace")[-2000:]


@needs_latex
def test_the_tables_of_a_study_compile(tmp_path: Path) -> None:
    """Of arms with such names, some pruned, one diverged; and of two studies."""
    axes: dict[str, list[Any]] = {"model.pool": NAMES, "model.kernel_size": [3, 5]}
    base = {**BASE, "note": NAMES[0]}
    pruned = [{"arm": {"model.pool": name, "model.kernel_size": 11}, "seeds": [0], "reason": name} for name in NAMES]
    trials = make_study(tmp_path / "a", axes=axes, base=base, pruned=pruned)
    diverge(tmp_path / "a", trials[0])
    change_result(tmp_path / "a", trials[0], error=NAMES[0])
    make_study(tmp_path / "b", axes=axes, base=base)
    written: dict[str, bytes] = {}
    for name, said in (("a", find(collect(tmp_path / "a"), draw=False)), ("both", both(tmp_path))):
        tables = {path: content for path, content in files_of(said).items() if path.endswith(".tex")}
        written |= {f"{name}-{path.removeprefix('tables/')}": content for path, content in tables.items()}
    assert {"a-arms.tex", "a-failed.tex", "a-pruned.tex", "both-results.tex"} <= set(written)
    for name, content in written.items():
        (tmp_path / name).write_bytes(content)
    assert compiled(tmp_path, *map(Path, written)) == ""


def both(folder: Path) -> Findings:
    """What is said of the two studies in the folder, without pictures."""
    return find_beside(pair(folder / "a", folder / "b"), draw=False)


@needs_latex
def test_every_character_compiles(tmp_path: Path) -> None:
    """Those below U+0250, of Greek, of arrows and of mathematics, each in a cell; and in what stands around tables."""
    places = [*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2000, 0x2100), *range(0x2190, 0x2300), 0x1F600]
    grid = Grid("# 50% & more_", (Column("a_b"), Column("x|y", "number")), [(f"x{chr(n)}y", chr(n)) for n in places])
    (tmp_path / "all.tex").write_text(latex([grid, Remarks(tuple(NAMES), title=NAMES[0])]), encoding="utf-8")
    assert compiled(tmp_path, tmp_path / "all.tex") == ""


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("_ % & # $ { }", r"\_ \% \& \# \$ \{ \}"),
        ("\\ ~ ^", r"\textbackslash{} \textasciitilde{} \textasciicircum{}"),
        ("<a>", r"\textless{}a\textgreater{}"),
        ("-0.5", "$-$0.5"),
        ("a\n\nb", "a b"),
        ("± 3 µ", r"$\pm$ 3 $\mu$"),
        ("café – 中", "café – [U+4E2D]"),
    ],
)
def test_how_characters_are_written(text: str, written: str) -> None:
    assert f"{{}}{written} \\\\" in latex([Grid("", (Column("x"),), [(text,)])])
