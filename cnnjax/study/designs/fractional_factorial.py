"""Two-level fractional factorial designs: main effects of many axes from few arms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from cnnjax.config import Named
from cnnjax.errors import ConfigError, unknown
from cnnjax.study.designs.axes import Axes, values_of
from cnnjax.study.designs.design import Arm, Design

LETTERS = "ABCDEFGHJKLMNOP"
"""The axes' letters in textbooks, which leave out I, the identity."""

# By the number of axes, of these as many are made from the others as there are words: axis F = ABC is at its second
# value where an even number of A, B, C are at their first. Box, Hunter and Hunter (2005), table 6.22; NIST/SEMATECH
# e-Handbook of Statistical Methods, section 5.3.3.4.7. Fewest arms first.
TABLE: dict[int, tuple[str, ...]] = {
    3: ("AB",),
    4: ("ABC",),
    5: ("AB AC", "ABCD"),
    6: ("AB AC BC", "ABC BCD", "ABCDE"),
    7: ("AB AC BC ABC", "ABC BCD ACD", "ABCD ABDE", "ABCDEF"),
    8: ("BCD ACD ABC ABD", "ABC ABD BCDE", "ABCD ABEF", "ABCDEFG"),
    9: ("ABC BCD ACD ABD ABCD", "BCDE ACDE ABDE ABCE", "ABCD ACEF CDEF", "ACDFG BCEFG"),
    10: ("ABC BCD ACD ABD ABCD AB", "ABCD ABCE ABDE ACDE BCDE", "BCDF ACDF ABDE ABCE", "ABCG BCDE ACDF"),
    11: ("ABC BCD ACD ABD ABCD AB AC", "ABC BCD CDE ACD ADE BDE", "CDE ABCD ABF BDEF ADEF", "ABCG BCDE ACDF ABCDEFG"),
    12: ("ABC ABD ACD BCD ABCD AB AC AD",),
    13: ("ABC ABD ACD BCD ABCD AB AC AD BC",),
    14: ("ABC ABD ACD BCD ABCD AB AC AD BC BD",),
    15: ("ABC ABD ACD BCD ABCD AB AC AD BC BD CD",),
}

Word = frozenset[str]
"""Axes whose signs are multiplied: an effect, or a product that is 1 in every arm."""


class FractionalFactorial(Design, tag="fractional_factorial"):
    """Some of the combinations of axes of two values each, so chosen that every main effect can be told.

    `FractionalFactorial(axes={...}, resolution=4)` is the textbook's design of the fewest arms with at least this
    resolution (Box, Hunter and Hunter 2005, chapter 6): with 3, main effects are confused with interactions of two
    axes; with 4, with those of three; with 5, interactions of two are not confused with each other either.
    generators: in its place, the axes that are made from others, each with those whose signs are multiplied:
    `{"model.norm": ["model.features", "model.pool"]}`. The first value of an axis is its low one (-1). `aliases` says
    what is confused with what.

    resolution: at least 3, as above; None where `generators` are given.
    """

    axes: Axes
    resolution: int | None = Field(default=None, ge=3)
    generators: Annotated[Mapping[str, tuple[str, ...]], AfterValidator(Named)] = Named()

    @model_validator(mode="after")
    def _can_be(self) -> FractionalFactorial:
        if not self.axes:
            raise ConfigError("give axes of two values each, such as axes={'model.pool': ['max', 'blur'], ...}")
        for name, axis in self.axes.items():
            if len(values_of(axis)) != 2:
                raise ConfigError(f"{name} has {len(values_of(axis))} values: it takes two")
        if (self.resolution is None) == (not self.generators):
            raise ConfigError("give a resolution (3, 4 or 5), or generators, and not both")
        for name, sources in self.generators.items():
            self._check_generator(name, sources)
        words = self.chosen_generators
        shortest = min(map(len, _products(words)), default=len(self.axes) + 1)
        if self.generators and shortest < 3:
            word = min(_products(words), key=len)
            names = " and ".join(name for name in self.axes if name in word)
            raise ConfigError(f"with these generators {names} always change together")
        return self

    def _check_generator(self, name: str, sources: Sequence[str]) -> None:
        for axis in (name, *sources):
            if axis not in self.axes:
                raise ConfigError(f"generators: {unknown('axis', axis, self.axes)}")
            if axis != name and axis in self.generators:
                raise ConfigError(f"generators: {name} is made of {axis}, which is made itself")
        if name in sources or len(set(sources)) < len(sources):
            raise ConfigError(f"generators: {name} = {' '.join(sources)} names an axis twice")

    @property
    def chosen_generators(self) -> dict[str, tuple[str, ...]]:
        """The axes that are made from others, each with those whose signs are multiplied."""
        if self.resolution is None:
            return dict(self.generators)
        names = list(self.axes)
        if self.resolution > len(names):
            return {}
        for row in TABLE.get(len(names), ()):
            words = row.split()
            made = names[len(names) - len(words) :]
            found = {
                name: tuple(names[LETTERS.index(letter)] for letter in word)
                for name, word in zip(made, words, strict=True)
            }
            if min(map(len, _products(found))) >= self.resolution:
                return found
        raise ConfigError(
            f"there is no table of resolution {self.resolution} for {len(names)} axes: give "
            "generators, or take the grid"
        )

    def all_axes(self) -> Named[Any]:
        return Named(self.axes)

    def count(self, base: Mapping[str, Any]) -> int:
        return 2 ** (len(self.axes) - len(self.chosen_generators))

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        made = self.chosen_generators
        free = [name for name in self.axes if name not in made]
        values = {name: values_of(axis) for name, axis in self.axes.items()}
        for signs in itertools.product((-1, 1), repeat=len(free)):
            sign = dict(zip(free, signs, strict=True))
            sign |= {name: math.prod(sign[source] for source in sources) for name, sources in made.items()}
            yield Named({name: values[name][(sign[name] + 1) // 2] for name in self.axes})

    def aliases(self, order: int = 2) -> dict[Word, tuple[Word, ...]]:
        """What each effect of up to `order` axes is confused with: the others of up to `order` axes, smallest first.

        An effect is the set of its axes. Those that are confused with none are left out.
        """
        words = _products(self.chosen_generators)
        effects = [frozenset(chosen) for k in range(1, order + 1) for chosen in itertools.combinations(self.axes, k)]
        place = {effect: number for number, effect in enumerate(effects)}
        found = {effect: {effect ^ word for word in words} & place.keys() for effect in effects}
        return {effect: tuple(sorted(others, key=place.__getitem__)) for effect, others in found.items() if others}


def _products(generators: Mapping[str, Sequence[str]]) -> list[Word]:
    """The words of the defining relation: the sets of axes whose product of signs is 1 in every arm."""
    words: list[Word] = [frozenset()]
    for name, sources in generators.items():
        words += [word ^ frozenset((name, *sources)) for word in words]
    return words[1:]
