"""Recipes of containers, scripts of clusters and the forms of the project: what can be checked without a daemon."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTAINERS = ROOT / "containers"
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
SCRIPTS = sorted(
    path
    for path in [*CONTAINERS.glob("*.sh"), *(ROOT / ".ci").iterdir()]
    if path.read_text().startswith("#!/usr/bin/env bash")
)


def instructions(text: str) -> list[list[str]]:
    """Of a Dockerfile, each with its words; lines that end with a backslash go on."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [line.split() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


DOCKERFILE = (CONTAINERS / "Dockerfile").read_text()
RECIPE = (CONTAINERS / "cnnjax.def").read_text()


def test_all_that_an_image_copies_is_there_and_let_in():
    copied = [
        source
        for name, *words in instructions(DOCKERFILE)
        if name == "COPY" and not words[0].startswith("--from")
        for source in words[:-1]
    ]
    assert {"pyproject.toml", "constraints.txt", "cnnjax", "experiments"} <= set(copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for source in copied:
        assert (ROOT / source.removeprefix("./")).exists()
        assert f"!{source.removeprefix('./')}" in ignored


def test_a_wheel_can_be_built_of_what_an_image_copies():
    """What pyproject.toml names: the readme, the licence, the package and the recipes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    built = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*built["packages"], *built["force-include"], project["project"]["readme"]}
    needed |= set(project["project"]["license-files"])
    for text in (DOCKERFILE, RECIPE):
        assert all(re.search(rf"\b{re.escape(name)}\b", text) for name in needed)


def test_instructions_are_known_and_every_argument_is_declared():
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "ENTRYPOINT", "CMD"}
    every = instructions(DOCKERFILE)
    assert {words[0] for words in every} <= known
    assert next(words[0] for words in every) == "ARG"
    declared = {words[1].partition("=")[0] for words in every if words[0] == "ARG"}
    used = set(re.findall(r"\$\{?([A-Z]+)\b", DOCKERFILE)) - {"PATH", "PWD"}
    assert used == declared


def test_sections_of_apptainer_are_known_and_all_that_is_copied_is_there():
    known = {"arguments", "files", "post", "environment", "runscript", "test"}
    sections = dict(re.findall(r"^%(\w+)\n((?:(?!%).*\n)*)", RECIPE, re.M))
    assert set(sections) == known
    for line in filter(None, map(str.strip, sections["files"].splitlines())):
        assert (ROOT / line.split()[0]).exists()
    declared = set(re.findall(r"^ +(\w+)=", sections["arguments"], re.M))
    assert set(re.findall(r"\{\{ (\w+) \}\}", RECIPE)) == declared
    for name in ("post", "runscript", "test"):
        subprocess.run(["sh", "-n"], input=re.sub(r"\{\{ \w+ \}\}", "", sections[name]), text=True, check=True)


@pytest.mark.parametrize("path", [*CONTAINERS.iterdir(), ROOT / "docs/install.md"], ids=lambda path: path.name)
def test_extras_that_are_named_exist(path):
    text = path.read_text()
    named = {name for names in re.findall(r"EXTRAS=([a-z][a-z,]*)", text) for name in names.split(",")}
    named |= {name for names in re.findall(r"(?:cnnjax|whl|\")\[([a-z,]+)\]", text) for name in names.split(",")}
    assert named <= EXTRAS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
    if checker := shutil.which("shellcheck"):
        done = subprocess.run([checker, "--severity=warning", str(script)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_worker_of_slurm_saves_when_the_signal_comes(tmp_path):
    """The job's shell passes SIGTERM on and waits for what the worker does then."""
    program = tmp_path / "cnnjax"
    program.write_text(
        "#!/bin/bash\ntrap 'sleep 0.3; echo saved; exit 130' TERM\necho $@; while :; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    command = ["bash", str(CONTAINERS / "slurm.sh"), "runs/study", "--wait"]
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        first = job.stdout.readline()
        job.terminate()
        rest = job.stdout.read()
    assert re.match(r"work runs/study --worker \S+-7 --wait$", first)
    assert rest == "saved\n"
    assert job.returncode == 130


def test_forms_are_whole():
    yaml = pytest.importorskip("yaml")
    forms = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) == 4
    for form in forms:
        told = yaml.safe_load(form.read_text())
        if form.name == "config.yml":
            continue
        assert {"name", "description", "body"} <= set(told)
        ids = [each["id"] for each in told["body"]]
        assert len(ids) == len(set(ids))
        assert all(
            each["type"] in {"input", "textarea", "checkboxes"} and each["attributes"]["label"] for each in told["body"]
        )


@pytest.mark.parametrize(
    "name", ["SECURITY.md", "ROADMAP.md", "CODE_OF_CONDUCT.md", "CITATION.cff", ".github/PULL_REQUEST_TEMPLATE.md"]
)
def test_links_of_the_projects_papers_lead_somewhere(name):
    path = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target
