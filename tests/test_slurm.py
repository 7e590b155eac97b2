"""A study on a real SLURM (.ci/slurm start): jobs are lost, preempted and cancelled, and nothing is lost."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from cnnjax import Hardware, Options, Study, plan, sweep
from cnnjax.config import replace
from cnnjax.errors import ConfigError, RunError
from cnnjax.launch.launcher import Detached, cancel_jobs, jobs_said
from cnnjax.launch.status import status
from cnnjax.launch.work import submitted
from cnnjax.study.file import load
from cnnjax.study.study import with_fields
from tests.test_workers import numbers

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(shutil.which("sbatch") is None, reason="there is no sbatch: .ci/slurm start"),
    pytest.mark.skipif("SLURM_CONF" not in os.environ, reason="SLURM_CONF is not set: .ci/slurm env"),
]

FILE = """
from cnnjax import Experiment, SGD, SmallCNN, Study, Synthetic
DATA = Synthetic(height=8, width=8, channels=1, classes=4, examples=2048, test_examples=16)
experiment = Experiment(model=SmallCNN(features=2, dense=0), data=DATA, optim=SGD(learning_rate=0.05), batch_size=16,
    epochs=60)
study = Study(experiment, axes={"model.features": [2, 3]}, seeds=2)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("study") / "filters.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def local(file) -> Path:
    """The study, trained here."""
    out = file.parent / "local"
    command(file.parent, "sweep", file, "--out", out, "--devices", 1)
    return out


@pytest.fixture
def out() -> Iterator[Path]:
    """A folder outside /tmp, which the third node does not share; jobs that are left end with it."""
    path = Path("/var/tmp") / f"cnnjax-slurm-{os.getpid()}-{time.monotonic_ns()}"
    yield path
    cancel_jobs(path)
    wait_for(lambda: not queue(), "jobs to end")
    shutil.rmtree(path) if not os.environ.get("KEEP") else None


@pytest.fixture(scope="module", autouse=True)
def environ() -> Iterator[None]:
    """Jobs and commands compile as users do, for one device, and import this cnnjax."""
    jax.devices()  # This process keeps its eight, whichever test it begins with.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "")
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        yield


def command(folder: Path, *words: object) -> str:
    """What it prints."""
    line = [sys.executable, "-m", "cnnjax", *map(str, words)]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def submit(file: Path, out: Path, study: Study | None = None, **settings: object) -> str:
    """Submit the study of the file, or one that is like it; the number of its job."""
    options = Options(Hardware(devices=1), checkpoint_seconds=0.3)
    told = {"time": "10", **settings}
    outcome = sweep(study or load(file).study, out, file=file, launcher="slurm", settings=told, pack=1, options=options)
    assert outcome.detached is not None
    assert not outcome.complete
    return outcome.detached.jobs[0].split("_")[0]


def queue() -> list[str]:
    """`job|state|node` of the jobs that are waiting or running."""
    return ask("squeue", "--noheader", "--array", "--format=%i|%T|%N").split()


def restarted(job: str) -> int:
    """How often a job went back into the queue."""
    [count] = re.findall(r"Restarts=(\d+)", ask("scontrol", "show", "job", job))
    return int(count)


def ask(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def wait_for(happened, what: str, seconds: float = 90.0):
    """What `happened()` returns once it is true."""
    until = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < until, f"waited {seconds:g} s for {what}: {queue()}"
        time.sleep(0.2)
    return found


def begun(out: Path) -> set[Path]:
    """The checkpoints of trials that have no result."""
    found = [path for path in out.glob("trials/*/checkpoints/*") if path.name.isdigit()]  # else it is being written
    return {path for path in found if not (path.parents[1] / "result.json").exists()}


def said_by_jobs(out: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(out.glob("jobs/*.err")))


def lose(node: str) -> None:
    """Kill all that runs on a node at once, and have SLURM notice."""
    mine = f"SLURMD_NODENAME={node}".encode()
    pids = {int(Path(f"/run/cnnjax-slurm/{node}/pid").read_text())}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mine in (process / "environ").read_bytes().split(b"\0"):
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                pids |= {int(process.name)}
                pids |= {parent} if Path(f"/proc/{parent}/comm").read_text().strip() == "slurmstepd" else set()
        except OSError:
            continue  # it has ended
    for number in (signal.SIGSTOP, signal.SIGKILL):  # none of them shall tell of another's end
        for pid in pids:
            os.kill(pid, number)
    ask("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")


def test_a_node_is_lost_in_the_middle(file, local, out):
    """All trials are there once, with the numbers of those trained here."""
    cores = os.cpu_count() or 1
    submit(file, out, jobs=2, cpus=cores)
    wait_for(lambda: sum("RUNNING" in row for row in queue()) == 2, "a job on each node")
    wait_for(lambda: len({path.parents[1] for path in begun(out)}) >= 2, "checkpoints of both")
    [lost] = [row.partition("|")[0] for row in queue() if row.endswith("|two")]
    lose("two")
    try:
        wait_for(lambda: status(out).over, "the end of the study")
    finally:
        subprocess.run(["slurmd", "-N", "two"], check=True)
    assert numbers(out) == numbers(local)
    assert status(out).done == 4
    assert not list(out.glob("stale"))
    # What was lost goes back into the queue, to find nothing left to do.
    wait_for(lambda: restarted(lost) == 1, "what was lost to be in the queue again")


def test_a_job_whose_processes_are_ended_goes_on(file, local, out):
    """A worker is killed, a job preempted (TERM), near its time limit (USR2), killed with all that it runs."""
    job = submit(file, out, jobs=1)
    seen = wait_for(lambda: begun(out), "a checkpoint")
    os.kill(status(out).running[0].pid, signal.SIGKILL)
    wait_for(lambda: "was ended by SIGKILL, and is started again" in said_by_jobs(out), "another worker")
    for restarts, number in enumerate(["TERM", "USR2", "KILL"], 1):
        seen |= wait_for(lambda seen=seen: begun(out) - seen, "another checkpoint")
        ask("scancel", f"--signal={number}", f"{job}.0")  # of the job itself, KILL is its cancellation
        wait_for(lambda count=restarts: restarted(job) == count, f"{number} to bring the job back into the queue")
        seen |= begun(out)
    saved = {path.parents[1] for path in begun(out)}
    wait_for(lambda: status(out).over, "the end of the study")
    assert numbers(out) == numbers(local)
    assert saved
    assert all("continue at step" in (trial / "log.txt").read_text() for trial in saved)
    wait_for(lambda: not queue(), "the job to end")
    assert jobs_said(out) == [f"SLURM job {job}: 1 completed"]
    again = sweep(load(file).study, out, file=file, launcher="slurm")
    assert again.complete
    assert (len(again.skipped), again.detached) == (4, None)


def test_one_trial_is_trained_by_two_nodes_and_goes_on_where_one_died(file, out):
    """That its numbers are those of one process with two devices is for test_two_hosts.py to show."""
    one = Study(replace(load(file).study.experiment, {"epochs": 10}), seeds=1)
    job = submit(file, out, one, nodes=2, jobs=1)
    wait_for(lambda: begun(out), "a checkpoint")
    os.kill(status(out).running[0].pid, signal.SIGKILL)
    wait_for(lambda: restarted(job) == 1, "the job to be requeued")
    wait_for(lambda: status(out).done == 1, "the end of the study")
    assert "continue at step" in next(out.glob("trials/*/log.txt")).read_text()
    assert "process 0 of 2 that train together" in said_by_jobs(out)


def test_cancel_ends_jobs_with_all_saved_and_the_same_sweep_goes_on(file, local, out):
    how = ["--launcher", "slurm", "--time", 10, "--jobs", 1, "--checkpoint-seconds", 0.3, "--devices", 1, "--pack", 1]
    said = command(file.parent, "sweep", file, "--out", out, *how)
    assert f"cnnjax status {out}" in said
    wait_for(lambda: begun(out), "a checkpoint")
    command(out, "cancel", out)
    wait_for(lambda: not queue(), "the job to end")
    assert not status(out).over
    command(file.parent, "sweep", file, "--out", out, "--devices", 1)
    assert numbers(out) == numbers(local)


def test_a_folder_that_the_nodes_do_not_see_is_said(file, tmp_path):
    """The node has a /tmp of its own."""
    out = tmp_path / "out"
    job = submit(file, out, jobs=1, partition="apart")
    wait_for(lambda: not queue(), "the job to end")
    [_, said] = jobs_said(out)
    assert f"SLURM job {job} ended before it began: apart does not see {out}" in said


def test_what_slurm_refuses_is_said(file, tmp_path):
    with pytest.raises(RunError, match="SLURM took no job: .*invalid partition specified: nowhere"):
        sweep(load(file).study, tmp_path, file=file, launcher="slurm", settings={"partition": "nowhere"})


def test_jobs_that_wait_are_noticed_by_the_next_sweep(file, out):
    held = {"jobs": 2, "sbatch": ("--hold",)}
    first = submit(file, out, **held)
    again = sweep(load(file).study, out, file=file, launcher="slurm", settings=held)
    assert again.detached is not None
    assert again.detached.jobs == (f"{first}_0", f"{first}_1")
    assert f"SLURM job {first}: 2 workers of an earlier sweep, in the queue or running; so none" in again.detached.text
    assert len(queue()) == 2
    with pytest.raises(ConfigError, match="workers = 2: with nodes = 2 .* leave workers out"):
        sweep(load(file).study, out, file=file, launcher="slurm", settings=held | {"nodes": 2}, workers=2)
    more = sweep(load(file).study, out, file=file, launcher="slurm", settings=held | {"jobs": 3}, workers=2)
    assert more.detached is not None
    assert len(queue()) == 3, "only what is missing"
    assert submitted(out) == 3
    *_, script = sorted(out.glob("jobs/*_submitted.pkl"), key=lambda path: path.stat().st_mtime)
    assert pickle.loads(script.read_bytes()).function.options == ("--side-by-side", "2")


def test_a_job_that_runs_is_counted_where_it_knows_the_trials(file, out):
    first = submit(file, out, jobs=1)
    wait_for(lambda: begun(out), "a checkpoint")
    same = sweep(load(file).study, out, file=file, launcher="slurm", settings={"jobs": 1})
    assert same.detached is not None
    assert [job.split("_")[0] for job in same.detached.jobs] == [first]
    wider = with_fields(load(file).study, seeds=3)
    held = {"jobs": 1, "sbatch": ("--hold",)}
    outcome = sweep(wider, out, file=file, launcher="slurm", settings=held)
    assert outcome.detached is not None
    assert first not in {job.split("_")[0] for job in outcome.detached.jobs}


def test_from_python_the_jobs_are_told(file, out):
    loaded = load(file)
    outcome = sweep(loaded.study, out, file=file, launcher="slurm", settings={"jobs": 1, "sbatch": ("--hold",)})
    assert isinstance(outcome.detached, Detached)
    assert not outcome.complete
    [job] = outcome.detached.jobs
    assert f"cnnjax status {out}" in outcome.detached.text
    assert len(plan(loaded.study).trials) == status(out).waiting == 4
    assert jobs_said(out) == [f"SLURM job {job}: 1 pending (JobHeldUser)"]
