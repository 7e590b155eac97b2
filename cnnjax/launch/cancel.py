"""A study is cancelled by a file in its folder, which every worker looks for."""

from __future__ import annotations

import getpass
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

from cnnjax.errors import RunError
from cnnjax.records.cancel_json import CancelRecord
from cnnjax.records.study_json import StudyRecord

SECONDS = 2.0
"""Between two looks of a worker."""

AGAIN = "delete it, and the study goes on"


def cancel(out: Path) -> None:
    """Have all workers of the study in `out` stop after their step, with all saved.

    Jobs that a launcher started elsewhere are cancelled too. Raises RunError where there is no study.
    """
    from cnnjax.launch.launcher import cancel_jobs

    if not StudyRecord.at(out).exists():
        raise RunError(f"{out} holds no study")
    write_cancel(out, f"cancelled by {_user()} on {socket.gethostname()}")
    cancel_jobs(out)


def write_cancel(out: Path, by: str) -> None:
    """Write cancel.json."""
    since = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    CancelRecord(since=since, by=by).write(CancelRecord.at(out))


def go_on(out: Path) -> None:
    """Let workers begin again."""
    CancelRecord.at(out).unlink(missing_ok=True)


def cancelled(out: Path) -> CancelRecord | None:
    """Why the study in `out` is cancelled; None where it is not."""
    return CancelRecord.read(CancelRecord.at(out), remedy=AGAIN)


class Watch:
    """While in the context, `cancelled` is set once the study in `out` is cancelled, and `why` says how."""

    def __init__(self, out: Path):
        self.cancelled, self.why = threading.Event(), ""
        self._out, self._ended = out, threading.Event()

    def __enter__(self) -> Watch:
        threading.Thread(target=self._look, daemon=True, name="cancel").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(SECONDS):
            if CancelRecord.at(self._out).exists():
                self.why = _why(self._out)
                self.cancelled.set()
                return


def _why(out: Path) -> str:
    try:
        found = cancelled(out)
    except RunError:
        found = None
    return "cancelled" if found is None else found.why


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
