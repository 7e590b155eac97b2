"""Pictures that `cnnjax inspect` wrote into the folders of trials, as far as a page has room for them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from PIL import Image

from cnnjax.documents.document import Picture
from cnnjax.errors import RunError
from cnnjax.records.inspect_json import FOLDER, InspectRecord, PictureEntry
from cnnjax.records.result_json import ResultRecord
from cnnjax.reporting.asked import once
from cnnjax.reporting.kept import named
from cnnjax.reporting.statistics import chosen, reference
from cnnjax.reporting.study_table import Table

ROOM = 1_200_000
"""Bytes of all pictures on a page."""
LARGEST, SMALL = 120_000, 60_000
"""Bytes of one picture; those of fewer than SMALL are taken as they are."""
MOST_TRIALS = 4
"""Trials whose pictures are looked at."""
WIDEST, NARROWEST = 1100, 500
"""Pixels of a picture's width on the page."""
EXAMPLES = "examples"
"""The name of the picture of single examples."""
REMEDY = "delete its folder: the pictures are made again by `cnnjax inspect RUN`"


@dataclass(frozen=True)
class Inspected:
    """The pictures of one trial. trial: its id; folder: where they are; record: what they are; made: when, in UTC."""

    trial: str
    arm: int
    seed: int
    folder: Path
    record: InspectRecord
    steps: int | None
    made: str

    @property
    def weights(self) -> str:
        """Which weights they are of."""
        of = f"the weights of {self.record.weights}" if self.record.weights else "the trained weights"
        last = "" if self.steps is None else f" of {self.steps:,}"
        return f"{of} after step {self.record.step:,}{last}"


@once
def inspected(table: Table) -> tuple[tuple[Inspected, ...], tuple[str, ...]]:
    """(the finished trials that have pictures, the chosen arm's first, then the reference's; what is not shown and
    why)."""
    first = [number for number in (chosen(table), reference(table)) if number is not None]
    found, notes, stale = [], [], []
    for row in table.done[["id", "arm", "seed", "steps"]].itertuples(index=False):
        name, arm, seed, steps = row
        folder = table.folders[name] / FOLDER
        path = InspectRecord.at(folder)
        steps = None if pd.isna(steps) else int(steps)
        try:
            record = InspectRecord.read(path, remedy=REMEDY)
            if record is None or not record.pictures:
                continue
            written = path.stat().st_mtime
            of_it = _is_of_result(record, table.folders[name], steps=steps, written=written)
        except (RunError, OSError) as error:
            notes.append(f"{error}.")
            continue
        if not of_it:
            stale.append(name)
            continue
        made = record.made or f"{datetime.fromtimestamp(written, UTC):%Y-%m-%d %H:%M} UTC"
        found.append(Inspected(name, int(arm), int(seed), folder, record, steps, made))
    if stale:
        notes.append(
            f"The pictures of {named(stale)} are of other weights than the result, or are not known to be of these: "
            f"they are not shown; `cnnjax inspect {table.folders[stale[0]]}` makes them anew."
        )
    found.sort(key=lambda own: (first.index(own.arm) if own.arm in first else len(first), own.arm, own.seed))
    return tuple(found), tuple(notes)


def _is_of_result(record: InspectRecord, folder: Path, *, steps: int | None, written: float) -> bool:
    """Whether pictures are of the training that the result is of: of its last checkpoint by the checksum of that; of
    others, and where a result has none, if they were made later, which is all that is known."""
    if steps is not None and record.step > steps:
        return False
    result = ResultRecord.read(ResultRecord.at(folder), remedy=REMEDY)
    if result is not None and result.checkpoint is not None and record.step == steps:
        return record.checksum == result.checkpoint
    return written >= ResultRecord.at(folder).stat().st_mtime


@dataclass(frozen=True)
class Shown:
    """The pictures that a page has room for, and what was left out."""

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]


@once
def shown(table: Table) -> Shown:
    """As many pictures as there is room for, in order; one that does not fit leaves its room to smaller ones. Those of
    single examples are the first to be given room."""
    found, notes = inspected(table)
    said, room = list(notes), ROOM
    wanted = [(own, name) for own in found[:MOST_TRIALS] for name in own.record.pictures]
    pictures: dict[str, Picture] = {}
    left: dict[str, list[str]] = {}
    for own, name in sorted(wanted, key=lambda each: each[1] != EXAMPLES):
        entry = own.record.pictures[name]
        path = own.folder / Path(entry.file).name
        try:
            whole = path.read_bytes()
            png, width = fitted(whole)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            said.append(f"{path} cannot be read ({error}); {REMEDY}.")
            continue
        if len(png) > room:
            left.setdefault(own.trial, []).append(name)
            continue
        room -= len(png)
        smaller = f" Made smaller for this page from {path.relative_to(table.out)}." if png != whole else ""
        key = picture_name(own, name)
        pictures[key] = Picture(key, entry.title, _caption(table, own, entry) + smaller, width, {"png": png})
    for trial, names in left.items():
        said.append(
            f"For lack of room the page leaves out {', '.join(names)} of trial {trial}: {_folder(table, trial)}."
        )
    if more := [own.trial for own in found[MOST_TRIALS:]]:
        said.append(
            f"For lack of room the page leaves out the pictures of {named(more)}: {_folder(table, more[0])} and so on."
        )
    order = (picture_name(own, name) for own, name in wanted)
    return Shown(tuple(pictures[key] for key in order if key in pictures), tuple(said))


def picture_name(own: Inspected, name: str) -> str:
    """What a trial's picture is called on a page."""
    return f"inspect_{own.trial}_{name}"


def _folder(table: Table, trial: str) -> Path:
    return table.folders[trial] / FOLDER


def of_examples(table: Table, arms: Sequence[int], part: str, places: Sequence[int]) -> tuple[Picture, ...]:
    """The pictures of single examples (`cnnjax inspect --only examples`) of trials of these arms, which show one of
    `places` of the part at least."""
    wanted = {
        picture_name(own, EXAMPLES)
        for own in inspected(table)[0]
        if own.arm in arms
        and (entry := own.record.pictures.get(EXAMPLES)) is not None
        and entry.part == part
        and set(entry.images) & set(places)
    }
    return tuple(each for each in shown(table).pictures if each.name in wanted)


def _caption(table: Table, own: Inspected, entry: PictureEntry) -> str:
    arm = f"arm {own.arm} ({table.arms[own.arm - 1].label}), seed {own.seed}"
    remarks = f" Note: {'; '.join(own.record.remarks)}." if own.record.remarks else ""
    return f"{entry.title}, by `cnnjax inspect`: trial {own.trial}, {arm}, {own.weights}; made {own.made}.{remarks}"


def fitted(png: bytes) -> tuple[bytes, int]:
    """(the picture as PNG of at most LARGEST bytes, as far as that is to be had, its width on a page in px).

    A larger one is made at most WIDEST wide, with 256 colours; one that is still too large is made smaller again, down
    to NARROWEST. Raises OSError and ValueError for what is no picture.
    """
    with Image.open(io.BytesIO(png)) as held:
        whole = held.convert("RGB")
    width = min(WIDEST, whole.width)
    if len(png) <= SMALL:
        return png, _on_page(whole.width)
    made = _encoded(whole, width)
    while len(made) > LARGEST and width > NARROWEST:
        # Its bytes are about as many as its pixels.
        width = max(NARROWEST, min(int(0.95 * width), int(width * (LARGEST / len(made)) ** 0.5)))
        made = _encoded(whole, width)
    return made, _on_page(width)


def _encoded(whole: Image.Image, width: int) -> bytes:
    height = max(1, round(whole.height * width / whole.width))
    buffer = io.BytesIO()
    whole.resize((width, height), Image.Resampling.LANCZOS).quantize(256, Image.Quantize.FASTOCTREE).save(buffer, "PNG")
    return buffer.getvalue()


def _on_page(width: int) -> int:
    return min(width, ON_PAGE)


ON_PAGE = 900
"""The widest that a picture stands on a page, in px."""
