"""Trains a study by jobs of SLURM, each a worker: submits them with submitit, and leaves.

A job that has to end (its time is over, another takes its place) saves what it trains and goes back into the queue.
"""

from __future__ import annotations

import importlib
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnjax.config import digest_of_text
from cnnjax.errors import ConfigError, RunError
from cnnjax.launch.amounts import time_seconds
from cnnjax.launch.launcher import Detached, Launch
from cnnjax.launch.slurm_settings import SlurmSettings, check
from cnnjax.launch.slurm_worker import SlurmWorker, again_lines, ask
from cnnjax.launch.worker_process import (
    NO_FOLDER,
    jobs_folder,
    new_token,
    not_shared,
    note_jobs,
    started,
    submissions,
    work_options,
)
from cnnjax.records.jobs_json import JobsEntry

if TYPE_CHECKING:
    from cnnjax.launch.claims import Outcomes

__all__ = ["NEEDS", "Settings", "cancel", "check", "launch", "look"]

Settings = SlurmSettings
NEEDS = ("submitit", "cnnjax[slurm]")
MOST_JOBS = 8
"""As many workers are submitted where nothing is said, or one a trial where these are fewer."""

_WAITING, _RUNNING = ("PENDING", "CONFIGURING"), ("RUNNING", "SUSPENDED")
"""States of a job that has not begun, and of one that has."""

_GONE = ("BOOT_FAIL", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
"""States of a job that is over, other than by somebody's wish."""


def launch(launched: Launch) -> Outcomes | Detached:
    """Submit workers for what is missing, if anything is. Raises RunError where SLURM takes no such job."""
    from cnnjax.launch.elsewhere import FollowedTrials

    trials = FollowedTrials(launched)
    if trials.missing == 0:
        return trials.outcomes("")
    submitit = importlib.import_module("submitit")
    utils = importlib.import_module("submitit.core.utils")
    settings = launched.settings
    assert isinstance(settings, SlurmSettings)
    out, together = launched.study.out.resolve(), settings.nodes > 1
    if together and launched.workers is not None:
        raise ConfigError(
            f"workers = {launched.workers}: with nodes = {settings.nodes} each program is trained by all of them, one "
            "after the other: leave workers out"
        )
    planned = digest_of_text(" ".join(sorted(trial.id for trial in launched.planned.trials)))
    there = _working(out, planned, anew=bool(launched.again))
    count = (settings.jobs or min(MOST_JOBS, trials.missing or MOST_JOBS)) - len(there)
    if count <= 0:
        return Detached("slurm", tuple(there), _said([], there, out, settings))
    token = new_token(out)
    options = (*work_options(launched), *(("--hosts", "slurm") if together else ()))
    worker = SlurmWorker(str(out), token, options, 0 if together else settings.retries, together=together)
    try:
        executor = submitit.SlurmExecutor(jobs_folder(out), max_num_timeout=settings.requeues)
        executor.update_parameters(**_parameters(settings, launched.study.name, out, token))
        with executor.batch():
            jobs = [executor.submit(worker) for _ in range(count)]
    except (utils.FailedSubmissionError, utils.FailedJobError, OSError) as error:
        raise RunError(f"SLURM took no job: {' '.join(str(error).split())}") from error
    ids = [job.job_id for job in jobs]
    note_jobs(out, "slurm", ids, token, trials=planned, beside=len(there))
    return Detached("slurm", (*there, *ids), _said(ids, there, out, settings))


def _working(out: Path, planned: str, *, anew: bool) -> list[str]:
    """The jobs of earlier submissions that will train the planned trials, as SLURM shows them: 12_0.

    One that waits reads the study's folder when it begins; one that runs has read it, so it knows the trials that were
    planned then. planned: a digest of those that are now; anew: some of these have failed before, which one that runs
    has seen.
    """
    found = []
    for entry in submissions(out, "slurm"):
        states = _WAITING if anew or entry.trials != planned else (*_WAITING, *_RUNNING)
        found += [job for job, state in _states(entry.jobs[0].split("_")[0]) if state in states]
    return found


def _states(main: str) -> list[tuple[str, str]]:
    """The jobs of an array that are not over, each with its state."""
    rows = ask("squeue", "--noheader", "--array", "--format=%i|%T", f"--jobs={main}", unknown="").splitlines()
    return [(job, state) for job, _, state in (row.strip().partition("|") for row in rows)]


def _parameters(settings: SlurmSettings, name: str, out: Path, token: str) -> dict[str, Any]:
    """What submitit makes the job's script of."""
    further = {"requeue": True} | dict(_option(word) for word in settings.sbatch)
    if settings.mem is not None:
        further["mem"] = settings.mem
    tasks = {"nodes": settings.nodes, "ntasks_per_node": 1, "srun_args": ["--kill-on-bad-exit=1"]}
    if settings.cpus is not None:
        # Since SLURM 22.05, srun does not take them from the job.
        tasks["srun_args"].append(f"--cpus-per-task={settings.cpus}")
    given = {
        "partition": settings.partition,
        "gres": settings.gres,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "cpus_per_task": settings.cpus,
        "array_parallelism": settings.at_once,
    }
    return tasks | {
        "job_name": f"cnnjax-{name}",
        "time": -(-time_seconds(settings.time) // 60),
        "signal_delay_s": settings.save_seconds,
        "setup": [_folder_check(out, token), *settings.setup],
        "teardown": again_lines(out, settings.requeues),
        "additional_parameters": further,
        **{key: value for key, value in given.items() if value is not None},
    }


def _option(word: str) -> tuple[str, str | bool]:
    """`--name=value` or `--name`."""
    name, equals, value = word.removeprefix("--").partition("=")
    return name, value if equals else True


def _folder_check(out: Path, token: str) -> str:
    """A line of shell that ends a job whose machine does not see the study's folder: Python may lie there too."""
    path = shlex.quote(str(jobs_folder(out) / token))
    waits = f"for _ in $(seq 60); do [ -e {path} ] && break; sleep 0.5; done"
    said = shlex.quote(not_shared(out, "this machine"))
    return f"{waits}; [ -e {path} ] || {{ echo {said} >&2; exit {NO_FOLDER}; }}"


def _said(ids: list[str], there: list[str], out: Path, settings: SlurmSettings) -> str:
    """ids: of the jobs that were submitted; there: of those that were before."""
    where, lines = shlex.quote(str(out)), []
    if there:
        more = "beside them" if ids else "so none is submitted; to have others, cancel them first"
        lines.append(
            f"SLURM job {_mains(there)}: {_workers(there)} of an earlier sweep, in the queue or running; {more}"
        )
    if ids:
        nodes = f" of {settings.nodes} nodes each" if settings.nodes > 1 else ""
        lines.append(f"SLURM job {_mains(ids)}: {_workers(ids)}{nodes}; they go on without this process")
    return "\n".join(lines) + (
        "\n"
        f"  cnnjax status {where}   how far it is\n"
        f"  cnnjax cancel {where}   end it, with everything saved\n"
        f"  cnnjax report {where}   once it is done, or before"
    )


def _workers(ids: list[str]) -> str:
    return f"{len(ids)} workers" if len(ids) > 1 else "1 worker"


def _mains(ids: list[str]) -> str:
    """The numbers that the jobs were submitted under: 12, 15."""
    return ", ".join(dict.fromkeys(job.split("_")[0] for job in ids))


def cancel(out: Path) -> None:
    """End the jobs of a study. Those that run save what they train first. Raises RunError where SLURM refuses."""
    for entry in submissions(out, "slurm"):
        ask("scancel", *sorted({job.split("_")[0] for job in entry.jobs}))


def look(out: Path) -> list[str]:
    """What SLURM says of the jobs of a study, and which of them ended without having seen its folder."""
    if shutil.which("squeue") is None:
        return ["there is no `squeue` here: what became of SLURM's jobs is known where they were submitted"]
    return [said for entry in submissions(out, "slurm") for said in _look(entry, out)]


def _look(entry: JobsEntry, out: Path) -> list[str]:
    main = entry.jobs[0].split("_")[0]
    rows = ask(
        "squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%N|%r", f"--jobs={main}", unknown=""
    ).splitlines()
    found = started(out, entry.token)
    counts: dict[str, int] = {}
    lost = []
    for job, state, nodes, reason in (row.split("|") for row in rows):
        waits = f" ({reason})" if state == "PENDING" and reason not in ("None", "Priority", "Resources") else ""
        counts[state.lower() + waits] = counts.get(state.lower() + waits, 0) + 1
        if state in _GONE and f"slurm-{job}" not in found:
            lost.append(f"SLURM job {job} ended before it began: {not_shared(out, nodes)}, or see `scontrol show job`")
        elif state in _GONE and state != "COMPLETED":
            lost.append(f"SLURM job {job} is over ({state.lower()}); what it printed is in {jobs_folder(out)}/{job}_*")
    if not counts:
        return [f"SLURM job {main}: over"]
    return [f"SLURM job {main}: {', '.join(f'{count} {state}' for state, count in counts.items())}", *lost]
