"""Distributions of values, from which designs draw: ranges, even or even in the logarithm, of numbers and integers."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, model_validator

from cnnjax.config import Config
from cnnjax.errors import ConfigError

DIGITS = 6
"""Significant digits of a number that is drawn: enough for any field, and short enough to be read."""


class Distribution(Config, union="distribution"):
    """What an axis of a drawn design takes its values from, in the place of a list of values."""

    def at(self, share: float) -> Any:
        """The value below which this share (0 to 1, 1 excluded) of the distribution lies: its quantile function."""
        raise NotImplementedError

    @property
    def distinct(self) -> int | None:
        """How many values there are; None where they are without number."""
        return None


class Uniform(Distribution, tag="uniform"):
    """Numbers from `low` to `high`, all alike. Rounded to six significant digits."""

    low: float
    high: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Uniform:
        _check_range(self.low, self.high)
        return self

    def at(self, share: float) -> float:
        return _rounded(self.low + share * (self.high - self.low), self.low, self.high)


class LogUniform(Distribution, tag="log_uniform"):
    """Numbers from `low` to `high` whose logarithms are all alike: each decade has as many. Rounded likewise."""

    low: float = Field(gt=0)
    high: float

    @model_validator(mode="after")
    def _is_a_range(self) -> LogUniform:
        _check_range(self.low, self.high)
        return self

    def at(self, share: float) -> float:
        return _rounded(self.low * (self.high / self.low) ** share, self.low, self.high)


class Integers(Distribution, tag="integers"):
    """Whole numbers from `low` to `high`, both included, all alike."""

    low: int
    high: int

    @model_validator(mode="after")
    def _is_a_range(self) -> Integers:
        _check_range(self.low, self.high)
        return self

    def at(self, share: float) -> int:
        return min(self.low + math.floor(share * (self.high - self.low + 1)), self.high)

    @property
    def distinct(self) -> int:
        return self.high - self.low + 1


class LogIntegers(Distribution, tag="log_integers"):
    """Whole numbers k from `low` to `high`, both included, each with a share in proportion to log((k + 1) / k)."""

    low: int = Field(ge=1)
    high: int

    @model_validator(mode="after")
    def _is_a_range(self) -> LogIntegers:
        _check_range(self.low, self.high)
        return self

    def at(self, share: float) -> int:
        number = math.floor(self.low * ((self.high + 1) / self.low) ** share)
        return max(self.low, min(number, self.high))

    @property
    def distinct(self) -> int:
        return self.high - self.low + 1


def _check_range(low: float, high: float) -> None:
    if not low < high:
        raise ConfigError(f"low = {low} is not below high = {high}: the lower end comes first")


def _rounded(value: float, low: float, high: float) -> float:
    return max(low, min(float(f"{value:.{DIGITS}g}"), high))
