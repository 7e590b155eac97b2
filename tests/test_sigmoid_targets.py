"""Sigmoid targets of mixed examples in the real step, against NumPy, and values that could do nothing."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, log_expit

from cnnjax import (
    SGD,
    Constant,
    CutMix,
    Experiment,
    Hardware,
    Mixup,
    Segmentation,
    Shapes,
    SigmoidCrossEntropy,
    SmallCNN,
    SoftmaxCrossEntropy,
    Synthetic,
    UNet,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.run.program import Program
from cnnjax.training.state import step_key
from tests.marks import slow

RATE = 0.2
BASE = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=24, test_examples=8),
    optim=SGD(learning_rate=RATE, momentum=0.0, nesterov=False, schedule=Constant()),
    batch_size=12,
    steps=3,
    validation=0,
)


def stepped_by_hand(experiment, slopes_of, steps=1):
    """Train `steps` steps, each compared with W - RATE dL/dW, where L's slopes are the caller's.

    slopes_of: (logits [B, K], mixed targets [B, K], the images in 0..1) as NumPy arrays -> (the loss of each example
    that is reported, the slopes of each example's loss by its logits). Returns the mixed targets of the last step.
    """
    program = Program(experiment, hardware=Hardware(devices=1))
    state, mixed = program.init([experiment]), np.zeros(0)
    for step in range(steps):
        before, rows = jax.device_get(state), program.rows([experiment], step)
        functions = program.functions.bound(before.lane)
        key = step_key(before.lane["seed"], step)
        images, targets, unscaled = functions.inputs(program.fetch(program.feed.data, rows), key, before.step)

        def outputs(params, images=images, network=functions.network):
            return network.apply({"params": params}, images, train=True)

        logits, pull = jax.vjp(outputs, before.params)
        classes = logits.shape[1]
        # One number a question is the answer itself.
        shares = [np.eye(classes)[np.asarray(ids)] if classes > 1 else np.asarray(ids)[:, None] for ids, _ in targets]
        mixed = sum(
            np.broadcast_to(weight, len(logits))[:, None] * share
            for share, (_, weight) in zip(shares, targets, strict=True)
        )
        losses, slopes = slopes_of(np.asarray(logits, np.float64), mixed, np.asarray(unscaled))
        (gradients,) = pull(jnp.asarray(slopes / len(logits), jnp.float32))
        state, sums = program.train(state, rows)
        assert_allclose(sums["loss"] / len(logits), losses.mean(), rtol=2e-6)
        after = jax.device_get(state)
        # float32: the update is a sum over 12 images and up to 64 places.
        jax.tree.map(
            lambda w, g, new: assert_allclose(new - w, -RATE * g, rtol=1e-4, atol=1e-6),
            before.params,
            gradients,
            after.params,
        )
    return mixed


def binary_cross_entropy(logits, targets):
    return -(targets * log_expit(logits) + (1 - targets) * log_expit(-logits))


@pytest.mark.parametrize("mixing", [Mixup(alpha=1.0), *slow(CutMix())], ids=lambda mixing: mixing.tag)
def test_a_threshold_takes_the_mixed_target(mixing):
    """Both classes of an image count whole where each has more than a fifth, else the larger alone."""

    def slopes_of(logits, mixed, images):
        whole = (0.9 * mixed + 0.1 / 4 > 0.2).astype(float)
        return binary_cross_entropy(logits, whole).sum(1), expit(logits) - whole

    loss = SigmoidCrossEntropy(target_threshold=0.2, label_smoothing=0.1, over_outputs="sum")
    mixed = stepped_by_hand(replace(BASE, {"loss": loss, "mixing": mixing}), slopes_of)
    # The step had examples of both kinds.
    assert {1, 2} <= set((mixed > 0.2).sum(1))


@pytest.mark.parametrize("classes", slow(2))
def test_a_threshold_of_one_question(classes):
    def slopes_of(logits, mixed, images):
        whole = (mixed > 0.4).astype(float)
        return binary_cross_entropy(logits, whole).mean(1), expit(logits) - whole

    loss = SigmoidCrossEntropy(target_threshold=0.4)
    stepped_by_hand(replace(BASE, {"loss": loss, "mixing": Mixup(alpha=1.0), "data.classes": classes}), slopes_of)


def test_without_a_threshold_two_losses_are_the_loss_of_the_mean():
    def slopes_of(logits, mixed, images):
        smooth = 0.8 * mixed + 0.2 / 4
        weighted = np.array([2.0, 1.0, 1.0, 0.5])
        losses = -(weighted * smooth * log_expit(logits) + (1 - smooth) * log_expit(-logits))
        return losses.mean(1), ((1 - smooth) * expit(logits) - weighted * smooth * expit(-logits)) / 4

    loss = SigmoidCrossEntropy(label_smoothing=0.2, positive_weights=(2.0, 1.0, 1.0, 0.5))
    stepped_by_hand(replace(BASE, {"loss": loss, "mixing": Mixup(alpha=1.0)}), slopes_of)


@pytest.mark.parametrize("mixing", slow(CutMix()))
def test_smoothing_of_mixed_classes(mixing):
    def slopes_of(logits, mixed, images):
        smooth, shifted = 0.7 * mixed + 0.3 / 4, np.exp(logits - logits.max(1, keepdims=True))
        p = shifted / shifted.sum(1, keepdims=True)
        return -(smooth * np.log(p)).sum(1), p - smooth

    loss = SoftmaxCrossEntropy(label_smoothing=0.3)
    stepped_by_hand(replace(BASE, {"loss": loss, "mixing": mixing}), slopes_of)


MIXED = {"mixing": Mixup()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"loss": SigmoidCrossEntropy(target_threshold=0.2)},
            "target_threshold = 0.2: without mixing every label",
        ),
        (
            {"loss": SigmoidCrossEntropy(target_threshold=0.05, label_smoothing=0.4), **MIXED},
            "label_smoothing = 0.4 of 4 outputs makes labels 0.1 and 0.7, so every one would be 1",
        ),
        (
            {"loss": SigmoidCrossEntropy(target_threshold=0.7, label_smoothing=0.4), **MIXED},
            "so every one would be 0, also of the one that is there",
        ),
        ({"loss": SigmoidCrossEntropy(positive_weights=(1.0, 2.0))}, "2 positive_weights; there are 4 outputs"),
        (
            {
                "data": Shapes(size=16, radius=(3.0, 6.0), examples=16, test_examples=8),
                "task": Segmentation(),
                "model": UNet(depth=1, features=2),
                "loss": SigmoidCrossEntropy(target_threshold=0.2),
                **MIXED,
            },
            "takes one mixed target an image",
        ),
    ],
)
def test_values_that_could_do_nothing_are_refused(changes, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        check(replace(BASE, changes))


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_lies_between_no_and_yes(threshold):
    with pytest.raises(ConfigError, match=f"target_threshold = {threshold}"):
        SigmoidCrossEntropy(target_threshold=threshold)
