"""Make pictures of a trained network, and write them beside the run with the numbers that they show."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnjax.errors import ConfigError, DiskFull, RunError, unknown
from cnnjax.files import inside, write_bytes
from cnnjax.inspection.pictures.drawing import Picture
from cnnjax.inspection.subject import Options, Subject, Told
from cnnjax.records.folders import refuse_held, refuse_others_files
from cnnjax.records.inspect_json import FOLDER, InspectRecord, PictureEntry
from cnnjax.run.trained import Trained
from cnnjax.study.load import load

ANY, ONE_VECTOR, CLASSES, PROBABILITIES = "any", "one vector", "classes", "probabilities"
PICTURES: Mapping[str, str] = MappingProxyType(
    {
        "filters": ANY,
        "examples": PROBABILITIES,
        "feature_maps": ANY,
        "top_images": ANY,
        "dead_units": ANY,
        "saliency": ONE_VECTOR,
        "occlusion": ONE_VECTOR,
        "grad_cam": ONE_VECTOR,
        "maximization": ANY,
        "cka": ANY,
        "confusion": CLASSES,
        "mistakes": PROBABILITIES,
        "calibration": PROBABILITIES,
        "robustness": CLASSES,
        "histograms": ANY,
    }
)
"""Every picture by name, in their order, with the networks that it can be made of."""
REASONS = {
    ONE_VECTOR: "its outputs are maps, and no number of one image",
    CLASSES: "its task has no classes of images",
    PROBABILITIES: "its outputs are not the probabilities of one class of an image among all",
}


@dataclass(frozen=True)
class Inspection:
    """folder: where pictures and inspect.json were written. made: the names of the pictures of this call. record: all
    that is in the folder."""

    folder: Path
    made: tuple[str, ...]
    record: InspectRecord


def inspect(
    run: Path | str,
    *,
    only: Sequence[str] = (),
    others: Sequence[Path | str] = (),
    layers: Sequence[str] = (),
    part: str = "test",
    count: int = 8,
    units: int = 16,
    images: Any = None,
    examples: Sequence[int] = (),
    batch_size: int | None = None,
    devices: int | None = None,
    out: Path | str | None = None,
    step: int | None = None,
    weights: str | None = None,
    file: Path | str | None = None,
    stale: str = "stop",
    told: Told = lambda done, total, what: None,
) -> Inspection:
    """Write pictures of a run's network as PNG, with inspect.json, into RUN/inspect or `out`.

    only: which (`PICTURES`); by default all that apply to its task and the layers, and the record says which do not
    and why. others: runs whose layers are compared with this one's (`cka`). layers: by name; by default some, spread
    over the depth.
    part: of its data, "train", "validation" or "test". count: images that are shown. units: of each layer, evenly
    spread. images: files, folders or arrays (as `Trained.predict` takes them) that are shown in place of the part's.
    examples: places in the part, from 0, of the images that are shown instead of `count` that are spread over it.
    batch_size, devices: neither changes results but for round-off, and `cka` by chance. step, weights, file, stale: as
    `cnnjax.load`. told: called with progress.

    Pictures of the same checkpoint that are in the folder stay; those of another are removed. Raises RunError where it
    is no run or has no checkpoint, ConfigError for a picture or layer that it does not have, DataError for images of
    another form.
    """
    options = Options(tuple(layers), part, count, units, images, tuple(examples), batch_size, devices)
    for name in only:
        if name not in PICTURES:
            raise ConfigError(f"--only {unknown('picture', name, PICTURES)}")
    trained = load(run, step=step, weights=weights, file=file, stale=stale)
    compared = tuple(load(other, file=file, stale=stale) for other in others)
    progress = _Pictures(told)
    subject = Subject(trained, options, compared, progress)
    folder = inside(trained.path, FOLDER) if out is None else _free(Path(out))
    skipped = {name: reason for name in PICTURES if (reason := _refused(subject, name))}
    applying = [name for name in PICTURES if name not in skipped]
    if refused := [name for name in only if name in skipped]:
        raise ConfigError(
            f"--only {refused[0]}: {trained.path}: {skipped[refused[0]]}; what applies: {', '.join(applying)}"
        )
    for name in layers:
        subject.network.layer(name)
    subject.check_examples()
    made: list[str] = []
    progress.names = tuple(only or applying)
    for number, name in enumerate(progress.names):
        progress.made = number
        progress(0, 1, name)
        try:
            picture = _module(name).picture(subject)
        except ConfigError as error:
            if only:
                raise
            skipped[name] = str(error)
        else:
            # One by one: what is made stays where the next is interrupted.
            _write(folder, subject, {name: picture}, skipped)
            made.append(name)
    told(len(progress.names), len(progress.names), "")
    return Inspection(folder, tuple(made), _write(folder, subject, {}, skipped))


@dataclass
class _Pictures:
    """Progress over all pictures, from which the time that is left is told; how far one is stands in the note. Of one
    picture alone, that is the progress."""

    told: Told
    names: tuple[str, ...] = ()
    made: int = 0

    def __call__(self, done: int, total: int, what: str) -> None:
        if len(self.names) == 1:
            self.told(done, total, what)
            return
        name = self.names[self.made]
        self.told(self.made, len(self.names), name if what == name else f"{name}: {what}, {done}/{total}")


def _free(folder: Path) -> Path:
    """The folder, in which nothing of others is. Raises RunError."""
    refuse_held(folder)
    if not InspectRecord.at(folder).exists():
        refuse_others_files(folder, [f"{name}.png" for name in PICTURES])
    return folder


def _module(name: str) -> Any:
    return importlib.import_module(f"cnnjax.inspection.pictures.{name}")


def _refused(subject: Subject, name: str) -> str | None:
    """Why the picture cannot be made of the network; None where it can."""
    needs = PICTURES[name]
    able = {
        ANY: True,
        ONE_VECTOR: not subject.has_maps,
        CLASSES: subject.has_classes,
        PROBABILITIES: subject.has_probabilities,
    }
    return None if able[needs] else REASONS[needs]


def _write(folder: Path, subject: Subject, made: Mapping[str, Picture], skipped: dict[str, str]) -> InspectRecord:
    path, trained = InspectRecord.at(folder), subject.trained
    held = InspectRecord.read(path, remedy=f"delete {folder}: it is made again by cnnjax inspect")
    pictures = {} if held is None else dict(held.pictures)
    if held is not None and not _is_of(held, trained):
        for entry in pictures.values():
            (folder / Path(entry.file).name).unlink(missing_ok=True)
        pictures = {}
    for name, picture in made.items():
        _write_picture(folder / f"{name}.png", picture)
        pictures[name] = PictureEntry(
            file=f"{name}.png",
            title=picture.title,
            notes=picture.notes,
            part=picture.part,
            images=picture.images,
            numbers=dict(picture.numbers),
        )
    record = InspectRecord(
        run=str(trained.path),
        step=trained.step,
        checksum=trained.checksum,
        weights=trained.weights,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        pictures={name: pictures[name] for name in PICTURES if name in pictures},
        skipped={name: reason for name, reason in skipped.items() if name not in pictures},
        remarks=subject.remarks,
    )
    record.write(path)
    return record


def _write_picture(path: Path, picture: Picture) -> None:
    try:
        write_bytes(path, picture.png)
    except DiskFull:
        raise
    except RunError as error:
        raise RunError(f"{error}: cnnjax inspect RUN --out DIR") from error


def _is_of(held: InspectRecord, trained: Trained) -> bool:
    return (held.step, held.checksum, held.weights) == (trained.step, trained.checksum, trained.weights)
