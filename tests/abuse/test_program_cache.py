"""Compiled programs on disk that were damaged: none is run, one line says so, and the numbers are the same."""

from __future__ import annotations

import os
import shutil
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnjax.run import program_cache
from cnnjax.run.program_cache import ProgramCache, remove_torn
from tests.forking import forking

PROGRAM = zlib.compress(b"machine code" * 100)
KEY, OTHER = "jit_step-abc", "jit_other-def"


@pytest.fixture
def kept(tmp_path) -> ProgramCache:
    """A cache with two programs; what is said once may be said again."""
    program_cache._say.cache_clear()
    made = ProgramCache(str(tmp_path), max_size=2**20)
    made.put(KEY, PROGRAM)
    made.put(OTHER, zlib.compress(b"another program"))
    return made


def entry(kept: ProgramCache, key: str = KEY, suffix: str = "cache") -> Path:
    return Path(kept.path) / f"{key}-{suffix}"


def written(content: Callable[[bytes], bytes]) -> Callable[[ProgramCache], object]:
    return lambda kept: entry(kept).write_bytes(content(entry(kept).read_bytes()))


def folder_instead(kept: ProgramCache) -> None:
    entry(kept).unlink()
    entry(kept).mkdir()
    (entry(kept) / "a").write_text("b")


def flipped(held: bytes) -> bytes:
    return held[:-9] + bytes([held[-9] ^ 1]) + held[-8:]


DAMAGED: dict[str, Callable[[ProgramCache], object]] = {
    "cut": written(lambda held: held[: len(held) // 2]),
    "empty": written(lambda held: b""),
    "a digest alone": written(lambda held: held[: program_cache.SIZE]),
    "one bit": written(flipped),
    "garbage": written(lambda held: b"\x7fELF" * 500),
    "garbage that decompresses": written(lambda held: zlib.compress(b"\x7fELF" * 500)),
    "as JAX alone would keep it": written(lambda held: held[program_cache.SIZE :]),
    "another program, whole": lambda kept: shutil.copy(entry(kept, OTHER), entry(kept)),
    "longer": written(lambda held: held + b"more"),
    "a folder": folder_instead,
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_program_that_is_not_whole_is_not_run(kept, case):
    assert kept.get(KEY) == PROGRAM
    DAMAGED[case](kept)
    with pytest.warns(UserWarning, match="some are damaged or cannot be read: they are compiled again") as said:
        assert kept.get(KEY) is None
    assert len(said) == 1
    assert not entry(kept).exists()
    kept.put(KEY, PROGRAM)
    assert kept.get(KEY) == PROGRAM
    # A second one is no more news.
    entry(kept, OTHER).write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept.get(OTHER) is None


def test_a_program_that_was_never_kept_is_not_missed(kept):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept.get("jit_new-0") is None


def test_what_cannot_be_kept_is_said_once(kept):
    (Path(kept.path) / "jit_third-0-atime").mkdir()
    with pytest.warns(UserWarning, match=r"cannot be kept in .* \(Is a directory\): next time they are compiled again"):
        kept.put("jit_third-0", PROGRAM)
    assert not (Path(kept.path) / "jit_third-0-cache").exists()


TORN: dict[str, Callable[[ProgramCache], object]] = {
    "no time of use": lambda kept: entry(kept, suffix="atime").unlink(),
    "a time of use that is a folder": lambda kept: (
        entry(kept, suffix="atime").unlink(),
        entry(kept, suffix="atime").mkdir(),
    ),
    "a folder": folder_instead,
}


@pytest.mark.parametrize("case", TORN)
def test_what_is_torn_is_removed_at_the_start(kept, case):
    TORN[case](kept)
    remove_torn(Path(kept.path))
    assert sorted(path.name for path in Path(kept.path).iterdir() if path.name != ".lockfile") == [
        f"{OTHER}-atime",
        f"{OTHER}-cache",
    ]


FILE = """
from cnnjax import SGD, Experiment, SmallCNN, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0), data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40,
    test_examples=12), optim=SGD(learning_rate=0.05), batch_size=12, epochs=2)
"""


KEEPING = """
import sys
from cnnjax import cli
from cnnjax.run import compiling

compiling.SECONDS_WORTH = 0.0
sys.argv = ["cnnjax", "train", "exp.py", "--out", told["run"]]
cli.show_warnings()
cli.main()
"""


@pytest.fixture
def trained(tmp_path):
    """Trains in a process of its own: what that says on standard error, and its rows."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    own |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}
    with forking(own) as forks:

        def trained(out: str) -> tuple[str, bytes]:
            process = forks.start(cwd=tmp_path, said=tmp_path / "said", program=KEEPING, only=own, run=out)
            said = f"{process.wait(300)} {process.err.read_text()}"
            assert process.returncode == 0, said
            return said, (tmp_path / out / "metrics.jsonl").read_bytes()

        yield trained


@pytest.mark.slow
def test_a_training_goes_on_without_damaged_programs(trained, tmp_path):
    (tmp_path / "exp.py").write_text(FILE)
    _, expected = trained("first")
    programs = sorted((tmp_path / "cache/cnnjax/xla").rglob("*-cache"))
    assert len(programs) > 3
    whole = [path.read_bytes() for path in programs]
    for place, path in enumerate(programs):
        path.write_bytes(whole[place - 1] if place % 2 else whole[place][:99])  # Of another program, or cut.
    err, rows = trained("second")
    assert rows == expected
    assert err.count("warning: of the compiled programs in") == 1
    assert "Error reading" not in err
    err, rows = trained("third")
    assert (rows, "warning" in err) == (expected, False)
