"""A worker within a job of SLURM. Needs no JAX: the worker is a process of its own."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cnnjax import interrupts
from cnnjax.errors import RunError
from cnnjax.launch.worker_process import Worker, jobs_folder
from cnnjax.records.cancel_json import CancelRecord

SIGNALLED = 128
"""Exit codes above it say that a process was ended by a signal."""


@dataclasses.dataclass
class SlurmWorker(Worker):
    """What submitit calls on each node of a job. together: there are several, which train each trial together."""

    together: bool = False

    def __call__(self) -> None:
        """Train until nothing is left. A worker that is asked to stop goes back into the queue, with its job.

        Raises RunError where it ended otherwise. Of several that train together none goes on without one that died:
        SystemExit, by which SLURM ends the others, and the job goes back into the queue (`again_lines`).
        """
        code = self.run(f"slurm-{_job()}")
        if code == interrupts.STOPPED:
            self._go_on_later()
        elif self.together and code > SIGNALLED:
            sys.exit(code)
        elif code:
            raise RunError(f"the worker ended with exit code {code}: its output is in {jobs_folder(Path(self.out))}")

    def checkpoint(self) -> Any:
        """Called by submitit where the job's time is over: what it shall do once it has been requeued."""
        self.ask_to_stop()
        self.wait()
        return importlib.import_module("submitit.helpers").DelayedSubmission(dataclasses.replace(self))

    def _go_on_later(self) -> None:
        """After a request to stop: back into the queue, unless it was cancelled."""
        # Where the request was SLURM's signal before the time limit, submitit has it too, and requeues meanwhile.
        time.sleep(2.0)
        if _goes_on() and not CancelRecord.at(Path(self.out)).exists():
            print("asked to stop by SIGTERM: back into the queue", file=sys.stderr, flush=True)
            signal.raise_signal(signal.SIGUSR2)


def again_lines(out: Path, requeues: int) -> list[str]:
    """Lines of shell after a job's step: the job goes back into the queue where all of the step was killed."""
    cancelled = shlex.quote(str(CancelRecord.at(out)))
    runs = '[ "$(squeue -h -t all -o %T -j "$SLURM_JOB_ID")" = RUNNING ]'
    few = f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeues} ]'
    return [
        "code=$?",
        f"if [ $code -gt {SIGNALLED} ] && {few} && [ ! -e {cancelled} ] && {runs}; then",
        '  echo "ended with exit code $code: back into the queue" >&2',
        '  scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        "exit $code",
    ]


def _job() -> str:
    """The name of this job as SLURM shows it: 12, or 12_0 in an array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _goes_on() -> bool:
    """Whether SLURM holds this job for running: it was not cancelled."""
    said = ask("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={os.environ['SLURM_JOB_ID']}")
    return said.strip() == "RUNNING"


def ask(*command: str, unknown: str | None = None) -> str:
    """What a command of SLURM prints; `unknown` where it knows no such job any more. Raises RunError as it does."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{command[0]}: {error}") from error
    if done.returncode and unknown is not None and "Invalid job id" in done.stderr:
        return unknown
    if done.returncode:
        raise RunError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
