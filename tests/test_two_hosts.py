"""Two processes that train one experiment: their numbers, their checkpoints, and how they end. Real ones, on CPUs."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from cnnjax import SGD, Digits, Experiment, Hardware, Options, SmallCNN, Study, SuccessiveHalving, sweep, train
from cnnjax.config import replace
from cnnjax.errors import Interrupted
from cnnjax.launch.status import status
from cnnjax.run.checkpoint import Checkpoints
from tests.forking import shared

pytestmark = pytest.mark.slow

TINY = Experiment(
    model=SmallCNN(features=4, dense=512),
    data=Digits(),
    optim=SGD(learning_rate=0.05),
    batch_size=32,
    steps=24,
    validation=0.2,
)
SETUP = """
import json, logging, os, sys, time
import jax
from cnnjax.hosts import Hosts, joined, is_first
from cnnjax import Experiment, Hardware, Options, train
from cnnjax.config import replace
port, process, out = told["port"], told["process"], told["run"]
tiny = Experiment.from_json(json.dumps(told["experiment"]))
"""


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("localhost", 0))
        return bound.getsockname()[1]


class Pair:
    """Two processes that run a program, each with so many CPU devices; or `cnnjax` with these words."""

    def __init__(self, program: str, out: Path, *words: str, devices: tuple[int, int] = (1, 1), **told):
        port, said = free_port(), Path(tempfile.mkdtemp(dir=out.parent))
        told |= {"experiment": json.loads(TINY.to_json()), "port": port, "run": str(out)}
        self.processes = [
            shared().start(
                *(word.format(port=port, process=number) for word in words),
                cwd=out.parent,
                said=said,
                program=SETUP + program if program else "",
                # Of a flag that is given twice the last holds: compiled as here, for other devices.
                environ={"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"},
                process=number,
                **told,
            )
            for number, count in enumerate(devices)
        ]

    def ended(self, seconds: float = 120.0) -> list[tuple[int, str, str]]:
        """Exit code, output and errors of each."""
        try:
            codes = [process.wait(seconds) for process in self.processes]
        finally:
            for process in self.processes:
                process.end()
        return [
            (code, each.out.read_text(), each.err.read_text()) for code, each in zip(codes, self.processes, strict=True)
        ]


def state_of(run: Path) -> list[np.ndarray]:
    """What the newest checkpoint of a run holds."""
    import orbax.checkpoint as ocp

    step = Checkpoints(run / "checkpoints", read_only=True).latest()
    tree = ocp.StandardCheckpointer().restore((run / "checkpoints" / str(step) / "state").absolute())
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


NUMBERS = """
with joined(Hosts(f"localhost:{port}", 2, process, "test")):
    ways = {"two": Hardware(devices=1), "split": Hardware(shard_state=True), "streamed": Hardware(resident=0.0),
            "shard_map": Hardware(parallel="shard_map")}
    for name, hardware in ways.items():
        result = train(tiny, f"{out}/{name}", options=Options(hardware))
        print(json.dumps(result["metrics"]))
"""


def test_two_processes_give_the_numbers_of_one(tmp_path):
    """Bitwise with a device each: sums of two numbers have one order. With two each to round-off, a state
    that is split over all four too."""
    both = Pair(NUMBERS, tmp_path, devices=(2, 2)).ended()
    assert [code for code, _, _ in both] == [0, 0], both
    assert both[0][1] == both[1][1]
    alone = train(TINY, tmp_path / "alone", options=Options(Hardware(devices=2)))
    assert (tmp_path / "two/metrics.jsonl").read_bytes() == (tmp_path / "alone/metrics.jsonl").read_bytes()
    for one, two in zip(state_of(tmp_path / "alone"), state_of(tmp_path / "two"), strict=True):
        np.testing.assert_array_equal(one, two)
    for name in ("split", "streamed", "shard_map"):
        metrics = json.loads((tmp_path / name / "result.json").read_text())["metrics"]
        assert metrics == pytest.approx(alone["metrics"], rel=1e-5), name
        for one, two in zip(state_of(tmp_path / "alone"), state_of(tmp_path / name), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    assert json.loads((tmp_path / "split/environment.json").read_text())["hosts"] == 2


CONTINUED = """
from cnnjax import interrupts
from cnnjax.errors import Interrupted
from cnnjax.run import loop

interrupts.listen()
look = loop._look_at

def slow(pack, taken, pace):
    look(pack, taken, pace)
    step = taken.firsts[0] + taken.count
    if told["kill"] == process and step == 9:
        os.kill(os.getpid(), 9)
    if told["slow"]:
        print(step, flush=True)
        time.sleep(0.1)

loop._look_at = slow
try:
    with joined(Hosts(f"localhost:{port}", 2, process, "test")):
        train(tiny, out, options=Options(checkpoint_steps=4))
except Interrupted as stop:
    print(stop)
    raise SystemExit(3)
"""


def test_killed_and_stopped_they_continue_bitwise(tmp_path):
    run = tmp_path / "run"
    killed, other = (Pair(CONTINUED, run, kill=1, slow=False)).ended()[::-1]
    assert killed[0] == -signal.SIGKILL
    assert other[0] == 1
    assert "HostLost: the connection to another process broke" in other[2]
    assert Checkpoints(run / "checkpoints", read_only=True).latest() == 8
    stopped = Pair(CONTINUED, run, kill=None, slow=True)
    while "12\n" not in stopped.processes[1].out.read_text():
        assert stopped.processes[1].poll() is None, stopped.ended()
        time.sleep(0.02)
    stopped.processes[1].send_signal(signal.SIGTERM)
    ended = stopped.ended()
    assert [code for code, _, _ in ended] == [3, 3], ended
    at = Checkpoints(run / "checkpoints", read_only=True).latest()
    assert at in range(12, 24)
    assert all(f"stopped at step {at} of 24; all saved in {run}" in out for _, out, _ in ended)
    assert [code for code, _, _ in Pair(CONTINUED, run, kill=None, slow=False).ended()] == [0, 0]
    whole = train(TINY, tmp_path / "whole", options=Options(Hardware(devices=2)))
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()
    assert json.loads((run / "result.json").read_text())["metrics"] == whole["metrics"]
    for one, two in zip(state_of(tmp_path / "whole"), state_of(run), strict=True):
        np.testing.assert_array_equal(one, two)


WORK = """
from cnnjax import interrupts
from cnnjax.launch.work import work
from cnnjax.run import loop

interrupts.listen()
look, trials = loop._look_at, []

def killed(pack, taken, pace):
    look(pack, taken, pace)
    trials.extend(trial.id for trial in pack.trials if trial.id not in trials)
    if process == 1 and len(trials) == 2 and taken.firsts[0] + taken.count == 4:
        os.kill(os.getpid(), 9)

loop._look_at = killed
with joined(Hosts(f"localhost:{port}", 2, process, "test")):
    work(out, options=Options(Hardware(devices=1), checkpoint_steps=3))
"""


def test_a_worker_of_two_processes_trains_a_study_killed_in_its_midst(tmp_path):
    """In the second of three trials a process is killed; `cnnjax work` on the command line goes on."""
    study = Study(replace(TINY, {"steps": 6}), axes={"optim.learning_rate": [0.05, 0.1, 0.2]}, seeds=1)
    out, alone = tmp_path / "study", tmp_path / "alone"
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Interrupted):
        sweep(study, out, stop=stopped, options=Options(Hardware(devices=1)))
    (code, _, err), (killed, _, _) = Pair(WORK, out).ended()
    assert killed == -signal.SIGKILL
    assert code == 1
    assert "HostLost: the connection to another process broke" in err
    assert (status(out).done, status(out).failed) == (1, 0)
    begun = {path.parent.parent.parent.name: path for path in out.glob("trials/*/checkpoints/*/state")}
    assert len(begun) == 2
    words = [
        "work",
        str(out),
        "--coordinator",
        "localhost:{port}",
        "--json",
        "--processes",
        "2",
        "--process",
        "{process}",
    ]
    (code, first, err), (other, second, _) = Pair("", out, *words).ended()
    assert [code, other] == [0, 0], err
    outcome = json.loads(first)
    assert (len(outcome["done"]), len(outcome["skipped"]), outcome["errors"]) == (2, 1, {})
    assert second == ""
    assert sweep(study, alone, options=Options(Hardware(devices=2))).complete
    trials = sorted((alone / "trials").glob("*/metrics.jsonl"))
    assert len(trials) == 3
    for rows in trials:
        there = out / "trials" / rows.parent.name
        assert rows.read_bytes() == (there / "metrics.jsonl").read_bytes()
        metrics = [json.loads((folder / "result.json").read_text())["metrics"] for folder in (rows.parent, there)]
        assert metrics[0] == metrics[1]


ADAPTIVE = """
from cnnjax.launch.work import work

with joined(Hosts(f"localhost:{port}", 2, process, "test")):
    work(out, options=Options(Hardware(devices=1)))
"""


def test_a_worker_of_two_processes_decides_what_an_adaptive_study_trains(tmp_path):
    axes = {"optim.learning_rate": [0.01, 0.1]}
    base = replace(TINY, {"steps": None, "epochs": 2, "batch_size": 256})
    study = Study(base, axes=axes, seeds=1, adaptive=SuccessiveHalving(factor=2))
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Interrupted):
        sweep(study, tmp_path / "study", stop=stopped, options=Options(Hardware(devices=1)))
    both = Pair(ADAPTIVE, tmp_path / "study").ended()
    assert [code for code, _, _ in both] == [0, 0], both
    assert sweep(study, tmp_path / "alone", options=Options(Hardware(devices=2))).complete
    decided = [(tmp_path / name / "adaptive.json").read_text() for name in ("study", "alone")]
    assert decided[0] == decided[1]


UNLIKE = """
def refused(experiment, hardware):
    try:
        train(experiment, f"{out}/{process}", options=Options(hardware))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")

with joined(Hosts(f"localhost:{port}", 2, process, "test")):
    refused(tiny, Hardware())
    refused(replace(tiny, {"batch_size": 33, "steps": 2}), Hardware(devices=1))
    refused(tiny, Hardware(devices=1, parallel="pmap"))
    refused(replace(tiny, {"seed": process}), Hardware(devices=1))
    if process == 1:
        raise ValueError("a broken layer")
    time.sleep(300)
"""


def test_what_differs_and_what_fails_ends_both_with_a_message(tmp_path):
    began = time.monotonic()
    (code, out, err), (other_code, other_out, other_err) = Pair(UNLIKE, tmp_path, devices=(2, 3)).ended()
    assert [code, other_code] == [1, 1]
    assert out == other_out
    lines = out.splitlines()
    assert lines[0] == (
        "ConfigError: processes that train together need the same number of devices: process 0 has 2, process 1 has 3; "
        "--devices 2 uses as many of each"
    )
    assert lines[1].startswith("ConfigError: batch_size = 33: does not divide evenly over 2 devices")
    assert lines[2] == "ConfigError: --parallel pmap: not with several processes; take jit or shard_map"
    assert lines[3].startswith("ConfigError: the processes would not train the same: experiment is [")
    assert "on process 1" in lines[3]
    assert "process 0 of 2 ends: process 1 (" in err
    assert "failed: ValueError: a broken layer" in err
    assert "ValueError: a broken layer" in other_err
    assert time.monotonic() - began < 200, "not the five minutes that the other process would take"
