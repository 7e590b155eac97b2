"""Draws the pictures of docs/data.md: what each augmentation, mixing and set of views does to an image.

    python docs/data_pictures.py               writes docs/data/*.png
    python docs/data_pictures.py flip cutout   some of them

The images are scenes drawn here and scikit-learn's digits. The keys are those of a training with seed 1; the same
versions write the same bytes. Captions are written from the configs that made the images.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from cnnjax import Experiment, SmallCNN
from cnnjax import experiment as experiments
from cnnjax.config import Config
from cnnjax.data import (
    AlternatingFlip,
    Augmentation,
    AugMix,
    AutoAugment,
    Chirps,
    ColorJitter,
    CutMix,
    Cutout,
    Flip,
    FlipViews,
    GaussianBlur,
    Greyscale,
    LargeScaleJitter,
    Lighting,
    Mixing,
    Mixup,
    Mosaic,
    MultiCrop,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    SingleView,
    SpecAugment,
    Switch,
    TenCrop,
    TestTime,
    TimeShift,
    TrivialAugment,
)
from cnnjax.data.augment import operations, spaces
from cnnjax.data.decode import Space, decode
from cnnjax.data.entries import Kind, kind_of
from cnnjax.training.state import derive, example_keys, step_key

FOLDER = Path(__file__).parent / "data"
SEED, DRAWS = 1, 7
SIDE, OBLONG = 80, (96, 128)
MARGIN, GAP, APART, LINE = 8, 4, 14, 16
INK, SOFT, EDGE = (20, 20, 20), (95, 95, 95), (205, 205, 205)
FRAME = (214, 39, 40)
BOXES = np.array(
    [[(6, 16, 51, 64), (55, 7, 73, 25)], [(5, 32, 40, 67), (40, 26, 72, 58)], [(8, 8, 24, 24), (45, 40, 71, 66)]],
    np.float32,
)
"""Two things in each of the scenes: house and sun, two discs, moon and letter; x_min, y_min, x_max, y_max."""


# --- scenes


def scenes(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Three scenes that are neither symmetric nor grey, uint8 [3, height, width, 3]; the last one is hazy."""
    return np.stack([scene(height, width) for scene in (_house, _discs, _haze)])


class _Canvas:
    """Colours at `fine` x `fine` points of each pixel; places in 0..1 of the height, from the upper left corner."""

    fine = 4

    def __init__(self, height: int, width: int, above: Sequence[int], below: Sequence[int]):
        rows, columns = np.meshgrid(*(np.arange(n * self.fine) + 0.5 for n in (height, width)), indexing="ij")
        self.y, self.x = rows / (height * self.fine), columns / (height * self.fine)
        self.right = width / height
        self.colors = self.blend(above, below, self.y)

    def blend(self, first: Sequence[int], second: Sequence[int], share: np.ndarray) -> np.ndarray:
        """From the first colour where `share` is 0 to the second where it is 1."""
        share = share[..., None]
        return np.asarray(first, float) * (1 - share) + np.asarray(second, float) * share

    def paint(self, where: np.ndarray, color: Sequence[int] | np.ndarray) -> None:
        self.colors = np.where(where[..., None], np.asarray(color, float), self.colors)

    def disc(self, y: float, x: float, radius: float) -> np.ndarray:
        return (self.y - y) ** 2 + (self.x - x) ** 2 < radius**2

    def box(self, top: float, left: float, bottom: float, right: float) -> np.ndarray:
        return (self.y >= top) & (self.y < bottom) & (self.x >= left) & (self.x < right)

    def triangle(self, top: float, x: float, bottom: float, half: float) -> np.ndarray:
        """Its tip at (top, x), its base 2 * half wide."""
        return (self.y >= top) & (self.y < bottom) & (np.abs(self.x - x) < half * (self.y - top) / (bottom - top))

    def letter(self, y: float, x: float, size: float) -> np.ndarray:
        """An F, `size` high: it shows how it was mirrored and turned."""
        thick = size / 5
        bars = [(0, 0, size, thick), (0, 0, thick, 0.65 * size), (0.4 * size, 0, 0.4 * size + thick, 0.5 * size)]
        return np.any([self.box(y + t, x + l, y + b, x + r) for t, l, b, r in bars], axis=0)

    def pixels(self) -> np.ndarray:
        height, width = (side // self.fine for side in self.y.shape)
        means = self.colors.reshape(height, self.fine, width, self.fine, 3).mean((1, 3))
        return means.round().clip(0, 255).astype(np.uint8)


def _house(height: int, width: int) -> np.ndarray:
    canvas = _Canvas(height, width, (70, 130, 210), (215, 232, 245))
    right = canvas.right
    canvas.paint(canvas.disc(0.2, right - 0.2, 0.11), (255, 214, 60))
    canvas.paint(canvas.y > 0.68 + 0.03 * np.sin(5 * canvas.x), (96, 160, 70))
    canvas.paint(canvas.y > 0.84 + 0.02 * np.cos(4 * canvas.x), (60, 118, 52))
    canvas.paint(canvas.box(0.42, 0.14, 0.8, 0.56), (198, 70, 54))
    canvas.paint(canvas.triangle(0.2, 0.35, 0.42, 0.28), (92, 48, 40))
    canvas.paint(canvas.letter(0.48, 0.24, 0.26), (250, 246, 235))
    canvas.paint(canvas.box(0.62, right - 0.2, 0.86, right - 0.16), (80, 56, 36))
    canvas.paint(canvas.disc(0.58, right - 0.18, 0.12), (34, 96, 44))
    return canvas.pixels()


def _discs(height: int, width: int) -> np.ndarray:
    canvas = _Canvas(height, width, (250, 226, 186), (222, 158, 104))
    right = canvas.right
    stripes = (canvas.y > 0.74) & (np.floor((canvas.x + 0.4 * canvas.y) * 11) % 2 == 0)
    canvas.paint(stripes, (120, 40, 30))
    canvas.paint(canvas.disc(0.62, 0.28, 0.22), (200, 30, 110))
    canvas.paint(canvas.disc(0.56, 0.22, 0.06), (246, 170, 208))
    canvas.paint(canvas.disc(0.52, right - 0.3, 0.2), (30, 140, 150))
    canvas.paint(canvas.disc(0.74, right - 0.42, 0.12), (240, 190, 20))
    canvas.paint(canvas.triangle(0.08, 0.24, 0.36, 0.13), (50, 70, 170))
    canvas.paint(canvas.letter(0.08, right - 0.36, 0.22), (20, 20, 20))
    return canvas.pixels()


def _haze(height: int, width: int) -> np.ndarray:
    canvas = _Canvas(height, width, (104, 122, 176), (204, 176, 148))
    right, rng = canvas.right, np.random.default_rng(0)
    for y, x in rng.uniform((0.05, 0.05), (0.3, right - 0.05), (7, 2)):
        canvas.paint(canvas.disc(y, x, 0.015), (205, 204, 210))
    canvas.paint(canvas.disc(0.2, 0.2, 0.1), (208, 196, 156))
    canvas.paint(canvas.triangle(0.3, right - 0.34, 0.8, 0.4), (104, 108, 146))
    canvas.paint(canvas.triangle(0.46, 0.3, 0.8, 0.36), (78, 96, 122))
    canvas.paint(canvas.y > 0.8, (84, 120, 96))
    canvas.paint(canvas.letter(0.5, right - 0.44, 0.32), (204, 120, 96))
    canvas.paint(canvas.box(0.86, 0.1, 0.92, 0.5), (70, 64, 92))
    return canvas.pixels()


# --- a page of tiles


@dataclass(frozen=True)
class Tile:
    """pixels: uint8 [H, W, 3]. note: written below."""

    pixels: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Rows of tiles under a caption. headings: above the first tiles. apart: after so many tiles a row has a gap."""

    caption: str
    rows: Sequence[Sequence[Tile]]
    headings: Sequence[str] = ()
    apart: int = 1


@cache
def _font(family: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(family), size, layout_engine=ImageFont.Layout.BASIC)


def page(sections: Iterable[Section]) -> Image.Image:
    """The sections one below the other, on white."""
    parts = [_section(section) for section in sections]
    width = max(part.width for part in parts)
    height = sum(part.height + APART for part in parts) - APART
    sheet = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), "white")
    top = MARGIN
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height + APART
    return sheet


def _section(section: Section) -> Image.Image:
    code, plain = _font("DejaVu Sans Mono", 13), _font("DejaVu Sans", 11)
    lefts = [_lefts(row, section.apart) for row in section.rows]
    below = [LINE if any(tile.note for tile in row) else 0 for row in section.rows]
    heights = [max(tile.pixels.shape[0] for tile in row) for row in section.rows]
    head = (LINE + 4 if section.caption else 0) + (LINE if section.headings else 0)
    headings = list(zip(lefts[0], section.headings, strict=False))
    ends = [code.getlength(section.caption), *(left + plain.getlength(heading) for left, heading in headings)]
    width = max(*(left[-1] for left in lefts), int(max(ends)) + 1)
    height = head + sum(heights) + sum(below) + GAP * (len(heights) - 1)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((0, 0), section.caption, INK, code)
    for left, heading in headings:
        draw.text((left, head - LINE), heading, SOFT, plain)
    top = head
    for row, left, tall, space in zip(section.rows, lefts, heights, below, strict=True):
        for tile, x in zip(row, left, strict=False):
            h, w, _ = tile.pixels.shape
            y = top + (tall - h) // 2
            sheet.paste(Image.fromarray(tile.pixels), (x, y))
            draw.rectangle((x, y, x + w - 1, y + h - 1), outline=EDGE)
            draw.text((x + w / 2, top + tall + 2), tile.note, SOFT, plain, anchor="ma")
        top += tall + space + GAP
    return sheet


def _lefts(row: Sequence[Tile], apart: int) -> list[int]:
    """Where each tile begins, and where the last one ends."""
    lefts = [0]
    for number, tile in enumerate(row, start=1):
        lefts.append(lefts[-1] + tile.pixels.shape[1] + (APART if number == apart else GAP))
    return [*lefts[:-1], lefts[-1] - GAP]


def written(value: Any) -> str:
    """A config as it is written in Python: its class, and the fields that are not the default."""
    if isinstance(value, Config):
        fields = {name: field for name, field in type(value).model_fields.items() if name != value.tag_key}
        own = {name: getattr(value, name) for name, field in fields.items() if getattr(value, name) != field.default}
        return f"{type(value).__name__}({', '.join(f'{name}={written(field)}' for name, field in own.items())})"
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))}{',' * (len(value) == 1)})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def levels(images: Any) -> np.ndarray:
    """Images in 0..1 as uint8 RGB, whatever their channels."""
    pixels = (np.asarray(images, np.float32).clip(0, 1) * 255).round().astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


# --- what training and evaluation do to them


def augmented(
    augment: Sequence[Augmentation], images: np.ndarray, *, index: Sequence[int] | None = None, maximum: int = 255
) -> np.ndarray:
    """The images in so many steps, each an epoch's only one: uint8 [images, DRAWS, H, W, 3].

    index: their numbers in the training part; 0, 1, ... by default.
    """
    experiment = Experiment(model=SmallCNN(), augment=tuple(augment))
    positions = jnp.arange(len(images))
    numbers = positions if index is None else jnp.array(index)

    @jax.jit
    def at(step: jax.Array) -> jax.Array:
        keys = example_keys(derive(step_key(SEED, step), "augment"), positions)
        epochs = jnp.full_like(positions, step)
        return experiments.augmented(
            experiment, jnp.asarray(images), keys, index=numbers, epoch=epochs, maximum=maximum
        )

    return np.stack([levels(at(jnp.int32(step))) for step in range(DRAWS)], axis=1)


def changed(*configs: Augmentation, images: Sequence[int] = (0, 1)) -> Image.Image:
    """For each config a section: scenes, and what it makes of them with as many keys as there are draws."""
    originals = scenes()[list(images)]
    sections = []
    for config in configs:
        after = augmented([config], originals)
        rows = [[Tile(original), *map(Tile, drawn)] for original, drawn in zip(originals, after, strict=True)]
        sections.append(Section(written(config), rows, () if sections else ("original", f"with {DRAWS} keys")))
    return page(sections)


@cache
def spectrograms() -> np.ndarray:
    """Two of the clips of sound that are made here, as a network sees them: uint8 [2, 40, 51, 1]."""
    return Chirps(noise=0.3, examples=8, test_examples=8).load().train.stacked(np.array([0, 6]))


def heard(*configs: Augmentation) -> Image.Image:
    """For each config a section: spectrograms, and what it makes of them with as many keys as there are draws."""

    def large(image: np.ndarray) -> Tile:
        return Tile(np.broadcast_to(image, (*image.shape[:2], 3)).repeat(2, 0).repeat(2, 1))

    originals, sections = spectrograms(), []
    for config in configs:
        after = augmented([config], originals)
        rows = [[large(original), *map(large, drawn)] for original, drawn in zip(originals, after, strict=True)]
        sections.append(Section(written(config), rows, () if sections else ("original", f"with {DRAWS} keys")))
    return page(sections)


def jittered() -> Image.Image:
    """Scenes with boxes about what is in them, and both after large-scale jitter."""
    originals, sections = scenes()[:2], []
    boxes = jnp.asarray(BOXES[:2])
    entries = {"image": jnp.asarray(originals / np.float32(255)), "boxes": boxes, "box_valid": jnp.ones((2, 2), bool)}
    numbers = jnp.arange(2)
    for config in (LargeScaleJitter(), LargeScaleJitter(scale=(0.5, 1.5), place="random", fill=0.0)):
        experiment = Experiment(model=SmallCNN(), augment=(config,))
        rows = [[_boxed(original, own)] for original, own in zip(originals, BOXES[:2], strict=True)]
        for step in range(DRAWS):
            keys = example_keys(derive(step_key(SEED, jnp.int32(step)), "augment"), numbers)
            after = experiments.augmented_entries(experiment, entries, keys, index=numbers, epoch=numbers)
            for row, image, own, valid in zip(
                rows, levels(after["image"]), after["boxes"], after["box_valid"], strict=True
            ):
                row.append(_boxed(image, np.asarray(own)[np.asarray(valid)]))
        sections.append(Section(written(config), rows, () if sections else ("original", f"with {DRAWS} keys")))
    return page(sections)


def _boxed(image: np.ndarray, boxes: np.ndarray) -> Tile:
    """The image with a frame at each box (x_min, y_min, x_max, y_max)."""
    sheet = Image.fromarray(image)
    for left, top, right, bottom in np.asarray(boxes).round().astype(int).tolist():
        ImageDraw.Draw(sheet).rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=FRAME)
    return Tile(np.asarray(sheet))


def alternating() -> Image.Image:
    config, numbers, originals = AlternatingFlip(), (0, 1, 3), scenes()
    rows = [
        [Tile(original, f"example {number}"), *map(Tile, drawn)]
        for original, number, drawn in zip(
            originals, numbers, augmented([config], originals, index=numbers), strict=True
        )
    ]
    headings = ("original", *(f"epoch {epoch}" for epoch in range(DRAWS)))
    return page([Section(written(config), rows, headings)])


def mixed(*configs: Mixing, draws: int = 6) -> Image.Image:
    """For each config a section: two pairs of scenes, and mixtures with the first one's share below."""
    originals = jnp.asarray(scenes() / np.float32(255))
    pairs = jnp.array([(0, 1), (1, 2)])
    sections = []
    for config in configs:
        mix = jax.jit(jax.vmap(config.mix))
        made = []
        for step in range(draws):
            keys = example_keys(derive(step_key(SEED, step), "mixing"), jnp.arange(len(pairs)))
            images, shares = mix(originals[pairs[:, 0]], originals[pairs[:, 1]], keys)
            made.append([Tile(image, f"{share:.2f}") for image, share in zip(levels(images), shares, strict=True)])
        rows = [
            [Tile(levels(originals[first])), Tile(levels(originals[second])), *(tiles[row] for tiles in made)]
            for row, (first, second) in enumerate(np.asarray(pairs))
        ]
        headings = () if sections else ("first", "second", f"mixed with {draws} keys; below, the first one's share")
        sections.append(Section(written(config), rows, headings, apart=2))
    return page(sections)


def mosaics(*configs: Mosaic, draws: int = 6) -> Image.Image:
    """For each config a section: the scenes with boxes about what is in them, and mosaics of four, the first of which
    is the one at the left."""
    originals, rows_of = scenes()[:2], jnp.array([[0, 1, 0, 1], [1, 0, 1, 0]])
    entries = {"image": jnp.asarray(originals / np.float32(255)), "boxes": jnp.asarray(BOXES[:2])}
    entries["box_valid"] = jnp.ones((2, 2), bool)
    kinds: dict[str, Kind] = {name: kind_of(name) for name in entries}
    sections = []
    for config in configs:
        rows = [[_boxed(original, own)] for original, own in zip(originals, BOXES[:2], strict=True)]
        merge = jax.jit(jax.vmap(lambda four, key, config=config: config.merge(four, kinds, key)))
        four = [{name: array[rows_of[:, place]] for name, array in entries.items()} for place in range(4)]
        for step in range(draws):
            made = merge(four, example_keys(derive(step_key(SEED, step), "mixing"), jnp.arange(2)))
            for row, image, own, valid in zip(
                rows, levels(made["image"]), made["boxes"], made["box_valid"], strict=True
            ):
                row.append(_boxed(image, np.asarray(own)[np.asarray(valid)]))
        headings = () if sections else ("original", f"with three more, with {draws} keys")
        sections.append(Section(written(config), rows, headings))
    return page(sections)


def viewed(*configs: TestTime, per_row: int, half: bool = False) -> Image.Image:
    """For each config a section: where views come from in the image, and the views, `per_row` in a row.

    half: only the first half of the views; the others are their mirror images.
    """
    original = scenes(*OBLONG)[0]
    sections = []
    for config in configs:
        views = levels(jax.jit(config.views)(jnp.asarray(original / np.float32(255))))
        caption, shown = f"{written(config)}: {_counted(len(views), 'view')}", len(views)
        if half:
            shown //= 2
            np.testing.assert_array_equal(views[shown:], views[:shown, :, ::-1])
            caption += f", these {shown} and their mirror images"
        sources = [_marked(original, box) for box in _sources(config)]
        rows = [
            [*map(Tile, sources[first : first + per_row]), *map(Tile, views[first : first + per_row])]
            for first in range(0, shown, per_row)
        ]
        headings = () if sections else ("in the image", *[""] * (per_row - 1), "seen")
        sections.append(Section(caption, rows, headings, apart=per_row))
    return page(sections)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _sources(config: TestTime) -> list[tuple[float, float, float, float]]:
    """Which box of the image each view shows (top, left, bottom, right), from the views of a picture of its places."""
    places = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in OBLONG), indexing="ij"), axis=-1)
    views = np.asarray(config.views(jnp.asarray(places / max(OBLONG), jnp.float32))) * max(OBLONG)
    boxes = []
    for view in views:
        (top, bottom), (left, right) = _ends(view[:, view.shape[1] // 2, 0]), _ends(view[view.shape[0] // 2, :, 1])
        boxes.append((top, min(left, right), bottom, max(left, right)))
    return boxes


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Where a line through the middle values begins and ends; resizing bends it at the borders."""
    count = len(values)
    middle = slice(count // 4, count - count // 4)
    slope, start = np.polyfit((np.arange(count) + 0.5)[middle], values[middle], 1)
    return float(start), float(start + slope * count)


def _marked(image: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The image at half its size, pale outside the box."""
    pale = Image.fromarray((0.3 * image + 0.7 * 255).round().astype(np.uint8)).reduce(2)
    top, left, bottom, right = (round(place / 2) for place in box)
    pale.paste(Image.fromarray(image).reduce(2).crop((left, top, right, bottom)), (left, top))
    ImageDraw.Draw(pale).rectangle((left, top, right - 1, bottom - 1), outline=FRAME)
    return np.asarray(pale)


def every_operation() -> Image.Image:
    """Each operation of the policies at three of RandAugment's levels, with its magnitude below."""
    count, space = RandAugment().levels, spaces.AUTOAUGMENT
    names = tuple(space)
    image = jnp.asarray(scenes()[2] / np.float32(255))
    table = spaces.magnitudes(space, image.shape[:2], levels=count)
    operate = jax.jit(jax.vmap(lambda number, strength: operations.operate(image, number, strength, names=names)))
    rows = []
    for level in (count // 6, count // 2, count - 1):
        images = levels(operate(jnp.arange(len(names)), jnp.asarray(table[:, level])))
        notes = ["" if space[name] is None else f"{table[k, level]:.2g}" for k, name in enumerate(names)]
        rows.append([Tile(*pair) for pair in zip(images, notes, strict=True)])
    half = -(-len(names) // 2)
    caption = f"levels {count // 6}, {count // 2} and {count - 1} of 0 to {count - 1}"
    first = Section(caption, [row[:half] for row in rows], names[:half], apart=0)
    return page([first, Section("", [row[half:] for row in rows], names[half:], apart=0)])


# --- other pictures


def digits() -> Image.Image:
    every: Any = load_digits()
    configs = (RandomCrop(padding=1), Cutout(size=3, fill="mean"))
    maximum = int(every.images.max())
    images = every.images[[int(np.argmax(every.target == label)) for label in (0, 3, 6)], ..., None].astype(np.uint8)
    after = augmented(configs, images, maximum=maximum)

    def large(image: np.ndarray) -> Tile:
        return Tile(image.repeat(10, 0).repeat(10, 1))

    rows = [
        [large(original), *map(large, drawn)] for original, drawn in zip(levels(images / maximum), after, strict=True)
    ]
    return page([Section(", ".join(map(written, configs)), rows, ("original", f"with {DRAWS} keys"))])


PLANES: tuple[tuple[Space, tuple[str, ...]], ...] = (
    ("rgb", ("R", "G", "B")),
    ("hsv", ("H", "S", "V")),
    ("lab", ("L*", "a*", "b*")),
)


def planes() -> Image.Image:
    """The three planes of one scene in each colour space, as a network gets them."""
    scene = scenes()[1]
    file = io.BytesIO()
    Image.fromarray(scene).save(file, "PNG")
    rows = []
    for space, names in PLANES:
        decoded = decode(file.getvalue(), space=space)
        tiles = [Tile(levels(decoded[..., k : k + 1] / 255), name) for k, name in enumerate(names)]
        rows.append([Tile(scene, f'space="{space}"'), *tiles])
    return page([Section("colour planes", rows, ("the image", "its planes, from 0 (black) to 255 (white)"))])


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "random_crop": lambda: changed(
        RandomCrop(padding=10), RandomCrop(padding=10, fill="reflect"), RandomCrop(padding=10, fill="edge")
    ),
    "random_resized_crop": lambda: changed(
        RandomResizedCrop(),
        RandomResizedCrop(scale=(0.25, 0.25), ratio=(1.0, 1.0), interpolation="bicubic"),
    ),
    "large_scale_jitter": jittered,
    "flip": lambda: changed(Flip(), Flip(direction="vertical")),
    "alternating_flip": alternating,
    "random_erasing": lambda: changed(
        RandomErasing(),
        RandomErasing(probability=1.0, fill="mean"),
        RandomErasing(probability=1.0, scale=(0.02, 0.1), fill="noise"),
    ),
    "spec_augment": lambda: heard(SpecAugment(), SpecAugment(frequency=16, time=0, fill="zero")),
    "time_shift": lambda: heard(TimeShift()),
    "cutout": lambda: changed(Cutout(size=20), Cutout(size=40), Cutout(size=40, fill=(0.49, 0.48, 0.45))),
    "color_jitter": lambda: changed(
        ColorJitter(brightness=0.6),
        ColorJitter(contrast=0.8),
        ColorJitter(saturation=1.0),
        ColorJitter(hue=0.5),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        images=(1,),
    ),
    "greyscale": lambda: changed(Greyscale(probability=0.5)),
    "gaussian_blur": lambda: changed(
        GaussianBlur(probability=1.0), GaussianBlur(kernel_size=13, sigma=(0.1, 4.0), probability=1.0)
    ),
    "lighting": lambda: changed(Lighting(), Lighting(std=0.5)),
    "rand_augment": lambda: changed(RandAugment(magnitude=5), RandAugment(), RandAugment(magnitude=20)),
    "operations": every_operation,
    "trivial_augment": lambda: changed(TrivialAugment(), TrivialAugment(interpolation="bilinear", fill=0.5)),
    "auto_augment": lambda: changed(AutoAugment(), AutoAugment(policy="cifar10"), AutoAugment(policy="svhn")),
    "aug_mix": lambda: changed(AugMix(), AugMix(width=1, severity=10, colors=False)),
    "digits": digits,
    "mixup": lambda: mixed(Mixup(), Mixup(alpha=1.0)),
    "cut_mix": lambda: mixed(CutMix()),
    "switch": lambda: mixed(Switch(), Switch(probabilities=(0.25, 0.25))),
    "mosaic": lambda: mosaics(Mosaic(), Mosaic(scale=(0.5, 0.5), middle=(0.25, 0.75)), Mosaic(scale=(0.4, 1.0))),
    "single_view": lambda: viewed(SingleView(), per_row=1),
    "flip_views": lambda: viewed(FlipViews(), per_row=2),
    "ten_crop": lambda: viewed(TenCrop(size=56, shorter=None), TenCrop(size=56, shorter=64), per_row=5),
    "multi_crop": lambda: viewed(MultiCrop(size=56, shorter=(64, 80)), per_row=6, half=True),
    "planes": planes,
}


def save(name: str) -> Path:
    """Draw a picture into its file."""
    path = FOLDER / f"{name}.png"
    PICTURES[name]().save(path, optimize=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)} [default: all]")
    names = parser.parse_args().names or list(PICTURES)
    if unknown := sorted(set(names) - set(PICTURES)):
        parser.error(f"{', '.join(unknown)}: there are {', '.join(PICTURES)}")
    FOLDER.mkdir(exist_ok=True)
    paths = [save(name) for name in names]
    print(f"{len(paths)} pictures, {sum(path.stat().st_size for path in paths):,} bytes, in {FOLDER}")


if __name__ == "__main__":
    main()
