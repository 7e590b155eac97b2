"""jobs.json: what was handed to a cluster's queue for a study."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from cnnjax.records.record import Entry, Record


class JobsEntry(Entry):
    """One submission. launcher: by name. jobs: their ids at the cluster, one a worker. submitted: UNIX time.

    token: the name of a file in the study's folder `jobs`, by which a worker knows the right folder. trials: a digest
    of the planned trials' ids; "" where it was not recorded. beside: how many workers of earlier submissions went on.
    """

    launcher: str
    jobs: tuple[str, ...]
    submitted: float
    token: str
    trials: str = ""
    beside: int = 0


class JobsRecord(Record):
    """jobs.json: every submission of a study, the newest last."""

    filename: ClassVar[str] = "jobs.json"

    submissions: tuple[JobsEntry, ...] = Field(default=())
