"""A large image from a small one, which is made of the large one."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax import metrics
from cnnjax.data.augment import resample
from cnnjax.data.example_form import ExampleForm
from cnnjax.data.examples import Scale
from cnnjax.errors import ConfigError
from cnnjax.losses import Loss
from cnnjax.records.resolved import Specification
from cnnjax.tasks.to_image import ToImage


class SuperResolution(ToImage):
    """The image, from itself with `factor` times fewer rows and columns, by a model that enlarges, as `srcnn`, `espcn`.

    by: how the small image is made, on the device: "area" is the mean of each square of factor x factor pixels;
    "bicubic" Keys' kernel (a = -0.5) widened by the factor, as MATLAB's imresize and Pillow's BICUBIC, clipped to 0..1.
    It is not rounded to 256 levels. The network sees and makes pixels in 0..1, not normalized.

    Beside PSNR and SSIM are those of the small image enlarged by bicubic interpolation (bicubic_psnr, bicubic_ssim),
    which a network should exceed. All are of all channels and the whole image, borders included.
    """

    factor: int = Field(default=4, ge=2)
    by: Literal["bicubic", "area"] = "bicubic"

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        height, width, _ = form.image_shape
        if height % self.factor or width % self.factor:
            raise ConfigError(
                f"task.factor = {self.factor}: images of {form.name} are {height}x{width}, which it does not divide"
            )

    def input_shape(self, form: ExampleForm) -> tuple[int, int, int]:
        height, width, channels = form.image_shape
        return height // self.factor, width // self.factor, channels

    def scale(self, form: ExampleForm) -> Scale:
        channels = form.image_shape[2]
        return (0.0,) * channels, (1.0,) * channels

    def image(self, image: jax.Array, key: jax.Array | None) -> jax.Array:
        height, width, channels = image.shape
        small = height // self.factor, width // self.factor
        if self.by == "bicubic":
            return resample.resize(image, small, method="bicubic")
        return image.reshape(small[0], self.factor, small[1], self.factor, channels).mean((1, 3))

    def also_measured(self, outputs: jax.Array, target: jax.Array, *, loss: Loss) -> dict[str, jax.Array]:
        target = target.astype(jnp.float32)
        enlarged = jax.vmap(lambda image: resample.resize(self.image(image, None), image.shape[:2], method="bicubic"))
        interpolated = enlarged(target)
        return {
            "bicubic_psnr": metrics.psnr(interpolated, target),
            "bicubic_ssim": metrics.ssim(interpolated, target),
        }

    def also_specified(self) -> tuple[Specification, ...]:
        psnr, ssim, _ = metrics.image_specifications()
        return tuple(_of_bicubic(each) for each in (psnr, ssim))


def _of_bicubic(each: Specification) -> Specification:
    name = f"bicubic_{each.name}"
    return each.model_copy(update={"name": name, "total": name, "label": f"bicubic {each.label}"})
