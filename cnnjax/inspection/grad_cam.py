"""Grad-CAM: where in a layer's maps the evidence for an output lies (Selvaraju et al. 2017, equations 1 and 2)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax.inspection.network import Network


def grad_cam(network: Network, images: jax.Array, target: jax.Array, layer: str) -> jax.Array:
    """[B, h, w] of the layer's own size: ReLU of its maps weighted by the mean gradient of the target's output.

    target: int32 [B], which output of each image. Raises ConfigError for a layer that is no map, or unknown.
    """
    (chosen,) = network.chosen([layer], maps=True)

    def score(added: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs, found = network.look(images, [layer], added={layer: added})
        return jnp.take_along_axis(outputs, target[:, None], 1).sum(), found[layer]

    gradient, maps = jax.grad(score, has_aux=True)(jnp.zeros((len(images), *chosen.shape), jnp.float32))
    weights = gradient.mean((1, 2), keepdims=True)
    return jax.nn.relu((weights * maps.astype(jnp.float32)).sum(-1))
