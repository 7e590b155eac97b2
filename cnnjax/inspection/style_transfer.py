"""An image with the content of one and the style of another, as a network sees them (Gatys, Ecker & Bethge 2016,
doi:10.1109/CVPR.2016.265): the pure functions.

Content is what maps of a layer are, place by place; style is how often its features are there together, wherever that
is (the Gram matrix). The image is what is trained; the network stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cnnjax.errors import RunError
from cnnjax.inspection.network import Network
from cnnjax.optim.promotion import promoting

Optimizer = Literal["lbfgs", "adam"]
Start = Literal["content", "style", "noise"]
CHUNK = 10
"""Steps of one call."""
_EXACT = jax.lax.Precision.HIGHEST


def gram(maps: jax.Array) -> jax.Array:
    """The Gram matrices [B, C, C] of maps [B, h, w, C]: products of two features, the mean over the M = h w places.

    The paper's (equation 3) are sums over the places: M times these, so that images of two sizes would not compare.
    """
    flat = maps.astype(jnp.float32).reshape(maps.shape[0], -1, maps.shape[-1])
    return jnp.einsum("bmi,bmj->bij", flat, flat, precision=_EXACT) / flat.shape[1]


def content_loss(maps: jax.Array, true: jax.Array) -> jax.Array:
    """Half the mean of the squared differences of two maps: the paper's equation 1 divided by their numbers, N M."""
    return 0.5 * jnp.mean(jnp.square(maps.astype(jnp.float32) - true.astype(jnp.float32)))


def style_loss(found: jax.Array, true: jax.Array) -> jax.Array:
    """A quarter of the mean of the squared differences of two Gram matrices of `gram`: the paper's equation 4."""
    return 0.25 * jnp.mean(jnp.square(found - true))


def variation(images: jax.Array) -> jax.Array:
    """Total variation: the mean squared difference of neighbours, in rows plus in columns, of images [B, H, W, C]."""
    differences = (jnp.diff(images, axis=axis) for axis in (1, 2))
    # An image of one row, or column, has no neighbours there.
    return jnp.asarray(sum(jnp.square(each).sum() / max(1, each.size) for each in differences))


@dataclass(frozen=True)
class Goal:
    """What an image is to be like. content: layers whose maps are compared, of which the losses are summed; style:
    layers whose Gram matrices are, of which the losses are averaged. The total is the sum of each loss times its
    weight; `variation` is the weight of the total variation.
    """

    content: tuple[str, ...]
    style: tuple[str, ...]
    content_weight: float = 1.0
    style_weight: float = 100.0
    variation: float = 0.0

    def targets(self, network: Network, content: jax.Array, style: jax.Array) -> dict[str, dict[str, jax.Array]]:
        """What the layers say of images [1, H, W, C] in 0..1: maps of the one, Gram matrices of the other."""
        _, maps = network.look(content, self.content)
        _, styles = network.look(style, self.style)
        return {"content": maps, "style": {name: gram(held) for name, held in styles.items()}}

    def losses(
        self, network: Network, variables: Any, image: jax.Array, targets: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The total, and each loss without its weight, of an image [1, H, W, C] in 0..1; pure."""
        _, found = network.look(image, sorted({*self.content, *self.style}), variables=variables)
        content = sum(content_loss(found[name], targets["content"][name]) for name in self.content)
        style = sum(style_loss(gram(found[name]), targets["style"][name]) for name in self.style)
        style = style / max(1, len(self.style))
        rough = variation(image)
        total = self.content_weight * content + self.style_weight * style + self.variation * rough
        each = {"total": total, "content": content, "style": style, "variation": rough}
        return total, {name: jnp.asarray(value, jnp.float32) for name, value in each.items()}


def transferred(
    network: Network,
    content: jax.Array,
    style: jax.Array,
    goal: Goal,
    *,
    steps: int,
    optimizer: Optimizer = "lbfgs",
    rate: float = 0.02,
    start: Start = "content",
    seed: int = 0,
    told: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(the image float32 [H, W, C] in 0..1, its losses by name, float32 [steps + 1] from the first image on).

    content [H, W, C], style [h, w, C]: in 0..1, of channels as the network's. optimizer: "lbfgs", with a line search,
    or "adam" with `rate`. start: the image begins as the content, as the style's pixels resized to the content's size,
    or as uniform noise drawn with `seed`; the others draw nothing. It is not kept in 0..1 on the way, and is cut off
    there at the end; the losses are those before that. told: called with (steps done, in all, the loss).

    Raises RunError where a loss is not finite.
    """
    content, style = jnp.asarray(content, jnp.float32)[None], jnp.asarray(style, jnp.float32)[None]
    image = {
        "content": lambda: content,
        "style": lambda: jax.image.resize(style, content.shape, "bilinear"),
        "noise": lambda: jax.random.uniform(jax.random.key(seed), content.shape),
    }[start]()
    targets = jax.jit(partial(goal.targets, network))(content, style)
    updates = optax.lbfgs() if optimizer == "lbfgs" else promoting(optax.adam(rate))

    def advance(variables: Any, targets: Any, carried: tuple[jax.Array, Any], count: jax.Array):
        def loss(image: jax.Array) -> jax.Array:
            return goal.losses(network, variables, image, targets)[0]

        def step(number: jax.Array, carried: Any) -> Any:
            image, held, curves = carried
            _, each = goal.losses(network, variables, image, targets)
            value, gradient = jax.value_and_grad(loss)(image)
            more = {"value": value, "grad": gradient, "value_fn": loss} if optimizer == "lbfgs" else {}
            change, held = updates.update(gradient, held, image, **more)
            curves = {name: curve.at[number].set(each[name]) for name, curve in curves.items()}
            return optax.apply_updates(image, change), held, curves

        curves = {name: jnp.zeros(CHUNK) for name in ("total", "content", "style", "variation")}
        image, held, curves = jax.lax.fori_loop(0, count, step, (*carried, curves))
        return (image, held), curves

    taken = jax.jit(advance)
    measured = jax.jit(lambda variables, targets, image: goal.losses(network, variables, image, targets)[1])
    carried, found, done = (image, updates.init(image)), [], 0
    while done < steps:
        count = min(CHUNK, steps - done)
        carried, curves = taken(network.variables, targets, carried, jnp.int32(count))
        found.append({name: np.asarray(curve)[:count] for name, curve in curves.items()})
        done += count
        told(done, steps, f"loss {found[-1]['total'][-1]:.4g}")
    last = measured(network.variables, targets, carried[0])
    found.append({name: np.asarray(value)[None] for name, value in last.items()})
    losses = {name: np.concatenate([each[name] for each in found]) for name in last}
    if not (finite := np.isfinite(losses["total"])).all():
        raise RunError(
            f"the loss is not finite after {int(np.flatnonzero(~finite)[0])} steps: take smaller weights"
            + (" or a smaller rate" if optimizer == "adam" else "")
        )
    return np.clip(np.asarray(carried[0][0]), 0, 1), losses


def spread_layers(network: Network, most: int) -> Sequence[str]:
    """The names of layers that are maps, spread over the depth; activation functions, where there are any."""
    return [layer.name for layer in network.chosen((), maps=True, most=most)]
