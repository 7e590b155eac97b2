"""An epoch that a trial is in the midst of."""

from __future__ import annotations

from dataclasses import dataclass

from cnnjax.experiment.length import Length


@dataclass(frozen=True)
class Epoch:
    """number: counted from 1. first_step: steps taken when it began, or the training continued in its midst.
    last_step: those taken at its end. began: what the clock of the pack said at first_step."""

    number: int = 1
    first_step: int = 0
    last_step: int = 0
    began: float = 0.0


def epoch_at(step: int, length: Length, *, number: int = 1, still: bool, began: float) -> Epoch:
    """The epoch that goes on after `step` steps, the first that may be being `number`.

    still: whether of the epoch that `step` ends not all is done that is done at its end.
    """
    while (last := length.end_of_epoch(number)) < step or (last == step < length.steps and not still):
        number += 1
    return Epoch(number, step, last, began)
