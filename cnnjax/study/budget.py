"""What an arm of a study may cost at most: arms above it are pruned, with the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from cnnjax.config import Config
from cnnjax.documents.quantities import bytes_of, number_of, short, short_bytes
from cnnjax.errors import ConfigError


class Budget(Config):
    """`Study(experiment, axes={...}, budget=Budget(params=1_000_000, memory=8 * 10**9))`.

    params: of the network; macs: multiply-accumulates of one image forward, in evaluation. memory: bytes of a training
    step on each device, as estimated. hours: of one trial, by the clock, on the
    machine that trains; they are measured by a few steps, before a sweep and by `--estimate`, and by no plan else.
    """

    params: int | None = Field(default=None, ge=1)
    macs: int | None = Field(default=None, ge=1)
    memory: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)

    def check(self, *, params: int, macs: int, memory: Callable[[], int]) -> None:
        """Raise ConfigError where an arm costs more. memory: called where there is a budget of it."""
        _check(self.params, params, short, "parameters")
        _check(self.macs, macs, short, "MACs an image")
        if self.memory is not None:
            _check(self.memory, memory(), short_bytes, "for a training step on each device, as estimated")

    def check_hours(self, hours: float) -> None:
        """Raise ConfigError where a trial takes longer."""
        _check(self.hours, hours, lambda number: f"{number:.3g}", "hours a trial, as estimated")


def _check(budget: float | None, cost: float, written: Callable[[float], str], what: str) -> None:
    if budget is None or cost <= budget:
        return
    texts = written(cost), written(budget)
    if texts[0] == texts[1]:
        texts = f"{cost:,}", f"{budget:,}"
    raise ConfigError(f"{texts[0]} {what}, budget {texts[1]}")


_READ: dict[str, Callable[[str], Any]] = {"params": number_of, "macs": number_of, "memory": bytes_of, "hours": float}


def budget_of(written: list[str], before: Budget | None = None) -> Budget | None:
    """The budget that texts such as `params=1M` give, over the one there is. Raises ConfigError."""
    found: dict[str, Any] = {} if before is None else {name: value for name, value in before if value is not None}
    for each in written:
        name, equals, text = each.partition("=")
        if not equals or name not in Budget.model_fields:
            names = ", ".join(Budget.model_fields)
            raise ConfigError(f"--budget {each}: must be NAME=AMOUNT, such as params=1M; names are {names}")
        try:
            found[name] = _READ[name](text)
        except ConfigError as error:
            raise ConfigError(f"--budget {each}: {error}") from None
        except ValueError:
            raise ConfigError(f"--budget {each}: hours are a number, such as hours=0.5") from None
    return Budget(**found) if found else None
