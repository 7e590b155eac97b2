"""Make a picture with the content of one image file and the style of another, and write it with its losses."""

from __future__ import annotations

import inspect
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import calling
from cnnjax.data.decode import decode
from cnnjax.data.resize import resize
from cnnjax.errors import ConfigError, DataError, ShapeError
from cnnjax.experiment.scale import normalize_of
from cnnjax.files import write_bytes
from cnnjax.inspection.network import Network
from cnnjax.inspection.style_transfer import Goal, Optimizer, Start, spread_layers, transferred
from cnnjax.inspection.subject import Told
from cnnjax.records.folders import refuse_held
from cnnjax.records.stylized import Stylized
from cnnjax.run.images import takes
from cnnjax.run.resolve import recorded_form
from cnnjax.run.trained import Trained
from cnnjax.study.load import load

MOST_STYLE_LAYERS = 5
"""Layers whose style is compared, where none are named: as many as in the paper."""
LARGEST = 256
"""Pixels of the longer side of a picture, where no size is said and the content has more."""


@dataclass(frozen=True, eq=False, repr=False)
class Made:
    """image: uint8 [H, W, C]. record: what it was made of, with its losses. path: where it was written."""

    image: np.ndarray
    record: Stylized
    path: Path

    def __repr__(self) -> str:
        height, width, _ = self.image.shape
        first, last = (self.record.losses["total"][at] for at in (0, -1))
        return f"<Made {self.path}: {width}x{height}, loss {first:.4g} -> {last:.4g}>"


def stylize(
    content: Path | str,
    style: Path | str,
    *,
    network: Path | str,
    out: Path | str,
    content_layers: Sequence[str] = (),
    style_layers: Sequence[str] = (),
    content_weight: float = 1.0,
    style_weight: float = 100.0,
    variation: float = 0.0,
    steps: int = 200,
    optimizer: Optimizer = "lbfgs",
    rate: float = 0.02,
    start: Start = "content",
    size: int | None = None,
    seed: int = 0,
    step: int | None = None,
    weights: str | None = None,
    file: Path | str | None = None,
    stale: str = "stop",
    told: Told = lambda done, total, what: None,
) -> Made:
    """A picture with the content of one image file and the style of another, as a run's network sees them.

    network: a run's folder; weights from PyTorch are one by `cnnjax import-torch`. out: the PNG to write; beside it is
    its JSON (`Stylized`). content_layers, style_layers: by the names that `cnnjax inspect` has; by default five are
    spread over the depth for the style, and the fourth of them is the content's. size: of the longer side, in pixels;
    by default the content's own, at most 256. The style image is resized to as long a side. A network that does not
    tell its maps by themselves (`Model.endpoints`) takes images of one size alone, to which both are resized.
    The rest: `style_transfer.Goal`, `style_transfer.transferred` and `cnnjax.load`. The same call gives the same
    picture.

    Raises ConfigError for a layer that there is not, with those that there are, and a value out of its range; DataError
    for a file that cannot be read; RunError without a checkpoint, and where the loss is not finite.
    """
    given: dict[str, Any] = {"content_weight": content_weight, "style_weight": style_weight, "variation": variation}
    _check(given, steps, optimizer, rate, start, size)
    path, sources = Path(out), (Path(content), Path(style))
    if path.suffix.lower() != ".png":
        raise ConfigError(f"out = {str(path)!r}: a picture is written as PNG: let its name end in .png")
    if path.resolve() in [source.resolve() for source in sources]:
        raise ConfigError(f"out = {str(path)!r}: it is one of the images that are read; name another file")
    refuse_held(path.parent)
    trained = load(network, step=step, weights=weights, file=file, stale=stale)
    images = [_read(source, trained) for source in sources]
    whole = None if _has_endpoints(trained) else trained.resolved.input_shape[:2]
    if whole is not None and size is not None:
        raise ConfigError(
            f"size = {size}: the network of {trained.path} takes {whole[1]}x{whole[0]} alone; leave it out"
        )
    longest = size or min(LARGEST, max(images[0].shape[:2]))
    first, second = (_fitted(image, longest if whole is None else whole) for image in images)
    seen = network_for(trained, first.shape)
    names = tuple(style_layers) or tuple(spread_layers(seen, MOST_STYLE_LAYERS))
    goal = Goal(tuple(content_layers) or (names[min(3, len(names) - 1)],), names, **given)
    for name in (*goal.content, *goal.style):
        if not seen.layer(name).is_map:
            maps = ", ".join(layer.name for layer in seen.layers if layer.is_map)
            raise ConfigError(f"layer {name!r}: its units have no place in the image; maps are {maps}")
    made, losses = transferred(
        seen, first, second, goal, steps=steps, optimizer=optimizer, rate=rate, start=start, seed=seed, told=told
    )
    pixels = np.round(255 * made).astype(np.uint8)
    record = Stylized(
        content_file=str(content),
        style_file=str(style),
        run=str(trained.path),
        step=trained.step,
        checksum=trained.checksum,
        weights=trained.weights,
        content_layers=goal.content,
        style_layers=goal.style,
        **given,
        optimizer=optimizer,
        rate=rate if optimizer == "adam" else None,
        start=start,
        seed=seed,
        size=pixels.shape[:2],
        losses={name: tuple(map(float, curve)) for name, curve in losses.items()},
    )
    write_bytes(path, _png(pixels))
    record.write(path.with_name(f"{path.name}.json"))
    return Made(pixels, record, path)


def network_for(trained: Trained, shape: Sequence[int]) -> Network:
    """A run's network as a function of images of that shape in 0..1, normalized as in its training, up to its last
    maps where it tells them by themselves. Raises ConfigError where an image is not what it sees."""
    experiment, form, task = trained.experiment, recorded_form(trained.resolved), trained.task
    if task.input_shape(form)[2] != form.image_shape[2]:
        raise ConfigError(f"{trained.path}: what its task, {task.tag!r}, shows the network is not the image")
    normalize, only_maps = normalize_of(experiment, task, form), _has_endpoints(trained)

    def forward(variables: Any, images: jax.Array) -> jax.Array:
        seen = normalize(images)
        if not only_maps:
            returned, _ = calling.apply(trained.network, variables, seen)
            return jax.tree.leaves(returned)[0]
        maps: Any = trained.network.apply(variables, seen, train=False, endpoints=True)
        return maps[experiment.model.endpoints()[-1].name]

    height, width, channels = shape
    image = (height, width, channels)
    try:
        network = Network(trained.network, jax.device_put(trained.variables), image, forward, image)
        assert network.layers
    except ShapeError as error:
        raise ConfigError(f"images of {width}x{height} do not fit the network of {trained.path}: {error}") from None
    return network


def _has_endpoints(trained: Trained) -> bool:
    """Whether the network returns its maps without its classifier, and so takes images of any size."""
    try:
        trained.experiment.model.endpoints()
    except ConfigError:
        return False
    return "endpoints" in inspect.signature(type(trained.network).__call__).parameters


def _check(weights: Mapping[str, float], steps: int, optimizer: str, rate: float, start: str, size: int | None) -> None:
    for name, value in weights.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} = {value!r}: must be a number, at least 0")
    if not any(weights.values()):
        raise ConfigError("content_weight, style_weight and variation are all 0: there is nothing to make")
    for name, value, known in (("optimizer", optimizer, get_args(Optimizer)), ("start", start, get_args(Start))):
        if value not in known:
            raise ConfigError(f"{name} = {value!r}: must be {' or '.join(known)}")
    if not (isinstance(steps, int) and steps >= 1):
        raise ConfigError(f"steps = {steps!r}: must be a whole number, at least 1")
    if not (math.isfinite(rate) and rate > 0):
        raise ConfigError(f"rate = {rate!r}: must be a number above 0")
    if size is not None and not (isinstance(size, int) and size >= 1):
        raise ConfigError(f"size = {size!r}: must be a whole number of pixels, at least 1")


def _read(path: Path, trained: Trained) -> np.ndarray:
    """An image file as uint8 [H, W, C], grey or RGB as the network's images are. Raises DataError."""
    resolved = trained.resolved
    channels = resolved.input_shape[2]
    if resolved.sound is not None or channels not in (1, 3) or resolved.space != "rgb":
        raise DataError(f"image files are grey or RGB, and of the network of {trained.path}: {takes(resolved)}")
    try:
        return decode(path.read_bytes(), channels=channels)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _fitted(image: np.ndarray, size: int | tuple[int, int]) -> jax.Array:
    """The image in 0..1, resized to a longer side of so many pixels, or to (height, width)."""
    height, width = image.shape[:2]
    if isinstance(size, int):
        scale = size / max(height, width)
        size = max(1, round(scale * height)), max(1, round(scale * width))
    return jnp.asarray(image if size == (height, width) else resize(image, size), jnp.float32) / 255


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]).save(written, "PNG")
    return written.getvalue()
