"""The marks of tables mark cases, and never take the place of a test; what was long is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import long
from tests.marks import slow

ROOT = Path(__file__).parents[1]


def test_cases_are_marked_and_a_test_is_refused():
    one, two, three = slow("a", ("b", 2), len)
    assert (one.values, two.values, three.values) == (("a",), ("b", 2), (len,))
    assert {mark.name for case in (one, two, three) for mark in case.marks} == {"slow"}

    def test_of_something():
        pass

    with pytest.raises(TypeError, match=r"slow\(test_of_something\).*decorate a test with @pytest.mark.slow"):
        slow(test_of_something)


def test_what_is_listed_as_long_is_there():
    listed = long.listed()
    for name in listed:
        file, *_, test = name.split("::")
        assert f"def {test}(" in (ROOT / file).read_text(), f"{name} of tests/long.txt is no test: take the line away"


def test_cases_beyond_those_that_stay_are_left_out(monkeypatch):
    monkeypatch.setattr(long, "listed", lambda: {"f::a": 0, "f::b": 2})
    names = ["f::a", "f::a[x]", "f::b[1]", "f::c[1]", "f::b[2]", "f::b[3]", "f::c[2]"]
    assert long.left_out(names) == {"f::a", "f::a[x]", "f::b[3]"}


def test_what_takes_longer_than_a_second_is_long_but_a_file_keeps_its_quickest():
    times = [("f::a", 3.0), ("f::b", 0.2), ("f::c[1]", 0.5), ("f::c[2]", 0.3), ("f::c[3]", 0.4), ("f::c[4]", 0.4)]
    # Of 4 cases in 1.6 seconds, 2.5 a second.
    assert long.lengthened(times, {"g::a": 0}) == {"g::a": 0, "f::a": 0, "f::c": 2}
    assert long.lengthened([("f::a", 3.0), ("f::b[1]", 4.0), ("f::b[2]", 1.5)], {}) == {"f::a": 0, "f::b": 1}
