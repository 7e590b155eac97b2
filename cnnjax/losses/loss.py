"""Losses by kind of output: classes (softmax), yes or no (sigmoid), numbers (squared, absolute), counts (poisson).

A loss turns outputs `logits` [B, K] and `labels` into one number per example, [B]; its caller masks and averages.
Where an image has an answer for each pixel, `on_maps` takes logits [B, H, W, K] and a mask of class ids [B, H, W], and
the loss of an example is the mean over its pixels. Everything is computed in float32 whatever the dtype of the logits.

Labels that the loss has no meaning for (a class id outside 0..K-1, a negative count) give that example the loss NaN and
a zero gradient: a padding row may hold anything, and a wrong label in a real row stops the training.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import gammaln
from pydantic import Field, field_validator

from cnnjax.config import lane, later
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.lanes import StepConfig
from cnnjax.losses.pixels import counted_pixels, mean_over_pixels
from cnnjax.records.resolved import OutputKind

# Room for distributions that were mixed or rounded in bfloat16.
ROUNDING = 1e-2


class Loss(StepConfig, union="name"):
    """How wrong the outputs are. A loss of your own defines `per_example` and, where it matters, the rest.

    Both `per_example` and `__call__` return one loss for each example, [B], never their mean.

    kind: what `predictions` are: "softmax", probabilities of one class among all; "sigmoid", those of independent
    questions; "continuous", numbers; "count", expected counts. unit: of the loss, "nats" or "".
    """

    kind: ClassVar[OutputKind] = "continuous"
    unit: ClassVar[str] = ""

    def as_in_a_step(self) -> None:
        logits = jnp.zeros((2, 3))
        self(logits, jnp.zeros(2, jnp.int32))
        self.predictions(logits)

    def __call__(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        """The loss of each example, float32 [B], of `logits` [B, K] and `labels` [B] or [B, K].

        NaN, with a zero gradient, where `admits` refuses the labels. Raises ShapeError where the labels do not fit.
        """
        logits = logits.astype(jnp.float32)
        targets = self.targets(labels, outputs=logits.shape[1])
        if targets.shape != logits.shape:
            raise ShapeError(f"{self.tag} loss: {labels.shape[0]} labels for {logits.shape[0]} examples")
        admitted = self.admits(targets)
        losses = self._one_each(self.per_example(logits, jnp.where(admitted[:, None], targets, 0.0)), targets)
        return jnp.where(admitted, losses, jnp.nan)

    def of_each(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        """What `__call__` returns, of which it is known that it is one loss for each example, [B].

        Raises ConfigError where it is not: a mean over the batch, say, would be taken for the loss of every example.
        """
        return self._one_each(self(logits, labels), labels)

    def _one_each(self, losses: jax.Array, labels: jax.Array) -> jax.Array:
        shape, count = jnp.shape(losses), len(labels)
        if shape == (count,):
            return losses
        returned = "a scalar" if not shape else f"an array of shape [{', '.join(map(str, shape))}] for {count} examples"
        raise ConfigError(
            f"loss: {type(self).__name__} returned {returned}; return one loss for each example, [B] (the mean is "
            "taken afterwards)",
            path="loss",
        )

    def on_maps(self, logits: jax.Array, mask: jax.Array, *, ignore: int | None = None) -> jax.Array:
        """The loss of each example, float32 [B]: the mean over its pixels that count.

        logits: [B, H, W, K]. mask: class ids, integers [B, H, W]. ignore: the id of pixels that do not count, None for
        none. An example in which no pixel counts has the loss 0 and a zero gradient. NaN, with a zero gradient, where a
        pixel that counts has an id that `admits` refuses. Raises ShapeError where the mask does not fit.
        """
        ids, counted = counted_pixels(logits, mask, ignore=ignore, loss=self.tag)
        losses = self.of_each(logits.reshape(-1, logits.shape[-1]), ids.reshape(-1)).reshape(ids.shape)
        return mean_over_pixels(losses, counted=counted, weights=self.pixel_weights(ids))

    @property
    def takes_mixed_targets(self) -> bool:
        """Whether of two examples mixed there is one target, the mean of both by their shares, and one loss.

        By default there are two losses, whose mean it is: the same for all that are linear in the target.
        """
        return False

    def check_training(self, *, mixed: bool, outputs: int) -> None:
        """Raise ConfigError where a value has no effect, or leaves nothing to learn, in a training with plain values.

        mixed: whether examples are mixed. outputs: K.
        """

    def pixel_weights(self, ids: jax.Array) -> jax.Array:
        """What pixels of class `ids` [B, N] add to the number that their summed losses are divided by: [B, N]."""
        return jnp.ones(ids.shape, jnp.float32)

    def per_example(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of each example, [B], of float32 `logits` and `targets`, both [B, K]."""
        raise ConfigError(f"{type(self).__name__} defines no per_example(logits, targets)")

    def targets(self, labels: jax.Array, *, outputs: int) -> jax.Array:
        """`labels` as float32 targets [B, K]; integer ids [B] become one-hot rows, of NaN where an id is not 0..K-1.

        One output (K = 1) takes labels [B] as they are. Raises ShapeError.
        """
        if labels.ndim == 2 and labels.shape[1] == outputs:
            return labels.astype(jnp.float32)
        if labels.ndim == 1 and outputs == 1:
            return labels.astype(jnp.float32)[:, None]
        if labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer):
            known = (labels >= 0) & (labels < outputs)
            return jnp.where(known[:, None], jax.nn.one_hot(labels, outputs), jnp.nan)
        raise self._misfit(labels, outputs)

    def admits(self, targets: jax.Array) -> jax.Array:
        """Which examples have `targets` [B, K] that this loss has a meaning for: bool [B]."""
        return jnp.all(jnp.isfinite(targets), axis=1)

    def predictions(self, logits: jax.Array) -> jax.Array:
        """What `logits` [B, K] say in the units of the labels, float32 [B, K]: probabilities, values or rates."""
        return logits.astype(jnp.float32)

    def outputs(self, classes: int | None, *, target_shape: tuple[int, ...] = ()) -> int:
        """How many outputs K a network needs.

        `classes`: number of classes, None where the labels are not class ids. `target_shape`: shape of one example's
        label, () for a number, (K,) for a vector. Raises ConfigError.
        """
        if len(target_shape) > 1:
            raise ConfigError(f"{self.tag} loss: a label of shape {target_shape}; it must be a number or a vector")
        return target_shape[0] if target_shape else classes or 1

    def _misfit(self, labels: jax.Array, outputs: int) -> ShapeError:
        kind = f"{labels.dtype} labels of shape {labels.shape}"
        return ShapeError(f"{self.tag} loss: {kind} do not fit {outputs} output{'s' * (outputs != 1)}")


class SoftmaxCrossEntropy(Loss, tag="softmax"):
    """Cross-entropy of one class among K, in nats.

    Labels: integer ids [B] in 0..K-1, or distributions [B, K], as mixup makes them. `label_smoothing` in [0, 1) mixes
    the label with the uniform distribution: (1 - s) y + s / K (Szegedy et al. 2016, arXiv:1512.00567, section 7).
    `class_weights`: a factor of each class, 0 or more, empty for none: -sum over k of w_k y_k log p_k. The sum over the
    pixels of a mask is divided by their weights; that over the labels of a batch by their number.
    """

    kind: ClassVar[OutputKind] = "softmax"
    unit: ClassVar[str] = "nats"

    label_smoothing: float = lane(0.0, ge=0, lt=1)
    class_weights: tuple[Annotated[float, Field(ge=0)], ...] = later(())

    @field_validator("class_weights")
    @classmethod
    def _some_class_counts(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if weights and not any(weights):
            raise ValueError(f"class_weights = {weights}: all are 0, so that nothing would be learned")
        return weights

    def per_example(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        smoothed = optax.smooth_labels(targets, self.label_smoothing)
        if not self.class_weights:
            # The safe form counts a class ruled out by a logit of -inf as 0 log 0 = 0.
            return optax.safe_softmax_cross_entropy(logits, smoothed)
        if len(self.class_weights) != logits.shape[1]:
            raise ShapeError(f"softmax loss: {len(self.class_weights)} class_weights for {logits.shape[1]} outputs")
        terms = jnp.where(smoothed == 0, 0.0, smoothed * jax.nn.log_softmax(logits))
        return -jnp.sum(jnp.asarray(self.class_weights)[None, :] * terms, axis=1)

    def pixel_weights(self, ids: jax.Array) -> jax.Array:
        return jnp.asarray(self.class_weights)[ids] if self.class_weights else super().pixel_weights(ids)

    def targets(self, labels: jax.Array, *, outputs: int) -> jax.Array:
        if outputs < 2:
            raise ShapeError(f"softmax loss: {outputs} output; a choice needs two or more, or take the sigmoid loss")
        return super().targets(labels, outputs=outputs)

    def admits(self, targets: jax.Array) -> jax.Array:
        adds_up = jnp.abs(jnp.sum(targets, axis=1) - 1) <= ROUNDING
        return jnp.all(targets >= -ROUNDING, axis=1) & adds_up

    def predictions(self, logits: jax.Array) -> jax.Array:
        """The probability of each class, float32 [B, K]; rows sum to 1."""
        return jax.nn.softmax(logits.astype(jnp.float32))

    def outputs(self, classes: int | None, *, target_shape: tuple[int, ...] = ()) -> int:
        needed = super().outputs(classes, target_shape=target_shape)
        if needed < 2:
            raise ConfigError(f"softmax loss: classes = {classes}; it needs two or more, or take the sigmoid loss")
        if self.class_weights and len(self.class_weights) != needed:
            raise ConfigError(f"softmax loss: {len(self.class_weights)} class_weights; there are {needed} classes")
        return needed


class SigmoidCrossEntropy(Loss, tag="sigmoid"):
    """Cross-entropy of K independent yes-or-no questions, in nats.

    Labels: 0..1 for each output, [B, K], or [B] with one output; with several outputs integer ids [B], each class
    against the rest (Wightman et al. 2021, arXiv:2110.00476). Two classes need one output, the log-odds of class 1;
    distributions [B, 2] then count by their second column. `label_smoothing` s in [0, 1) makes a label y into
    (1 - s) y + s / K, and (1 - s) y + s / 2 with one output. (timm's BinaryCrossEntropy does so with class ids; labels
    [B, K] it leaves as they are, or draws towards 1/2.)
    target_threshold: in [0, 1); the smoothed label of mixed examples is 1 where it is above, else 0, as with timm's
    target_threshold; None takes it as it is. over_outputs: "mean" or "sum" of the K cross-entropies (timm's
    sum_classes), whose gradient is K times as large. positive_weights: a factor above 0 of each output's yes, empty for
    none: -(w y log p + (1 - y) log(1 - p)), as PyTorch's pos_weight.
    """

    kind: ClassVar[OutputKind] = "sigmoid"
    unit: ClassVar[str] = "nats"

    label_smoothing: float = lane(0.0, ge=0, lt=1)
    target_threshold: float | None = lane(None, later=True, ge=0, lt=1)
    over_outputs: Literal["mean", "sum"] = later("mean")
    positive_weights: tuple[Annotated[float, Field(gt=0)], ...] = later(())

    def per_example(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        uniform = 1 / max(logits.shape[1], 2)
        smooth = (1 - self.label_smoothing) * targets + self.label_smoothing * uniform
        if self.target_threshold is not None:
            smooth = (smooth > self.target_threshold).astype(smooth.dtype)
        losses = self._of_outputs(logits, smooth)
        return jnp.sum(losses, axis=1) if self.over_outputs == "sum" else jnp.mean(losses, axis=1)

    def _of_outputs(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        """The cross-entropy of each output, [B, K]."""
        if not self.positive_weights:
            return optax.sigmoid_binary_cross_entropy(logits, targets)
        if len(self.positive_weights) != logits.shape[1]:
            raise ShapeError(f"{self.tag} loss: {self._weights_shown()} for {logits.shape[1]} outputs")
        weighted = jnp.asarray(self.positive_weights)[None, :] * targets * jax.nn.log_sigmoid(logits)
        return -(weighted + (1 - targets) * jax.nn.log_sigmoid(-logits))

    def _weights_shown(self) -> str:
        return f"{len(self.positive_weights)} positive_weights"

    @property
    def takes_mixed_targets(self) -> bool:
        return self.target_threshold is not None

    def check_training(self, *, mixed: bool, outputs: int) -> None:
        threshold = self.target_threshold
        if threshold is None:
            return
        if not mixed:
            raise ConfigError(
                f"loss.target_threshold = {threshold:g}: without mixing every label is 0 or 1 already, so it would "
                "only undo label_smoothing; leave it out, or mix examples (mixing=cutmix)",
                path="loss.target_threshold",
            )
        no = self.label_smoothing / max(outputs, 2)
        yes = 1 - self.label_smoothing + no
        if not no <= threshold < yes:
            answer = "1, also of classes that are not there" if no > threshold else "0, also of the one that is there"
            raise ConfigError(
                f"loss.target_threshold = {threshold:g}: label_smoothing = {self.label_smoothing:g} of {outputs} "
                f"outputs makes labels {no:g} and {yes:g}, so every one would be {answer}",
                path="loss.target_threshold",
            )

    def targets(self, labels: jax.Array, *, outputs: int) -> jax.Array:
        two_classes = outputs == 1 and labels.ndim == 2 and labels.shape[1] == 2
        return super().targets(labels[:, 1] if two_classes else labels, outputs=outputs)

    def admits(self, targets: jax.Array) -> jax.Array:
        return jnp.all((targets >= -ROUNDING) & (targets <= 1 + ROUNDING), axis=1)

    def predictions(self, logits: jax.Array) -> jax.Array:
        """The probability of yes for each output, float32 [B, K]; rows need not sum to 1."""
        return jax.nn.sigmoid(logits.astype(jnp.float32))

    def outputs(self, classes: int | None, *, target_shape: tuple[int, ...] = ()) -> int:
        needed = super().outputs(classes, target_shape=target_shape)
        needed = 1 if needed == 2 and not target_shape else needed
        if self.positive_weights and len(self.positive_weights) != needed:
            raise ConfigError(f"{self.tag} loss: {self._weights_shown()}; there are {needed} outputs")
        return needed


class Focal(Loss, tag="focal"):
    """The focal loss of K independent questions, summed over them: -a (1 - p)^gamma log p (Lin et al. 2017,
    arXiv:1708.02002, eq. 5), in nats.

    p is the probability given to the answer that is true, a is `alpha` where it is yes and 1 - alpha where it is no
    (None: 1 for both). gamma: how much less what is right already counts; 0 is the cross-entropy. Labels: 0..1 for each
    output, [B, K], or integer ids [B], each class against the rest.
    """

    kind: ClassVar[OutputKind] = "sigmoid"
    unit: ClassVar[str] = "nats"

    gamma: float = lane(2.0, ge=0)
    alpha: float | None = lane(0.25, ge=0, le=1)

    def per_example(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.sum(self.of_outputs(logits, targets), axis=1)

    def of_outputs(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of each output, [..., K], of float32 `logits` and `targets` in 0..1, both [..., K]."""
        cross_entropy = optax.sigmoid_binary_cross_entropy(logits, targets)
        # log(1 - p) of what is true; its power has a finite gradient at every logit, also where gamma is below 1.
        log_wrong = targets * jax.nn.log_sigmoid(-logits) + (1 - targets) * jax.nn.log_sigmoid(logits)
        modulated = jnp.exp(self.gamma * log_wrong) * cross_entropy
        if self.alpha is None:
            return modulated
        return (self.alpha * targets + (1 - self.alpha) * (1 - targets)) * modulated

    def admits(self, targets: jax.Array) -> jax.Array:
        return jnp.all((targets >= -ROUNDING) & (targets <= 1 + ROUNDING), axis=1)

    def predictions(self, logits: jax.Array) -> jax.Array:
        """The probability of yes for each output, float32 [B, K]; rows need not sum to 1."""
        return jax.nn.sigmoid(logits.astype(jnp.float32))


class SquaredError(Loss, tag="squared"):
    """Squared difference of output and target, averaged over the K outputs (no factor 1/2).

    Targets: numbers [B] with one output, or [B, K]; with several outputs integer class ids [B] count as one-hot rows
    (the Brier score without its softmax).
    """

    def per_example(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.mean(optax.squared_error(logits, targets), axis=1)


class AbsoluteError(Loss, tag="absolute"):
    """Absolute difference of output and target, averaged over the K outputs. Targets as of the squared error.

    Where several targets are possible for one input, the best output is their median, that of the squared error their
    mean.
    """

    def per_example(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.mean(jnp.abs(logits - targets), axis=1)


class Poisson(Loss, tag="poisson"):
    """Negative log-likelihood of counts under a Poisson law whose log-rate is the output, averaged over the K outputs.

    exp(z) - k z + log(k!), in nats: log(k!) is included, so the number is the whole -log p(k). Targets: counts [B] with
    one output, or [B, K]; an integer is the count itself, never a class id; a negative count gives NaN.
    """

    kind: ClassVar[OutputKind] = "count"
    unit: ClassVar[str] = "nats"

    def per_example(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        return jnp.mean(jnp.exp(logits) - targets * logits + gammaln(targets + 1), axis=1)

    def targets(self, labels: jax.Array, *, outputs: int) -> jax.Array:
        if labels.ndim == 1 and outputs > 1:
            raise self._misfit(labels, outputs)
        return super().targets(labels, outputs=outputs)

    def admits(self, targets: jax.Array) -> jax.Array:
        return jnp.all((targets >= 0) & jnp.isfinite(targets), axis=1)

    def predictions(self, logits: jax.Array) -> jax.Array:
        """The expected count of each output, exp(z), float32 [B, K]."""
        return jnp.exp(logits.astype(jnp.float32))

    def outputs(self, classes: int | None, *, target_shape: tuple[int, ...] = ()) -> int:
        if classes and not target_shape:
            raise ConfigError(f"poisson loss: the labels are ids of {classes} classes; it needs counts")
        return super().outputs(classes, target_shape=target_shape)
