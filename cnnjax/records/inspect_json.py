"""inspect.json: what pictures of a trained network there are, and the numbers that they show."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from cnnjax.records.record import Entry, Record

FOLDER = "inspect"
"""Where it lies in a run's folder."""


class PictureEntry(Entry):
    """One picture. file: beside inspect.json. title, notes: what stands over it. part: the data it is of, None where it
    is of none; images: the places of the examples shown in that part, empty where it shows none. numbers: what is
    drawn, by name; null where there is no number."""

    file: str
    title: str
    notes: tuple[str, ...] = ()
    part: str | None = None
    images: tuple[int, ...] = ()
    numbers: dict[str, Any] = Field(default_factory=dict)


class InspectRecord(Record):
    """inspect.json: by name the pictures of one checkpoint of a run (`cnnjax inspect`).

    step, checksum: of the checkpoint; weights: the training method's whose weights they are, None of those that the
    optimizer trained. made: when the newest of them was, in UTC; None where that was not recorded. skipped: by name,
    why a picture was not made. remarks: what is to be known of all of them.
    """

    filename: ClassVar[str] = "inspect.json"

    run: str
    step: int
    checksum: int
    weights: str | None = None
    pictures: dict[str, PictureEntry] = Field(default_factory=dict)
    skipped: dict[str, str] = Field(default_factory=dict)
    made: str | None = None
    remarks: tuple[str, ...] = ()
