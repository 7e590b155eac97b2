"""Random light along the directions in which colours vary most."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from cnnjax.data.augment.augmentation import Augmentation

if TYPE_CHECKING:
    import jax

Triple = tuple[float, float, float]


class Lighting(Augmentation, tag="lighting"):
    """Add one random colour to all pixels (Krizhevsky et al. 2012, section 4.1: the PCA of colours).

    The colour is the sum of the principal directions, each times its size in `values` times a normal number of mean 0
    and standard deviation `std`, drawn anew for each image. values, vectors: sizes of pixels in 0..1, and directions as
    columns, whose rows are red, green and blue; the default is ImageNet's, as Torch's training of residual networks
    has them (fb.resnet.torch), and what followed it. clip: whether the result is brought back into 0..1. The source
    does not: without it pixels leave 0..1 by a few hundredths, so let it be the last augmentation then. Grey images
    get the luminance of the colour.
    """

    pixels_stay: ClassVar[bool] = True

    std: float = Field(default=0.1, ge=0)
    values: Triple = (0.2175, 0.0188, 0.0045)
    vectors: tuple[Triple, Triple, Triple] = (
        (-0.5675, 0.7192, 0.4009),
        (-0.5808, -0.0045, -0.8140),
        (-0.5836, -0.6948, 0.4203),
    )
    clip: bool = True

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import pixels

        sizes = self.std * jax.random.normal(key, (3,)) * jnp.asarray(self.values)
        color = (jnp.asarray(self.vectors) * sizes[None]).sum(1)[None, None]
        pixels.check_colors(image)
        lit = image + (color if image.shape[-1] == 3 else pixels.grey(color)).astype(image.dtype)
        return jnp.clip(lit, 0, 1) if self.clip else lit
