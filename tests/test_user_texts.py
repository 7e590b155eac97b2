"""A user's texts are printed as they are written, whatever rich would read in them."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.table import Table

import cnnjax
from cnnjax.cli.app import WIDE, err, out
from cnnjax.console import console
from cnnjax.progress.showing import _bar, _moving

TEXT = "runs/a[/b] [b]10:-1 a:smile:b"


@pytest.mark.parametrize("screen", [out, err, WIDE, console(), console(stderr=True)])
def test_a_console_prints_a_text_as_it_is(screen):
    table = Table(TEXT)
    table.add_row(TEXT)
    with screen.capture() as captured:
        screen.print(f"report: {TEXT}", soft_wrap=True)
        screen.print(table, width=60)
    assert captured.get().count(TEXT) == 3


def test_what_ctrl_c_interrupts_is_not_printed_again(monkeypatch):
    file, screen = io.StringIO(), console()
    monkeypatch.setattr(screen, "file", file)

    def interrupted():
        monkeypatch.undo()
        monkeypatch.setattr(screen, "file", file)
        raise KeyboardInterrupt

    monkeypatch.setattr(file, "flush", interrupted)
    with pytest.raises(KeyboardInterrupt):
        screen.print("first")
    screen.print("ended")
    assert file.getvalue() == "first\nended\n"


def test_the_bar_shows_a_title_as_it_is():
    screen = console(width=160)
    screen.file = io.StringIO()
    bar = _bar(screen)
    _moving(bar, TEXT)
    screen.print(bar.make_tasks_table(bar.tasks))
    assert TEXT in screen.file.getvalue()


def test_consoles_and_texts_for_rich_are_made_in_one_place():
    makers = set()
    package = Path(cnnjax.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = node.bases if isinstance(node, ast.ClassDef) else [node.func] if isinstance(node, ast.Call) else []
            if {ast.unparse(each).split(".")[-1] for each in named} & {"Console", "get_console", "_Screen"}:
                makers.add(path.relative_to(package).as_posix())
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Text" and node.args:
                makers.add(path.relative_to(package).as_posix())
    assert makers == {"console.py"}
