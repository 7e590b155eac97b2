"""Pictures that `cnnjax inspect` wrote into the folders of trials, as far as a page has room for them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from cnnjax.documents.document import Picture
from cnnjax.errors import RunError
from cnnjax.records.inspect_json import FOLDER, InspectRecord, PictureEntry
from cnnjax.records.result_json import ResultRecord
from cnnjax.reporting.asked import once
from cnnjax.reporting.statistics import chosen, reference
from cnnjax.reporting.study_table import Table

ROOM = 2_000_000
"""Bytes of all pictures on a page."""
LARGEST, SMALL = 160_000, 60_000
"""Bytes of one picture; those of fewer than SMALL are taken as they are."""
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
    steps: int
    made: str

    @property
    def weights(self) -> str:
        """Which weights they are of."""
        of = f"the weights of {self.record.weights}" if self.record.weights else "the trained weights"
        return f"{of} after step {self.record.step:,} of {self.steps:,}"


@once
def inspected(table: Table) -> tuple[tuple[Inspected, ...], tuple[str, ...]]:
    """(the finished trials that have pictures, the chosen arm's first, then the reference's; what is not shown and
    why)."""
    first = [number for number in (chosen(table), reference(table)) if number is not None]
    found, notes = [], []
    for row in table.done[["id", "arm", "seed", "steps"]].itertuples(index=False):
        name, arm, seed, steps = row
        folder = table.folders[name] / FOLDER
        path = InspectRecord.at(folder)
        try:
            record = InspectRecord.read(path, remedy=REMEDY)
            if record is None or not record.pictures:
                continue
            written, result = path.stat().st_mtime, ResultRecord.at(table.folders[name]).stat().st_mtime
        except (RunError, OSError) as error:
            notes.append(f"{error}.")
            continue
        if written < result or record.step > steps:
            notes.append(
                f"The pictures in {folder} were made before the result of trial {name}, so that they are of other "
                f"weights: they are not shown; `cnnjax inspect {table.folders[name]}` makes them anew."
            )
            continue
        made = f"{datetime.fromtimestamp(written, UTC):%Y-%m-%d %H:%M} UTC"
        found.append(Inspected(name, int(arm), int(seed), folder, record, int(steps), made))
    found.sort(key=lambda own: (first.index(own.arm) if own.arm in first else len(first), own.arm, own.seed))
    return tuple(found), tuple(notes)


@dataclass(frozen=True)
class Shown:
    """The pictures that a page has room for, and what was left out."""

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]


@once
def shown(table: Table) -> Shown:
    """As many pictures as there is room for, in order; a picture that does not fit leaves its room to smaller ones."""
    found, notes = inspected(table)
    pictures, said, room = [], list(notes), ROOM
    for own in found:
        left = []
        for name, entry in own.record.pictures.items():
            path = own.folder / Path(entry.file).name
            try:
                whole = path.read_bytes()
                png, width = fitted(whole)
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                said.append(f"{path} cannot be read ({error}); {REMEDY}.")
                continue
            if len(png) > room:
                left.append(name)
                continue
            room -= len(png)
            caption = _caption(table, own, entry)
            if png != whole:
                caption += f" Made smaller for this page from {path.relative_to(table.out)}."
            pictures.append(Picture(f"inspect_{own.trial}_{name}", entry.title, caption, width, {"png": png}))
        if left:
            said.append(f"For lack of room the page leaves out {', '.join(left)} of trial {own.trial}: {own.folder}.")
    return Shown(tuple(pictures), tuple(said))


def of_examples(table: Table, arms: Sequence[int], part: str, places: Sequence[int]) -> tuple[Picture, ...]:
    """The pictures of single examples (`cnnjax inspect --only examples`) of trials of these arms, which show one of
    `places` of the part at least."""
    wanted = {
        f"inspect_{own.trial}_{EXAMPLES}"
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
