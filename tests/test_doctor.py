"""`cnnjax doctor`: what it looks at is there, what is wrong is said with what mends it, and what is right is not."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnnjax import Experiment, machine, train
from cnnjax.doctor import facts as facts_of
from cnnjax.doctor import faults_of, look, measure, page
from cnnjax.doctor.facts import Facts, Limits, Package, Place, requirements
from cnnjax.doctor.measure import Measured
from cnnjax.errors import RunError

LIMITS = Limits(4, None, 0.5, 16 * 10**9, 8 * 10**9, None, 20000, "madvise")
SOUND = Facts(
    python="3.12.1",
    cnnjax="0.2.0",
    system="Linux",
    needed=(Package("jax", "0.10.2", "0.9.2"), Package("numpy", "2.4.6", "2.0")),
    extras={"ray": (Package("ray", None, "2.50"),)},
    accelerators=(Package("jaxlib", "0.10.2"),),
    limits=LIMITS,
    places=(Place("this folder", Path("/home/me"), free=10**11),),
    data=Path("/data"),
    sets=(("mnist", "3.0.1", ""),),
    unfinished=(),
    programs={"git": True},
    gpus=0,
    tpus=0,
    counters=(),
    measured=Measured("cpu", ("cpu",), None, 1.0, "float32", 1024, 1e11, 1e10),
)


def test_nothing_is_wrong_with_what_is_sound():
    assert faults_of(SOUND) == []
    assert "nothing is wrong" in str(page(SOUND, []).blocks[-1])


CUDA = (Package("jaxlib", "0.10.2"), Package("jax-cuda13-plugin", "0.10.2"))
WRONG = {
    "an old Python": ({"python": "3.10.4"}, "Python 3.10.4 is too old", True),
    "a new Python": ({"python": "3.14.0"}, "newer than those that were tested", False),
    "a package that is missing": ({"needed": (Package("flax", None, "0.12"),)}, "pip install 'flax>=0.12'", True),
    "an old package": ({"needed": (Package("flax", "0.12.3", "0.12.4"),)}, "flax 0.12.3 is too old", True),
    "two that do not belong together": ({"accelerators": (Package("jaxlib", "0.9.2"),)}, "jaxlib==0.10.2", True),
    "two plugins": ({"accelerators": (*CUDA, Package("jax-cuda12-plugin", "0.10.2"))}, "both installed", False),
    "a plugin of another version": ({"accelerators": (Package("jax-cuda13-plugin", "0.9.2"),)}, "0.10.2'", False),
    "JAX that crashes": ({"measured": Measured(error="JAX crashed (SIGILL)")}, "SIGILL", True),
    "a GPU that is not seen": ({"gpus": 2}, "pip install 'cnnjax[cuda]'", False),
    "a GPU that is hidden": ({"gpus": 2, "environ": {"JAX_PLATFORMS": "cpu"}}, "unset it", False),
    "no GPU allowed": ({"gpus": 1, "environ": {"CUDA_VISIBLE_DEVICES": ""}}, "CUDA_VISIBLE_DEVICES is empty", False),
    "a TPU that is not seen": ({"tpus": 4}, "pip install 'cnnjax[tpu]'", False),
    "few addresses": ({"limits": replace(LIMITS, addresses=10**9)}, "ulimit -v unlimited", True),
    "few files": ({"limits": replace(LIMITS, files=256)}, "ulimit -n 4096", False),
    "a part of the cores": ({"limits": replace(LIMITS, quota=2.5)}, "taskset -c 0-1", False),
    "a part of a core": ({"limits": replace(LIMITS, quota=0.5)}, "taskset -c 0 cnnjax", False),
    "a busy machine": ({"limits": replace(LIMITS, load=7.0)}, "7.0 processes want the 4 cores", False),
    "no memory": ({"limits": replace(LIMITS, available=10**8)}, "0.10 GB of memory are free", False),
    "a folder": ({"places": (Place("this folder", Path("/"), "Permission denied"),)}, "--out DIR", False),
    "a full disk": ({"places": (Place("cache", Path("/c"), free=10**6),)}, "0.00 GB are free", False),
    "no home": ({"places": (Place("home", Path("~"), "this user has none"),)}, "export HOME=DIR", False),
    "a damaged set": ({"sets": (("mnist", "3.0.1", "no train"),)}, "cnnjax data prepare mnist", False),
    "a part of a set": ({"unfinished": (Path("/data/mnist/incomplete.X"),)}, "remove it", False),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_what_mends_it(case):
    changed, said, stops = WRONG[case]
    [fault] = faults_of(replace(SOUND, **changed))
    assert said in f"{fault.text}. {fault.mend}"
    assert fault.stops is stops


def test_what_stops_work_stands_first():
    found = faults_of(replace(SOUND, gpus=1, measured=Measured(error="gone"), python="3.14.1"))
    assert [fault.stops for fault in found] == [True, False]


def test_requirements_of_a_distribution():
    lines = [
        "numpy>=2.0",
        "nothing-of-the-kind>=1",
        'pandas; extra == "tables"',
        "scipy (>=1.0)",
        'jax[cuda13]>=0.9.2; extra == "cuda"',
    ]
    needed, extras = requirements(lines)
    assert [(each.name, each.least, each.fits) for each in needed[:2]] == [
        ("numpy", "2.0", True),
        ("nothing-of-the-kind", "1", False),
    ]
    assert [each.name for each in extras["tables"]] == ["pandas"]
    cuda = [each.name for each in extras["cuda"]]
    assert cuda[0] == "jax"
    assert any("plugin" in name for name in cuda[1:]), "jax alone is no CUDA"


@pytest.mark.parametrize(
    ("version", "least", "fits"),
    [
        ("0.10.2", "0.9.2", True),
        ("0.9.2", "0.10", False),
        ("2.0", "2.0.0", True),
        ("1.2rc1", "1.2", True),
        ("2", "10", False),
    ],
)
def test_versions_are_in_order(version, least, fits):
    assert Package("it", version, least).fits is fits


def test_what_is_looked_at_is_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "cache/cnnjax/xla").mkdir(parents=True)
    (tmp_path / "cache/cnnjax/xla/program").write_bytes(b"12345")
    monkeypatch.chdir(tmp_path)
    found = look(measure=False, data_dir=tmp_path / "none")
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert {"jax", "numpy", "typer"} <= {each.name for each in found.needed}
    assert all(each.fits for each in found.needed)
    assert found.limits.cores == len(os.sched_getaffinity(0))
    places = {each.what: each for each in found.places}
    assert places["this folder"].path == tmp_path
    assert (places["compiled programs"].held, places["compiled programs"].refusal) == (5, "")
    assert (found.sets, found.measured) == ((), None)
    assert not (tmp_path / "none").exists(), "looking makes no folder"
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"], "nothing is left"


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert facts_of.place("it", tmp_path / "not/there").refusal == ""
    assert facts_of.place("it", Path("/proc/nowhere")).refusal
    assert facts_of.place("it", tmp_path / "file").refusal == "Not a directory"


def test_a_user_without_a_home(monkeypatch, tmp_path):
    for name in ("XDG_CACHE_HOME", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)

    def none(*_):
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", none)
    monkeypatch.chdir(tmp_path)
    found = look(measure=False)
    assert "export HOME=DIR" in str(faults_of(found))
    with pytest.raises(RunError, match="export HOME=DIR"):
        train(Experiment(model="small_cnn"), tmp_path / "run")


QUOTAS = [
    (
        "0::/job/step\n",
        {"sys/fs/cgroup/job/step/cpu.max": "250000 100000\n", "sys/fs/cgroup/job/cpu.max": "max 100000\n"},
        2.5,
    ),
    ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    (
        "3:cpu,cpuacct:/docker/1\n2:memory:/\n",
        {
            "sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us": "100000\n",
        },
        0.5,
    ),
    (
        "3:cpu:/\n",
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
        None,
    ),
]
"""/proc/self/cgroup, files of the groups, and the cores' time that they grant."""


@pytest.mark.parametrize(("groups", "files", "cores"), QUOTAS)
def test_the_cores_that_a_container_gives(groups, files, cores, tmp_path, monkeypatch):
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "Path", lambda *parts: tmp_path.joinpath(*(part.lstrip("/") for part in parts)))
    assert machine.cores_by_quota() == cores


def answering(tmp_path, monkeypatch, script):
    """A Python that answers so."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -SEGV $$", "crashed (SIGSEGV)"),
        ("exec sleep 60", "did not answer within 0 s"),
        ("echo RuntimeError: no driver >&2; exit 1", "no driver"),
        ("echo hello", "said nothing"),
        ("exit 3", "exit code 3"),
        ("echo '{\"devices\": []}'", ""),
    ],
)
def test_a_driver_that_fails_is_told_of(tmp_path, monkeypatch, script, said):
    answering(tmp_path, monkeypatch, script)
    assert said in measure.measured(seconds=0.3 if "sleep" in script else 60).error


def test_a_driver_that_is_not_there(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "did not start" in measure.measured().error


@pytest.mark.slow
def test_the_speed_of_a_product_is_that_of_numpy_within_a_factor(monkeypatch):
    """XLA and OpenBLAS share the cores: neither is ten times the other; a factor of 1000 would be a wrong unit."""
    import time

    monkeypatch.setenv("XLA_FLAGS", "")
    told = measure.measured()
    assert (told.error, told.platform, told.dtype) == ("", "cpu", "float32")
    a = np.random.default_rng(0).normal(size=(told.size, told.size)).astype("float32")
    a @ a
    began = time.perf_counter()
    a @ a
    flops = 2 * told.size**3 / (time.perf_counter() - began)
    assert flops / 30 < told.flops < flops * 30
    assert 1e8 < told.bandwidth < 1e13


def test_the_command(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("doctor", "--quick")
    assert code == 0
    assert re.search(r"jax +\d+\.\d+\.\d+ +>=", out)
    assert "compiled programs" in out
    code, out, _ = run("doctor", "--quick", "--json")
    told = json.loads(out)
    assert told["measured"] is None
    assert all(not fault["stops"] for fault in told["faults"])


def test_what_stops_work_shows_in_the_exit_code(run, monkeypatch):
    monkeypatch.setattr("cnnjax.doctor.facts.measured", lambda: Measured(error="no driver"))
    code, out, err = run("doctor")
    assert code == 1
    assert "stops work: JAX cannot be used: no driver" in " ".join(out.split())
    assert "nothing can be trained here: JAX cannot be used" in err
