"""The colours of a grey image: from its lightness the two other numbers of CIE L*a*b*."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from cnnjax.config import lane
from cnnjax.data.example_form import ExampleForm
from cnnjax.data.examples import Scale
from cnnjax.data.lab import lab_of, rgb_of
from cnnjax.errors import ConfigError
from cnnjax.losses import Loss
from cnnjax.records.resolved import OutputKind, Specification
from cnnjax.tasks.task import Outputs
from cnnjax.tasks.to_image import ToImage

SPREAD = 110.0
"""a* and b* are divided by it where they are outputs: no colour of a screen is farther from grey along either axis."""
LIGHTEST = 100.0
"""L* of white."""
SAMPLES = 52
"""Values of each channel, at steps of 5 of 255, of the colours by which bins are found."""


class Colorization(ToImage):
    """a* and b* of each pixel from L*, of RGB images; the picture is L* as it was with the colours that are predicted.

    With the squared (or absolute) loss there are two outputs a pixel, a* and b* divided by 110. With the softmax loss
    colours are classes (Zhang, Isola & Efros 2016, arXiv:1603.08511, section 2.1): the squares of side `grid` of the
    a*b* plane that hold a colour of sRGB, 260 of side 10 (the paper counts 313). What is predicted is the mean of their
    centres under softmax(logits / temperature), the paper's annealed mean (equation 5) with T: 1 is the mean, towards 0
    the likeliest class. A pixel's target is the class it is in; the paper's soft targets and weights of rare colours
    are left out.

    The network sees L* / 100, normalized with mean 0.5 and deviation 0.25. Beside PSNR and SSIM of the RGB picture the
    mean distance in the a*b* plane is measured (color_error), and how far a picture's mean distance from grey is from
    the true one (chroma_error): what is grey where colours are uncertain has a low error of colour, and a high one of
    chroma. Both are in units of L*a*b*, before colours that no screen has are clipped.

    temperature: T of the softmax that weighs the colours; of the softmax loss alone.
    """

    kinds: ClassVar[tuple[OutputKind, ...]] = ("continuous", "softmax")
    losses_named: ClassVar[str] = "squared, absolute or softmax"

    grid: float = Field(default=10.0, ge=2, le=50)
    temperature: float = lane(0.38, gt=0)

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        if form.image_shape[2] != 3:
            raise ConfigError(
                f"task = {self.tag!r}: images of {form.name} have {form.image_shape[2]} channel"
                f"{'s' * (form.image_shape[2] != 1)}, and colours need red, green and blue"
            )
        if loss.takes_mixed_targets:
            raise ConfigError(f"task = {self.tag!r}: loss = {loss.tag!r} has a threshold; leave it out")

    def input_shape(self, form: ExampleForm) -> tuple[int, int, int]:
        return (*form.image_shape[:2], 1)

    def scale(self, form: ExampleForm) -> Scale:
        return (0.5,), (0.25,)

    def image(self, image: jax.Array, key: jax.Array | None) -> jax.Array:
        return lab_of(image)[..., :1] / LIGHTEST

    def target(self, entries: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        """L*, a* and b* [H, W, 3], of which the first is known."""
        return lab_of(entries["image"])

    def channels(self, form: ExampleForm) -> int:
        return 2

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        if loss.kind == "softmax":
            return Outputs(loss.outputs(len(centres(self.grid))))
        return super().outputs(loss, form)

    def losses(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        self._check_size(outputs, target)
        colours = target[..., 1:]
        if loss.kind == "softmax":
            return loss.on_maps(outputs, classes_of(colours, self.grid))
        return super().losses(outputs, colours / SPREAD, loss=loss, form=form)

    def colours(self, outputs: jax.Array, loss: Loss) -> jax.Array:
        """a* and b* [..., 2] that outputs [..., K] stand for."""
        if loss.kind != "softmax":
            return SPREAD * loss.predictions(outputs)
        shares = loss.predictions(outputs.astype(jnp.float32) / self.temperature)
        return jnp.matmul(shares, jnp.asarray(centres(self.grid)), precision=jax.lax.Precision.HIGHEST)

    def made(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        return rgb_of(jnp.concatenate([target[..., :1], self.colours(outputs, loss)], axis=-1))

    def true(self, target: jax.Array) -> jax.Array:
        return rgb_of(target)

    def also_measured(self, outputs: jax.Array, target: jax.Array, *, loss: Loss) -> dict[str, jax.Array]:
        made, true = self.colours(outputs, loss), target[..., 1:]
        chroma = _length(made).mean((1, 2)) - _length(true).mean((1, 2))
        return {"color_error": _length(made - true).mean((1, 2)), "chroma_error": jnp.abs(chroma)}

    def also_specified(self) -> tuple[Specification, ...]:
        return tuple(
            Specification(name=name, total=name, unit="", higher_is_better=False, printed=".2f")
            for name in ("color_error", "chroma_error")
        )


def _length(colours: Any) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(colours), axis=-1))


@lru_cache(maxsize=8)
def centres(grid: float) -> np.ndarray:
    """The centres [Q, 2] of the classes of colour, a* and b*: multiples of `grid` that a colour of sRGB is next to."""
    values = np.linspace(0, 1, SAMPLES)
    colours = lab_of(np.stack(np.meshgrid(values, values, values), axis=-1).reshape(-1, 3))[:, 1:]
    return (grid * np.unique(np.round(colours / grid), axis=0)).astype(np.float32)


@lru_cache(maxsize=8)
def _places(grid: float) -> tuple[np.ndarray, int]:
    """The class of each multiple of `grid` from -reach to reach in both directions, and that reach in multiples."""
    reach = int(np.ceil(128 / grid))
    steps = np.arange(-reach, reach + 1)
    points = grid * np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)
    distances = np.square(points[:, :, None] - centres(grid)).sum(-1)
    return distances.argmin(-1).astype(np.int32), reach


def classes_of(colours: jax.Array, grid: float) -> jax.Array:
    """The class, int32 [...], whose centre is nearest to each colour a*, b* [..., 2] of sRGB."""
    places, reach = _places(grid)
    step = jnp.clip(jnp.round(colours / grid).astype(jnp.int32) + reach, 0, 2 * reach)
    return jnp.asarray(places)[step[..., 0], step[..., 1]]
