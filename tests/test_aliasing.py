"""Fractions found in the arms themselves, against textbooks, the designs' own generators and products of columns."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnjax.aliasing import fraction_of, sentences
from cnnjax.study.designs import FractionalFactorial
from cnnjax.study.designs.fractional_factorial import LETTERS, TABLE


def arms(axes: str, generators: dict[str, str] | None = None) -> list[dict[str, int]]:
    """All signs of the axes that are not made, in the order of the axes; `-AB` is the product with the other sign."""
    generators = generators or {}
    free = [axis for axis in axes if axis not in generators]
    rows = []
    for signs in itertools.product((-1, 1), repeat=len(free)):
        row: dict[str, int] = dict(zip(free, signs, strict=True))
        for axis, word in generators.items():
            row[axis] = math.prod(row[letter] for letter in word.lstrip("-")) * (-1 if word[0] == "-" else 1)
        rows.append({axis: row[axis] for axis in axes})
    return rows


def spelled(fraction, chain) -> list[str]:
    return [("-" if sign < 0 else "") + "".join(sorted(effect)) for effect, sign in chain.items()]


def test_the_half_fraction_of_four_axes():
    """2^(4-1), D = ABC; Montgomery (2013), example 8.1: I = ABCD, AB + CD, AC + BD, AD + BC, main effects clear."""
    fraction = fraction_of(arms("ABCD", {"D": "ABC"}))
    assert fraction is not None
    assert dict(fraction.words) == {frozenset("ABCD"): 1}
    assert (fraction.resolution, fraction.arms) == (4, 8)
    assert fraction.generators == {"D": (("A", "B", "C"), 1)}
    chains = [spelled(fraction, chain) for chain in fraction.chains()]
    assert chains == [["A"], ["B"], ["C"], ["D"], ["AB", "CD"], ["AC", "BD"], ["AD", "BC"]]
    assert [spelled(fraction, chain) for chain in fraction.chains(order=3)][:4] == [
        ["A", "BCD"],
        ["B", "ACD"],
        ["C", "ABD"],
        ["D", "ABC"],
    ]
    said = sentences(fraction, {"A": "features", "B": "kernel", "C": "pool", "D": "norm"})
    assert said == [
        "A fractional factorial, 2^(4-1): 8 of 16 combinations, resolution IV: main effects are confused with "
        "interactions of three axes, and those of two with each other. Generators: norm = features x kernel x pool "
        "(of the signs: an axis's first value is -1, its second 1).",
        "Not told apart: features x kernel, pool x norm; features x pool, kernel x norm; features x norm, kernel x "
        "pool.",
    ]


def test_the_other_half_has_the_other_signs():
    """2^(3-1) with C = -AB: A - BC, B - AC, C - AB (Montgomery 2013, section 8.2)."""
    fraction = fraction_of(arms("ABC", {"C": "-AB"}))
    assert fraction is not None
    assert fraction.generators == {"C": (("A", "B"), -1)}
    assert [spelled(fraction, chain) for chain in fraction.chains()] == [["A", "-BC"], ["B", "-AC"], ["C", "-AB"]]
    assert "c = -a x b" in sentences(fraction, {"A": "a", "B": "b", "C": "c"})[0]


def short(effect: frozenset[str]) -> frozenset[str]:
    return frozenset(name[0] for name in effect)


@pytest.mark.parametrize("axes", [5, 7, 9])
def test_designs_are_found_again(axes):
    for words in TABLE[axes]:
        names = list(LETTERS[:axes])
        made = dict(zip(names[axes - len(words.split()) :], words.split(), strict=True))
        design = FractionalFactorial(
            axes={name * 2: [0, 1] for name in names},
            generators={name * 2: tuple(x * 2 for x in word) for name, word in made.items()},
        )
        rows = [{n[0]: 2 * value - 1 for n, value in arm.items()} for arm in design.arms({})]
        fraction = fraction_of(rows)
        assert fraction is not None
        assert {name: "".join(own) for name, (own, _) in fraction.generators.items()} == made
        found = {e: set(chain) - {e} for chain in fraction.chains() for e in chain if len(chain) > 1}
        expected = design.aliases().items()
        assert found == {
            frozenset(x[0] for x in e): {frozenset(y[0] for y in o) for o in others} for e, others in expected
        }


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_chains_are_the_columns_that_are_equal(data):
    """Against all products of columns, for fractions with any generators."""
    free, made = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 3))
    names, word = LETTERS[: free + made], st.sets(st.sampled_from(LETTERS[:free]), min_size=2)
    generators = {
        axis: data.draw(st.sampled_from(["", "-"])) + "".join(sorted(data.draw(word))) for axis in names[free:]
    }
    rows = arms(names, generators)
    columns = {
        frozenset(chosen): np.prod([[row[axis] for axis in chosen] for row in rows], axis=1)
        for k in range(1, 3)
        for chosen in itertools.combinations(names, k)
    }
    fraction = fraction_of(rows)
    if fraction is None:
        together = [np.abs(columns[pair].sum()) == len(rows) for pair in columns if len(pair) == 2]
        assert any(together), "two of its axes change together"
        return
    for chain in fraction.chains():
        first = columns[next(iter(chain))]
        same = {e: s for e, column in columns.items() for s in (1, -1) if (column == s * first).all()}
        assert dict(chain) == same
    assert set().union(*fraction.chains()) == set(columns)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        arms("ABC"),
        arms("ABC", {"C": "AB"})[:3],
        [*arms("ABC", {"C": "AB"}), {"A": 1, "B": 1, "C": -1}],
        arms("ABCD")[:8],
        [{"A": 1, "B": 1, "C": 1}, {"A": -1, "B": 1, "C": 1}, {"A": 1, "B": -1, "C": 1}, {"A": 1, "B": 1, "C": -1}],
    ],
    ids=["none", "all combinations", "one is missing", "one too many", "an axis that does not change", "one at a time"],
)
def test_what_is_no_fraction(rows):
    assert fraction_of(rows) is None


def test_arms_of_a_fraction_at_other_settings_count_once():
    rows, settings = arms("ABC", {"C": "AB"}) * 3, [setting for setting in "xyz" for _ in range(4)]
    fraction = fraction_of(rows, settings)
    assert fraction is not None
    assert fraction.arms == 4
    assert fraction_of(rows) is None, "three times the same arm"
    assert fraction_of(rows[:-1], settings[:-1]) is None
    assert fraction_of([*rows[:8], *arms("ABC", {"C": "-AB"})], settings) is None, "another half at the last"
