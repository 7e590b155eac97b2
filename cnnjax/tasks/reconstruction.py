"""An image from itself: past a bottleneck, from under noise, or past a code that new images can be drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cnnjax.config import lane
from cnnjax.data import TestTime
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.losses import Loss
from cnnjax.models import Model
from cnnjax.models.outputs import shown
from cnnjax.records.resolved import Specification
from cnnjax.tasks.to_image import ToImage

CODE = ("mean", "log_variance")


class Reconstruction(ToImage):
    """The image itself: of a model with a bottleneck, as `autoencoder`, what that lets through.

    noise: standard deviation of normal noise, of pixels in 0..1, that is added to each number that the network sees, in
    training and in evaluation, where it is the same every time; what is true is the image without it (Vincent et al.
    2008, doi:10.1145/1390156.1390294). Noisy images are not clipped. In use an image is taken as it is given.
    """

    noise: float = lane(0.0, ge=0)

    def image(self, image: jax.Array, key: jax.Array | None) -> jax.Array:
        return image if key is None else image + self.noise * jax.random.normal(key, image.shape, image.dtype)


class Variational(Reconstruction, tag="vae"):
    """Reconstruction past a code that is drawn: the variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114).

    An example's loss is (R + kl_weight KL) / D: R the loss summed over the D numbers of an image, KL the divergence of
    the code's distribution from the standard normal one, 1/2 sum(mean^2 + variance - log variance - 1) in nats
    (appendix B). With loss=sigmoid and kl_weight=1 that is the negative ELBO of a Bernoulli decoder, in nats a number;
    with loss=squared that of a normal one whose variance is kl_weight / 2, but for a constant. kl_weight is the beta of
    Higgins et al. 2017. Training draws one code an image; evaluation takes the mean, so that R is that code's, and
    the loss no bound.

    It takes a model that says mean and log-variance: `model=autoencoder model.variational=true`. KL is measured too
    (kl, nats an image). New images are those of codes drawn from the standard normal distribution (`Trained.sample`).

    kl_weight: how much the divergence counts in the loss, as above.
    """

    chosen_by: ClassVar[str] = "loss"

    kl_weight: float = lane(1.0, ge=0)

    def read(self, model: Model, returned: Any, *, batch: int, loss: Loss, form: ExampleForm) -> jax.Array:
        """The maps, the means and the log-variances of each image, in one row: float32 [B, D + 2 Z]."""
        if not isinstance(returned, Mapping) or not {*CODE} <= returned.keys():
            raise ShapeError(
                f"{type(model).__name__}: the network returns {shown(returned)}, without mean and log_variance of a "
                f"code, which task = {self.tag!r} needs; take model=autoencoder with model.variational=true"
            )
        images = super().read(model, returned, batch=batch, loss=loss, form=form)
        parts = [images.reshape(batch, -1), *(returned[name] for name in CODE)]
        return jnp.concatenate([part.astype(jnp.float32) for part in parts], axis=1)

    def merged(self, outputs: jax.Array, views: TestTime, form: ExampleForm) -> jax.Array:
        if outputs.shape[1] != 1:
            raise ConfigError(f"test_time = {views.tag!r}: codes of several views have no mean; take test_time=none")
        return outputs[:, 0]

    def losses(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        images, mean, log_variance = _parts(outputs, target)
        reconstruction = super().losses(images, target, loss=loss, form=form)
        return reconstruction + self.kl_weight * divergence(mean, log_variance) / math.prod(target.shape[1:])

    def made(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        return super().made(_parts(outputs, target)[0], target, loss=loss, form=form)

    def also_measured(self, outputs: jax.Array, target: jax.Array, *, loss: Loss) -> dict[str, jax.Array]:
        _, mean, log_variance = _parts(outputs, target)
        return {"kl": divergence(mean, log_variance)}

    def also_specified(self) -> tuple[Specification, ...]:
        return (Specification(name="kl", label="KL", total="kl", unit="nats", higher_is_better=False, printed=".2f"),)

    def sampled(
        self, network: Any, variables: Mapping[str, Any], count: int, key: jax.Array, *, loss: Loss, form: ExampleForm
    ) -> jax.Array:
        height, width, _ = form.image_shape
        codes = jax.random.normal(key, (count, network.config.code))
        maps = network.apply(dict(variables), codes, (height, width), method="decode")
        return jnp.clip(loss.predictions(maps), 0.0, 1.0)


def divergence(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL of normal distributions [B, Z] from the standard one, summed over Z, in nats: float32 [B]."""
    mean, log_variance = mean.astype(jnp.float32), log_variance.astype(jnp.float32)
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(log_variance) - log_variance - 1, axis=1)


def _parts(outputs: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The images, of the target's shape, the means and the log-variances in rows of outputs [B, D + 2 Z]."""
    numbers = math.prod(target.shape[1:])
    mean, log_variance = jnp.split(outputs[:, numbers:], 2, axis=1)
    return outputs[:, :numbers].reshape(outputs.shape[0], *target.shape[1:]), mean, log_variance
