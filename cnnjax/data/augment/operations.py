"""One of many operations on an image, chosen by a traced number: JAX functions of one example.

Vectorized over examples, `lax.switch` computes every branch and keeps one. Here the branches are merged instead: all
geometric operations are one resampling by an affine matrix, all blends one blend, and what is not chosen is skipped by
a selection of the numbers that go in.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from cnnjax.data.augment import pixels, resample, spaces
from cnnjax.data.augment.boxes import whole
from cnnjax.data.augment.moves import Affine

_GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
_BLENDS = ("brightness", "color", "contrast", "sharpness")


class Chosen:
    """Which of `names` is chosen; asking for other names gives a plain False, so that their code is left out."""

    def __init__(self, names: tuple[str, ...], number: jax.Array):
        self._names, self._number = names, number

    def __call__(self, *wanted: str) -> jax.Array | bool:
        numbers = [self._names.index(name) for name in wanted if name in self._names]
        return jnp.any(jnp.stack([self._number == number for number in numbers])) if numbers else False


@pixels.in_float32
def operate(
    image: jax.Array,
    number: jax.Array,
    magnitude: jax.Array,
    *,
    names: tuple[str, ...],
    interpolation: str = "nearest",
    fill: float | tuple[float, ...] = 0.0,
    subpixel: bool = False,
) -> jax.Array:
    """Apply the operation `names[number]` (of spaces.OPERATIONS) with this magnitude to an image [H, W, C] in 0..1.

    interpolation: "nearest", "bilinear" or "bicubic", of geometric operations; fill: their value outside the image, one
    or one a channel. subpixel: whether translations may be by parts of a pixel.
    """
    chosen = Chosen(names, number)
    # Each starts from the image, not from the one before: XLA would compute a chain's links once for every neighbour
    # that is looked at.
    result = image
    if chosen(*_GEOMETRIC) is not False:
        matrix = _matrix(chosen, magnitude, height=image.shape[0], width=image.shape[1], subpixel=subpixel)
        moved = resample.affine(image, matrix, interpolation=interpolation, fill=fill)
        result = jnp.where(chosen(*_GEOMETRIC), moved, result)
    if chosen(*_BLENDS) is not False:
        result = jnp.where(chosen(*_BLENDS), _blend(image, chosen, magnitude), result)
    for name, change in _OTHERS.items():
        if chosen(name) is not False:
            result = jnp.where(chosen(name), change(image, magnitude), result)
    return result


_OTHERS = {
    "posterize": pixels.posterize,
    "solarize": pixels.solarize,
    "autocontrast": lambda image, _: pixels.autocontrast(image),
    "equalize": lambda image, _: pixels.equalize(image),
    "invert": lambda image, _: 1 - image,
    "solarize_add": pixels.solarize_add,
}


def _matrix(chosen: Chosen, magnitude: jax.Array, *, height: int, width: int, subpixel: bool) -> jax.Array:
    """Where pixels come from, about the image's centre: shears keep the top or left edge, as Pillow's code does."""

    def amount(name: str) -> jax.Array:
        return jnp.where(chosen(name), magnitude, 0.0)

    angle = amount("rotate") * (math.pi / 180)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    slope_x, slope_y = amount("shear_x"), amount("shear_y")
    right, down = amount("translate_x"), amount("translate_y")
    right, down = (right, down) if subpixel else (jnp.trunc(right), jnp.trunc(down))
    move_x, move_y = slope_x * (height / 2) - right, slope_y * (width / 2) - down
    return jnp.array([[cosine, slope_x - sine, move_x], [slope_y + sine, cosine, move_y]])


def move_of(
    number: jax.Array,
    magnitude: jax.Array,
    size: tuple[int, int],
    *,
    names: tuple[str, ...],
    interpolation: str = "nearest",
    fill: float | tuple[float, ...] = 0.0,
    subpixel: bool = False,
) -> Affine:
    """How `operate` moves pixels, for the same arguments; operations on colours leave all where they are.

    size: (height, width) of the image.
    """
    matrix = _matrix(Chosen(names, number), magnitude, height=size[0], width=size[1], subpixel=subpixel)
    return Affine(size, matrix, interpolation, fill)


def _blend(image: jax.Array, chosen: Chosen, magnitude: jax.Array) -> jax.Array:
    """Move the image towards black, grey, its mean grey or its smoothed self, or away from it."""
    other = jnp.zeros_like(image)
    for name, end in (("color", pixels.grey), ("contrast", pixels.mean_grey), ("sharpness", pixels.smooth)):
        if chosen(name) is not False:
            other = jnp.where(chosen(name), end(image), other)
    return pixels.blend(image, other, 1 + magnitude)


def draw(
    space: spaces.Space, key: jax.Array, size: tuple[int, ...], *, drawn: range, levels: int
) -> tuple[jax.Array, jax.Array]:
    """An evenly drawn operation of the space, and its magnitude at a level evenly drawn from `drawn` of all `levels`.

    size: height and width of the image.
    """
    table = jnp.asarray(spaces.magnitudes(space, size, levels=levels))
    which, strength, sign = jax.random.uniform(key, (3,))
    number, level = whole(which, len(space)), drawn.start + whole(strength, len(drawn))
    return number, with_sign(space, number, table[number, level], sign)


def with_sign(space: spaces.Space, number: jax.Array, magnitude: jax.Array, uniform: jax.Array) -> jax.Array:
    """The magnitude, turned round in half the cases where the operation's magnitudes have signs."""
    turned = jnp.asarray(spaces.signed(space))[number] & (uniform < 0.5)
    return jnp.where(turned, -magnitude, magnitude)


def draw_between(
    space: spaces.Space, key: jax.Array, size: tuple[int, ...], *, level: float, deviation: float, probability: float
) -> tuple[jax.Array, jax.Array]:
    """An evenly drawn operation of the space and its magnitude at a normally distributed level, clipped to 0..1.

    level, deviation: shares of the strongest level. With 1 - `probability` the operation is "identity", whose number is
    the first beyond the space's. size: height and width of the image.
    """
    uniforms, normal = jax.random.split(key)
    which, due, sign = jax.random.uniform(uniforms, (3,))
    share = jnp.clip(level + deviation * jax.random.normal(normal), 0, 1)
    number = whole(which, len(space))
    magnitude = with_sign(space, number, between(space, number, share, size), sign)
    return jnp.where(due < probability, number, len(space)), magnitude


def between(space: spaces.Space, number: jax.Array, share: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """The magnitude of an operation at a share of the strongest level."""
    weakest, strongest, steps = (jnp.asarray(values)[number] for values in spaces.ends(space, size))
    # The small share is for levels that float32 has a little below a step.
    stepped = jnp.floor(share * steps + 1e-4) / jnp.maximum(steps, 1)
    return weakest + (strongest - weakest) * jnp.where(steps > 0, stepped, share)


def draw_subpolicy(
    subpolicies: tuple[spaces.Subpolicy, ...], space: spaces.Space, key: jax.Array, size: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """The operations of an evenly drawn subpolicy and their magnitudes; an operation that is not due is identity."""
    numbers, probabilities, magnitudes = map(jnp.asarray, spaces.subpolicy_table(subpolicies, space, size))
    count = numbers.shape[1]
    which, *uniform = jax.random.uniform(key, (1 + 2 * count,))
    row = whole(which, len(subpolicies))
    due = jnp.stack(uniform[:count]) < probabilities[row]
    number = jnp.where(due, numbers[row], list(space).index("identity"))
    return number, with_sign(space, number, magnitudes[row], jnp.stack(uniform[count:]))
