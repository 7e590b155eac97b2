"""config.json: the experiment that a run directory is of."""

from __future__ import annotations

from typing import Any, ClassVar

from cnnjax.records.record import Record


class ConfigRecord(Record):
    """config.json: the fields of the experiment, as `plain` gives them, beside the version.

    The record does not know the fields. Which there are, and what a field that is missing means, is for `Experiment`,
    whose JSON does not have the version.
    """

    filename: ClassVar[str] = "config.json"

    @property
    def experiment(self) -> dict[str, Any]:
        """The experiment as plain JSON."""
        return self.content
