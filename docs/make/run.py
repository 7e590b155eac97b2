"""Runs what a page shows, as a reader would from top to bottom, and says where something else comes out.

    python -m docs.make.run docs/tutorial/first.md [more pages, which go on in the same folder] [--write]

In an empty folder in which `experiments/` is the repository's:

- ```` ```python ```` blocks are executed in one namespace; a ```` ```text ```` block right below is what they print.
- ```` ```python title="study.py" ```` (or any language) is a file of that name, and not executed.
- ```` ```console ```` blocks are typed: each line that begins with `$ `, with lines that end in a backslash going on.
  Lines below a command are what it prints, `...` standing for anything and any white space for any other; without such
  lines only the exit code counts: 0, or another one where a line begins with `error:`. A line that is just
  `cnnjax ...` is called in this process, others by bash.
- `<!-- not run: why -->` above a block leaves it out, and says why.
- `<!-- picture: runs/first/report/figures/effects.png -->` above an image says which file it is: the file must be there
  after the page has run, and with --write it becomes the image in docs/.
- `<!-- continues first.md -->` anywhere says which page's folder this one goes on in (`chains`).

Other blocks (without a language, `text`, `json`, ...) are for reading.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import linecache
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)```(\w*)(.*)$")
NOTE = re.compile(r"^ *<!-- (not run|picture|continues):? (.+) -->$")
IMAGE = re.compile(r"!\[[^]]*\]\(([^)\s]+)\)")
COLUMNS = 100
"""Width of the terminal that commands find."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language ("" if none), its title (a file's name), why it is not run."""

    line: int
    language: str
    title: str
    text: str
    not_run: str
    below: bool
    """Whether nothing but empty lines stands between the block before and this one."""


@dataclass(frozen=True)
class Picture:
    """An image of a page that is a file of the folder in which the page runs."""

    line: int
    file: str
    image: str


def parse(text: str) -> tuple[list[Block], list[Picture]]:
    """The blocks of a page and its pictures, in their order. ValueError for a note that stands above nothing."""
    blocks: list[Block] = []
    pictures: list[Picture] = []
    lines = text.split("\n")
    note, noted, below, number = None, 0, False, 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := NOTE.match(line):
            note, noted = (found[1], found[2]), number
            if note[0] == "continues":
                note = None
        elif opened := FENCE.match(line):
            end = next(n for n in range(number, len(lines)) if re.match(rf"^{opened[1]}```\s*$", lines[n]))
            body = "\n".join(each.removeprefix(opened[1]) for each in lines[number:end])
            title = re.search(r'title="([^"]+)"', opened[3])
            why = note[1] if note is not None and note[0] == "not run" else ""
            blocks.append(Block(number, opened[2], title[1] if title else "", f"{body}\n", why, below))
            if note is not None and not why:
                raise ValueError(f"line {noted}: a picture's note stands above a block")
            note, below, number = None, True, end + 1
        elif line.strip():
            below = False
            if note is not None:
                image = IMAGE.search(line)
                if note[0] != "picture" or image is None:
                    raise ValueError(f"line {noted}: nothing stands below the note that it is about")
                pictures.append(Picture(number, note[1], image[1]))
                note = None
    return blocks, pictures


def chains(pages: Iterable[Path]) -> list[list[Path]]:
    """The pages in groups that run one after the other in one folder: `<!-- continues first.md -->`."""
    before = {}
    for page in pages:
        found = re.search(r"^<!-- continues (\S+) -->$", page.read_text(encoding="utf-8"), re.MULTILINE)
        before[page] = None if found is None else (page.parent / found[1]).resolve()
    groups = [[page] for page, other in before.items() if other is None]
    left = {page: other for page, other in before.items() if other is not None}
    while left:
        found = [(page, group) for page, other in left.items() for group in groups if group[-1].resolve() == other]
        if not found:
            raise ValueError(f"{', '.join(map(str, left))}: continues no page, or one that another continues")
        page, group = found[0]
        group.append(page)
        del left[page]
    return groups


class Session:
    """A folder in which pages run, and the names that their code has made. `faults` says what was not as shown."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.faults = folder, list[str]()
        self.names: dict[str, Any] = {"__name__": "__main__"}
        (folder / "experiments").symlink_to(ROOT / "experiments")

    def page(self, path: Path, *, write: bool = False) -> None:
        """Run one page; a block that fails ends it, for what follows builds on it."""
        blocks, pictures = parse(path.read_text(encoding="utf-8"))
        shown = path.resolve().relative_to(ROOT) if path.resolve().is_relative_to(ROOT) else path
        with contextlib.chdir(self.folder):
            for block, after in zip(blocks, [*blocks, None][1:], strict=True):
                printed = after.text if after and after.below and after.language == "text" else None
                if fault := self._fault(block, printed, f"{shown}:{block.line}"):
                    self.faults.append(f"{shown}:{block.line}: {fault}")
                    return
        for picture in pictures:
            made = self.folder / picture.file
            if not made.is_file():
                self.faults.append(f"{shown}:{picture.line}: {picture.file} was not made")
            elif write:
                target = path.parent / picture.image
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, target)
            elif not (path.parent / picture.image).is_file():
                self.faults.append(f"{shown}:{picture.line}: {picture.image} is missing: run the page with --write")

    def _fault(self, block: Block, printed: str | None, name: str) -> str:
        if block.not_run:
            return ""
        if block.title:
            path = Path(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            return ""
        if block.language == "python":
            return self._python(block.text, printed, name)
        if block.language == "console":
            return next((fault for each in commands(block.text) if (fault := self._command(*each))), "")
        return ""

    def _python(self, code: str, printed: str | None, name: str) -> str:
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                exec(compile(code, name, "exec"), self.names)
        except Exception:
            return f"raises\n{traceback.format_exc(limit=-4)}"
        return "" if printed is None else _difference(printed, out.getvalue())

    def _command(self, command: str, wanted: str) -> str:
        plain = command.startswith("cnnjax ") and not re.search(r"[|<>&;$*~`]", command)
        code, said = called(shlex.split(command)[1:]) if plain else _by_bash(command)
        fails = re.search(r"^error:", wanted, re.MULTILINE) is not None
        if (code != 0) != fails:
            return f"`{command}` ends with exit code {code}, having said\n{said}"
        return f"`{command}`: {fault}" if wanted.strip() and (fault := _difference(wanted, said)) else ""


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what stands below it."""
    found: list[tuple[str, str]] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, wanted = re.match(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
        found.append((command.replace("\\\n", " "), wanted))
    return found


def called(words: Sequence[str]) -> tuple[int, str]:
    """The exit code of a `cnnjax` command that is called in this process, and all that it prints."""
    from cnnjax.cli import main

    out, before = io.StringIO(), sys.argv
    sys.argv = ["cnnjax", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv = before
    return code, out.getvalue()


def _by_bash(command: str) -> tuple[int, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = os.environ | {"PATH": path, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    line = ["bash", "-c", command]
    done = subprocess.run(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def _difference(wanted: str, got: str) -> str:
    if doctest.OutputChecker().check_output(wanted, got, FLAGS):
        return ""
    return f"the page shows\n{wanted}\nand what comes out is\n{got}"


def run(pages: Sequence[Path], *, write: bool = False) -> list[str]:
    """Run pages one after the other in one new folder; what is not as they show, a line or more each."""
    os.environ["COLUMNS"] = f"{COLUMNS}"
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        for page in pages:
            session.page(page.resolve(), write=write)
            if session.faults:
                break
        return session.faults


if __name__ == "__main__":
    found = run([Path(word) for word in sys.argv[1:] if word != "--write"], write="--write" in sys.argv)
    print("\n".join(found))
    sys.exit(bool(found))
