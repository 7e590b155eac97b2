"""Conditions on the values of an arm, as text: `model.kernel_size == 7 requires model.strides == 1`.

    condition   = either [ "requires" either ]
    either      = both { "or" both }
    both        = one { "and" one }
    one         = "not" one | "(" either ")" | path operator value
    operator    = "==" | "=" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in"

A value is a number, a word (`max`, `none`, `true`), a text in quotes, or several of them in brackets (`[3, 5]`). The
path stands on the left: a field of the experiment, or the name of a group of fields, whose values are its choices.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cnnjax.config import parse
from cnnjax.errors import ConfigError
from cnnjax.study.values import frozen, labelled, text

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS = ("==", "=", "!=", "in", "not in", *ORDERS)
WORDS = ("and", "or", "not", "in", "requires")
_TOKEN = re.compile(r"""\s*(==|!=|<=|>=|<|>|\(|\)|"[^"]*"|'[^']*'|\[[^]]*\]|[^\s()=!<>"'\[\]]+|\S)""")

Forms = tuple[Any, ...]
"""A value in the forms that it has: as the arm writes it and, where that stands for a config, the config; none where
the arm has no such field, of which no comparison holds, `!=` and `not in` neither."""

ValueAt = Callable[[str], Forms]
"""Gives what stands at a path, or a group's choice, in an arm."""

Holds = Callable[[ValueAt], bool]
"""Whether something holds of an arm."""


@dataclass(frozen=True)
class Comparison:
    """A value at a path compared with what is written: `model.kernel_size in [5, 7]`."""

    path: str
    sign: str
    value: Any

    @property
    def is_of_order(self) -> bool:
        """Whether it is about less and more."""
        return self.sign in ORDERS

    @property
    def values(self) -> tuple[Any, ...]:
        """The values that are written."""
        return self.value if self.sign.endswith("in") else (self.value,)

    def holds(self, forms: Forms) -> bool:
        """Whether it holds of a value in its forms. Raises ConfigError where less and more is asked of no number."""
        return _compare(self.path, forms, self.sign, self.value)


@dataclass(frozen=True)
class Condition:
    """A condition that was read. comparisons: all in it. when, requires: its two sides; None for one that has no
    `requires`."""

    written: str
    comparisons: tuple[Comparison, ...]
    when: Holds
    requires: Holds | None

    @staticmethod
    def read(written: str) -> Condition:
        """The condition that a text says. Raises ConfigError with what was expected where it cannot be read."""
        return _read(written)

    def excludes(self, value_at: ValueAt) -> bool:
        """Whether an arm is excluded: `A` excludes where A holds, `A requires B` where A holds and B does not."""
        return self.when(value_at) and (self.requires is None or not self.requires(value_at))


@lru_cache(maxsize=256)
def _read(written: str) -> Condition:
    reader = _Reader(written)
    when = reader.either()
    requires = reader.either() if reader.takes("requires") else None
    if reader.ahead:
        raise reader.error(f"{reader.ahead[0]!r} follows a whole condition", "and, or, requires, or nothing")
    return Condition(written, tuple(reader.comparisons), when, requires)


class _Reader:
    """Reads a condition from left to right. ahead: the words that are still to be read."""

    def __init__(self, written: str):
        self.written = written
        self.ahead = _TOKEN.findall(written)
        self.comparisons: list[Comparison] = []

    def error(self, found: str, expected: str) -> ConfigError:
        return ConfigError(
            f"{self.written!r}: {found}, where {expected} should stand; a condition reads like "
            "model.kernel_size == 7 requires model.strides == 1"
        )

    def takes(self, word: str) -> bool:
        if self.ahead[:1] != [word]:
            return False
        del self.ahead[0]
        return True

    def next(self, expected: str) -> str:
        if not self.ahead:
            raise self.error("it ends", expected)
        return self.ahead.pop(0)

    def either(self) -> Holds:
        parts = [self.both()]
        while self.takes("or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda value_at: any(part(value_at) for part in parts)

    def both(self) -> Holds:
        parts = [self.one()]
        while self.takes("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else lambda value_at: all(part(value_at) for part in parts)

    def one(self) -> Holds:
        if self.takes("not"):
            inner = self.one()
            return lambda value_at: not inner(value_at)
        if self.takes("("):
            inner = self.either()
            if not self.takes(")"):
                raise self.error(repr(self.ahead[0]) if self.ahead else "it ends", ")")
            return inner
        return self.comparison()

    def comparison(self) -> Holds:
        path = self.next("a path")
        if not re.fullmatch(r"[A-Za-z_][\w.]*", path) or path in WORDS:
            raise self.error(repr(path), "a path")
        sign = self.next("a comparison")
        if sign == "not" and self.takes("in"):
            sign = "not in"
        if sign not in OPERATORS:
            raise self.error(repr(sign), f"one of {', '.join(OPERATORS)}")
        value = self.value()
        if sign.endswith("in") and not isinstance(value, tuple):
            raise self.error(repr(value), "several values in brackets, such as [3, 5]")
        if sign in ORDERS and not _is_number(value):
            raise self.error(repr(value), "a number")
        found = Comparison(path, "==" if sign == "=" else sign, value)
        self.comparisons.append(found)
        return lambda value_at: found.holds(value_at(path))

    def value(self) -> Any:
        written = self.next("a value")
        if written in (*WORDS, *OPERATORS, "(", ")"):
            raise self.error(repr(written), "a value")
        return frozen(parse(written))


def _compare(path: str, forms: Forms, sign: str, other: Any) -> bool:
    if not forms:
        return False
    if sign in ("==", "!="):
        return same(forms, other) == (sign == "==")
    if sign in ("in", "not in"):
        return any(same(forms, entry) for entry in other) == (sign == "in")
    value = forms[0]
    if not _is_number(value):
        raise ConfigError(f"exclude: {path} {sign} {other}: {path} is {text(value)}, which is no number", path=path)
    return ORDERS[sign](value, other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(forms: Forms, written: Any) -> bool:
    """Whether a value is what is written: equal, or a config whose short text that is (`batch` for `BatchNorm()`).

    `none` is null, no entries, and a config that is called so; a number is never true or false.
    """
    return _comparable(written) in map(_comparable, forms)


def _comparable(value: Any) -> Any:
    if value is None or value == ():
        return "none"
    return ("flag", value) if isinstance(value, bool) else labelled(value)
