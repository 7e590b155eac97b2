"""Files as the only state: whole or not at all, and never through a link to what is somebody else's."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

import pytest

from cnnjax import files
from cnnjax.errors import RunError
from cnnjax.files import append_text, locked, write_bytes


def enter(path):
    with locked(path.parent, taken="taken"):
        pass


WRITERS = {
    ".lock": enter,
    "log.txt": lambda path: append_text(path, "more\n"),
    "SCRATCH": lambda path: write_bytes(path.with_name("result.json"), b"new"),
    "result.json": lambda path: write_bytes(path, b"new"),
}


@pytest.fixture
def precious(tmp_path):
    path = tmp_path / "precious"
    path.write_text("years of work\n")
    return path


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_through_a_link(precious, tmp_path, name):
    path = tmp_path / "run" / name.replace("SCRATCH", f".result.json.{os.getpid()}")
    path.parent.mkdir()
    path.symlink_to(precious)
    # A file that is replaced takes the link's place.
    refused = pytest.raises(RunError, match=r"is a symbolic link.* remove the link")
    with refused if name in (".lock", "log.txt") else contextlib.nullcontext():
        WRITERS[name](path)
    assert precious.read_text() == "years of work\n"


@pytest.mark.parametrize("name", [".lock", "log.txt"])
def test_a_link_to_nothing_makes_nothing(tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="symbolic link"):
        WRITERS[name](tmp_path / "run" / name)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", [".lock", "log.txt"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(RunError, match=r"no regular file|cannot write"):
        WRITERS[name](tmp_path / name)


def test_a_lock_keeps_what_the_file_holds_and_is_held(tmp_path):
    (tmp_path / ".lock").write_text("notes of mine")
    with locked(tmp_path, taken="taken"), pytest.raises(RunError, match="taken"), locked(tmp_path, taken="taken"):
        pass
    assert (tmp_path / ".lock").read_text() == "notes of mine"
    enter(tmp_path / ".lock")


def test_a_folder_that_is_a_link_is_one_like_others(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    enter(tmp_path / "run" / ".lock")
    append_text(tmp_path / "run" / "log.txt", "one\n")
    append_text(tmp_path / "run" / "log.txt", "two é\n")
    write_bytes(tmp_path / "run" / "result.json", b"{}")
    assert (tmp_path / "disk" / "log.txt").read_text(encoding="utf-8") == "one\ntwo é\n"
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == [".lock", "log.txt", "result.json"]


def test_files_have_the_permissions_that_the_user_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        append_text(tmp_path / "log.txt", "one\n")
        write_bytes(tmp_path / "result.json", b"{}")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_a_write_that_fails_says_what_to_do_and_out_only_where_there_is_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write .*; make it writable, or write elsewhere$"):
        write_bytes(tmp_path / "file" / "within", b"")
    with (
        pytest.raises(RunError, match="cannot write .*; choose another folder with --out$"),
        locked(tmp_path / "file" / "run", taken=""),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="no other system can be asked")
def test_the_server_is_asked_how_long_a_file_is(tmp_path, monkeypatch):
    """Where another machine made it longer, FUSE would read it, and append to it, as far as was seen last."""
    path, found = tmp_path / "rows", []
    path.write_text("1\n")
    real = files._statx()
    assert real is not None

    def asked(*words):
        found.append(real(*words))
        path.write_text("1\n2\n")
        return 0

    monkeypatch.setattr(files, "_statx", lambda: asked)
    assert files.read_whole(path, remedy="") == b"1\n2\n"
    files.append_text(path, "3\n")
    assert found == [0, 0], "the system knows the flags"
    assert path.read_text() == "1\n2\n3\n"
