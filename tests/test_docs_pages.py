"""What the pages of the tutorial and the how-to pages show comes out when they are run; and what runs them finds it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from cnnjax import Experiment, Synthetic
from cnnjax.config.text import replace_texts
from docs.make.run import COLUMNS, Session, chains, commands, parse
from tests.forking import forking, one_device

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs/tutorial").glob("*.md"), *(ROOT / "docs/how-to").glob("*.md")])


def needs_torch(pages: list[Path]) -> bool:
    return "import torch\n" in "".join(page.read_text() for page in pages)


def shown(number: int, pages: list[Path]) -> pytest.ParameterSet:
    """Two workers share the pages: what takes longest stands last."""
    marks = [pytest.mark.torch if needs_torch(pages) else pytest.mark.slow]
    marks.append(pytest.mark.xdist_group(f"test_docs_pages_{int(number < 11)}"))
    return pytest.param(pages, id="+".join(page.stem for page in pages), marks=marks)


PAGE = """
import functools, os, runpy, sys

for number in (1, 2):
    os.dup2(os.open(told["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
if told["torch"]:
    import tests.torch_peers  # where torchvision is of another build than PyTorch
if not told["forms"]:
    # A page that shows no file of a report but its pictures as they are on a screen.
    from cnnjax.reporting import find, writing

    writing.find = functools.partial(find, forms=("png",))
sys.argv = ["docs.make.run", *told["pages"]]
runpy.run_module("docs.make.run", run_name="__main__")
"""


@pytest.fixture(scope="module")
def forks():
    """With one device, as a reader has."""
    with forking(os.environ | one_device() | {"COLUMNS": f"{COLUMNS}"}, cwd=ROOT) as process:
        yield process


@pytest.mark.parametrize("pages", [shown(*each) for each in enumerate(chains(PAGES))])
def test_a_page_shows_what_comes_out(forks, tmp_path, pages):
    """In a process of its own."""
    if needs_torch(pages):
        pytest.importorskip("torch")
    said = tmp_path / "said"
    forms = ".pdf" in "".join(page.read_text() for page in pages)
    paths = list(map(str, pages))
    code = forks(PAGE, seconds=900, pages=paths, said=str(said), torch=needs_torch(pages), forms=forms)
    assert code == 0, said.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_that_is_not_run_is_python_all_the_same(page):
    """What needs Hydra or an account of W&B stands on a page as a file that nothing runs."""
    blocks, _ = parse(page.read_text())
    for block in blocks:
        if block.language == "python":
            compile(block.text, f"{page}:{block.line}", "exec")


def faults(tmp_path, text: str, *, write: bool = False) -> list[str]:
    page = tmp_path / "page.md"
    page.write_text(text)
    (tmp_path / "folder").mkdir()
    session = Session(tmp_path / "folder")
    session.page(page, write=write)
    return session.faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```python\nx = 1\n```\nand\n```python\nassert x == 1\n```\n", ""),
        ("```python\nassert 0\n```\n", "page.md:1: raises"),
        ("\n```python\nprint('a 1.5 b')\n```\n\n```text\na ... b\n```\n", ""),
        ("```python\nprint('a')\n```\n```text\nb\n```\n", "page.md:1: the page shows"),
        ("```python\nprint('a')\n```\nElsewhere:\n```text\nb\n```\n", ""),
        ("<!-- not run: needs a GPU -->\n```python\nassert 0\n```\n", ""),
        ('```python title="a/study.py"\nassert 0\n```\n```console\n$ cat a/study.py\nassert 0\n```\n', ""),
        ("```console\n$ echo one   two\none two\n$ echo three\n```\n", ""),
        ("```console\n$ echo one\ntwo\n```\n", "page.md:1: `echo one`: the page shows"),
        ("```console\n$ false\n```\n", "page.md:1: `false` ends with exit code 1"),
        ("```console\n$ cnnjax describe lenet5 --json | head -c 1\n{\n```\n", ""),
        ("```console\n$ cnnjax train nothing.py\nerror: ...nothing.py...\n```\n", ""),
        (
            "```console\n$ cnnjax train nothing.py\n...\n```\n",
            "page.md:1: `cnnjax train nothing.py` ends with exit code 1",
        ),
        ("```console\n$ cnnjax recipes\nerror: none\n```\n", "page.md:1: `cnnjax recipes` ends with exit code 0"),
        ("```console\n$ ls experiments/digits/study.py\n...study.py\n```\n", ""),
        ("```\n$ false\n```\n```json\n{\n```\n", ""),
        ("<!-- picture: a.png -->\n![A](b.png)\n", "page.md:2: a.png was not made"),
    ],
)
def test_what_is_not_as_shown_is_said(tmp_path, text, said):
    found = faults(tmp_path, text)
    assert len(found) == (said != ""), found
    assert not found or said in found[0]


def overrides_told() -> list[str]:
    """What the tables for those who come from elsewhere give, in their last column, as words of a command."""
    rows = [line for page in PAGES for line in page.read_text().splitlines() if line.startswith("| ")]
    here = [row.split(" | ")[-1] for row in rows]
    return sorted({span for cell in here for span in re.findall(r"`([a-z_]+[.=][^`<(]*)`", cell) if "=" in span})


@pytest.mark.parametrize("told", overrides_told())
def test_overrides_in_tables_are_taken(told):
    experiment = Experiment(model="resnet18", data=Synthetic(height=32, width=32), epochs=90)
    changes = dict(word.split("=", 1) for word in told.split())
    if changes.keys() - {"seeds"}:
        replace_texts(experiment, changes)


def test_pictures_are_made_anew(tmp_path):
    text = "```console\n$ echo new > a.png\n```\n<!-- picture: a.png -->\n![A](pictures/b.png)\n"
    assert "pictures/b.png is missing" in faults(tmp_path, text)[0]
    (tmp_path / "folder/experiments").unlink()
    (tmp_path / "folder/a.png").unlink()
    (tmp_path / "folder").rmdir()
    assert faults(tmp_path, text, write=True) == []
    assert (tmp_path / "pictures/b.png").read_text() == "new\n"


def test_commands_may_be_several_lines():
    assert commands("$ a \\\n  b\nout\n$ c\n") == [("a    b", "out\n"), ("c", "")]


@pytest.mark.parametrize("text", ["<!-- not run: x -->\nwords\n", "<!-- picture: a.png -->\n```python\n```\n"])
def test_a_note_above_nothing_is_refused(text):
    with pytest.raises(ValueError, match="line 1: "):
        parse(text)


def test_pages_that_continue_others_run_after_them(tmp_path):
    for name, text in {"a": "", "b": "<!-- continues c.md -->", "c": "<!-- continues a.md -->", "d": ""}.items():
        (tmp_path / f"{name}.md").write_text(text)
    found = chains(sorted(tmp_path.glob("*.md")))
    assert [[page.stem for page in group] for group in found] == [["a", "c", "b"], ["d"]]
    (tmp_path / "a.md").write_text("<!-- continues b.md -->")
    with pytest.raises(ValueError, match="continues no page"):
        chains(sorted(tmp_path.glob("*.md")))
