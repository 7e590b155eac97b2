"""Which processes train together is found, they meet, and those that differ or do not come are named."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnnjax.errors import ConfigError, RunError
from cnnjax.hosts import Cues, Hosts, check_alike, found, from_first, gathered, joined
from cnnjax.hosts.find import first_node
from cnnjax.hosts.meeting import meet

SLURM = {
    "SLURM_JOB_ID": "70",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("localhost", 0))
        return bound.getsockname()[1]


# --- found


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("gpu[07-08]", "gpu07"),
        ("gpu[3,7-9],login", "gpu3"),
        ("rack2-gpu[001-004]-ib,rack3-gpu[1-2]-ib", "rack2-gpu001-ib"),
    ],
)
def test_the_first_node_of_slurm_s_list(nodes, first):
    assert first_node(nodes) == first


def test_slurm_says_which_process_this_is():
    # Ports of a step begin at 61440; 31 * 70 + 2 = 2172.
    hosts = found("auto", SLURM)
    assert hosts == Hosts("gpu07:63612", 4, 3, "from SLURM, job 70, step 2")
    assert str(hosts) == ("process 3 of 4 that train together (from SLURM, job 70, step 2, process 0 at gpu07:63612)")


@pytest.mark.parametrize(
    ("visible", "devices"), [(None, None), ("5", None), ("0,1", (1,)), ("0,1,2,3,4,5,6,7", (4, 5, 6, 7))]
)
def test_tasks_of_one_node_share_its_gpus(visible, devices):
    environ = SLURM if visible is None else SLURM | {"CUDA_VISIBLE_DEVICES": visible}
    assert found("slurm", environ).local_devices == devices


def test_a_task_alone_on_its_node_has_all_its_gpus():
    environ = SLURM | {"SLURM_STEP_TASKS_PER_NODE": "3,1", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    assert found("slurm", environ).local_devices is None


@pytest.mark.parametrize(
    ("how", "environ"),
    [
        ("auto", {}),
        ("one", SLURM),
        ("auto", SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}),
        # The script of a job, which no step runs.
        ("auto", {name: text for name, text in SLURM.items() if "STEP" not in name}),
        ("auto", {"JOB_COMPLETION_INDEX": "2"}),
    ],
)
def test_a_process_alone(how, environ):
    assert found(how, environ) is None


def test_an_indexed_job_of_kubernetes_gives_the_number():
    hosts = found("auto", {"JOB_COMPLETION_INDEX": "1"}, coordinator="train-0.train:4321", processes=2)
    assert hosts == Hosts("train-0.train:4321", 2, 1, "from a Kubernetes job's index")


def test_options_come_before_the_environment():
    assert found("auto", SLURM, coordinator="here:1", processes=2, process=1) == Hosts("here:1", 2, 1, "from options")


def test_a_tpu_slice_is_left_to_jax():
    hosts = found("auto", {"TPU_WORKER_HOSTNAMES": "t0,t1,t2,t3", "TPU_WORKER_ID": "2"})
    assert hosts == Hosts(None, 4, 2, "workers of a TPU slice")


@pytest.mark.parametrize(
    ("how", "environ", "options", "message"),
    [
        ("all", {}, {}, "--hosts all: must be one of auto, one, slurm, kubernetes, tpu"),
        ("auto", {}, {"coordinator": "n1:1"}, "--processes, --process: missing; --coordinator HOST:PORT"),
        ("auto", {}, {"processes": 2, "process": 0}, "--coordinator: missing"),
        ("auto", {}, {"coordinator": "n1", "processes": 2, "process": 0}, "--coordinator n1: must be HOST:PORT"),
        ("auto", {}, {"coordinator": "n1:1", "processes": 2, "process": 2}, "--process 2: .* of 2 the last is 1"),
        ("auto", {}, {"coordinator": "n1:1", "processes": 0, "process": 0}, "--processes 0: must be at least 1"),
        ("slurm", {}, {}, "--hosts slurm: SLURM_JOB_ID, .* not set: start all processes with `srun`"),
        ("kubernetes", {}, {}, "JOB_COMPLETION_INDEX is not set: the Job needs completionMode: Indexed"),
        ("kubernetes", {"JOB_COMPLETION_INDEX": "0"}, {}, "--coordinator, --processes: missing"),
        ("slurm", SLURM | {"SLURM_PROCID": "x"}, {}, "SLURM_PROCID='x' is no number"),
    ],
)
def test_what_is_missing_or_wrong_is_named(how, environ, options, message):
    with pytest.raises(ConfigError, match=message):
        found(how, environ, **options)


# --- meeting

FACTS = {"cnnjax": "1.0", "jax": "0.10"}


def met(*those: tuple[int, int, dict[str, Any]], seconds: float = 10.0) -> list[str]:
    """What each of the processes (its number, how many, its facts) is told, meeting on this machine; "" for go."""
    port = free_port()

    def one(process: int, processes: int, facts: dict[str, Any]) -> str:
        try:
            meet(Hosts(f"localhost:{port}", processes, process, "here"), facts, seconds=seconds)
        except RunError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(those)) as pool:
        return list(pool.map(lambda process: one(*process), those))


def test_three_processes_meet():
    assert met((0, 3, FACTS), (1, 3, FACTS), (2, 3, FACTS)) == ["", "", ""]


def test_another_version_is_named_on_both():
    told = met((0, 2, FACTS), (1, 2, FACTS | {"jax": "0.9"}))
    assert "is not like process 0" in told[0]
    assert "jax 0.9 there, 0.10 here" in told[0]
    assert told[1] == f"process 0 says: {told[0]}"


def test_other_counts_of_processes_are_named():
    told = met((0, 2, FACTS), (1, 3, FACTS))
    assert "says there are 3 processes, process 0 says 2" in told[0]


def test_a_number_that_is_given_twice_is_named():
    told = met((0, 3, FACTS), (1, 3, FACTS), (1, 3, FACTS))
    assert "two processes have the same number: process 1" in told[0]
    assert told[1] == told[2] == f"process 0 says: {told[0]}"


def test_a_process_that_does_not_come_is_named():
    (told,) = met((0, 3, FACTS), seconds=0.3)
    assert "waited 0.3 s at localhost" in told
    assert "number 1, 2 of 3 did not come" in told


@pytest.mark.parametrize(("host", "reason"), [("localhost", "Connection refused"), ("no-such-host.invalid", "name")])
def test_a_coordinator_that_is_not_reached_is_named(host, reason):
    hosts = Hosts(f"{host}:{free_port()}", 2, 1, "here")
    with pytest.raises(RunError, match=f"could not join process 0 at {host}:.* within 0.3 s: .*{reason}") as error:
        meet(hosts, FACTS, seconds=0.3)
    assert "is the port open" in str(error.value)


def test_strangers_at_the_port_do_no_harm():
    port = free_port()

    def stranger() -> None:
        for text in (b"GET / HTTP/1.1\r\n\r\n\n", b"[]\n", json.dumps({"process": "1"}).encode() + b"\n"):
            while True:
                try:
                    with socket.create_connection(("localhost", port)) as connection:
                        connection.sendall(text)
                    break
                except ConnectionRefusedError:
                    pass

    def other() -> None:
        asked.join()
        meet(Hosts(f"localhost:{port}", 2, 1, "here"), FACTS, seconds=10)

    asked, second = threading.Thread(target=stranger), threading.Thread(target=other)
    asked.start()
    second.start()
    meet(Hosts(f"localhost:{port}", 2, 0, "here"), FACTS, seconds=10)
    second.join()


def test_a_process_that_starts_again_meanwhile_takes_its_place():
    port = free_port()
    first = threading.Thread(target=meet, args=(Hosts(f"localhost:{port}", 3, 0, ""), FACTS), kwargs={"seconds": 10})
    first.start()
    hello = {"process": 1, "processes": 3, "host": "here", "facts": FACTS}
    while True:
        try:
            with socket.create_connection(("localhost", port)) as killed:
                killed.sendall(json.dumps(hello).encode() + b"\n")
            break
        except ConnectionRefusedError:
            pass
    with ThreadPoolExecutor(2) as pool:
        come = [pool.submit(meet, Hosts(f"localhost:{port}", 3, 2, ""), FACTS, seconds=10)]
        time.sleep(0.3)
        assert first.is_alive(), "the killed one is none of those that are there"
        come.append(pool.submit(meet, Hosts(f"localhost:{port}", 3, 1, ""), FACTS, seconds=10))
        assert [each.result() for each in come] == [None, None]
    first.join()


# --- alone


def test_alone_everything_is_as_if_there_were_no_others():
    with joined(None):
        assert from_first({"a": 1}, what="it") == {"a": 1}
        assert gathered("x", what="it") == ["x"]
        check_alike({"experiment": "a"})
    stop = threading.Event()
    cues = Cues(stop)
    assert [cues.saves(1, due=True), cues.saves(2, due=False), cues.stops(2), cues.stopped] == [
        True,
        False,
        False,
        False,
    ]
    stop.set()
    assert cues.stops(2)
    assert cues.stopped


# --- the manifest of docs/kubernetes


def test_the_pods_of_the_manifest_find_each_other():
    """What Kubernetes would start, as it names pods of an Indexed Job: JOB-INDEX.SUBDOMAIN, by a headless Service."""
    text = (Path(__file__).parents[1] / "docs/kubernetes/train.yaml").read_text()
    service, job = yaml.safe_load_all(text)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environ = {each["name"]: each["value"] for each in container["env"]}
    assert (service["kind"], job["kind"], spec["completionMode"]) == ("Service", "Job", "Indexed")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert spec["completions"] == spec["parallelism"] == int(environ["CNNJAX_PROCESSES"])
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    words = container["command"]
    hosts = found(
        words[words.index("--hosts") + 1],
        {"JOB_COMPLETION_INDEX": "1"},
        coordinator=environ["CNNJAX_COORDINATOR"],
        processes=int(environ["CNNJAX_PROCESSES"]),
    )
    first = f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert hosts == Hosts(f"{first}:8476", 2, 1, "from a Kubernetes job's index")
