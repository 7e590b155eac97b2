"""Records: what is written is read back, newer versions are refused, damage is named with its remedy."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from cnnjax.errors import NewerVersion, RunError
from cnnjax.records.record import Record


class Weather(Record):
    """A record of version 2: in version 1 degrees were called `heat`."""

    filename: ClassVar[str] = "weather.json"

    version: int = 2
    degrees: float
    days: tuple[str, ...] = ()
    note: str | None = None

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        return {"degrees": content["heat"]} | {name: value for name, value in content.items() if name != "heat"}


def test_a_record_writes_the_keys_it_was_given_and_its_version(tmp_path):
    path = Weather.at(tmp_path)
    Weather(degrees=3.5, days=("monday",)).write(path)
    assert json.loads(path.read_text()) == {"version": 2, "degrees": 3.5, "days": ["monday"]}
    assert Weather.read(path, remedy="delete it") == Weather(degrees=3.5, days=("monday",))


def test_there_is_no_record_where_there_is_no_file(tmp_path):
    assert Weather.read(Weather.at(tmp_path), remedy="delete it") is None


@pytest.mark.parametrize("version", [{}, {"version": 1}])
def test_an_earlier_version_is_upgraded(tmp_path, version):
    path = Weather.at(tmp_path)
    path.write_text(json.dumps(version | {"heat": 3.5}))
    assert Weather.read(path, remedy="delete it") == Weather(degrees=3.5)


def test_unknown_keys_are_kept(tmp_path):
    held = {"version": 2, "degrees": 3.5, "later": {"key": [1]}}
    assert Weather.parse(held, "here", remedy="delete it").to_json() == held


def test_a_newer_version_is_refused_in_one_sentence(tmp_path):
    path = Weather.at(tmp_path)
    path.write_text(json.dumps({"version": 3, "something": "else"}))
    with pytest.raises(NewerVersion) as refused:
        Weather.read(path, remedy="delete it")
    said = str(refused.value)
    assert said.startswith(f"{path} has version 3, and cnnjax ")
    assert said.endswith(" reads versions up to 2: install a newer cnnjax (nothing was changed)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"degrees": ', "Expecting value"),
        ("[]", "it holds a list, not an object"),
        ("null", "it holds null, not an object"),
        ('{"version": "2", "degrees": 1.0}', "version = '2': must be a whole number from 1"),
        ('{"version": true, "degrees": 1.0}', "version = True"),
        ('{"version": 2}', "degrees: is required"),
        ('{"version": 2, "degrees": "warm"}', "degrees = 'warm': must be a valid number"),
        ('{"version": 2, "degrees": 1.0, "days": [1]}', "days.0 = 1: must be a valid string"),
    ],
)
def test_damage_is_named_with_file_key_rule_and_remedy(tmp_path, text, said):
    path = Weather.at(tmp_path)
    path.write_text(text)
    with pytest.raises(RunError) as damaged:
        Weather.read(path, remedy="delete it")
    assert str(damaged.value).startswith(f"{path} is damaged (")
    assert said in str(damaged.value)
    assert str(damaged.value).endswith("; delete it")


def test_a_number_that_is_not_finite_is_not_written(tmp_path):
    path = Weather.at(tmp_path)
    with pytest.raises(ValueError, match="Out of range"):
        Weather(degrees=float("nan")).write(path)
    assert not path.exists()
