"""A study on a Ray cluster of two nodes: one is lost in the middle, workers are stopped, and nothing is lost."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, plan, sweep
from cnnjax.config import replace
from cnnjax.errors import ConfigError, Interrupted, RunError
from cnnjax.events import Elsewhere, Failed, Skipped
from cnnjax.launch import ray_cluster
from cnnjax.launch.cancel import cancel
from cnnjax.launch.elsewhere import FollowedTrials
from cnnjax.launch.launcher import Launch, launcher, settings_of
from cnnjax.launch.ray_cluster import check, check_needs, check_nodes
from cnnjax.launch.ray_settings import RaySettings
from cnnjax.launch.study_files import write_plan
from cnnjax.lease import Lease
from cnnjax.records.result_json import ResultRecord
from cnnjax.run.trial import StudyOfTrials
from tests.test_workers import numbers

on_ray = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: make test-ray"),
]

DATA = Synthetic(height=8, width=8, channels=1, classes=4, examples=2048, test_examples=16)
BASE = Experiment(
    model=SmallCNN(features=2, dense=0), data=DATA, optim=SGD(learning_rate=0.05), batch_size=16, epochs=100
)
STUDY = Study(BASE, axes={"optim.learning_rate": [0.05, 0.02]}, seeds=2)
OPTIONS = Options(Hardware(devices=1), checkpoint_seconds=0.3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[SimpleNamespace]:
    """Two nodes of one core; the second one can be lost."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    # A node that is lost is noticed within seconds instead of a minute.
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    head = small | {"include_dashboard": False, "_system_config": soon}
    found = Cluster(initialize_head=True, head_node_args=head)
    second = found.add_node(**small)
    yield SimpleNamespace(address=found.address, second=second)
    found.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """The study, trained here."""
    folder = tmp_path_factory.mktemp("local")
    assert sweep(STUDY, folder, options=OPTIONS).complete
    return folder


@pytest.fixture
def address(cluster, monkeypatch) -> str:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    return cluster.address


def wait_for(happened, what: str, seconds: float = 60.0):
    """What `happened()` returns once it is true."""
    until = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < until, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)
    return found


def being_trained(out: Path) -> list[str]:
    """Trials that have a checkpoint and no result."""
    found = out.glob("trials/*/checkpoints/*")
    return sorted({path.parents[1].name for path in found if not (path.parents[1] / "result.json").exists()})


def holders(out: Path) -> list[Path]:
    return list(out.glob("trials/*/lease.*"))


def then(happened, action) -> threading.Thread:
    """Do something once something has happened, in a thread."""

    def run():
        wait_for(happened, "what comes before", seconds=180.0)
        action()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def lose(node) -> None:
    """Kill all processes of a node at once, as when its machine loses power."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    lost = {info.process.pid for processes in node.all_processes.values() for info in processes}
    while more := {pid for pid, parent in parents.items() if parent in lost} - lost:
        lost |= more
    for pid in lost:
        os.kill(pid, signal.SIGKILL)


# --- a cluster


@pytest.mark.ray
class TestCluster:
    pytestmark = on_ray

    def test_workers_stop_with_all_saved_when_the_sweep_is_asked_to(self, address, local, tmp_path):
        """Ray would have SIGTERM end the process at once."""
        thread = then(lambda: len(being_trained(tmp_path)) == 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted, match="all saved"):
            sweep(STUDY, tmp_path, options=OPTIONS, launcher="ray")
        thread.join()
        # On a busy machine one may have ended before its worker was asked.
        begun = being_trained(tmp_path)
        assert len(begun) + len(numbers(tmp_path)) == 2
        assert not holders(tmp_path)
        assert sweep(STUDY, tmp_path, options=OPTIONS).complete
        assert numbers(tmp_path) == numbers(local)
        assert all("continue at step" in (tmp_path / "trials" / each / "log.txt").read_text() for each in begun)

    def test_a_cancelled_study_ends_the_sweep(self, address, tmp_path):
        thread = then(lambda: holders(tmp_path), lambda: cancel(tmp_path))
        with pytest.raises(Interrupted, match="cancelled by .*; all saved"):
            sweep(STUDY, tmp_path, options=OPTIONS, launcher="ray")
        thread.join()
        assert not holders(tmp_path)

    def test_what_a_node_cannot_do_is_said_before_anything_is_trained(self, address, tmp_path, monkeypatch):
        study = {"study": STUDY, "out": tmp_path / "out", "options": OPTIONS, "launcher": "ray"}
        with pytest.raises(ConfigError, match=r"asks for, 1 CPU, 2 GPU: nodes have 1 CPU, 0 GPU\. Ask for less"):
            sweep(**study, settings={"gpus": 2})
        with pytest.raises(ConfigError, match=r"1 CPU, 1000 memory \(GiB\): nodes have"):
            sweep(**study, settings={"mem": "1000G"})
        assert not (tmp_path / "out").exists()
        monkeypatch.setattr(ray_cluster, "_version", {"jax": "0.1"}.get)
        with pytest.raises(RunError, match=r"has cnnjax .*, here none; jax .*, here 0\.1; .*: install there what is"):
            sweep(**study)
        assert not list(tmp_path.glob("out/trials/*/*"))

    def test_a_folder_that_nodes_do_not_see_is_said(self, address, tmp_path, monkeypatch):
        import ray

        monkeypatch.setattr(ray_cluster, "SECONDS_FOR_FOLDER", 0.1)
        ray.init(address=address, log_to_driver=False)
        try:
            with pytest.raises(RunError, match=f"does not see {tmp_path} as the machine that submitted"):
                check_nodes(ray, RaySettings(), tmp_path, tmp_path / "missing")
        finally:
            ray.shutdown()

    def test_a_node_is_lost_in_the_middle(self, cluster, address, local, tmp_path):
        """All trials are there once, with the numbers of those trained here."""
        thread = then(lambda: len(being_trained(tmp_path)) == 2, lambda: lose(cluster.second))
        seen = []
        outcome = sweep(STUDY, tmp_path, options=OPTIONS, launcher="ray", settings={"jobs": 2}, sinks=[seen.append])
        thread.join()
        told = {event.trial: event.step for event in seen if isinstance(event, Elsewhere)}
        # 90% of 2048 examples, to the last started batch.
        assert told == dict.fromkeys(outcome.done, -(-BASE.epochs * 1843 // BASE.batch_size))
        assert sorted(outcome.done) == sorted(numbers(local))
        assert outcome.complete
        assert numbers(tmp_path) == numbers(local)
        assert not list(tmp_path.glob("stale"))
        # One was started again.
        assert len({path.stem for path in tmp_path.glob("jobs/ray-*.log")}) == 3


# --- without a cluster


def test_trials_are_followed_by_their_files(tmp_path):
    """One is there before, one comes, one fails, one is being trained, and one is missing at the end."""
    base = replace(BASE, {"data.examples": 40, "epochs": 1})
    planned = plan(Study(base, seeds=5), hardware=OPTIONS.hardware)
    before, comes, fails, runs, missing = (trial.id for trial in planned.trials)
    steps = planned.trials[0].steps
    write_plan(planned, tmp_path)

    def write_result(trial, **more):
        (tmp_path / "trials" / trial).mkdir()
        result = {"id": trial, "status": "done", "seed": 0, "params": 1, "macs": 1} | more
        ResultRecord(**result).write(ResultRecord.at(tmp_path / "trials" / trial))

    write_result(before)
    seen = []
    trials = FollowedTrials(Launch(planned, StudyOfTrials("", tmp_path, {}), OPTIONS, sinks=[seen.append]))
    assert trials.missing == 4
    write_result(comes)
    write_result(fails, status="failed", cause="out_of_memory", error="too large", steps=1)
    lease = Lease.take(tmp_path / "trials" / runs, worker="elsewhere")
    trials.look()
    trials.look()
    lease.release()
    assert seen[0] == Skipped(trial=before, steps=steps)
    assert {event.trial: event for event in seen[1:]} == {
        comes: Elsewhere(trial=comes, step=steps),
        fails: Failed(trial=fails, step=1, cause="crashed", reason="too large"),
        runs: Elsewhere(trial=runs, step=0),
    }
    outcomes = trials.outcomes("a worker was lost")
    assert (outcomes.skipped, outcomes.done, outcomes.failed) == ([before], [comes], [fails])
    assert outcomes.errors == {fails: "too large", runs: "a worker was lost", missing: "a worker was lost"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs ray, which is not installed: pip install 'cnnjax\[ray\]'"):
        launcher("ray")


def test_an_address_where_nothing_answers_is_said_at_once(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="which cluster"):
        check(RaySettings(), OPTIONS)
    port = free_port()
    with pytest.raises(ConfigError, match=f"answers at 127.0.0.1:{port} .*is it running"):
        check(RaySettings(address=f"127.0.0.1:{port}"), OPTIONS)
    for wrong in ("head:first", "ray://", ":6379"):
        with pytest.raises(ConfigError, match="must be HOST:PORT"):
            check(RaySettings(address=wrong), OPTIONS)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: make test-ray")
def test_something_else_that_listens_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = RaySettings(address=f"127.0.0.1:{server.getsockname()[1]}", connect_seconds=3)
        with pytest.raises(ConfigError, match="within 3 s: something else listens there"):
            check(settings, OPTIONS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cpu": 2}, "cpus"),
        ({"gpus": 1.5}, "whole number"),
        ({"mem": "32"}, "a number and a unit"),
        ({"resources": ("trainer",)}, "no resource such as trainer=1"),
        ({"resources": ("GPU=1",)}, "GPU is asked for by gpus"),
        ({"jobs": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        settings_of("ray", given)


def test_workers_are_as_many_as_nodes_can_hold():
    nodes = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 4.0}, {"CPU": 64.0}]
    assert check_needs(nodes, RaySettings(cpus=2, gpus=1)) == 2 + 1
    assert check_needs(nodes, RaySettings(cpus=0.1, gpus=0.1)) == 20 + 30
    assert check_needs(nodes, RaySettings(cpus=0, gpus=0, jobs=1)) == 3
    assert check_needs(nodes, RaySettings(gpus=8, wait_for_nodes=True)) == 0
