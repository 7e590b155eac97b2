"""Files as the only state: written whole or not at all, and read without executing anything."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import stat
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

from cnnjax.errors import DiskFull, RunError

GONE = (errno.ENOENT, errno.ESTALE)
"""What the system says of a file that is not there, or, on NFS, no longer."""

LARGEST = 2**30
"""Bytes of a file that are read: none that is written comes near it."""

NO_ROOM = {
    errno.ENOSPC: "",
    errno.EDQUOT: " (it is the quota of your files that is used up)",
    errno.EFBIG: " (files may not be so large: ulimit -f)",
}
"""What the system says where there is no room, and what is said of it beside that."""


def home() -> Path:
    """The user's home. Raises RunError where it is not known, as of a number without a name in a container."""
    try:
        return Path.home()
    except RuntimeError:
        raise RunError(
            "this user has no home, where caches and prepared data stand: export HOME=DIR, a folder that can be written"
        ) from None


@contextlib.contextmanager
def writing(path: Path, *, remedy: str = "make it writable, or write elsewhere") -> Iterator[None]:
    """Turn what the system says of a failed write under `path` into a RunError that says what to do.

    remedy: where room is not what is missing, as the end of a sentence.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(
                f"no space left to write {path}{NO_ROOM[error.errno]}: nothing finished is lost; make room and run the "
                "same command again"
            ) from error
        if isinstance(error, IsADirectoryError):
            raise RunError(_no_file(path)) from error
        raise RunError(f"cannot write {path}: {error.strerror or error}; {remedy}") from error


@contextlib.contextmanager
def locked(folder: Path, *, taken: str) -> Iterator[None]:
    """Own a folder, made if it is not there, while in the context; RunError with `taken` where another process does.

    The lock ends with the process, however that ends.
    """
    with writing(folder, remedy="choose another folder with --out"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open_own(folder / ".lock", os.O_RDWR)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(taken) from None
        yield


def inside(root: Path, *names: str) -> Path:
    """The path of a folder below a run's or a study's `root`, to write in.

    root itself may be a symbolic link: that is its user's choice. Raises RunError where anything below it is one.
    """
    path = root
    for name in names:
        path = path / name
        # Of what may not be looked at it says no.
        if os.path.islink(path):
            raise RunError(_through(path))
    return path


def _through(link: Path) -> str:
    return (
        f"{link} is a symbolic link, and nothing is written through one: remove the link (what it points to stays as "
        "it is) and run the same command again"
    )


def open_own(path: Path, flags: int) -> IO[bytes]:
    """Open for writing a file whose name others can foresee; it is made if it is not there, and never truncated.

    flags: as `os.open` takes them. Raises RunError where a symbolic link stands in its place, or anything else that is
    no regular file: what a link points to is somebody else's.
    """
    try:
        # Without O_NONBLOCK a pipe would wait for its reader.
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError:
        if path.is_symlink():
            raise RunError(_through(path)) from None
        if path.exists() and not path.is_file():
            raise RunError(_no_file(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RunError(_no_file(path))
    if flags & os.O_APPEND:
        # Clients of a network file system append where they believe the end to be.
        ask_size(descriptor)
    return os.fdopen(descriptor, "wb")


def _no_file(path: Path) -> str:
    return f"{path} is no regular file: move it away and run the same command again"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    write_files({path: content})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files, each whole; where there is no room for one of them, none."""
    with contextlib.ExitStack() as stack:
        scratches = {}
        for path, content in contents.items():
            with writing(path):
                scratches[path] = stack.enter_context(_scratch(path, content))
        for path, scratch in scratches.items():
            with writing(path):
                scratch.replace(path)


@contextlib.contextmanager
def _scratch(path: Path, content: bytes) -> Iterator[Path]:
    """A file with the content beside `path`, which goes away with the context unless it is moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Threads write too: two of them may write the same file.
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        # One that a killed process of the same number left.
        scratch.unlink(missing_ok=True)
        with open_own(scratch, os.O_WRONLY | os.O_EXCL) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """JSON as it stands in files."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def parse_json(content: bytes, where: Path | str, *, remedy: str) -> Any:
    """The value of a JSON text.

    Raises RunError with `remedy`, which names it by `where`, also for a key that stands in an object twice (of which
    Python would take the last without a word).
    """
    try:
        return json.loads(content.decode(), object_pairs_hook=_keys_once)
    except ValueError as error:
        # Of a number of thousands of digits Python says also how to read it all the same.
        raise RunError(f"{where} is damaged ({str(error).partition('; use sys.')[0]}); {remedy}") from None
    except RecursionError:
        raise RunError(f"{where} is damaged (it is nested too deeply); {remedy}") from None


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"{twice!r} stands in it twice")
    return found


def open_there(path: Path, *, remedy: str) -> IO[bytes] | None:
    """Open a file to read it; None where there is none.

    Raises RunError with `remedy` where something else stands in its place (a folder, a pipe, a link to nothing), and
    where it may not be read.
    """
    try:
        # Without O_NONBLOCK a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return _not_there(path, error, remedy)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RunError(f"{path} is no regular file; {remedy}")
    ask_size(descriptor)
    return os.fdopen(descriptor, "rb")


@contextlib.contextmanager
def probe(folder: Path) -> Iterator[int]:
    """The descriptor of a new file in a folder, which is gone after the context.

    Clients of a network file system keep lists of names, for up to a minute (NFS) or 20 s (sshfs), and give them up for
    a folder in which they make a file themselves: after this, what is there is seen. Raises OSError.
    """
    path = folder / f".time.{uuid.uuid4().hex}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def flush(descriptor: int) -> None:
    """Have what was written to a file be at its server, where others see it, which sets the file's time; on a local
    disk nothing is to be done. Raises OSError."""
    os.close(os.dup(descriptor))


def ask_size(descriptor: int) -> None:
    """Have the system ask the server of an open file for its size and time, of which it may remember earlier ones.

    NFS does so unasked when a file is opened. With FUSE, a file that another machine made longer is read only up to the
    length that was seen last. Linux alone can be asked to.
    """
    function = _statx()
    if function is not None:
        function(descriptor, b"", _EMPTY_PATH | _FORCE_SYNC, _BASIC, ctypes.create_string_buffer(256))


_EMPTY_PATH, _FORCE_SYNC, _BASIC = 0x1000, 0x2000, 0x7FF
"""AT_EMPTY_PATH, AT_STATX_FORCE_SYNC and STATX_BASIC_STATS of linux/stat.h and linux/fcntl.h."""


@cache
def _statx() -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), "statx", None) if sys.platform == "linux" else None


def names_in(folder: Path, *, remedy: str) -> set[str]:
    """What is in a folder; empty where there is none. Raises RunError with `remedy` where it cannot be read."""
    try:
        return set(os.listdir(folder))
    except OSError as error:
        return _not_there(folder, error, remedy) or set()


def _not_there(path: Path, error: OSError, remedy: str) -> None:
    """Return where the error says that there is nothing at `path`. Raises RunError for any other."""
    if error.errno in GONE:
        for link in (path, path.parent):
            if link.is_symlink() and not link.exists():
                raise RunError(f"{link} is a symbolic link to what is not there; {remedy}") from None
        return
    if isinstance(error, NotADirectoryError):
        file = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
        remedy = "move it away, or choose another folder with --out"
        raise RunError(f"{file} is a file where a folder should be; {remedy}") from error
    if isinstance(error, PermissionError):
        remedy = "ask its owner, or run as who may read it"
    raise RunError(f"cannot read {path}: {error.strerror or error}; {remedy}") from error


def read_whole(path: Path, *, remedy: str) -> bytes | None:
    """The bytes of a file; None where there is none. Raises RunError as `open_there`, and where it is too large."""
    file = open_there(path, remedy=remedy)
    if file is None:
        return None
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            raise RunError(f"{path} is damaged ({size:,} bytes, and at most {LARGEST:,} are read); {remedy}")
        try:
            return file.read()
        except OSError as error:
            return _not_there(path, error, remedy)


def read_json(path: Path, *, remedy: str) -> Any:
    """The JSON of a file, None where there is none; RunError with `remedy` where it is damaged."""
    content = read_whole(path, remedy=remedy)
    return None if content is None else parse_json(content, path, remedy=remedy)


def append_text(path: Path, text: str, *, check: Callable[[], None] = lambda: None) -> None:
    """Append to a file. Raises RunError where it is a symbolic link.

    check: called once the file is open, before anything is written. So what it allows goes into the file that was there
    then, and not into one that took its place meanwhile.
    """
    with writing(path), open_own(path, os.O_WRONLY | os.O_APPEND) as file:
        check()
        file.write(text.encode())
