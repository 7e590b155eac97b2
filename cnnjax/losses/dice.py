"""The soft Dice loss of maps, alone and beside the cross-entropy."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from cnnjax.config import lane
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.losses.loss import Loss, SoftmaxCrossEntropy
from cnnjax.losses.pixels import counted_pixels
from cnnjax.records.resolved import OutputKind


class Dice(Loss, tag="dice"):
    """One minus the soft Dice coefficient of a class, averaged over the classes, of each example by itself; in 0..1.

    It is of masks alone. With p the softmax probabilities, t = 1 where the mask has the class and else 0, sums over the
    pixels that count, and s the `smoothing`, the coefficient of a class is

        (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s)

    (Milletari et al. 2016, arXiv:1606.04797, section 3, there for one class and without s). With `squared` False the
    denominator has sum(p) + sum(t), as in nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z). A class that
    is neither in the mask nor predicted anywhere has the coefficient 1; the greater s, the less a few pixels predicted
    of an absent class cost. `background`: whether class 0 is one of the classes averaged.
    """

    kind: ClassVar[OutputKind] = "softmax"

    smoothing: float = lane(1.0, gt=0)
    squared: bool = True
    background: bool = True

    def __call__(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        raise ShapeError(
            f"{self.tag} loss: it is of masks, logits [B, H, W, K] and class ids [B, H, W]; labels of shape "
            f"{labels.shape} take another loss, such as softmax"
        )

    def on_maps(self, logits: jax.Array, mask: jax.Array, *, ignore: int | None = None) -> jax.Array:
        ids, counted = counted_pixels(logits, mask, ignore=ignore, loss=self.tag)
        outputs = logits.shape[-1]
        if outputs < 2:
            raise ShapeError(f"{self.tag} loss: {outputs} output a pixel; it needs one for each class, two or more")
        known = jnp.all((ids >= 0) & (ids < outputs), axis=1)
        inside = counted[..., None].astype(jnp.float32)
        p = self.predictions(logits).reshape(*ids.shape, outputs) * inside
        t = jax.nn.one_hot(ids, outputs) * inside
        size = jnp.sum((jnp.square(p) if self.squared else p) + t, axis=1)
        coefficients = (2 * jnp.sum(p * t, axis=1) + self.smoothing) / (size + self.smoothing)
        chosen = coefficients if self.background else coefficients[:, 1:]
        return jnp.where(known, 1 - jnp.mean(chosen, axis=1), jnp.nan)

    def predictions(self, logits: jax.Array) -> jax.Array:
        """The probability of each class, float32 [..., K]; they sum to 1."""
        return jax.nn.softmax(logits.astype(jnp.float32))

    def outputs(self, classes: int | None, *, target_shape: tuple[int, ...] = ()) -> int:
        if classes is None or classes < 2 or target_shape:
            raise ConfigError(f"{self.tag} loss: it needs masks of two or more classes; classes = {classes}")
        return classes


class SoftmaxDice(Dice, tag="softmax_dice"):
    """The cross-entropy of pixels plus `dice_weight` times the Dice loss, as in nnU-Net (Isensee et al. 2021).

    cross_entropy: with its label smoothing and class weights.
    """

    cross_entropy: SoftmaxCrossEntropy = SoftmaxCrossEntropy()
    dice_weight: float = lane(1.0, ge=0)

    def on_maps(self, logits: jax.Array, mask: jax.Array, *, ignore: int | None = None) -> jax.Array:
        of_pixels = self.cross_entropy.on_maps(logits, mask, ignore=ignore)
        return of_pixels + self.dice_weight * super().on_maps(logits, mask, ignore=ignore)

    def outputs(self, classes: int | None, *, target_shape: tuple[int, ...] = ()) -> int:
        super().outputs(classes, target_shape=target_shape)
        return self.cross_entropy.outputs(classes)
