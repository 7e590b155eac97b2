"""Kernels that start a short training well: whitened patches first, then identities."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import traverse_util
from pydantic import Field

from cnnjax.errors import ConfigError
from cnnjax.initialization.distribution import draw
from cnnjax.initialization.initialization import Initialization
from cnnjax.initialization.kernel import Kernel, replaced


class Whitening(Initialization):
    """The first convolution whitens patches of the images, the others begin with the identity (Jordan 2024,
    arXiv:2404.00498, sections 3.2 and 3.3).

    With the eigenvalues l and eigenvectors v of the second moments of all patches of the window's size, the first
    half of the first convolution's filters is v / sqrt(l + `epsilon`), the largest l first, and the second half is
    their negatives. The images are those of the first training batch, normalized and not augmented (as evaluation sees
    them: the first of an image's test-time views).

    All other kernels are uniform up to 1 / sqrt(fan-in), as PyTorch's layers are. identity: the first filters of a
    convolution without groups then pass one channel on each, unchanged: as many as there are channels. dense_std: dense
    kernels are multiplied so that their sample standard deviation is that (greater than 0; airbench94_muon's is 1);
    None leaves them.

    Raises ConfigError where the first layer with a kernel is no convolution of the images with an even number of
    filters, at most twice the numbers of a patch. It is usually frozen:
    `optim.groups={"whiten.kernel": {"frozen": true}}`.
    """

    fits_images: ClassVar[bool] = True

    epsilon: float = Field(default=5e-4, gt=0)
    identity: bool = True
    dense_std: float | None = Field(default=None, gt=0)

    def draw(self, kernel: Kernel, key: jax.Array) -> jax.Array:
        drawn = draw("uniform", key, kernel.layout, (3 * kernel.fan_in) ** -0.5)
        if not kernel.window:
            return drawn if self.dense_std is None else drawn * (self.dense_std / jnp.std(drawn, ddof=1))
        if not self.identity or kernel.groups > 1 or kernel.transposed:
            return drawn
        first = min(kernel.channels, kernel.features)
        centre = tuple(size // 2 for size in kernel.window)
        passing = jnp.zeros((*kernel.layout[:-1], first)).at[centre].set(jnp.eye(kernel.channels, first))
        return drawn.at[..., :first].set(passing)

    def fitted_to_images(self, params: Any, kernels: Mapping[str, Kernel], images: jax.Array) -> Any:
        path, kernel = next(iter(kernels.items()))
        self._check(kernel, images)
        flat: Any = traverse_util.flatten_dict(dict(params), sep=".")
        whitening = whitening_kernel(images, kernel.window, kernel.features // 2, epsilon=self.epsilon)
        return replaced(params, {path: whitening.astype(flat[path].dtype)})

    def _check(self, kernel: Kernel, images: jax.Array) -> None:
        plain = len(kernel.window) == 2 and kernel.groups == 1 and not (kernel.transposed or kernel.stacked)
        if not plain or kernel.channels != images.shape[-1]:
            raise ConfigError(
                f"initialization = {self.tag!r}: {kernel.path}, the first kernel, is not that of a convolution of the "
                "images; give the network such a layer, or take another initialization",
                path="initialization",
            )
        most = 2 * prod(kernel.window) * kernel.channels
        if kernel.features % 2 or kernel.features > most:
            raise ConfigError(
                f"initialization = {self.tag!r}: {kernel.path} has {kernel.features} filters; patches of "
                f"{kernel.window[0]}x{kernel.window[1]}x{kernel.channels} take an even number, at most {most}",
                path="initialization",
            )


def whitening_kernel(images: jax.Array, window: tuple[int, ...], count: int, *, epsilon: float) -> jax.Array:
    """The `count` leading whitening filters of patches, and their negatives: [*window, channels, 2 count].

    images: [B, H, W, C], normalized. Patches are all those of `window` that lie within an image, one pixel apart.
    """
    height, width = (size - side + 1 for size, side in zip(images.shape[1:3], window, strict=True))
    shifted = [images[:, y : y + height, x : x + width] for y in range(window[0]) for x in range(window[1])]
    patches = jnp.concatenate(shifted, -1).reshape(-1, prod(window) * images.shape[-1]).astype(jnp.float32)
    moments = jnp.matmul(patches.T, patches, precision="highest") / len(patches)
    values, vectors = jnp.linalg.eigh(moments)
    filters = (vectors / jnp.sqrt(values + epsilon)[None])[:, ::-1][:, :count]
    return jnp.concatenate([filters, -filters], -1).reshape(*window, images.shape[-1], -1)
