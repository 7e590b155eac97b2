"""New images from codes, by a generator that learns to deceive a discriminator: a generative adversarial network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal, Self

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from cnnjax import metrics
from cnnjax.config import lane
from cnnjax.data import TestTime
from cnnjax.data.example_form import ExampleForm
from cnnjax.data.examples import Scale
from cnnjax.errors import ConfigError, DataError
from cnnjax.losses import Loss, SigmoidCrossEntropy
from cnnjax.models import Model
from cnnjax.models.generator import AdversarialNetwork, Generator, GeneratorNetwork
from cnnjax.models.outputs import logits_of
from cnnjax.records.specification import Specification
from cnnjax.tasks.scores import Scores
from cnnjax.tasks.task import JUDGE, Answered, Judge, Outputs, Sums, Task

TOLD = ("real", "fake", "fooled")
FEATURES = ("real_features", "made_features")


class Generation(Task):
    """New images like those of the data: a generator against a discriminator (Goodfellow et al. 2014, arXiv:1406.2661).

    The experiment's model is the discriminator, any network with one logit D: above 0 it says that an image is real.
    The generator G makes images of codes z, of which each example has one, drawn from the standard normal distribution:
    a new one at every step, and in evaluation the same every time. An example's loss is L_D + L_G:

        rule = "cross_entropy":  L_D = -r log s(D(x)) - (1 - r) log(1 - s(D(x))) - log(1 - s(D(G(z))))
                                 L_G = -log s(D(G(z)))
        rule = "hinge":          L_D = max(0, 1 - D(x)) + max(0, 1 + D(G(z))),  L_G = -D(G(z))

    where s is the logistic function and r the `real_label`. The first L_G is the non-saturating one (section 3 there).
    No gradient of L_G reaches the discriminator, and none of L_D the generator. Both take their step at once, from the
    same images: one update by the sum is an update of each by its own loss. real_label (a lane) below 1 is one-sided
    label smoothing (Salimans et al. 2016, arXiv:1606.03498, section 3.4). hinge: Lim & Ye 2017, arXiv:1705.02894.

    judge: the folder of a finished run of a classifier. Evaluation then measures `frechet_distance`, that between its
    features of the real images of the part and of as many made ones (`metrics.frechet_distance`), by which arms are
    compared. Without it nothing measures how good images are: losses say how the game stands, no more, and arms are
    compared by the discriminator's, under a name that says so.

    generator: the network that makes images of codes. rule: of both losses, as above.
    """

    generator: Generator = Generator()
    rule: Literal["cross_entropy", "hinge"] = "cross_entropy"
    real_label: float = lane(1.0, gt=0.5, le=1)
    judge: str | None = None

    entry: ClassVar[str] = "image"

    @model_validator(mode="after")
    def _hinge_has_no_label(self) -> Self:
        if self.rule == "hinge" and isinstance(self.real_label, float) and self.real_label != 1:
            raise ValueError(f"real_label = {self.real_label}: rule = 'hinge' has no labels to smooth; leave it out")
        return self

    # --- whether it can be

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        self.generator.smallest(*form.image_shape[:2])
        if type(loss) is not SigmoidCrossEntropy or _changed(loss):
            raise ConfigError(
                f"task = {self.tag!r}: the discriminator answers one question, whether an image is real, and "
                "task.rule says how it is scored: take loss=sigmoid without fields of its own"
            )

    def judge_run(self) -> str | None:
        return self.judge

    def check_judge(self, features: int, examples: Mapping[str, int]) -> None:
        for part, count in examples.items():
            if 0 < count < features + 1:
                raise ConfigError(
                    f"{JUDGE}: {self.judge} has {features} features of an image, whose covariance takes at least "
                    f"{features + 1} examples, and the {part} part has {count}: take a judge of fewer features, or a "
                    "larger part"
                )

    # --- examples: a code in further channels of the image

    def _more(self, shape: tuple[int, ...]) -> int:
        """How many channels a code takes."""
        return self.generator.channels(shape[0], shape[1])

    def input_shape(self, form: ExampleForm) -> tuple[int, int, int]:
        height, width, channels = form.image_shape
        return height, width, channels + self._more(form.image_shape)

    def scale(self, form: ExampleForm) -> Scale:
        """Images in -1..1, as the generator makes them; codes as they are."""
        channels, more = form.image_shape[2], self._more(form.image_shape)
        return (0.5,) * channels + (0.0,) * more, (0.5,) * channels + (1.0,) * more

    def image(self, image: jax.Array, key: jax.Array | None) -> jax.Array:
        shape = (*image.shape[:2], self._more(image.shape))
        code = jnp.zeros(shape) if key is None else jax.random.normal(key, shape)
        return jnp.concatenate([image, code.astype(image.dtype)], axis=-1)

    def target(self, entries: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        return entries["image"]

    @property
    def makes_target(self) -> bool:
        return True

    def uses(self, form: ExampleForm) -> Collection[str]:
        return ("image",)

    # --- the network

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(1)

    def network(self, model: Model) -> linen.Module:
        if model.makes != "logits":
            raise ConfigError(f"{model.tag} says no one thing of an image, and a discriminator does; take small_cnn")
        return AdversarialNetwork(generator=GeneratorNetwork(self.generator), discriminator=model.build())

    def read(self, model: Model, returned: Any, *, batch: int, loss: Loss, form: ExampleForm) -> Any:
        """The logits, float32 [B, 1] each, and the images made, in 0..1, float32 [B, H, W, C], by name."""
        logits = {name: logits_of(model, returned[name], batch=batch, needed=1).astype(jnp.float32) for name in TOLD}
        return logits | {"made": jnp.clip(returned["made"].astype(jnp.float32) / 2 + 0.5, 0.0, 1.0)}

    def one_array(self, model: Model, returned: Any) -> jax.Array:
        return jnp.concatenate([returned[name] for name in TOLD], axis=1)

    def merged(self, outputs: Any, views: TestTime, form: ExampleForm) -> Any:
        if outputs["real"].shape[1] != 1:
            raise ConfigError(f"test_time = {views.tag!r}: views would turn codes, too; take test_time=none")
        return {name: array[:, 0] for name, array in outputs.items()}

    # --- numbers

    def losses(self, outputs: Any, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        return sum(self.both(outputs), jnp.float32(0))

    def both(self, outputs: Any) -> tuple[jax.Array, jax.Array]:
        """L_D and L_G of each example, float32 [B] each, of logits [B, 1] by name."""
        real, fake, fooled = (jnp.reshape(outputs[name], -1).astype(jnp.float32) for name in TOLD)
        if self.rule == "hinge":
            return jax.nn.relu(1 - real) + jax.nn.relu(1 + fake), -fooled
        of_real = self.real_label * jax.nn.softplus(-real) + (1 - self.real_label) * jax.nn.softplus(real)
        return of_real + jax.nn.softplus(fake), jax.nn.softplus(-fooled)

    def measure(
        self,
        outputs: Any,
        target: jax.Array,
        *,
        valid: jax.Array,
        losses: jax.Array,
        loss: Loss,
        form: ExampleForm,
        detail: bool,
    ) -> Sums:
        of_discriminator, of_generator = self.both(outputs)
        right = ((outputs["real"][:, 0] > 0).astype(jnp.float32) + (outputs["fake"][:, 0] < 0).astype(jnp.float32)) / 2
        each = {
            "loss": losses,
            "discriminator_loss": of_discriminator,
            "generator_loss": of_generator,
            "discriminator_accuracy": right,
        }
        valid = valid.astype(bool)
        sums = {name: jnp.sum(jnp.where(valid, x.astype(jnp.float32), 0.0)) for name, x in each.items()}
        return {"count": jnp.sum(valid, dtype=jnp.int32), **sums}

    def judged(
        self, outputs: Any, target: jax.Array, judge: Judge, *, loss: Loss, form: ExampleForm
    ) -> dict[str, jax.Array]:
        return dict(zip(FEATURES, (judge(target.astype(jnp.float32)), judge(outputs["made"])), strict=True))

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        count = int(sums["count"])
        if not count:
            raise DataError("no example was measured")
        names = [name for name in sums if name not in ("count", *FEATURES)]
        means = {name: float(sums[name]) / count for name in names}
        distance = {}
        if FEATURES[0] in sums:
            distance = {"frechet_distance": metrics.frechet_distance(*(np.asarray(sums[name]) for name in FEATURES))}
        return {"count": count, **distance, **means}

    @property
    def compared_by(self) -> str:
        return "discriminator_loss" if self.judge is None else "frechet_distance"

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        def of(name: str, unit: str, printed: str, *, higher: bool = False, label: str = "") -> Specification:
            return Specification(
                name=name, total=name, unit=unit, higher_is_better=higher, printed=printed, label=label
            )

        unit = "nats" if self.rule == "cross_entropy" else ""
        frechet = () if self.judge is None else (of("frechet_distance", "", ".3f", label="Fréchet distance"),)
        return (
            *frechet,
            of("discriminator_loss", unit, ".4f", label="discriminator loss (says nothing of how good images are)"),
            of("generator_loss", unit, ".4f"),
            of("discriminator_accuracy", "share", ".2%"),
            of("loss", unit, ".4f"),
        )

    # --- in use

    def answer(self, outputs: Any, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        """ "logits" [B, 1] of the images being real, and their "probabilities"."""
        return {"logits": outputs["real"], "probabilities": jax.nn.sigmoid(outputs["real"])}

    def sampled(
        self, network: Any, variables: Mapping[str, Any], count: int, key: jax.Array, *, loss: Loss, form: ExampleForm
    ) -> jax.Array:
        codes = jax.random.normal(key, (count, self.generator.code))
        made = network.apply(dict(variables), codes, form.image_shape, method="generate")
        return jnp.clip(made.astype(jnp.float32) / 2 + 0.5, 0.0, 1.0)

    def check_top(self, top: int, names: tuple[str, ...]) -> None:
        if top != 1:
            raise ConfigError(f"top = {top!r}: must be 1, for of an image one thing is said: whether it is real")

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        return Scores(answers["logits"][:, 0], answers["probabilities"][:, 0])


def _changed(loss: Loss) -> list[str]:
    """The fields of a loss that are not its defaults; in a step lanes are traced, and were looked at before."""
    default = type(loss)()
    return [name for name, value in loss if not isinstance(value, jax.Array) and value != getattr(default, name)]
