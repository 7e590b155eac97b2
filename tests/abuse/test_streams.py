"""Standard streams that are closed, full, broken or of few characters, and limits of the system: one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cnnjax import streams
from tests.forking import one_device, shared
from tests.marks import slow

PRINTS = [
    "--help",
    "--version",
    "describe lenet5",
    "describe lenet5 --json",
    "describe lenet5 --format markdown",
    "describe exp.py --against model.kernel_size=5",
    "train exp.py --out run --devices 1",
    "train exp.py --out run --devices 1 --json",
    "sweep exp.py --out study --devices 1 --dry-run",
    "sweep exp.py --out study --devices 1 --dry-run --json",
    "sweep exp.py --out study --devices 1 --json",
    "report study --out written",
    "report study --out written --json",
    "report study run",
    "status study",
    "status study --json",
    "evaluate run --devices 1",
    "inspect run --only filters --devices 1",
    "export run net.safetensors",
    "data list",
    "data show synthetic data.height=8 data.width=8",
    "recipes mnist/lenet5",
]
"""Every command that prints."""


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def left() -> int:
    """A pipe whose reader has gone, as `head -1` does."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def closed() -> int:
    """What `streams.settle` puts in the place of a standard output that is closed."""
    return os.open(os.devnull, os.O_RDONLY)


UNWRITABLE = {"full": (full, "No space left"), "left": (left, "Broken pipe"), "closed": (closed, "Bad file")}


SOME = ("--version", "train exp.py --out run --devices 1", "train exp.py --out run --devices 1 --json")


@pytest.mark.parametrize(
    ("words", "how"),
    [
        *[(words, "full") for words in PRINTS],
        *[(words, how) for how in ("left", "closed") for words in SOME],
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_printed_is_one_line_and_a_failure(run, place, monkeypatch, words, how):
    make, reason = UNWRITABLE[how]
    number = make()
    monkeypatch.setattr(sys, "stdout", streams.output(number, like=sys.stdout))
    code, _, err = run(*words.split())
    os.close(number)
    assert code == 1
    errors = [line for line in err.splitlines() if line.startswith("error") or "Traceback" in line]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: standard output cannot be written ({reason}"), err


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("words", PRINTS)
def test_what_an_encoding_lacks_is_escaped(run, place, monkeypatch, words):
    """PYTHONIOENCODING=ascii."""
    with open(place / "printed", "wb") as file:
        like = open(os.devnull, "w", encoding="ascii")  # noqa: SIM115
        monkeypatch.setattr(sys, "stdout", streams.output(file.fileno(), like=like))
        code, _, err = run(*words.split())
        like.close()
    assert code == 0, err
    text = (place / "printed").read_bytes()
    assert text
    if "--json" in words:
        json.loads(text)
    else:
        text.decode("ascii")


def test_what_is_escaped_is_as_in_json(tmp_path):
    with open(tmp_path / "ascii", "w", encoding="ascii") as file:
        text = '"1 ± 2 · \U0001f600 \udc80"'
        stream = streams.output(file.fileno(), like=file)
        stream.write(text)
        stream.flush()
    assert json.loads((tmp_path / "ascii").read_bytes()) == text[1:-1]


# --- of a process


def shell(place: Path, line: str, **environ: str | None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a line of bash, in which `cnnjax` is a command."""
    known = os.environ | one_device() | {"PYTHONPATH": os.pathsep.join(sys.path)} | environ
    line = f'cnnjax() {{ {sys.executable} -m cnnjax "$@"; }}; {line}'
    told = {name: value for name, value in known.items() if value is not None}
    done = subprocess.run(["bash", "-c", line], cwd=place, env=told, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout, done.stderr


CUT = "standard output cannot be written"
LONG, NAME = "/".join(["x" * 100] * 50), "n" * 300

PROCESSES: list[tuple[str, int, str]] = [
    ("cnnjax --help >&-", 1, CUT),
    ("cnnjax --help > /dev/full", 1, CUT),
    ("cnnjax --help 2>&-", 0, ""),
    ("cnnjax --help <&-", 0, ""),
    ("cnnjax describ 2>&-", 2, ""),
    ("cnnjax --help >&- 2>&- <&-", 1, ""),
    ("cnnjax --help | true; exit ${PIPESTATUS[0]}", 1, CUT),
    *slow(
        ("cnnjax train exp.py --out new >&- 2>&- <&-; code=$?; ls new/result.json > listed; exit $code", 1, ""),
        ("ulimit -v 1500000; cnnjax train exp.py --out new", 1, "ulimit -v leaves this process 1.5 GB"),
        ("ulimit -v 600000; cnnjax train exp.py --out new", 1, "ulimit -v leaves this process 0.6 GB"),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 cnnjax report study", 0, ""),
        (
            "unset JAX_COMPILATION_CACHE_DIR; HOME=/proc/x TMPDIR=/proc/x cnnjax train exp.py --out new",
            0,
            "cannot be kept in /proc/x",
        ),
    ),
]
"""(a line of bash, its exit code, what standard error says)."""


@pytest.mark.parametrize(("line", "code", "said"), PROCESSES)
def test_a_process_says_one_line_and_ends(place, line, code, said):
    found, _, err = shell(place, line)
    assert found == code, err
    assert_says(err, said)
    if "ls new" in line:
        assert (place / "listed").read_text() == "new/result.json\n", "the training was not stopped by it"


def assert_says(err: str, said: str) -> None:
    """No line on standard error but one that says this, or none."""
    lines = [each for each in err.splitlines() if not each.startswith("exp: ")]
    assert "Traceback" not in err
    assert [said in each for each in lines] == ([True] if said else []), err


LACKING = """
import os, resource, sys
import cnnjax.__main__

os.environ["XLA_FLAGS"] = told["XLA_FLAGS"]
os.chdir(told["place"])
os.dup2(os.open("out", os.O_WRONLY | os.O_CREAT), 1)
if told["err"] is None:
    os.close(2)
    sys.stderr = None  # as Python has it in a process that begins so
else:
    os.dup2(os.open(told["err"], os.O_WRONLY | os.O_CREAT), 2)
if told["gone"]:
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
for name, most in told["limits"].items():
    resource.setrlimit(getattr(resource, name), (most, most))
for name in told["unset"]:
    os.environ.pop(name, None)
sys.argv = ["cnnjax", *told["words"]]
cnnjax.__main__.main()
"""


GONE = {"gone": True}
FORKED: list[tuple[str, dict[str, Any], int, str]] = [
    ("train exp.py --out new", {"err": "/dev/full"}, 0, ""),
    ("sweep exp.py --out new", {"err": None}, 0, ""),
    ("train exp.py --out new", {"limits": {"RLIMIT_NOFILE": 20}, "unset": ["HOME"]}, 0, ""),
    ("evaluate run", {"limits": {"RLIMIT_AS": 10**9}}, 1, "ulimit -v leaves this process 1.0 GB"),
    ("inspect run", {"limits": {"RLIMIT_AS": 10**9}}, 1, "ulimit -v leaves this process 1.0 GB"),
    ("train exp.py --out new", {"limits": {"RLIMIT_FSIZE": 1024}}, 1, "files may not be so large: ulimit -f"),
    ("report study --out new", {"limits": {"RLIMIT_FSIZE": 10240}}, 1, "files may not be so large: ulimit -f"),
    ("train ../exp.py", GONE, 1, "the working directory was removed"),
    ("train {place}/exp.py --out {place}/new", GONE, 1, "directory was removed"),
    ("sweep {place}/exp.py --out {place}/new", GONE, 1, "directory was removed"),
    ("work new", GONE, 1, "the working directory was removed"),
    ("report {place}/study", GONE, 0, ""),
]
"""(a command, what its process lacks, its exit code, what standard error says)."""


@pytest.mark.slow
@pytest.mark.parametrize(("words", "lacks", "code", "said"), FORKED)
def test_a_process_that_lacks_something_says_one_line_and_ends(place, words, lacks, code, said):
    told = {"err": "err", "gone": False, "limits": {}, "unset": []} | lacks | one_device()
    words = words.replace("{place}", str(place)).split()
    found = shared()(LACKING, place=str(place), words=words, **told)
    err = (place / "err").read_text() if told["err"] == "err" else ""
    assert found == code, err
    assert_says(err, said)
    if (words[0], code) in (("train", 0), ("sweep", 0)):
        assert (place / "new").is_dir()


WRONG: list[tuple[str, str]] = [
    *[(f"train exp.py --out {path}", "File name too long") for path in (LONG, NAME)],
    *[(f"sweep exp.py --out {path}", "File name too long") for path in (LONG, NAME)],
    *[(f"report study --out {path}", "File name too long") for path in (LONG, NAME)],
    *[(f"inspect run --only filters --out {path}", "File name too long") for path in (LONG, NAME)],
    *[
        (f"{command} {path}", "File name too long")
        for command in ("train", "sweep", "describe", "evaluate", "report", "status", "work", "inspect")
        for path in (LONG, NAME)
    ],
    *[
        (f'train exp.py --out new data={{"name":"folder","root":"{path}"}}', "File name too long")
        for path in (LONG, NAME)
    ],
    ("train .", ". is a folder, name one of its files: exp.py"),
    ("train /dev/null", "no experiment file /dev/null"),
    ("train pipe.py", "no experiment file pipe.py"),
    ("sweep pipe.py", "no experiment file pipe.py"),
    ("describe pipe.py", "pipe.py"),
    ("train /dev/full", "no experiment file /dev/full"),
    ("report /dev/null", "/dev/null"),
    ("evaluate /dev/null", "/dev/null"),
    ("inspect pipe.py", "pipe.py"),
    ("train exp.py --out /dev/null", "/dev/null"),
    ("train exp.py --out exp.py", "exp.py"),
    ("sweep exp.py --out /dev/full", "/dev/full"),
    ("train exp.py --out /proc/new", "/proc/new"),
    ("report study --out exp.py", "exp.py"),
    ("report study --out /proc/new", "/proc/new"),
    ("inspect run --only filters --out exp.py", "exp.py"),
    ("export run /proc/new.safetensors", "/proc/new"),
    ("data show synthetic --plot /proc/new.png", "/proc/new.png"),
    ("describe lenet5 --plot /proc/new.png", "/proc/new.png"),
]
"""(a command, what it says of the path)."""


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda value: value[:40])
def test_a_path_that_cannot_be_is_one_line(run, place, words, said):
    os.mkfifo(place / "pipe.py")
    code, _, err = run(*words.split())
    assert said in err
    lines = [line for line in err.splitlines() if line and not line.startswith(("exp: ", "Usage: ", "Try "))]
    assert len(lines) == 1, err
    # Of a value that no option may have, how the command is used is said too.
    assert code == (2 if "Usage: " in err else 1)
    assert "defect" not in err
