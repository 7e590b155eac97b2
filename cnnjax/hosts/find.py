"""Which processes train together, and which of them this one is: said by options, or by what started them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cnnjax.errors import ConfigError

HOW = ("auto", "one", "slurm", "kubernetes", "tpu")
"""Ways to find them: `auto` takes the first that its environment says, `one` none."""

_PORTS = range(61440, 65536)
"""Where the coordinator of a SLURM step listens: its number decides."""


@dataclass(frozen=True)
class Hosts:
    """The processes that train together.

    coordinator: HOST:PORT at which the first one is reached; None where JAX finds it (TPU). processes: how many;
    process: the number of this one, from 0. source: where that was found, for the log. local_devices: numbers of this
    machine's GPUs that are this process's; None for all it sees.
    """

    coordinator: str | None
    processes: int
    process: int
    source: str
    local_devices: tuple[int, ...] | None = None

    def __post_init__(self):
        if self.processes < 1:
            raise ConfigError(f"--processes {self.processes}: must be at least 1")
        if not 0 <= self.process < self.processes:
            raise ConfigError(
                f"--process {self.process}: processes are numbered from 0, so of {self.processes} the last is "
                f"{self.processes - 1}"
            )
        if self.coordinator is not None and not re.fullmatch(r".+:\d{1,5}", self.coordinator):
            raise ConfigError(f"--coordinator {self.coordinator}: must be HOST:PORT of process 0, such as node1:12345")

    def __str__(self) -> str:
        at = f", process 0 at {self.coordinator}" if self.coordinator else ""
        return f"process {self.process} of {self.processes} that train together ({self.source}{at})"


def found(
    how: str,
    environ: Mapping[str, str],
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> Hosts | None:
    """The processes that train together with this one; None where it trains alone.

    how: one of HOW. The options coordinator, processes and process come before what the environment says; the index of
    a Kubernetes job stands for `process`. Raises ConfigError where they are not complete, or where the environment that
    `how` asks for is not there.
    """
    if how not in HOW:
        raise ConfigError(f"--hosts {how}: must be one of {', '.join(HOW)}")
    if how == "one" and coordinator is None:
        return None
    given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    if how == "kubernetes" or "JOB_COMPLETION_INDEX" in environ:
        given["--process"] = process if process is not None else _index_of_job(environ, how)
    missing = [name for name, value in given.items() if value is None]
    if coordinator is not None and processes is not None and given["--process"] is not None:
        source = "from options" if process is not None else "from a Kubernetes job's index"
        return _alone_or(Hosts(coordinator, processes, int(given["--process"]), source))
    if coordinator is not None or processes is not None or process is not None or how == "kubernetes":
        raise ConfigError(
            f"{', '.join(missing)}: missing; --coordinator HOST:PORT, --processes N and --process I belong together "
            "(CNNJAX_COORDINATOR, CNNJAX_PROCESSES and CNNJAX_PROCESS in the environment do too)"
        )
    if how == "slurm" or (how == "auto" and _is_slurm(environ)):
        return _alone_or(_from_slurm(environ))
    if how == "tpu" or (how == "auto" and "," in environ.get("TPU_WORKER_HOSTNAMES", "")):
        return _from_tpu(environ)
    return None


def _alone_or(hosts: Hosts) -> Hosts | None:
    return hosts if hosts.processes > 1 else None


def _index_of_job(environ: Mapping[str, str], how: str) -> int | None:
    text = environ.get("JOB_COMPLETION_INDEX")
    if text is None and how == "kubernetes":
        raise ConfigError("--hosts kubernetes: JOB_COMPLETION_INDEX is not set: the Job needs completionMode: Indexed")
    return None if text is None else _number("JOB_COMPLETION_INDEX", text)


# --- SLURM: a step (`srun`) of several tasks

_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID")


def _is_slurm(environ: Mapping[str, str]) -> bool:
    return all(name in environ for name in _SLURM)


def _from_slurm(environ: Mapping[str, str]) -> Hosts:
    missing = [name for name in _SLURM if name not in environ]
    if missing:
        raise ConfigError(
            f"--hosts slurm: {', '.join(missing)} not set: start all processes with `srun`, which sets them"
        )
    job, step, tasks, task = (_number(name, environ[name]) for name in (*_SLURM[:2], *_SLURM[3:]))
    first = first_node(environ["SLURM_STEP_NODELIST"])
    # Steps that run at once on the same nodes get ports of their own.
    port = _PORTS[(31 * job + step) % len(_PORTS)]
    source = f"from SLURM, job {job}, step {step}"
    return Hosts(f"{first}:{port}", tasks, task, source, _gpus_of_task(environ))


def first_node(nodes: str) -> str:
    """The first of SLURM's list of nodes: `gpu[03-05,9]-ib,login` begins with gpu03-ib."""
    plain = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    if plain is None:
        raise ConfigError(f"SLURM_STEP_NODELIST={nodes!r} names no node")
    return "".join(part or "" for part in plain.groups())


def _gpus_of_task(environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """The GPUs of a task that shares its node with others and sees all of theirs: an even part of them."""
    here = _tasks_here(environ)
    visible = [name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if here == 1 or len(visible) < here:
        # Each sees its own.
        return None
    share = len(visible) // here
    first = _number("SLURM_LOCALID", environ.get("SLURM_LOCALID", "0")) * share
    return tuple(range(first, first + share))


def _tasks_here(environ: Mapping[str, str]) -> int:
    """Tasks of the step on this node: SLURM_STEP_TASKS_PER_NODE is `4(x2),3`, SLURM_NODEID this one's place."""
    counts: list[int] = []
    for part in environ.get("SLURM_STEP_TASKS_PER_NODE", "1").split(","):
        read = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if read is None:
            raise ConfigError(f"SLURM_STEP_TASKS_PER_NODE={environ['SLURM_STEP_TASKS_PER_NODE']!r} cannot be read")
        counts += [int(read[1])] * int(read[2] or 1)
    node = _number("SLURM_NODEID", environ.get("SLURM_NODEID", "0"))
    return counts[min(node, len(counts) - 1)]


# --- TPU pods: JAX asks the machine


def _from_tpu(environ: Mapping[str, str]) -> Hosts:
    """The workers of a TPU slice, of which JAX knows the addresses."""
    names = [name for name in environ.get("TPU_WORKER_HOSTNAMES", "").split(",") if name]
    worker = _number("TPU_WORKER_ID", environ.get("TPU_WORKER_ID", "0"))
    return Hosts(None, max(len(names), worker + 1), worker, "workers of a TPU slice")


def _number(name: str, text: str) -> int:
    if not text.strip().isdigit():
        raise ConfigError(f"{name}={text!r} is no number")
    return int(text)
