"""docs/clusters.md: its commands are understood, its shell runs, its files and its manifest are what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml

from cnnjax import lease
from cnnjax.cli import app
from cnnjax.launch.launcher import settings_of
from cnnjax.launch.slurm_launcher import MOST_JOBS
from cnnjax.launch.status import status
from tests.forking import one_device
from tests.test_workers import numbers

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "clusters.md").read_text()
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
JOB = yaml.safe_load((DOCS / "kubernetes/work.yaml").read_text())
POD = JOB["spec"]["template"]["spec"]
IN_SHELL = re.findall(r"cnnjax'? ((?:sweep|work|status|report|cancel) [^\n#&>|]*)", "\n".join(SHELL))
IN_TEXT = [line for line in re.findall(r"`cnnjax (\w+ [^`]+)`", PAGE) if "/" in line or ".py" in line]
IN_PODS = [shlex.join(each["command"][1:]) for each in (*POD["initContainers"], *POD["containers"])]
FILE = """
from cnnjax import Experiment, SmallCNN, Study, Synthetic
DATA = Synthetic(height=4, width=4, channels=1, classes=2, examples=20, test_examples=8)
study = Study(Experiment(model=SmallCNN(features=2, dense=0), data=DATA, batch_size=8, steps=4), seeds=4)
"""


@pytest.mark.parametrize("line", sorted({line.strip() for line in (*IN_SHELL, *IN_TEXT, *IN_PODS)}))
def test_a_command_is_understood(line):
    name, *words = shlex.split(line)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    command.make_context(name, words)


def test_commands_were_found():
    assert len(IN_SHELL) >= 12
    assert {line.split()[0] for line in IN_SHELL} == {"sweep", "work", "status", "report", "cancel"}


def test_its_file_of_settings_is_understood():
    [text] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    tables = tomllib.loads(text)
    assert list(tables) == ["slurm", "ray"]
    for launcher, table in tables.items():
        assert settings_of(launcher, table) is not None


def test_its_numbers_are_those_of_the_code():
    slurm, ray = settings_of("slurm", {}), settings_of("ray", {})
    assert (slurm.save_seconds, MOST_JOBS) == (90, 8)  # type: ignore[union-attr]
    assert "Ninety seconds before its time is over" in PAGE
    assert "eight at\nmost" in PAGE
    assert (ray.connect_seconds, ray.retries, ray.cpus, ray.gpus) == (30, 3, 1, 0)  # type: ignore[union-attr]
    assert f"after {lease.SECONDS:.0f} seconds" in PAGE


def test_workers_of_the_manifest_share_one_folder():
    plan, work = IN_PODS
    assert shlex.split(plan)[3] == shlex.split(work)[1] == "/study/out"
    assert "completions" not in JOB["spec"]
    assert JOB["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure"
    volumes = {each["name"] for each in POD["volumes"]}
    for container in (*POD["initContainers"], *POD["containers"]):
        mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert mounts.keys() <= volumes
        assert mounts["study"] == "/study"


@pytest.fixture
def shell(tmp_path):
    """Runs a script in a folder with study.py, where `cnnjax` is this one, and ssh runs commands here."""
    here = tmp_path / "bin"
    here.mkdir()
    root = Path(__file__).parents[1]
    python = shlex.quote(sys.executable)
    scripts = {
        "cnnjax": f'PYTHONPATH={shlex.quote(str(root))} exec {python} -m cnnjax "$@"',
        "ssh": 'shift; bash -c "$*"',
    }
    for name, text in scripts.items():
        (here / name).write_text(f"#!/bin/bash\n{text}\n")
        (here / name).chmod(0o755)
    (tmp_path / "study.py").write_text(FILE)

    def run(script):
        environ = os.environ | one_device() | {"PATH": f"{here}:{os.environ['PATH']}"}
        line = ["bash", "-euc", script]
        done = subprocess.run(line, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
@pytest.mark.parametrize("uses", ["CUDA_VISIBLE_DEVICES", "ssh "])
def test_its_shell_trains_the_study(shell, tmp_path, uses):
    """Several processes on one machine, and on several."""
    [script] = [block for block in SHELL if uses in block and "gcloud" not in block]
    assert "nobody trains it yet" in shell(script)
    out = tmp_path / "runs/study"
    assert len(numbers(out)) == 4
    assert status(out).done == 4
    assert (out / "report/index.html").exists()
