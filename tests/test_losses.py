"""Losses against SciPy."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax, xlogy
from scipy.stats import poisson

from cnnjax import config
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.losses import AbsoluteError, Focal, Loss, Poisson, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5)).astype(np.float32) * 3
IDS = np.array([0, 4, 2, 2, 1, 3])
ONE_HOT = np.eye(5, dtype=np.float32)[IDS]
MIXED = RNG.dirichlet(np.ones(5), size=6).astype(np.float32)
ANSWERS = RNG.integers(0, 2, size=(6, 5))
COUNTS = RNG.integers(0, 9, size=(6, 5))
# float32 with sums of five terms of size below 20
CLOSE = {"rtol": 2e-6, "atol": 2e-6}


def softmax_reference(logits, targets, smoothing):
    logits = logits.astype(np.float64)
    targets = (1 - smoothing) * targets + smoothing / logits.shape[1]
    return -(targets * (logits - logsumexp(logits, axis=1, keepdims=True))).sum(axis=1)


def sigmoid_reference(logits, targets, smoothing):
    p = expit(logits.astype(np.float64))
    targets = (1 - smoothing) * targets + smoothing / max(logits.shape[1], 2)
    return -(xlogy(targets, p) + xlogy(1 - targets, 1 - p)).mean(axis=1)


def squared_reference(logits, targets):
    return ((logits.astype(np.float64) - targets) ** 2).mean(axis=1)


def poisson_reference(logits, targets):
    return -poisson.logpmf(targets, np.exp(logits.astype(np.float64))).mean(axis=1)


def weighted_reference(logits, targets, weights):
    p = expit(logits.astype(np.float64))
    return -(xlogy(np.asarray(weights) * targets, p) + xlogy(1 - targets, 1 - p)).mean(axis=1)


def focal_reference(logits, targets, gamma, alpha):
    p = expit(logits.astype(np.float64))
    yes, no = -((1 - p) ** gamma) * np.log(p), -(p**gamma) * np.log(1 - p)
    return (alpha * targets * yes + (1 - alpha) * (1 - targets) * no).sum(axis=1)


ONE = LOGITS[:, :1]
WEIGHTS = (0.5, 1.0, 2.0, 3.0, 0.25)
CASES = {
    "focal ids": (Focal(), LOGITS, IDS, focal_reference(LOGITS, ONE_HOT, 2.0, 0.25)),
    "focal answers": (Focal(gamma=0.5, alpha=0.9), LOGITS, ANSWERS, focal_reference(LOGITS, ANSWERS, 0.5, 0.9)),
    "focal is cross-entropy": (Focal(gamma=0, alpha=None), LOGITS, MIXED, 5 * sigmoid_reference(LOGITS, MIXED, 0)),
    "softmax ids": (SoftmaxCrossEntropy(), LOGITS, IDS, softmax_reference(LOGITS, ONE_HOT, 0)),
    "softmax mixed": (SoftmaxCrossEntropy(), LOGITS, MIXED, softmax_reference(LOGITS, MIXED, 0)),
    "softmax smooth": (SoftmaxCrossEntropy(label_smoothing=0.1), LOGITS, IDS, softmax_reference(LOGITS, ONE_HOT, 0.1)),
    "sigmoid ids": (SigmoidCrossEntropy(), LOGITS, IDS, sigmoid_reference(LOGITS, ONE_HOT, 0)),
    "sigmoid answers": (SigmoidCrossEntropy(), LOGITS, ANSWERS, sigmoid_reference(LOGITS, ANSWERS, 0)),
    "sigmoid smooth": (SigmoidCrossEntropy(label_smoothing=0.2), LOGITS, IDS, sigmoid_reference(LOGITS, ONE_HOT, 0.2)),
    "sigmoid sum": (SigmoidCrossEntropy(over_outputs="sum"), LOGITS, MIXED, 5 * sigmoid_reference(LOGITS, MIXED, 0)),
    "sigmoid threshold": (
        SigmoidCrossEntropy(target_threshold=0.2),
        LOGITS,
        MIXED,
        sigmoid_reference(LOGITS, (MIXED > 0.2).astype(float), 0),
    ),
    # The label is smoothed first: (1 - 0.4) y + 0.4 / 5 > 0.2 is y > 0.2.
    "sigmoid smooth threshold": (
        SigmoidCrossEntropy(label_smoothing=0.4, target_threshold=0.2),
        LOGITS,
        MIXED,
        sigmoid_reference(LOGITS, (MIXED > 0.2).astype(float), 0),
    ),
    "sigmoid positive weights": (
        SigmoidCrossEntropy(positive_weights=WEIGHTS),
        LOGITS,
        MIXED,
        weighted_reference(LOGITS, MIXED, WEIGHTS),
    ),
    "binary": (SigmoidCrossEntropy(), ONE, ANSWERS[:, 0], sigmoid_reference(ONE, ANSWERS[:, :1], 0)),
    "binary smooth": (
        SigmoidCrossEntropy(label_smoothing=0.2),
        ONE,
        ANSWERS[:, 0],
        sigmoid_reference(ONE, ANSWERS[:, :1], 0.2),
    ),
    "squared ids": (SquaredError(), LOGITS, IDS, squared_reference(LOGITS, ONE_HOT)),
    "squared vector": (SquaredError(), LOGITS, MIXED, squared_reference(LOGITS, MIXED)),
    "squared number": (SquaredError(), ONE, MIXED[:, 0], squared_reference(ONE, MIXED[:, :1])),
    "absolute ids": (AbsoluteError(), LOGITS, IDS, np.abs(LOGITS - ONE_HOT).mean(1)),
    "absolute vector": (AbsoluteError(), LOGITS, MIXED, np.abs(LOGITS - MIXED).mean(1)),
    "poisson vector": (Poisson(), LOGITS / 3, COUNTS, poisson_reference(LOGITS / 3, COUNTS)),
    "poisson number": (Poisson(), ONE, COUNTS[:, 0], poisson_reference(ONE, COUNTS[:, :1])),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_scipy(name):
    loss, logits, labels, expected = CASES[name]
    losses = jax.jit(loss)(jnp.asarray(logits), jnp.asarray(labels))
    chex.assert_shape(losses, (6,))
    np.testing.assert_allclose(losses, expected, **CLOSE)


@pytest.mark.parametrize("member", [SoftmaxCrossEntropy, SigmoidCrossEntropy])
def test_smoothing_is_a_lane(member):
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def bound(smoothing):
        return config.bind(member(), {"label_smoothing": smoothing})(jnp.asarray(LOGITS), jnp.asarray(IDS))

    amounts = [0.0, 0.1, 0.5]
    expected = [member(label_smoothing=amount)(jnp.asarray(LOGITS), jnp.asarray(IDS)) for amount in amounts]
    for amount, losses in zip(amounts, expected, strict=True):
        np.testing.assert_allclose(bound(jnp.float32(amount)), losses, **CLOSE)
    np.testing.assert_allclose(jax.vmap(bound)(jnp.asarray(amounts)), np.stack(expected), **CLOSE)
    assert config.lanes(member(label_smoothing=0.5)) == {"label_smoothing": 0.5}


def test_smoothed_classes_cost_the_same_as_smoothed_mixtures():
    for loss in (SoftmaxCrossEntropy(label_smoothing=0.1), SigmoidCrossEntropy(label_smoothing=0.1)):
        np.testing.assert_array_equal(loss(jnp.asarray(LOGITS), IDS), loss(jnp.asarray(LOGITS), jnp.asarray(ONE_HOT)))


def test_two_classes_are_one_answer():
    second = ANSWERS[:, 0]
    columns = np.eye(2, dtype=np.float32)[second]
    loss = SigmoidCrossEntropy()
    np.testing.assert_array_equal(loss(jnp.asarray(ONE), jnp.asarray(columns)), loss(jnp.asarray(ONE), second))
    # The log-odds of two softmax outputs are their difference.
    two = np.concatenate([np.zeros_like(ONE), ONE], axis=1)
    np.testing.assert_allclose(loss(jnp.asarray(ONE), second), SoftmaxCrossEntropy()(jnp.asarray(two), second), **CLOSE)


def test_a_ruled_out_class_costs_nothing():
    logits = jnp.array([[0.0, -jnp.inf, 0.0]])
    losses, gradient = jax.value_and_grad(lambda z: SoftmaxCrossEntropy()(z, jnp.array([0]))[0])(logits)
    np.testing.assert_allclose(losses, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-0.5, 0.0, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (SoftmaxCrossEntropy(), np.array([1, 5])),
        (SoftmaxCrossEntropy(), np.array([1, -1])),
        (SoftmaxCrossEntropy(), np.array([[0, 1, 0, 0, 0], [1, 1, 0, 0, 0.0]])),
        (SigmoidCrossEntropy(), np.array([1, 5])),
        (SigmoidCrossEntropy(), np.array([[0, 1, 0, 0, 0], [0, 3, 0, 0, 0]])),
        (SquaredError(), np.array([1, 5])),
        (SquaredError(), np.array([[0, 1, 0, 0, 0], [0, np.nan, 0, 0, 0]])),
        (Poisson(), np.array([[0, 1, 0, 0, 0], [0, -1, 0, 0, 0]])),
    ],
)
def test_impossible_labels_are_nan_without_a_gradient(loss, labels):
    logits, labels = jnp.asarray(LOGITS[:2]), jnp.asarray(labels)
    assert np.isnan(loss(logits, labels)).tolist() == [False, True]
    gradient = jax.grad(lambda z: jnp.nansum(loss(z, labels)))(logits)
    assert np.all(gradient[1] == 0)
    assert np.any(gradient[0] != 0)


def test_predictions():
    logits = jnp.asarray(LOGITS)
    np.testing.assert_allclose(SoftmaxCrossEntropy().predictions(logits), softmax(LOGITS, axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(SigmoidCrossEntropy().predictions(logits), expit(LOGITS), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(SquaredError().predictions(logits), LOGITS)
    np.testing.assert_allclose(Poisson().predictions(logits), np.exp(LOGITS), rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "classes", "target_shape", "outputs"),
    [
        (SoftmaxCrossEntropy(), 10, (), 10),
        (SoftmaxCrossEntropy(), 2, (), 2),
        (SoftmaxCrossEntropy(), None, (7,), 7),
        (SigmoidCrossEntropy(), 10, (), 10),
        (SigmoidCrossEntropy(), 2, (), 1),
        (SigmoidCrossEntropy(), None, (), 1),
        (SigmoidCrossEntropy(), None, (2,), 2),
        (SquaredError(), None, (), 1),
        (SquaredError(), None, (3,), 3),
        (SquaredError(), 10, (), 10),
        (Poisson(), None, (), 1),
        (Poisson(), 4, (4,), 4),
    ],
)
def test_outputs(loss, classes, target_shape, outputs):
    assert loss.outputs(classes, target_shape=target_shape) == outputs


def test_outputs_refuses_what_it_cannot_serve():
    with pytest.raises(ConfigError, match="softmax loss: classes = 1"):
        SoftmaxCrossEntropy().outputs(1)
    with pytest.raises(ConfigError, match="poisson loss: the labels are ids of 10 classes"):
        Poisson().outputs(10)
    with pytest.raises(ConfigError, match=r"squared loss: a label of shape \(8, 8\)"):
        SquaredError().outputs(None, target_shape=(8, 8))


@pytest.mark.parametrize(
    ("loss", "outputs", "labels", "message"),
    [
        (SoftmaxCrossEntropy(), 5, np.zeros((6, 4)), r"softmax loss: .* of shape \(6, 4\) do not fit 5 outputs"),
        (SoftmaxCrossEntropy(), 5, np.zeros(6), "softmax loss: float32 labels"),
        (SoftmaxCrossEntropy(), 1, np.zeros(6, int), "softmax loss: 1 output; a choice needs two"),
        (Poisson(), 5, np.zeros(6, int), "poisson loss: int32 labels"),
        (SquaredError(), 1, np.zeros((6, 2)), "do not fit 1 output$"),
        (SquaredError(), 5, np.zeros(3, int), "squared loss: 3 labels for 6 examples"),
    ],
)
def test_labels_that_do_not_fit(loss, outputs, labels, message):
    with pytest.raises(ShapeError, match=message):
        loss(jnp.asarray(LOGITS[:, :outputs]), jnp.asarray(labels))


def test_json_and_ranges():
    assert Loss.from_json('{"name": "softmax", "label_smoothing": 0.1}') == SoftmaxCrossEntropy(label_smoothing=0.1)
    assert set(Loss.members) >= {"softmax", "sigmoid", "squared", "poisson"}
    with pytest.raises(ConfigError, match="less than 1"):
        SoftmaxCrossEntropy(label_smoothing=1.0)
