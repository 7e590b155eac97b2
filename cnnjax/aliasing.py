"""Fractions of two-level designs: which effects cannot be told from which.

Box, Hunter and Hunter (2005), Statistics for Experimenters, chapter 6; Montgomery (2013), Design and Analysis of
Experiments, chapter 8. Found in the arms themselves, however they were chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import xor
from types import MappingProxyType

Effect = frozenset[str]
"""The axes whose signs are multiplied: one for a main effect, two for their interaction."""

MOST_WORDS = 12
"""A fraction of 2^-12 has 4,095 words: smaller ones are left alone."""
ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV", "XVI")


@dataclass(frozen=True)
class Fraction:
    """A regular fraction of all combinations of two levels of its `axes`.

    words: the defining relation without the identity: sets of axes whose product of signs is the same in every arm, and
    that product, 1 or -1. An axis's sign is -1 at its first value and 1 at its second.
    """

    axes: tuple[str, ...]
    words: Mapping[Effect, int]

    @property
    def resolution(self) -> int:
        """The number of axes in the shortest word: main effects are confused with interactions of one axis less."""
        return min(map(len, self.words))

    @property
    def arms(self) -> int:
        """How many combinations of its axes' values there are."""
        return 2 ** len(self.axes) // (len(self.words) + 1)

    @property
    def generators(self) -> dict[str, tuple[tuple[str, ...], int]]:
        """The axes whose sign follows from those of axes before them: these, and the sign of the product."""
        free, made = list[str](), {}
        for axis in self.axes:
            word = next((w for w in self.words if axis in w and w - {axis} <= set(free)), None)
            if word is None:
                free.append(axis)
            else:
                made[axis] = (tuple(name for name in free if name in word), self.words[word])
        return made

    def chains(self, order: int = 2) -> tuple[Mapping[Effect, int], ...]:
        """The effects of up to `order` axes, those together that are not told apart, smallest first.

        What an arm shows of a chain is the sum of its effects with these signs, of which the first is 1. Those that are
        confused with the mean are left out.
        """
        effects = [frozenset(chosen) for k in range(1, order + 1) for chosen in itertools.combinations(self.axes, k)]
        chains, seen = list[Mapping[Effect, int]](), set(self.words)
        for effect in effects:
            if effect not in seen:
                same = {effect: 1} | {effect ^ word: sign for word, sign in self.words.items()}
                seen |= same.keys()
                chains.append(MappingProxyType({own: same[own] for own in effects if own in same}))
        return tuple(chains)


def fraction_of(rows: Sequence[Mapping[str, int]], settings: Sequence[Hashable] = ()) -> Fraction | None:
    """The regular fraction that arms are, given the sign of each axis in each; None where they are none.

    A fraction is regular if it is all combinations for which some products of signs are as given (`Fraction.words`).
    settings: what else each arm is; at each of them there has to be the same fraction, every arm once. All of the
    combinations are no fraction, and neither are two axes that change together, nor one that does not change.
    """
    axes = tuple(rows[0]) if rows else ()
    bit = {axis: 1 << place for place, axis in enumerate(axes)}
    points = [sum(bit[axis] for axis in axes if row[axis] < 0) for row in rows]
    at: dict[Hashable, list[int]] = {}
    for setting, point in zip(settings or [None] * len(points), points, strict=True):
        at.setdefault(setting, []).append(point)
    different = set(points)
    if any(len(own) != len(different) or set(own) != different for own in at.values()):
        return None
    spanned = _span([point ^ points[0] for point in different])
    missing = len(axes) - len(spanned)
    if len(different) != 2 ** len(spanned) or not 0 < missing <= MOST_WORDS:
        return None
    words: dict[Effect, int] = {}
    for mask in _orthogonal(spanned, len(axes)):
        sign = -1 if (mask & points[0]).bit_count() % 2 else 1
        words[frozenset(axis for axis in axes if mask & bit[axis])] = sign
    return Fraction(axes, MappingProxyType(words)) if min(map(len, words)) >= 3 else None


def _span(vectors: Sequence[int]) -> dict[int, int]:
    """A basis over GF(2) in reduced form, each vector by its highest bit, which no other has."""
    basis: dict[int, int] = {}
    for vector in vectors:
        for high, own in basis.items():
            if vector >> high & 1:
                vector ^= own
        if vector:
            high = vector.bit_length() - 1
            basis = {other: own ^ vector if own >> high & 1 else own for other, own in basis.items()}
            basis[high] = vector
    return basis


def _orthogonal(basis: Mapping[int, int], size: int) -> list[int]:
    """All but 0 of the vectors that have an even number of bits in common with each of the basis."""
    free = [place for place in range(size) if place not in basis]
    own = [1 << place | sum(1 << high for high, vector in basis.items() if vector >> place & 1) for place in free]
    chosen = itertools.chain.from_iterable(itertools.combinations(own, k) for k in range(1, len(own) + 1))
    return [reduce(xor, some) for some in chosen]


# --- in words


def sentences(fraction: Fraction, names: Mapping[str, str]) -> list[str]:
    """What the fraction is, and what it does not tell apart. names: of the axes, in words."""
    k, p = len(fraction.axes), (len(fraction.words) + 1).bit_length() - 1
    made = [f"{names[axis]} = {_product(fraction, own, names, sign)}" for axis, (own, sign) in _made(fraction)]
    resolution = fraction.resolution
    said = [
        f"A fractional factorial, 2^({k}-{p}): {fraction.arms} of {2**k} combinations, resolution {ROMAN[resolution]}: "
        f"{_MEANING[min(resolution, 5)]}. Generators: {', '.join(made)} (of the signs: an axis's first value is "
        "-1, its second 1)."
    ]
    confused = [chain_text(fraction, chain, names) for chain in fraction.chains() if len(chain) > 1]
    if not confused:
        return [*said, "No main effect and no interaction of two axes is confused with another."]
    return [*said, f"Not told apart: {'; '.join(confused[:MOST_SAID])}{_more(len(confused))}."]


MOST_SAID = 24
_MEANING = {
    3: "main effects are confused with interactions of two axes",
    4: "main effects are confused with interactions of three axes, and those of two with each other",
    5: "main effects and interactions of two axes are confused with interactions of three or more alone",
}


def _made(fraction: Fraction) -> list[tuple[str, tuple[Effect, int]]]:
    return [(axis, (frozenset(own), sign)) for axis, (own, sign) in fraction.generators.items()]


def _more(count: int) -> str:
    return f"; and {count - MOST_SAID} more" if count > MOST_SAID else ""


def chain_text(fraction: Fraction, chain: Mapping[Effect, int], names: Mapping[str, str]) -> str:
    """`norm, features x pool`: the effects of a chain; one with the other sign has a minus."""
    return ", ".join(_product(fraction, effect, names, sign) for effect, sign in chain.items())


def _product(fraction: Fraction, effect: Effect, names: Mapping[str, str], sign: int) -> str:
    return f"{'-' if sign < 0 else ''}{' x '.join(names[axis] for axis in fraction.axes if axis in effect)}"
