"""Checkpoints in Orbax's form: asynchronous, atomic, verified when read; small ones are written by cnnjax."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.options import MultiprocessingOptions

from cnnjax.errors import DiskFull, RunError
from cnnjax.hosts import processes
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.run import small_checkpoint
from cnnjax.training.state import TrainState

Read = TypeVar("Read")

_SAVING = threading.Lock()
"""Orbax numbers the saves of a process with one counter, which two threads must not advance at once."""


class Checkpoints:
    """The checkpoints of one run, the newest `keep` of them.

    Each holds a pytree of arrays and notes (JSON); a checksum of the arrays is in the latter.

    read_only: nothing is written, made or cleaned up, so that a run can be read while another process trains it.
    Without it the caller owns the run (`RunDirectory.claimed`): what a save has not finished is deleted.
    """

    def __init__(self, folder: Path, *, keep: int = 2, read_only: bool = False):
        # Orbax logs tracebacks of what it raises as well.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.folder, self._keep, self._read_only = folder.absolute(), keep, read_only
        self._now: ocp.CheckpointManager | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._written: Future[None] | None = None
        self._saved: tuple[int, int] | None = None  # step and checksum of what this process saved last
        small_checkpoint.check_files(self.folder)
        if not read_only:
            with self._explained("opened"):
                small_checkpoint.clear(self.folder)

    @property
    def _manager(self) -> ocp.CheckpointManager:
        """Orbax's, made when it is needed: of a trial that has no checkpoint yet it has nothing to say."""
        if self._now is None:
            with self._explained("opened"):
                self._now = ocp.CheckpointManager(self.folder, options=self._options())
        return self._now

    def _options(self) -> ocp.CheckpointManagerOptions:
        how: dict[str, Any] = {"max_to_keep": self._keep, "create": True}
        if self._read_only:
            how = {"read_only": True, "lightweight_initialize": True, "create": False, "save_interval_steps": 0}
        if processes() > 1:
            # Orbax would wait for the others, which have no part in it.
            mine = jax.process_index()
            how["create"] = False
            how["multiprocessing_options"] = MultiprocessingOptions(
                primary_host=mine, active_processes={mine}, barrier_sync_key_prefix=f"cnnjax-{mine}"
            )
            if not self._read_only:
                self.folder.mkdir(parents=True, exist_ok=True)
        return ocp.CheckpointManagerOptions(enable_async_checkpointing=True, **how)

    def _put_away(self) -> None:
        """Let Orbax look at the folder anew when it is needed again; what is being saved is on disk first."""
        self.wait()
        if self._now is not None:
            old, self._now = self._now, None
            with self._explained("finished"):
                old.close()

    def latest(self) -> int | None:
        """The step of the newest checkpoint; None where there is none."""
        self._wait_for_small()
        return self._manager.latest_step() if self._now is not None or self.folder.is_dir() else None

    def save(self, step: int, state: Any, notes: CheckpointNotes) -> None:
        """Begin to save `state` (host arrays) and `notes` as of `step`; returns before it is on disk."""
        notes = notes.model_copy(update={"checksum": _checksum(state)})
        self._saved = step, notes.checksum
        if small_checkpoint.is_small(state):
            self._put_away()
            self._writer = self._writer or ThreadPoolExecutor(1, "checkpoint")
            self._written = self._writer.submit(self._write_small, step, state, notes)
            return
        content = ocp.args.Composite(state=ocp.args.StandardSave(state), notes=ocp.args.JsonSave(notes.to_json()))
        with _SAVING, self._explained(f"written at step {step}"):
            self._manager.save(step, args=content, force=True)

    def _write_small(self, step: int, state: Any, notes: CheckpointNotes) -> None:
        """Write a small one, and leave the newest `keep` of all."""
        with self._explained(f"written at step {step}"):
            small_checkpoint.write(self.folder / str(step), state, notes.to_json())
            self._remove_old()

    def _wait_for_small(self) -> None:
        if self._written is not None:
            written, self._written = self._written, None
            written.result()

    def _remove_old(self) -> None:
        steps = sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        for step in steps[: -self._keep]:
            small_checkpoint.remove(self.folder / str(step))

    def notes(self) -> CheckpointNotes | None:
        """The notes of the newest checkpoint; None where there is none."""
        return None if self.latest() is None else self._tried(self._notes, None)

    def checksum(self) -> int | None:
        """That of the newest checkpoint; None where there is none."""
        step = self.latest()
        if self._saved is not None and self._saved[0] == step:
            return self._saved[1]
        notes = self.notes()
        return None if notes is None else notes.checksum

    def restore(self, like: TrainState, *, step: int | None = None) -> tuple[TrainState, CheckpointNotes]:
        """A checkpoint's state (host arrays shaped as `like`) and notes; the newest, where no step is given.

        A lane that came after it was written has the value of `like`. Raises RunError where it is damaged, and where
        there is none of that step.
        """
        return self._tried(lambda chosen: self._restored(like, chosen), step)

    def _tried(self, read: Callable[[int | None], Read], step: int | None) -> Read:
        """What `read` makes of `step`, or of the newest, again where a training deleted that one for a newer."""
        while True:
            chosen = self.latest() if step is None else step
            try:
                return read(chosen)
            except RunError:
                self._now, old = None, self._manager
                old.close()
                if step is not None or self.latest() == chosen:
                    raise

    def _notes(self, step: int | None) -> CheckpointNotes:
        with self._readable(step):
            restored = self._manager.restore(step, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))
        return self._parsed(restored["notes"], step)

    def _restored(self, like: TrainState, step: int | None) -> tuple[TrainState, CheckpointNotes]:
        if step not in (there := sorted(self._manager.all_steps())):
            raise RunError(f"{self.folder} has no checkpoint of step {step}; there are {', '.join(map(str, there))}")
        with self._readable(step):
            small_checkpoint.read_through(self.folder / str(step))
            saved = self._saved_lanes(step)
            known = like.replace(lane={path: value for path, value in like.lane.items() if path in saved})
            content = ocp.args.Composite(state=ocp.args.StandardRestore(known), notes=ocp.args.JsonRestore())
            restored = self._manager.restore(step, args=content)
            state, notes = restored["state"], self._parsed(restored["notes"], step)
            if _checksum(state) != notes.checksum:
                raise ValueError("its checksum does not match")
        return state.replace(lane={**like.lane, **state.lane}), notes

    def _saved_lanes(self, step: int) -> Collection[str]:
        """The paths of the lanes whose values a checkpoint holds."""
        folder: Any = self.folder / str(step) / "state"
        tree: Any = ocp.StandardCheckpointHandler().metadata(folder).tree
        return tree["lane"]

    def wait(self) -> None:
        """Until everything saved is on disk."""
        self._wait_for_small()
        if self._now is None:
            return
        with self._explained("finished"):
            self._now.wait_until_finished()
            self._now.check_for_errors()

    def close(self) -> None:
        """Wait until all is saved, and end the threads that save."""
        try:
            self._put_away()
        finally:
            if self._writer is not None:
                self._writer.shutdown()

    def _parsed(self, content: Any, step: int | None) -> CheckpointNotes:
        where = f"checkpoint {self.folder / str(step)}"
        return CheckpointNotes.parse(content, where, remedy=self._remedy(step))

    def _readable(self, step: int | None) -> _Explained:
        return _Explained(f"checkpoint {self.folder / str(step)} is damaged: {{}}; {self._remedy(step)}")

    def _remedy(self, step: int | None) -> str:
        others = [f"{other}" for other in self._manager.all_steps() if other != step]
        then = f"continue from step {others[-1]}" if others else "start this run again from the beginning"
        return f"delete that folder to {then}"

    def _explained(self, what: str) -> _Explained:
        return _Explained(
            f"a checkpoint in {self.folder} could not be {what}: {{}}; what was saved before is kept: mend this and "
            "run the same command again"
        )


class NoCheckpoints:
    """Those of a process that follows another, which has the checkpoints: there are none, and nothing is written."""

    def latest(self) -> int | None:
        """None: there is none."""
        return None

    def notes(self) -> CheckpointNotes | None:
        """None: there are none."""
        return None

    def checksum(self) -> int | None:
        """None: there are none."""
        return None

    def save(self, step: int, state: Any, notes: CheckpointNotes) -> None:
        """Do nothing."""

    def wait(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Explained:
    """Turns whatever Orbax raises into a RunError with one line of its reason."""

    def __init__(self, message: str):
        self._message = message

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, RunError):
            text = " ".join(str(error).split())
            full = "No space left" in text or "ENOSPC" in text
            reason = "no space left on device" if full else text[:200] or type(error).__name__
            raise (DiskFull if full else RunError)(self._message.format(reason)) from error


def _checksum(state: Any) -> int:
    total = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        array = np.ascontiguousarray(leaf)
        total = zlib.crc32(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode(), total)
        total = zlib.crc32(array.tobytes(), total)
    return total
