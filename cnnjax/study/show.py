"""Look at a data set: its numbers, and a picture of examples, before and after augmentation, and of colour planes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from cnnjax.config import Config, explain, parse, plain, replace, replace_texts
from cnnjax.data import Dataset
from cnnjax.data.catalogue import built_in, near
from cnnjax.data.source import Part
from cnnjax.data.statistics import Files, Statistics, choose, statistics
from cnnjax.data.tfds import known_names
from cnnjax.documents.blocks import Column, Document, Grid, Remarks
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import Experiment
from cnnjax.files import write_bytes
from cnnjax.run.directory import RunDirectory
from cnnjax.study.file import load
from cnnjax.study.montage import Section, Strip, Tile, drawn
from cnnjax.study.study import text

SUFFIXES = (".png", ".pdf", ".svg")
MAKER = "cnnjax data show"
VIEWS = 7
PLANES = 3  # examples whose planes are shown
BROKEN = 10  # images that cannot be decoded and are named
LISTED = 100  # classes that a terminal lists


@dataclass(frozen=True)
class Found:
    """An experiment, and the name that its data goes by on the command line."""

    name: str
    experiment: Experiment


def find(target: str, overrides: Mapping[str, str]) -> Found:
    """The experiment of a file or a run; of a data set's name, one on it that is otherwise plain.

    Raises ConfigError, with the near misses of a name.
    """
    path = Path(target)
    if (path / "config.json").is_file():
        return Found(path.resolve().name, replace_texts(RunDirectory(path).experiment(), overrides))
    if path.suffix == ".py" or path.is_file():
        loaded = load(path)
        return Found(loaded.name, replace_texts(loaded.experiment, overrides))
    return Found(target, _on_named(target, overrides))


def _on_named(name: str, overrides: Mapping[str, str]) -> Experiment:
    known = known_names(overrides.get("data.data_dir"))
    if not {name, name.partition("/")[0]} & {*built_in(), *known}:
        names = [*built_in(), *known_names(None)]
        raise ConfigError(f"{name!r} is no experiment file and no data set.{near(name, names)} See: cnnjax data list")
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

    def document(self, picture: Path | None = None) -> Document:
        """The numbers as a table, and as plain data. picture: the file that examples were drawn into."""
        drawn_into = f"picture: {picture}" if picture else "examples are drawn with --plot FILE (.png, .pdf or .svg)"
        return Document([*_tables(self), Remarks((*_facts(self), drawn_into))], _data(self, picture))

    def picture(self, form: str) -> bytes:
        """The picture as a png, pdf or svg."""
        title, *notes = _captions(self)
        examples = _augmented(self) if self.augmented else _examples(self)
        return drawn(title, notes, [examples, _planes(self)], form=form, maker=MAKER)


def look(found: Found, *, augmented: bool = False, examples: int | None = None) -> View:
    """Read an experiment's data, count it, and choose `examples` of its training part. Raises CnnjaxError."""
    experiment = found.experiment
    if augmented and not _changes(experiment):
        raise ConfigError(
            "--augmented: this experiment changes no image; set e.g. "
            """augment='["random_crop", "flip"]' or give an experiment file that does"""
        )
    began = time.perf_counter()
    dataset = experiment.data.load()
    seconds = time.perf_counter() - began
    classes = len(dataset.classes)
    count = examples or _enough(classes, augmented=augmented)
    numbers = statistics(dataset, experiment.parts())
    if any(files.broken for files in numbers.files.values()):
        # They are named; the others can be looked at.
        experiment = replace(experiment, {"data.on_broken": "skip"})
        with warnings.catch_warnings(action="ignore"):
            dataset = experiment.data.load()
    train = experiment.parts().train
    chosen = choose(train.labels, count, classes=classes)
    return View(Found(found.name, experiment), dataset, train, numbers, seconds, chosen, augmented)


def _changes(experiment: Experiment) -> list[Config]:
    """What changes training images, in order."""
    own = [getattr(experiment.data, "train_fit", None), *experiment.augment, experiment.mixing]
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
    if not numbers.classes:
        return [Grid(view.dataset.name, (Column("examples"), *parts), [("all", *total)])]
    if len(numbers.classes) > LISTED:
        names = f"each of {len(numbers.classes):,} classes"
        rows = [(f"{names}: {word}", *(of(counts[part]) for part in counts)) for word, of in _SPREAD.items()]
    else:
        rows = [(name, *(counts[part][k] for part in counts)) for k, name in enumerate(numbers.classes)]
    return [Grid(view.dataset.name, (Column("class"), *parts), rows, ("all", *total))]


_SPREAD = {"fewest": min, "median": lambda counts: round(float(np.median(counts))), "most": max}


def _facts(view: View) -> list[str]:
    numbers = view.numbers
    height, width, channels = numbers.image_shape
    means = ", ".join(f"{mean:.4f}" for mean in numbers.mean)
    stds = ", ".join(f"{std:.4f}" for std in numbers.std)
    ranges = [
        f"target {index} of the training part: {least:.4g} to {most:.4g}, mean {mean:.4g}"
        for index, (least, mean, most) in enumerate(numbers.targets.get("train", ())[:10])
    ]
    return [
        f"images: {height}x{width}, {channels} channel{'s' * (channels > 1)}, pixels 0 to {view.dataset.maximum}",
        f"mean {means}, std {stds} of the training part (n={len(view.dataset.train):,}, pixels in 0..1)",
        *ranges,
        *(line for part, files in numbers.files.items() for line in _found_in_files(part, files)),
        *(f"{part}: {count} images cannot be decoded, left out" for part, count in _skipped(view).items()),
        *view.dataset.remarks,
        *view.dataset.repeated,
        f"fingerprint: {view.dataset.fingerprint}, loaded in {view.load_seconds:.2f} s",
    ]


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
        "fingerprint": view.dataset.fingerprint,
        "remarks": [*view.dataset.remarks, *view.dataset.repeated],
        "load_seconds": view.load_seconds,
        "picture": None if picture is None else str(picture),
        "shown": [] if picture is None else [int(index) for group in view.chosen for index in group],
    }


# --- the picture


def _captions(view: View) -> list[str]:
    height, width, channels = view.dataset.image_shape
    sizes = ", ".join(f"{count:,} {part}" for part, count in view.numbers.sizes().items())
    classes = f"{len(view.dataset.classes):,} classes" if view.dataset.classes else f"{view.dataset.outputs} targets"
    title = f"{view.found.name}: {sizes}; {classes}; {height}x{width}x{channels}"
    return [title, f"{text(view.found.experiment.data)}, fingerprint {view.dataset.fingerprint}"]


def _examples(view: View) -> Section:
    groups = [group for group in view.chosen if len(group)]
    strips = [Strip(_label(view, group), [Tile(image) for image in _originals(view, group)]) for group in groups]
    classes = len(view.dataset.classes)
    some = f", of {len(strips)} of {classes:,} classes" if len(strips) < classes else ""
    return Section(f"{sum(map(len, groups))} training examples{some}", strips)


def _augmented(view: View) -> Section:
    indices = _indices(view)
    before = _originals(view, indices)
    after = _views(view, indices)
    strips = [
        Strip(_label(view, indices[k : k + 1]), [Tile(before[k]), *(Tile(images[k]) for images in after)])
        for k in range(len(indices))
    ]
    title = f"before and after {', '.join(map(text, _changes(view.found.experiment)))}"
    return Section(title, strips, headings=("before", "after"), apart=1)


def _planes(view: View) -> Section:
    firsts = [group[0] for group in view.chosen if len(group)] if view.dataset.classes else _indices(view)
    few = np.array([firsts[k] for k in np.linspace(0, len(firsts) - 1, min(PLANES, len(firsts))).astype(int)])
    strips = [
        Strip(_label(view, index[None]), _planes_of(image))
        for index, image in zip(few, _originals(view, few), strict=True)
    ]
    if strips[0].tiles[0].pixels.ndim == 2:
        channels = view.dataset.image_shape[-1]
        what = "pixels" if channels == 1 else f"mean of {channels} channels"
        return Section(f"{what}, from 0 (dark blue) to {view.dataset.maximum} (yellow)", strips)
    title = "colour planes: red, green, blue; hue (grey where there is none), saturation, value"
    return Section(title, strips, headings=("", *"RGBHSV"), apart=1)


def _planes_of(image: np.ndarray) -> list[Tile]:
    from matplotlib.colors import rgb_to_hsv

    if image.ndim == 2:
        return [Tile(image, "values")]
    hue, saturation, value = np.moveaxis(rgb_to_hsv(image), -1, 0)
    hue = np.where(saturation > 0, hue, np.nan)
    planes = [Tile(plane) for plane in (*np.moveaxis(image, -1, 0), saturation, value)]
    return [Tile(image), *planes[:3], Tile(hue, "hue"), *planes[3:]]


def _indices(view: View) -> np.ndarray:
    return np.concatenate(view.chosen)


def _label(view: View, group: np.ndarray) -> str:
    """The class of a group of examples, or the targets of the first."""
    label = view.train.labels[group[0]]
    if view.dataset.classes:
        return view.dataset.classes[int(label)]
    targets = ", ".join(f"{number:.3g}" for number in np.ravel(label)[:3]) + (", ..." if np.size(label) > 3 else "")
    return targets if len(group) == 1 else ""


def _originals(view: View, indices: np.ndarray) -> np.ndarray:
    return _visible(view, view.train.stacked(indices) / view.dataset.maximum)


def _views(view: View, indices: np.ndarray) -> list[np.ndarray]:
    """What a network in training would see of examples in each of its first epochs, before they are normalized."""
    import jax
    import jax.numpy as jnp

    from cnnjax.data.order import Order, steps_until
    from cnnjax.run.feed import with_partners
    from cnnjax.training.state import derive, root_key

    # A batch of the chosen, of which the last is the first one's partner, as in training.
    experiment = replace(view.found.experiment, {"precision": "float32", "batch_size": len(indices), "accumulate": 1})
    examples = len(view.train)
    order = Order(experiment.seed, len(indices), examples)
    inputs = jax.jit(experiment.task(steps=1, examples=examples).inputs)
    root, (mean, std) = derive(root_key(experiment.seed), "step"), map(np.asarray, view.dataset.scale)
    views = []
    for epoch in range(VIEWS):
        step = steps_until(epoch, batch_size=len(indices), examples=examples)
        batch = {
            "position": np.arange(len(indices), dtype=np.int32),
            "index": indices.astype(np.int32),
            "images": view.train.stacked(indices, partial(order.generator, step)),
            "labels": view.train.labels[indices],
        }
        seen, _ = inputs(
            with_partners(jax.tree.map(jnp.asarray, batch)), jax.random.fold_in(root, step), jnp.int32(step)
        )
        views.append(_visible(view, np.asarray(seen) * std + mean))
    return views


def _visible(view: View, images: np.ndarray) -> np.ndarray:
    """Images in 0..1 [N, H, W, C] as they can be drawn: [N, H, W, 3] in RGB, or [N, H, W] of the channels' mean."""
    if images.shape[-1] != 3:
        return images.mean(-1).clip(0, 1)
    space = getattr(view.found.experiment.data, "space", "rgb")
    return images.clip(0, 1) if space == "rgb" else np.stack([_to_rgb(image.clip(0, 1), space) for image in images])


def _to_rgb(image: np.ndarray, space: str) -> np.ndarray:
    from cnnjax.data.resize import opencv

    cv2 = opencv()
    code = cv2.COLOR_HSV2RGB_FULL if space == "hsv" else cv2.COLOR_LAB2RGB
    return cv2.cvtColor((image * 255).round().astype(np.uint8), code) / 255


# --- the file it goes to


def check_output(path: Path) -> None:
    """Raise ConfigError for another suffix than a picture's, and where a file is in the way that is no such picture."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--plot {path}: must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    try:
        mine = not path.exists() or MAKER.encode() in path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--plot {path}: {error.strerror}") from None
    if not mine:
        raise ConfigError(f"{path} is there and is no picture of `{MAKER}`: move it away, or choose another --plot")


def save(view: View, path: Path) -> None:
    """Draw the picture into the file `path`, in the format of its suffix. Raises RunError."""
    content = view.picture(path.suffix.lower()[1:])
    try:
        write_bytes(path, content)
    except RunError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise RunError(f"--plot {path}: it cannot be written: {reason}") from error
