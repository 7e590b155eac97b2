"""What SLURM is asked for, and whether it can be asked from here."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from cnnjax.config import Config
from cnnjax.errors import ConfigError
from cnnjax.launch.amounts import memory_bytes, time_seconds

if TYPE_CHECKING:
    from cnnjax.run.options import Options


_FIELDS = {name: name for name in ("partition", "gres", "time", "mem", "nodes", "account", "qos", "constraint")}
_FIELDS |= {"cpus-per-task": "cpus", "array": "jobs, at_once", "signal": "save_seconds"}
"""Options of `sbatch`, and the settings that say the same."""

_OWN = ("error", "job-name", "no-requeue", "ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "requeue")
"""Options of `sbatch` without which the launcher would not do its work."""


class SlurmSettings(Config):
    """What SLURM is asked for, of each worker.

    partition, gres, account, qos, constraint: as `sbatch` takes them. time: SLURM's own form, such as 4:00:00. cpus,
    mem (32G): of a node. nodes: how many one trial is spread over, with one process on each. jobs: how many workers
    (None: one a trial that is missing, eight at most). at_once: how many of them run side by side (None: all).
    save_seconds: how long before its end a job is told to save. retries: how often a worker that died is started
    again; requeues: how often a job goes back into the queue, at its time limit or where all of it was killed. setup:
    lines of shell before a worker begins, such as "module load cuda". sbatch: further options of `sbatch`, such as
    "--mail-type=END".
    """

    partition: str | None = None
    gres: str | None = None
    time: str = "4:00:00"
    cpus: int | None = None
    mem: str | None = None
    nodes: int = 1
    jobs: int | None = None
    at_once: int | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    save_seconds: int = 90
    retries: int = 3
    requeues: int = 100
    setup: tuple[str, ...] = ()
    sbatch: tuple[str, ...] = ()

    @field_validator("time")
    @classmethod
    def _check_time(cls, text: str) -> str:
        time_seconds(text)
        return text

    @field_validator("mem")
    @classmethod
    def _check_mem(cls, text: str | None) -> str | None:
        if text is not None:
            memory_bytes(text)
        return text

    @field_validator("cpus", "nodes", "jobs", "at_once", "save_seconds", "retries", "requeues")
    @classmethod
    def _check_count(cls, count: int | None, info: Any) -> int | None:
        least = 0 if info.field_name in ("retries", "requeues") else 1
        if count is not None and count < least:
            raise ValueError(f"must be at least {least}")
        return count

    @field_validator("sbatch")
    @classmethod
    def _check_sbatch(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            name = word.removeprefix("--").partition("=")[0]
            if not word.startswith("--") or not name:
                raise ValueError(f"{word!r} is no option such as --mail-type=END")
            if name in _FIELDS:
                raise ValueError(f"--{name} is the setting {_FIELDS[name]}: give that")
            if name in _OWN:
                raise ValueError(f"--{name} is for cnnjax to say: leave it out")
        return words

    @field_validator("setup", "sbatch", mode="before")
    @classmethod
    def _check_list(cls, lines: Any) -> Any:
        if isinstance(lines, str):
            raise ValueError(f"must be a list, such as [{lines!r}]")
        return lines


def check(settings: SlurmSettings, options: Options) -> None:
    """Raise ConfigError where there is no `sbatch`, or a job would end before its first checkpoint."""
    missing = [command for command in ("sbatch", "srun", "squeue", "scontrol") if shutil.which(command) is None]
    if missing:
        raise ConfigError(
            f"--launcher slurm: there is no `{missing[0]}` here: run the command on a machine from which jobs are "
            "submitted (a login node), or train here with --launcher local"
        )
    left = time_seconds(settings.time) - settings.save_seconds
    if left <= 0:
        raise ConfigError(
            f"time = {settings.time}: a job is told to save {settings.save_seconds} s before its end, so nothing is "
            "left to train: raise time, or lower save_seconds"
        )
    if options.checkpoint_steps is None and left <= options.checkpoint_seconds:
        raise ConfigError(
            f"time = {settings.time} less the last {settings.save_seconds} s is {left} s, and a checkpoint is saved "
            f"every {options.checkpoint_seconds:g} s: raise time, or lower --checkpoint-seconds"
        )
