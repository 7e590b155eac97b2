"""The marks of tables mark cases, and never take the place of a test."""

from __future__ import annotations

import pytest

from tests.marks import slow


def test_cases_are_marked_and_a_test_is_refused():
    one, two, three = slow("a", ("b", 2), len)
    assert (one.values, two.values, three.values) == (("a",), ("b", 2), (len,))
    assert {mark.name for case in (one, two, three) for mark in case.marks} == {"slow"}

    def test_of_something():
        pass

    with pytest.raises(TypeError, match=r"slow\(test_of_something\).*decorate a test with @pytest.mark.slow"):
        slow(test_of_something)
