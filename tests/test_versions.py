"""The version is the same wherever it stands; public names are documented, and replaced ones say so."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

import cnnjax

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    [(version, date)] = re.findall(r"^version: (\S+)\ndate-released: \"(\S+)\"", citation, re.M)
    assert set(re.findall(r"^ *version: (\S+)", citation, re.M)) == {PROJECT["version"]}
    released = re.findall(r"^## \[([\d.]+)\] - (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[0] == (version, date) == (PROJECT["version"], date)


def test_every_public_name_has_a_docstring_of_its_own():
    lacking = []
    for name in cnnjax.__all__:
        value = getattr(cnnjax, name)
        if not (vars(value) if inspect.isclass(value) else {"__doc__": value.__doc__}).get("__doc__"):
            lacking.append(name)
    assert not lacking


def test_a_replaced_name_works_and_says_what_to_write(monkeypatch):
    monkeypatch.setitem(cnnjax._FORMERLY, "Experimnt", ("Experiment", "0.4"))
    with pytest.warns(FutureWarning, match=r"cnnjax.Experimnt is now cnnjax.Experiment; 0.4 has it no more") as said:
        assert cnnjax.Experimnt is cnnjax.Experiment  # pyright: ignore[reportAttributeAccessIssue]
    assert said[0].filename == __file__


def test_replaced_names_stay_no_longer_than_promised():
    minor = int(PROJECT["version"].split(".")[1])
    for old, (now, until) in cnnjax._FORMERLY.items():
        assert old not in cnnjax.__all__
        assert now in cnnjax.__all__
        assert int(until.split(".")[1]) > minor, f"remove {old}"


def pinned(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return dict(line.partition(";")[0].strip().split("==") for line in lines if line.strip())


def test_the_constraints_differ_in_jax_alone():
    one, other = pinned("constraints.txt"), pinned("constraints-jax-0.11.txt")
    said = "write it anew: sed -E 's/^(jax|jaxlib)==.*/\\1==0.11.2/' constraints.txt > constraints-jax-0.11.txt"
    assert one.keys() == other.keys(), said
    assert {name for name in one if one[name] != other[name]} == {"jax", "jaxlib"}
    assert (one["jax"], other["jax"]) == (one["jaxlib"], other["jaxlib"])
    assert [each["jax"].split(".")[:2] for each in (one, other)] == [["0", "10"], ["0", "11"]]


def test_all_that_is_needed_is_pinned():
    known = {name.lower().replace("_", "-") for name in pinned("constraints.txt")}
    needed = [re.match(r"[\w.-]+", text)[0] for text in PROJECT["dependencies"]]
    assert not {name.lower().replace("_", "-") for name in needed} - known
