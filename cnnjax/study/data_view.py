"""Look at a data set: its numbers, and a picture of examples, before and after augmentation, and of colour planes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from cnnjax.config import Config, explain, parse, plain, replace, replace_texts
from cnnjax.data import Dataset
from cnnjax.data.dataset_statistics import Files, Statistics, choose, has_class_ids, statistics
from cnnjax.data.examples import Part
from cnnjax.data.source import built_in
from cnnjax.data.tfds import known_names
from cnnjax.documents.document import Column, Document, Grid, Remarks
from cnnjax.errors import ConfigError, did_you_mean
from cnnjax.experiment import Experiment, parts_of
from cnnjax.models import SmallCNN
from cnnjax.records.config_json import ConfigRecord
from cnnjax.run.directory import RunDirectory
from cnnjax.study.file import load, need_file
from cnnjax.study.overlays import drawn_over

BROKEN = 10  # images that cannot be decoded and are named
LISTED = 100  # classes that a terminal lists


@dataclass(frozen=True)
class Found:
    """An experiment, and the name that its data goes by on the command line. named: whether that is all there is."""

    name: str
    experiment: Experiment
    named: bool = False

    def with_steps(self) -> Experiment:
        """The experiment; of a set that was named, with a network for its examples, of maps where masks are learned.

        Reads the data.
        """
        if not self.named:
            return self.experiment
        entries = self.experiment.data.load().entries
        maps = "mask" in entries and "label" not in entries and self.experiment.model == SmallCNN()
        return replace_texts(self.experiment, {"model": "unet"}) if maps else self.experiment


def find(target: str, overrides: Mapping[str, str], *, defined_in: Path | None = None) -> Found:
    """The experiment of a file or a run; of a data set's name, one on it that is otherwise plain.

    defined_in: of a run, the experiment file with its own models, data or optimizers.

    Raises ConfigError, with the near misses of a name.
    """
    path = Path(target)
    is_run = ConfigRecord.at(path).is_file()
    need_file(target, defined_in, is_run=is_run)
    if is_run:
        return Found(path.resolve().name, replace_texts(RunDirectory(path).experiment(), overrides))
    if path.suffix == ".py" or path.is_file():
        loaded = load(path)
        return Found(loaded.name, replace_texts(loaded.experiment, overrides))
    return Found(target, _on_named(target, overrides), named=True)


def _on_named(name: str, overrides: Mapping[str, str]) -> Experiment:
    known = known_names(overrides.get("data.data_dir"))
    if not {name, name.partition("/")[0]} & {*built_in(), *known}:
        names = [*built_in(), *known_names(None)]
        raise ConfigError(
            f"{name!r} is no experiment file and no data set.{did_you_mean(name, names)} See: cnnjax data list"
        )
    # Some sets are nothing without their fields, so that these are there from the start.
    fields = {path: text for path, text in overrides.items() if path.startswith("data.") and path.count(".") == 1}
    data = {path.removeprefix("data."): parse(text) for path, text in fields.items()}
    try:
        experiment = Experiment.model_validate({"model": "small_cnn", "data": {"name": name, **data}})
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    return replace_texts(experiment, {path: text for path, text in overrides.items() if path not in fields})


# --- what is shown


@dataclass(frozen=True)
class View:
    """A data set that was looked at. load_seconds: reading it took. chosen: by class, examples of the training part."""

    found: Found
    dataset: Dataset
    train: Part
    numbers: Statistics
    load_seconds: float
    chosen: Sequence[np.ndarray]
    augmented: bool

    @property
    def labelled(self) -> bool:
        """Whether classes are those of labels, and not of masks or boxes."""
        return has_class_ids(self.dataset, self.train)

    @property
    def drawn_over(self) -> tuple[str, ...]:
        """The entries that are drawn over images: masks, those of objects, boxes and keypoints, by name."""
        return drawn_over(self.dataset.entries)

    def document(self, picture: Path | None = None) -> Document:
        """The numbers as a table, and as plain data. picture: the file that examples were drawn into."""
        drawn_into = f"picture: {picture}" if picture else "examples are drawn with --plot FILE (.png, .pdf or .svg)"
        return Document([*_tables(self), Remarks((*_facts(self), drawn_into))], _data(self, picture))


def look(found: Found, *, augmented: bool = False, examples: int | None = None) -> View:
    """Read an experiment's data, count it, and choose `examples` of its training part. Raises CnnjaxError."""
    experiment = found.experiment
    if augmented and not changes(experiment):
        raise ConfigError(
            "--augmented: this experiment changes no image; set e.g. "
            """augment='["random_crop", "flip"]' or give an experiment file that does"""
        )
    began = time.perf_counter()
    dataset = experiment.data.load()
    seconds = time.perf_counter() - began
    classes = len(dataset.classes) if has_class_ids(dataset, dataset.train) else 0
    count = examples or _enough(classes, augmented=augmented)
    if not examples and not augmented and not classes and drawn_over(dataset.entries):
        count //= 2
    numbers = statistics(dataset, parts_of(experiment))
    if any(files.broken for files in numbers.files.values()):
        # They are named; the others can be looked at.
        experiment = replace(experiment, {"data.on_broken": "skip"})
        with warnings.catch_warnings(action="ignore"):
            dataset = experiment.data.load()
    train = parts_of(experiment).train
    chosen = choose(train.labels if classes else np.zeros(len(train), int), count, classes=classes)
    return View(Found(found.name, experiment), dataset, train, numbers, seconds, chosen, augmented)


def changes(experiment: Experiment) -> list[Config]:
    """What changes training images, in order."""
    own = [getattr(experiment.data, "train_fit", None), *experiment.augment, experiment.resolution, experiment.mixing]
    return [config for config in own if config is not None]


def _enough(classes: int, *, augmented: bool) -> int:
    """How many examples make a picture that can be read."""
    most, each = (10, 4) if augmented else (100, 8)
    if not classes:
        return most // 2
    return min(classes, most) * min(max(1, (10 if augmented else 80) // classes), each)


def _tables(view: View) -> list[Grid]:
    numbers, counts = view.numbers, view.numbers.counts
    parts = tuple(Column(part, "count") for part in counts)
    total = tuple(numbers.sizes().values())
    if numbers.pixels:
        return [_pixels(view), Grid("examples", (Column(""), *parts), [("all", *total)])]
    if not view.labelled:
        return [Grid(view.dataset.name, (Column("examples"), *parts), [("all", *total)])]
    if len(numbers.classes) > LISTED:
        names = f"each of {len(numbers.classes):,} classes"
        rows = [(f"{names}: {word}", *(of(counts[part]) for part in counts)) for word, of in _SPREAD.items()]
    else:
        rows = [(name, *(counts[part][k] for part in counts)) for k, name in enumerate(numbers.classes)]
    return [Grid(view.dataset.name, (Column("class"), *parts), rows, ("all", *total))]


def _pixels(view: View) -> Grid:
    """How many of a part's pixels are of each class, in percent."""
    pixels = view.numbers.pixels
    names = [*view.dataset.classes, *([] if view.dataset.ignored is None else ["ignored"])]
    shares = [[100 * count / sum(counts) for count in counts] for counts in pixels.values()]
    columns = (Column("class"), *(Column(f"{part}, % of pixels", "percent") for part in pixels))
    return Grid(view.dataset.name, columns, [(name, *row) for name, *row in zip(names, *shares, strict=True)])


_SPREAD = {"fewest": min, "median": lambda counts: round(float(np.median(counts))), "most": max}


def _facts(view: View) -> list[str]:
    numbers = view.numbers
    height, width, channels = numbers.image_shape
    means = ", ".join(f"{mean:.4f}" for mean in numbers.mean)
    stds = ", ".join(f"{std:.4f}" for std in numbers.std)
    targets = numbers.targets.get("train", ())
    named = numbers.classes if len(numbers.classes) == len(targets) else ()
    ranges = [
        f"target {index}{f' ({named[index]})' if named else ''} of the training part: {least:.4g} to {most:.4g}, "
        f"mean {mean:.4g}"
        for index, (least, mean, most) in enumerate(targets[:10])
    ]
    read = len(view.dataset.train)
    before = "" if read == numbers.sizes()["train"] else ", before validation or a fraction of it is taken"
    return [
        *_sound(view),
        f"images: {height}x{width}, {channels} channel{'s' * (channels > 1)}, pixels 0 to {view.dataset.maximum}",
        f"mean {means}, std {stds} of the training part{before} (n={read:,}, pixels in 0..1)",
        *ranges,
        *_entries(view),
        *(line for part, files in numbers.files.items() for line in _found_in_files(part, files)),
        *(f"{part}: {count} images cannot be decoded, left out" for part, count in _skipped(view).items()),
        *_remarks(view),
        f"fingerprint: {view.dataset.fingerprint}, loaded in {view.load_seconds:.2f} s",
    ]


def _remarks(view: View) -> list[str]:
    dataset = view.dataset
    doubtful = () if view.found.experiment.data.is_cnnjaxs else dataset.doubtful
    return list(dict.fromkeys((*dataset.remarks, *dataset.unequal, *dataset.repeated, *doubtful)))


def _sound(view: View) -> list[str]:
    """A line that says what clips are, and what makes images of them."""
    sound = view.dataset.sound
    if sound is None:
        return []
    seconds = sound.samples / sound.rate
    return [
        f"clips of sound: {sound.samples:,} samples at {sound.rate:,} Hz ({seconds:g} s), seen as {sound.front.tag}"
    ]


def _entries(view: View) -> list[str]:
    """A line for each entry beside image and label."""
    return [
        f"{name}: {entry.dtype} {'x'.join(map(str, entry.shape)) or 'number'}, {_ROLES[entry.kind]}"
        for name, entry in view.dataset.entries.items()
        if name not in ("image", "label")
    ]


_ROLES = {
    "image": "an image of each example too",
    "clip": "a clip of sound of each",
    "mask": "a class id for each pixel",
    "masks": "masks of the boxes' objects",
    "boxes": "boxes of each image",
    "keypoints": "points of each image",
    "value": "of each example",
}


def _skipped(view: View) -> dict[str, int]:
    """How many images of each part are left out; not of one whose broken images are listed, which training refuses."""
    skipped = view.dataset.skipped.items()
    return {part: count for part, count in skipped if count and not view.numbers.files[part].broken}


def _found_in_files(part: str, files: Files) -> list[str]:
    sides = [f"{height}x{width}" for height, width in files.sizes]
    lines = [f"{part} files: {sides[0]} to {sides[2]}, median {sides[1]}"] if sides and sides[0] != sides[2] else []
    more = f", and {len(files.broken) - BROKEN} more" if len(files.broken) > BROKEN else ""
    listed = [f"  {reason}" for reason in files.broken[:BROKEN]]
    remedy = "mend or delete them, or leave such out with data.on_broken=skip"
    broken = f"{part}: {len(files.broken)} images cannot be decoded{more}, which training stops at; {remedy}:"
    return lines + ([broken, *listed] if listed else [])


def _data(view: View, picture: Path | None) -> dict[str, Any]:
    return {
        "name": view.found.name,
        "data": plain(view.found.experiment.data),
        "augment": plain(view.found.experiment.augment),
        "mixing": plain(view.found.experiment.mixing),
        **view.numbers.to_json(),
        "maximum": view.dataset.maximum,
        "entries": {
            name: {"shape": list(entry.shape), "dtype": entry.dtype, "kind": entry.kind}
            for name, entry in view.dataset.entries.items()
        },
        "fingerprint": view.dataset.fingerprint,
        "remarks": _remarks(view),
        "load_seconds": view.load_seconds,
        "picture": None if picture is None else str(picture),
        "shown": [] if picture is None else [int(index) for group in view.chosen for index in group],
    }
