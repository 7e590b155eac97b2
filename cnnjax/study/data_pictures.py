"""The picture of a data set that `cnnjax data show` draws: examples of each class, what augmentation makes, planes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.config import replace
from cnnjax.data.entries import Entry
from cnnjax.data.example_form import as_images
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment.length import length_of
from cnnjax.experiment.sizes import decodes_at_its_sizes, training_spans
from cnnjax.experiment.training_examples import check_training_examples, training_examples
from cnnjax.files import write_bytes
from cnnjax.study.data_view import View, changes
from cnnjax.study.montage import Panel, Strip, Swatch, Tile, drawn
from cnnjax.study.overlays import colours_of, legend, overlaid
from cnnjax.study.values import text

SUFFIXES = (".png", ".pdf", ".svg")
MAKER = "cnnjax data show"
VIEWS = 7
SENTENCE = 26
"""Characters of a line of a sentence."""
PLANES = 3  # examples whose planes are shown


def picture(view: View, form: str) -> bytes:
    """The picture as a png, pdf or svg."""
    title, *notes = _captions(view)
    examples = _augmented(view) if view.augmented else _examples(view)
    return drawn(title, notes, [examples, _planes(view)], form=form, maker=MAKER)


def _captions(view: View) -> list[str]:
    height, width, channels = view.dataset.image_shape
    sizes = ", ".join(f"{count:,} {part}" for part, count in view.numbers.sizes().items())
    classes = f"{len(view.dataset.classes):,} classes" if view.dataset.classes else f"{view.dataset.outputs} targets"
    if not view.dataset.classes and not view.train.has_label:
        classes = f"{listed_names(name for name in view.dataset.entries if name != 'image') or 'images alone'}"
    title = f"{view.found.name}: {sizes}; {classes}; {height}x{width}x{channels}"
    return [title, f"{text(view.found.experiment.data)}, fingerprint {view.dataset.fingerprint}"]


def _examples(view: View) -> Panel:
    groups = [group for group in view.chosen if len(group)]
    shown = sum(map(len, groups))
    if view.drawn_over and not view.labelled:
        indices = _indices(view)
        plain = [Tile(image) for image in _originals(view, indices)]
        pairs = zip(indices, plain, _tiles(view, _batch(view, indices)), strict=True)
        strips = [Strip(_label(view, np.array([index])), pair) for index, *pair in pairs]
        title = f"{shown} training examples, and the same with {listed_names(view.drawn_over)}"
        return Panel(title, strips, legend=_legend(view))
    if _has_sentences(view):
        groups = [index[None] for index in _indices(view)]
    strips = [Strip(_label(view, group), _tiles(view, _batch(view, group))) for group in groups]
    if _has_sentences(view):
        return Panel(f"{shown} training examples, and what is said of them: the first sentence of each", strips)
    classes = len(view.dataset.classes) if view.labelled or not view.train.has_label else 0
    some = f", of {len(strips)} of {classes:,} classes" if len(strips) < classes else ""
    with_them = f", with {listed_names(view.drawn_over)}" if view.drawn_over else ""
    return Panel(f"{shown} training examples{some}{with_them}", strips, legend=_legend(view))


def _augmented(view: View) -> Panel:
    indices = _indices(view)
    before = _tiles(view, _batch(view, indices))
    after = [_tiles(view, batch) for batch in _augmented_batches(view, indices)]
    strips = [
        Strip(_label(view, indices[k : k + 1]), [before[k], *(tiles[k] for tiles in after)])
        for k in range(len(indices))
    ]
    title = f"before and after {', '.join(map(text, changes(view.found.experiment)))}"
    lost = [name for name in view.drawn_over if name not in _following(view)]
    title += f"; {listed_names(lost)} cannot follow, and are not drawn after" if lost else ""
    return Panel(title, strips, headings=("before", "after"), apart=1, legend=_legend(view))


def _batch(view: View, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The entries of examples, images in 0..1."""
    batch = view.train.batch(indices)
    return {**batch, "image": np.asarray(as_images(view.dataset, batch["image"]))}


def _tiles(view: View, batch: Mapping[str, np.ndarray]) -> list[Tile]:
    images = _visible(view, batch["image"])
    return overlaid(images, batch, view.dataset, _colours(view)) if view.drawn_over else [Tile(i) for i in images]


def _colours(view: View) -> tuple[str, ...]:
    """Of the classes of masks and boxes; where those have none, of every number that they hold."""
    if not view.train.has_label and view.dataset.classes:
        return colours_of(len(view.dataset.classes))
    return colours_of(256)


def _legend(view: View) -> tuple[Swatch, ...]:
    if not view.drawn_over or view.train.has_label or not view.dataset.classes:
        return ()
    return legend(view.dataset, view.numbers, _colours(view))


def _planes(view: View) -> Panel:
    firsts = [group[0] for group in view.chosen if len(group)] if view.labelled else _indices(view)
    few = np.array([firsts[k] for k in np.linspace(0, len(firsts) - 1, min(PLANES, len(firsts))).astype(int)])
    strips = [
        Strip(_label(view, index[None]), _planes_of(image))
        for index, image in zip(few, _originals(view, few), strict=True)
    ]
    if strips[0].tiles[0].pixels.ndim == 2:
        channels = view.dataset.image_shape[-1]
        what = "pixels" if channels == 1 else f"mean of {channels} channels"
        return Panel(f"{what}, from 0 (dark blue) to {view.dataset.maximum} (yellow)", strips)
    title = "colour planes: red, green, blue; hue (grey where there is none), saturation, value"
    return Panel(title, strips, headings=("", *"RGBHSV"), apart=1)


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
    """The class of a group of examples, or the targets of the first; its number, where it has no label."""
    if _has_sentences(view) and len(group) == 1:
        return _sentence(view, group)
    if not view.train.has_label:
        return str(group[0]) if len(group) == 1 else ""
    label = view.train.labels[group[0]]
    if view.labelled:
        return view.dataset.classes[int(label)]
    targets = ", ".join(f"{number:.3g}" for number in np.ravel(label)[:3]) + (", ..." if np.size(label) > 3 else "")
    return targets if len(group) == 1 else ""


def _has_sentences(view: View) -> bool:
    """Whether examples have sentences instead of labels, whose words are the data's classes."""
    return "words" in view.dataset.entries and not view.train.has_label and bool(view.dataset.classes)


def _sentence(view: View, group: np.ndarray) -> str:
    """The first sentence of an example, in lines of a label's width."""
    row = view.train.batch(group, names=("words",))["words"][0, 0]
    words = [view.dataset.classes[word] for word in row if word]
    return "\n".join(textwrap.wrap(" ".join(words), SENTENCE)) or "(no words)"


def _originals(view: View, indices: np.ndarray) -> np.ndarray:
    return _visible(view, view.train.stacked(indices) / view.dataset.maximum)


def _views(view: View, indices: np.ndarray) -> list[np.ndarray]:
    """Examples' images as training would make of them in each of its first epochs, as they can be drawn."""
    return [_visible(view, batch["image"]) for batch in _augmented_batches(view, indices)]


def _augmented_batches(view: View, indices: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The entries of examples as training would make of them in each of its first epochs, images in 0..1.

    Where examples are mixed, the others are those of the example that has the larger share. Those that cannot follow
    their images are left out.
    """
    import jax
    import jax.numpy as jnp

    from cnnjax.data.order import Order, steps_until
    from cnnjax.run.feed import with_partners
    from cnnjax.training.state import step_key

    # A batch of the chosen, which are mixed with one another, as in training.
    experiment = replace(view.found.experiment, {"precision": "float32", "batch_size": len(indices), "accumulate": 1})
    examples, used = len(view.train), _following(view)
    order = Order(experiment.seed, len(indices), examples, common=experiment.random_numbers == "common")
    # At the size that the training begins with.
    size = training_spans(experiment, view.dataset, length_of(view.found.experiment, examples))[0].size
    seen = jax.jit(training_examples(experiment, view.dataset, used, examples=examples, size=size))
    train = view.train.at_size(size) if decodes_at_its_sizes(experiment) else view.train
    batches = []
    for epoch in range(VIEWS):
        step = steps_until(epoch, batch_size=len(indices), examples=examples)
        batch = {
            "position": np.arange(len(indices), dtype=np.int32),
            "index": indices.astype(np.int32),
            **train.batch(indices, partial(order.generator, step), names=used),
        }
        key = step_key(experiment.seed, step)
        partners = 1 if experiment.mixing is None else experiment.mixing.partners
        weighed = jax.device_get(seen(with_partners(jax.tree.map(jnp.asarray, batch), partners), key, jnp.int32(step)))
        batches.append(_of_larger_share(weighed))
    return batches


def _following(view: View) -> dict[str, Entry]:
    """The entries that can be augmented and mixed as their images are."""
    entries = view.dataset.entries
    others = {name: entry for name, entry in entries.items() if name not in view.drawn_over}

    def follows(name: str) -> bool:
        try:
            check_training_examples(view.found.experiment, view.dataset, {**others, name: entries[name]})
        except ConfigError:
            return False
        return True

    return {name: entry for name, entry in entries.items() if name in others or follows(name)}


def _of_larger_share(weighed: Sequence[tuple[Mapping[str, np.ndarray], Any]]) -> dict[str, np.ndarray]:
    (first, share), *others = weighed
    if not others:
        return dict(first)
    second = others[0][0]
    chosen = np.asarray(share) >= 0.5
    return {name: np.stack([(first if chosen[k] else second)[name][k] for k in range(len(chosen))]) for name in first}


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


def listed_names(names: Iterable[str]) -> str:
    """Names in a sentence: "mask, boxes and keypoints"."""
    *most, last = [*names] or [""]
    return f"{', '.join(most)} and {last}" if most else last


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
    content = picture(view, path.suffix.lower()[1:])
    try:
        write_bytes(path, content)
    except RunError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise RunError(f"--plot {path}: it cannot be written: {reason}") from error
