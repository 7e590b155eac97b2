"""Random changes of colours, and blur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, field_validator

from cnnjax.data.augment.augmentation import Augmentation, PositiveRange, Probability

if TYPE_CHECKING:
    import jax

Change = Annotated[float, Field(ge=0)]


class ColorJitter(Augmentation):
    """Change brightness, contrast, saturation and hue by random amounts in random order, as torchvision does.

    brightness, contrast, saturation: the factor is evenly distributed in 1 - x .. 1 + x, at least 0; 0 for no change.
    hue: the turn is evenly distributed in -x .. x, in full circles (0..0.5). Grey images have neither saturation nor
    hue; other than 1 or 3 channels are refused.
    """

    pixels_stay: ClassVar[bool] = True

    brightness: Change = 0.0
    contrast: Change = 0.0
    saturation: Change = 0.0
    hue: float = Field(default=0.0, ge=0, le=0.5)

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import jitter

        order, amounts = jax.random.split(key)
        changes = jnp.array([self.brightness, self.contrast, self.saturation])
        *uniform, turn = jax.random.uniform(amounts, (4,))
        low = jnp.maximum(1 - changes, 0)
        factors = low + (1 + changes - low) * jnp.stack(uniform)
        turn = self.hue * (2 * turn - 1) if self.hue else None
        return jitter.jitter(image, factors, turn, jax.random.permutation(order, 4))


class Greyscale(Augmentation):
    """Replace the colours by their luminance (ITU-R 601), with `probability`; the channels stay three."""

    pixels_stay: ClassVar[bool] = True

    probability: Probability = 0.1

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import pixels

        grey = jnp.broadcast_to(pixels.in_float32(pixels.grey)(image), image.shape)
        return jnp.where(jax.random.bernoulli(key, self.probability), grey, image)


class GaussianBlur(Augmentation):
    """Blur with a Gaussian of random width, with `probability`; the border is reflected.

    kernel_size: pixels, odd, beyond which the Gaussian is cut off. sigma: least and largest standard deviation in
    pixels, drawn evenly.
    """

    pixels_stay: ClassVar[bool] = True

    kernel_size: int = Field(default=3, ge=1)
    sigma: PositiveRange = (0.1, 2.0)
    probability: Probability = 0.5

    @field_validator("kernel_size")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import pixels

        blurs, width = jax.random.split(key)
        sigma = jax.random.uniform(width, minval=self.sigma[0], maxval=self.sigma[1])
        blurred = pixels.in_float32(pixels.gaussian_blur)(image, sigma, self.kernel_size)
        return jnp.where(jax.random.bernoulli(blurs, self.probability), blurred, image)
