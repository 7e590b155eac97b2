"""Files as the only state: written whole or not at all, and read without executing anything."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnjax.errors import DiskFull, RunError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a failed write under `path` into a RunError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(
                f"no space left to write {path}: nothing finished is lost; make room and run the same command again"
            ) from error
        raise RunError(f"cannot write {path}: {error.strerror or error}; choose another folder with --out") from error


@contextlib.contextmanager
def locked(folder: Path, *, taken: str) -> Iterator[None]:
    """Own a folder, made if it is not there, while in the context; RunError with `taken` where another process does.

    The lock ends with the process, however that ends.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(taken) from None
        yield


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Threads write too: two of them may write the same file.
        scratch = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, *, remedy: str) -> Any:
    """The JSON of a file, None where there is none; RunError with `remedy` where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged ({error}); {remedy}") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error


def append_text(path: Path, text: str) -> None:
    """Append to a file."""
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(text)


def read_rows(path: Path) -> list[dict]:
    """The rows of a metrics.jsonl, each with its step; empty where there is no file.

    A last line cut short by a kill is left out; damage elsewhere is a RunError naming the line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    rows = []
    # What stands after the last newline was being written when the process ended.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
            row["step"]
        except (ValueError, KeyError, TypeError):
            raise RunError(
                f"{path} line {number} is damaged; mend the line, or delete {path.parent} to train that run again"
            ) from None
        rows.append(row)
    return rows
