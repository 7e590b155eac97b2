"""The energy of training steps, in results and checkpoints."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cnnjax.records.record import Entry


class EnergyEntry(Entry):
    """joules: what the machine took for `steps` training steps of the trial, those that were measured. of: the counters
    that said so; where they were others from one step to the next, all of them."""

    joules: float
    steps: Annotated[int, Field(ge=1)]
    of: tuple[str, ...]

    def with_more(self, more: EnergyEntry) -> EnergyEntry:
        """Both together."""
        of = tuple(dict.fromkeys((*self.of, *more.of)))
        return EnergyEntry(joules=self.joules + more.joules, steps=self.steps + more.steps, of=of)
