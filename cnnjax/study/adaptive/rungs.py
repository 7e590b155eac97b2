"""Rungs: the epochs at which arms are compared, each a factor later than the one before."""

from __future__ import annotations

from cnnjax.errors import ConfigError


def rungs_of(first: int, factor: int, epochs: int) -> tuple[int | None, ...]:
    """The epochs `first`, `first` * `factor`, ... that come before the last, then None: the end of the training.

    Raises ConfigError where the training is no longer than the first rung.
    """
    if first >= epochs:
        raise ConfigError(
            f"adaptive.first = {first} epochs: the training has {epochs}, so that nothing is saved; choose an earlier "
            "first rung, or longer training",
            path="adaptive.first",
        )
    found: list[int | None] = []
    epoch = first
    while epoch < epochs:
        found.append(epoch)
        epoch *= factor
    return (*found, None)
