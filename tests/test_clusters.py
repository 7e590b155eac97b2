"""What launchers of clusters are told: refused before anything is planned, with what to do. No cluster is needed."""

from __future__ import annotations

import shutil
from importlib import util

import pytest

from cnnjax import Hardware, Options
from cnnjax.cli.cluster_options import cluster_settings
from cnnjax.errors import ConfigError, RunError
from cnnjax.launch.amounts import memory_bytes, time_seconds
from cnnjax.launch.launcher import check_launch, launcher, settings_of
from cnnjax.launch.slurm_settings import SlurmSettings
from cnnjax.launch.worker_process import Worker, new_token, started

OPTIONS = Options(Hardware(devices=1), checkpoint_seconds=60.0)
TIMES = {"90": 5400, "1:30": 90, "4:00:00": 14400, "2-3": 183600, "1-0:30": 88200, "1-2:03:04": 93784}
MEMORIES = {"500M": 500 * 2**20, "32G": 2**35, "1.5 GiB": 3 * 2**29, "2tb": 2**41}
REFUSED = {
    "partitoin": ("gpu", "Did you mean 'partition'"),
    "cpus": (1.5, "cpus = 1.5: must be a valid integer"),
    "nodes": (0, "nodes = 0: must be at least 1"),
    "retries": (-1, "retries = -1: must be at least 0"),
    "time": ("0", "time = '0': must be minutes, MM:SS"),
    "mem": ("32", "mem = '32': must be a number and a unit"),
    "setup": ("module load cuda", "must be a list"),
    "sbatch": (["-p gpu"], "no option such as --mail-type=END"),
}
TABLES = {
    '[slum]\npartition = "gpu"': "'slum' is no table of a launcher. Did you mean 'slurm'",
    'partition = "gpu"': "'partition' is no table of a launcher. There are: ray, slurm",
    '[slurm]\npartitoin = "gpu"': r"site.toml: SlurmSettings: 'partitoin' is no field.* Did you mean 'partition'",
    "[slurm": "site.toml: Expected ']'",
    "[ray]\ncpus = 2": r"has no table \[slurm\], which --launcher slurm reads",
}


@pytest.mark.parametrize("text", TIMES)
def test_times_are_those_of_slurm(text):
    assert time_seconds(text) == TIMES[text]


@pytest.mark.parametrize("text", MEMORIES)
def test_memory_is_counted_in_powers_of_1024(text):
    assert memory_bytes(text) == MEMORIES[text]


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_cannot_be_is_refused(name):
    value, why = REFUSED[name]
    with pytest.raises(ConfigError, match=why):
        settings_of("slurm", {name: value})


@pytest.mark.parametrize(
    ("word", "why"), [("--cpus-per-task=2", "is the setting cpus: give that"), ("--output=x", "for cnnjax to say")]
)
def test_what_cnnjax_says_to_sbatch_is_not_for_further_options(word, why):
    with pytest.raises(ConfigError, match=why):
        settings_of("slurm", {"sbatch": [word]})


@pytest.mark.parametrize("text", TABLES)
def test_a_file_that_says_something_else_is_refused(text, tmp_path):
    file = tmp_path / "site.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=TABLES[text]):
        cluster_settings("slurm", file, {})


def test_options_win_over_the_file(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text('[slurm]\npartition = "cpu"\ntime = "1:00:00"')
    told = cluster_settings("slurm", file, {"partition": "gpu", "cpus": 2.0, "nodes": None})
    assert settings_of("slurm", told) == SlurmSettings(partition="gpu", time="1:00:00", cpus=2)


def test_what_a_launcher_does_not_take_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--launcher slurm does not take --gpus: leave that out"):
        cluster_settings("slurm", None, {"gpus": 1.0, "nodes": 2})
    with pytest.raises(ConfigError, match="--launcher local does not take --nodes, --cluster"):
        cluster_settings("local", tmp_path / "site.toml", {"nodes": 2})
    with pytest.raises(ConfigError, match="local takes no settings: leave out nodes"):
        settings_of("local", {"nodes": 2})
    with pytest.raises(ConfigError, match="nowhere.toml: No such file"):
        cluster_settings("slurm", tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(("name", "module"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_launcher_that_is_not_installed_says_how_to(name, module, monkeypatch):
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda asked, *more: None if asked == module else found(asked, *more))
    with pytest.raises(ConfigError, match=rf"needs {module}, which is not installed: pip install 'cnnjax\[{name}\]'"):
        launcher(name)


def test_where_no_jobs_can_be_submitted_is_said(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "sbatch" else f"/usr/bin/{name}")
    monkeypatch.setattr(util, "find_spec", lambda name: util.spec_from_loader(name, None, origin=name))
    with pytest.raises(ConfigError, match="there is no `sbatch` here: run the command on .* login node"):
        check_launch("slurm", SlurmSettings(), OPTIONS)


@pytest.mark.parametrize(
    ("time", "why"), [("1:30", "nothing is left to train: raise time"), ("2:00", "is 30 s, and a checkpoint is saved")]
)
def test_a_job_that_would_end_before_its_first_checkpoint_is_refused(time, why, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(util, "find_spec", lambda name: util.spec_from_loader(name, None, origin=name))
    with pytest.raises(ConfigError, match=why):
        check_launch("slurm", SlurmSettings(time=time), OPTIONS)


def test_a_machine_that_sees_another_folder_says_so(tmp_path):
    token = new_token(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(RunError, match=f"does not see {other} as the machine that submitted the study does"):
        Worker(str(other), token, folder_seconds=0.0).run("one")
    assert started(tmp_path, token) == {}


@pytest.mark.slow
def test_a_worker_that_sees_the_folder_leaves_its_mark(tmp_path):
    """There is no study in it, which no retry mends."""
    worker = Worker(str(tmp_path), new_token(tmp_path), retries=3)
    output = tmp_path / "output"
    assert worker.run("one", output=output) == 1
    assert list(started(tmp_path, worker.token)) == ["one"]
    assert output.read_text().count("is no study that others can work on") == 1
