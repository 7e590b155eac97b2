"""Losses and their slopes against PyTorch and timm: smoothing, thresholds and sums, of classes and of mixed ones."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
from cnnjax.training.methods import Distillation

torch = pytest.importorskip("torch")
from tests.torch_peers import timm  # noqa: E402

functional = torch.nn.functional
peers = importlib.import_module(f"{timm.__name__}.loss")
mixup_target = importlib.import_module(f"{timm.__name__}.data.mixup").mixup_target

pytestmark = pytest.mark.torch

RNG = np.random.default_rng(0)
LOGITS, TEACHER = (RNG.normal(size=(6, 5)).astype(np.float32) * 3 for _ in range(2))
IDS = np.array([0, 4, 2, 2, 1, 3])
SHARE = 0.7
SMOOTHING = 0.1
# Of the images in the order of IDS with those in the opposite order, as timm mixes a batch.
MIXED = SHARE * np.eye(5, dtype=np.float32)[IDS] + (1 - SHARE) * np.eye(5, dtype=np.float32)[IDS[::-1]]
WEIGHTS = (0.5, 1.0, 2.0, 3.0, 0.25)


def of_mixed(loss, smoothing=SMOOTHING):
    """timm's loss of targets that its Mixup makes, smoothed there."""
    return lambda logits, ids: loss(logits, mixup_target(ids, 5, lam=SHARE, smoothing=smoothing))


# name: (ours, its labels, the peer of (logits, ids))
CASES = {
    "softmax smooth": (
        SoftmaxCrossEntropy(label_smoothing=SMOOTHING),
        IDS,
        lambda logits, ids: functional.cross_entropy(logits, ids, label_smoothing=SMOOTHING),
    ),
    "softmax smooth, timm": (
        SoftmaxCrossEntropy(label_smoothing=SMOOTHING),
        IDS,
        peers.LabelSmoothingCrossEntropy(SMOOTHING),
    ),
    "softmax smooth, mixed": (
        SoftmaxCrossEntropy(label_smoothing=SMOOTHING),
        MIXED,
        of_mixed(peers.SoftTargetCrossEntropy()),
    ),
    "sigmoid": (SigmoidCrossEntropy(), IDS, peers.BinaryCrossEntropy(smoothing=0.0)),
    "sigmoid smooth": (SigmoidCrossEntropy(label_smoothing=SMOOTHING), IDS, peers.BinaryCrossEntropy(SMOOTHING)),
    "sigmoid smooth sum": (
        SigmoidCrossEntropy(label_smoothing=SMOOTHING, over_outputs="sum"),
        IDS,
        peers.BinaryCrossEntropy(SMOOTHING, sum_classes=True),
    ),
    "sigmoid positive weights": (
        SigmoidCrossEntropy(positive_weights=WEIGHTS),
        MIXED,
        of_mixed(peers.BinaryCrossEntropy(pos_weight=torch.tensor(WEIGHTS)), smoothing=0.0),
    ),
    "sigmoid smooth, mixed": (
        SigmoidCrossEntropy(label_smoothing=SMOOTHING),
        MIXED,
        of_mixed(peers.BinaryCrossEntropy()),
    ),
    "sigmoid threshold, mixed": (
        SigmoidCrossEntropy(label_smoothing=SMOOTHING, target_threshold=0.2),
        MIXED,
        of_mixed(peers.BinaryCrossEntropy(target_threshold=0.2)),
    ),
    "sigmoid threshold sum, mixed": (
        SigmoidCrossEntropy(target_threshold=0.5, over_outputs="sum"),
        MIXED,
        of_mixed(peers.BinaryCrossEntropy(target_threshold=0.5, sum_classes=True), smoothing=0.0),
    ),
}


def agree(ours, peer):
    """The mean loss of LOGITS and its slopes, float32 of at most 30 terms."""
    value, slopes = jax.value_and_grad(ours)(jnp.asarray(LOGITS))
    logits = torch.tensor(LOGITS, requires_grad=True)
    expected = peer(logits)
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=2e-6)
    np.testing.assert_allclose(slopes, logits.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_losses(name):
    loss, labels, peer = CASES[name]
    agree(lambda logits: loss(logits, jnp.asarray(labels)).mean(), lambda logits: peer(logits, torch.tensor(IDS)))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation(temperature):
    method = Distillation(teacher="runs/teacher", temperature=temperature, alpha=0.3)

    def ours(logits):
        losses = SoftmaxCrossEntropy()(logits, jnp.asarray(IDS))
        return method.losses(losses, logits, teacher=jnp.asarray(TEACHER)).mean()

    def peer(logits):
        theirs = functional.softmax(torch.tensor(TEACHER) / temperature, dim=1)
        divergence = torch.nn.KLDivLoss(reduction="batchmean")(functional.log_softmax(logits / temperature, 1), theirs)
        labels = functional.cross_entropy(logits, torch.tensor(IDS))
        return 0.7 * labels + 0.3 * temperature**2 * divergence

    agree(ours, peer)


def test_hard_distillation():
    method = Distillation(teacher="runs/teacher", labels="hard", alpha=0.5)

    def ours(logits):
        losses = SoftmaxCrossEntropy()(logits, jnp.asarray(IDS))
        return method.losses(losses, logits, teacher=jnp.asarray(TEACHER)).mean()

    def peer(logits):
        said, ids = torch.tensor(TEACHER).argmax(1), torch.tensor(IDS)
        return (functional.cross_entropy(logits, ids) + functional.cross_entropy(logits, said)) / 2

    agree(ours, peer)
