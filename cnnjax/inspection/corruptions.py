"""Images made worse at five severities (Hendrycks and Dietterich 2019).

Small images get the strengths of CIFAR-10-C, others those of ImageNet-C, whose blur is as wide a share of the image as
of 224 pixels. All but JPEG are computed on the device.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data.augment.pixels import gaussian_blur

SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 64
"""Images whose shorter side has at most so many pixels are corrupted as those of CIFAR-10-C."""
NOISE = ((0.04, 0.06, 0.08, 0.09, 0.1), (0.08, 0.12, 0.18, 0.26, 0.38))
BLUR = ((0.4, 0.6, 0.7, 0.8, 1), (1, 2, 3, 4, 6))
CONTRAST = ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05))
QUALITY = ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7))
"""Of CIFAR-10-C, and of ImageNet-C."""


def strength(table: tuple[tuple[float, ...], tuple[float, ...]], shape: tuple[int, ...], severity: int) -> float:
    """Of images [..., H, W, C] at a severity of 1 to 5."""
    return table[min(shape[-3:-1]) > SMALL][severity - 1]


def noise(images: jax.Array, index: jax.Array, severity: int) -> jax.Array:
    """Gaussian noise of a standard deviation in shares of full brightness. index: the images' places in their part,
    from which their noise is drawn, whatever batch they are in."""
    key = jax.random.key(severity)
    draw = jax.vmap(lambda at: jax.random.normal(jax.random.fold_in(key, at), images.shape[1:]))
    return jnp.clip(images + strength(NOISE, images.shape, severity) * draw(index), 0, 1)


def blur(images: jax.Array, index: jax.Array, severity: int) -> jax.Array:
    """A Gaussian blur, of a width in pixels; of large images as a share of 224 pixels. The border is reflected."""
    shorter = min(images.shape[1:3])
    sigma = strength(BLUR, images.shape, severity) * (shorter / 224 if shorter > SMALL else 1)
    # Reflection takes pixels from within the image.
    kernel = 2 * min(int(np.ceil(4 * sigma)), shorter - 1) + 1
    return jax.vmap(lambda image: gaussian_blur(image, jnp.float32(sigma), kernel))(images)


def contrast(images: jax.Array, index: jax.Array, severity: int) -> jax.Array:
    """Differences from each channel's mean shrunk by a factor."""
    means = images.mean((1, 2), keepdims=True)
    return jnp.clip((images - means) * strength(CONTRAST, images.shape, severity) + means, 0, 1)


def jpeg(images: jax.Array, index: jax.Array, severity: int) -> jax.Array:
    """Encoded as JPEG and decoded, by Pillow on the host. images: of 1 or 3 channels."""
    return jnp.asarray(
        np.stack([_encoded(image, int(strength(QUALITY, images.shape, severity))) for image in np.asarray(images)])
    )


def _encoded(image: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    pixels = np.round(image * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(buffer), np.float32) / 255
    return decoded.reshape(image.shape)


Corruption = Callable[[jax.Array, jax.Array, int], jax.Array]
CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {"noise": noise, "blur": blur, "contrast": contrast, "jpeg": jpeg}
)
"""By name: images [B, H, W, C] in 0..1, their places in their part [B], severity 1..5 -> images of the same form."""
ON_DEVICE = ("noise", "blur", "contrast")


def available(channels: int) -> tuple[str, ...]:
    """Those that images of so many channels can have."""
    return tuple(name for name in CORRUPTIONS if name != "jpeg" or channels in (1, 3))
