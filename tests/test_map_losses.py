"""Losses of masks against NumPy, and against PyTorch where it is there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax, xlogy

from cnnjax import config
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.losses import Dice, Loss, Poisson, SigmoidCrossEntropy, SoftmaxCrossEntropy, SoftmaxDice, SquaredError

B, H, W, K, IGNORE = 3, 4, 5, 3, 255
RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(B, H, W, K)) * 2).astype(np.float32)
MASK = RNG.integers(0, K, (B, H, W))
MASK[0][MASK[0] == 2] = 1  # a class that an example lacks
PARTLY = np.where(RNG.random((B, H, W)) < 0.3, IGNORE, MASK).astype(np.uint8)
WEIGHTS = (0.2, 1.0, 3.0)
ONE, YES = LOGITS[..., :1], (MASK > 0).astype(np.uint8)
# float32 with sums over 20 pixels of size below 10
CLOSE = {"rtol": 3e-6, "atol": 3e-6}


def cross_entropy(logits, mask, ignore=None, smoothing=0.0, weights=(1.0,) * K):
    found = []
    for image, ids in zip(logits.astype(np.float64), mask, strict=True):
        total = count = 0.0
        for z, label in zip(image.reshape(-1, K), ids.reshape(-1), strict=True):
            if label != ignore:
                target = (1 - smoothing) * np.eye(K)[label] + smoothing / K
                total -= np.sum(weights * target * log_softmax(z))
                count += weights[label]
        found.append(total / count if count else 0.0)
    return np.array(found)


def dice(logits, mask, ignore=None, smoothing=1.0, power=2, first=0):
    found = []
    for image, ids in zip(softmax(logits.astype(np.float64), axis=-1), mask, strict=True):
        counted, coefficients = ids != ignore, []
        for label in range(first, K):
            p, t = image[..., label][counted], (ids == label)[counted].astype(float)
            coefficients.append((2 * (p * t).sum() + smoothing) / ((p**power).sum() + t.sum() + smoothing))
        found.append(1 - np.mean(coefficients))
    return np.array(found)


def yes_or_no(logits, mask, ignore=None):
    p = expit(logits.astype(np.float64))[..., 0]
    losses = -(xlogy(mask, p) + xlogy(1.0 - mask, 1 - p))
    return np.array([row[ids != ignore].mean() for row, ids in zip(losses, mask, strict=True)])


# name: (loss, logits, mask, ignored id, losses)
MAPS = {
    "softmax": (SoftmaxCrossEntropy(), LOGITS, MASK, None, cross_entropy(LOGITS, MASK)),
    "softmax ignores": (SoftmaxCrossEntropy(), LOGITS, PARTLY, IGNORE, cross_entropy(LOGITS, PARTLY, IGNORE)),
    "softmax ignores a class": (SoftmaxCrossEntropy(), LOGITS, MASK, 1, cross_entropy(LOGITS, MASK, 1)),
    "softmax smooth": (
        SoftmaxCrossEntropy(label_smoothing=0.1),
        LOGITS,
        PARTLY,
        IGNORE,
        cross_entropy(LOGITS, PARTLY, IGNORE, smoothing=0.1),
    ),
    "softmax weighted": (
        SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=WEIGHTS),
        LOGITS,
        PARTLY,
        IGNORE,
        cross_entropy(LOGITS, PARTLY, IGNORE, 0.1, WEIGHTS),
    ),
    "sigmoid": (SigmoidCrossEntropy(), ONE, YES, None, yes_or_no(ONE, YES)),
    "sigmoid ignores": (
        SigmoidCrossEntropy(),
        ONE,
        np.where(PARTLY == IGNORE, IGNORE, YES),
        IGNORE,
        yes_or_no(ONE, np.where(PARTLY == IGNORE, IGNORE, YES), IGNORE),
    ),
    "dice": (Dice(), LOGITS, MASK, None, dice(LOGITS, MASK)),
    "dice ignores": (Dice(smoothing=0.5), LOGITS, PARTLY, IGNORE, dice(LOGITS, PARTLY, IGNORE, smoothing=0.5)),
    "dice plain": (Dice(squared=False), LOGITS, MASK, None, dice(LOGITS, MASK, power=1)),
    "dice of the foreground": (Dice(background=False), LOGITS, MASK, None, dice(LOGITS, MASK, first=1)),
    "both": (
        SoftmaxDice(smoothing=0.1, dice_weight=0.7),
        LOGITS,
        PARTLY,
        IGNORE,
        cross_entropy(LOGITS, PARTLY, IGNORE) + 0.7 * dice(LOGITS, PARTLY, IGNORE, smoothing=0.1),
    ),
}


@pytest.mark.parametrize("name", MAPS)
def test_agrees_with_numpy(name):
    loss, logits, mask, ignore, expected = MAPS[name]
    losses = jax.jit(lambda logits, mask: loss.on_maps(logits, mask, ignore=ignore))(logits, mask)
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, expected, **CLOSE)


def test_a_dice_worked_by_hand():
    """Four pixels, certain of class 1 in two of them, of which the mask has one, and one more."""
    logits = jnp.array([[[[-99.0, 99.0], [-99.0, 99.0], [99.0, -99.0], [99.0, -99.0]]]])
    mask = jnp.array([[[1, 0, 1, 0]]])
    # Each class has 1 common pixel, 2 predicted and 2 true ones.
    np.testing.assert_allclose(Dice().on_maps(logits, mask), [1 - (2 * 1 + 1) / (2 + 2 + 1)], rtol=1e-6)
    np.testing.assert_allclose(Dice(smoothing=1e-6).on_maps(logits, mask), [0.5], rtol=1e-6)
    np.testing.assert_allclose(Dice().on_maps(logits, 1 - mask * 0), Dice(squared=False).on_maps(logits, mask * 0 + 1))


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), SoftmaxCrossEntropy(class_weights=WEIGHTS)])
def test_values_and_gradients_are_pytorchs(loss):
    torch = pytest.importorskip("torch")
    weights = torch.tensor(loss.class_weights) if loss.class_weights else None
    logits = torch.tensor(LOGITS, requires_grad=True)
    theirs = [
        torch.nn.functional.cross_entropy(
            image.permute(2, 0, 1)[None], torch.tensor(mask.astype(np.int64))[None], weight=weights, ignore_index=IGNORE
        )
        for image, mask in zip(logits, PARTLY, strict=True)
    ]
    torch.stack(theirs).sum().backward()
    losses, gradient = jax.value_and_grad(lambda z: loss.on_maps(z, PARTLY, ignore=IGNORE).sum())(LOGITS)
    np.testing.assert_allclose(losses, sum(each.item() for each in theirs), rtol=1e-6)
    np.testing.assert_allclose(gradient, logits.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "reference"), [("softmax", cross_entropy), ("sigmoid", yes_or_no), ("dice", dice)])
def test_gradients_are_those_of_differences(name, reference):
    loss, logits, mask, _, _ = MAPS[name]
    gradient = jax.grad(lambda z: loss.on_maps(z, mask).sum())(jnp.asarray(logits))
    direction, step = RNG.normal(size=logits.shape), 1e-5
    ahead, behind = (reference(logits.astype(np.float64) + s * direction, mask).sum() for s in (step, -step))
    np.testing.assert_allclose(np.sum(gradient * direction), (ahead - behind) / (2 * step), rtol=1e-4)


@pytest.mark.parametrize("name", [name for name, (*_, ignore, _) in MAPS.items() if ignore is not None])
def test_ignored_pixels_have_no_gradient(name):
    loss, logits, mask, ignore, _ = MAPS[name]
    gradient = np.asarray(jax.grad(lambda z: loss.on_maps(z, mask, ignore=ignore).sum())(jnp.asarray(logits)))
    assert np.all(gradient[mask == ignore] == 0)
    assert np.all(gradient[mask != ignore] != 0)


@pytest.mark.parametrize("name", MAPS)
def test_an_example_without_a_pixel_that_counts_costs_nothing(name):
    loss, logits, mask, _, _ = MAPS[name]
    mask = np.array(mask, np.int32)
    mask[1] = IGNORE
    losses, gradient = jax.value_and_grad(lambda z: loss.on_maps(z, mask, ignore=IGNORE)[1])(jnp.asarray(logits))
    assert losses == 0
    assert np.all(gradient == 0)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("wrong", [-1, K, 77])
def test_an_unknown_class_is_nan_without_a_gradient(name, wrong):
    loss, logits, mask, ignore, _ = MAPS[name]
    mask = np.array(mask, np.int32)
    mask[1, 2, 2] = wrong
    losses = loss.on_maps(jnp.asarray(logits), mask, ignore=ignore)
    assert np.isnan(losses).tolist() == [False, True, False]
    gradient = jax.grad(lambda z: jnp.nansum(loss.on_maps(z, mask, ignore=ignore)))(jnp.asarray(logits))
    assert np.all(gradient[1] == 0)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient[0] != 0)


def test_an_absent_class_that_is_not_predicted_has_the_coefficient_one():
    logits = np.zeros((1, 4, 4, 3), np.float32)
    logits[..., 0] = 99
    np.testing.assert_allclose(Dice().on_maps(jnp.asarray(logits), jnp.zeros((1, 4, 4), int)), [0.0], atol=1e-6)


def test_the_loss_of_a_large_image_is_exact_enough():
    """2^18 pixels, summed in float32."""
    logits = RNG.normal(size=(1, 512, 512, 2)).astype(np.float32)
    mask = RNG.integers(0, 2, (1, 512, 512))
    exact = -np.take_along_axis(log_softmax(logits.astype(np.float64), axis=-1), mask[..., None], axis=-1).mean()
    np.testing.assert_allclose(SoftmaxCrossEntropy().on_maps(jnp.asarray(logits), mask), [exact], rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "path"),
    [(Dice(), "smoothing"), (SoftmaxDice(), "dice_weight"), (SoftmaxDice(), "cross_entropy.label_smoothing")],
)
def test_numbers_are_lanes(loss, path):
    assert path in config.lanes(loss)
    bound = jax.jit(lambda value: config.bind(loss, {path: value}).on_maps(LOGITS, MASK))
    np.testing.assert_allclose(
        bound(jnp.float32(0.5)), config.replace(loss, {path: 0.5}).on_maps(LOGITS, MASK), **CLOSE
    )


def test_outputs():
    assert (
        Dice().outputs(4)
        == SoftmaxDice().outputs(4)
        == SoftmaxCrossEntropy(class_weights=(1, 2, 3, 4.0)).outputs(4)
        == 4
    )
    for loss in (Dice(), SoftmaxDice()):
        with pytest.raises(
            ConfigError, match=f"{loss.tag} loss: it needs masks of two or more classes; classes = None"
        ):
            loss.outputs(None)
    weighted = SoftmaxCrossEntropy(class_weights=WEIGHTS)
    for loss in (weighted, SoftmaxDice(cross_entropy=weighted)):
        with pytest.raises(ConfigError, match="softmax loss: 3 class_weights; there are 4 classes"):
            loss.outputs(4)


@pytest.mark.parametrize(
    ("loss", "logits", "mask", "message"),
    [
        (Dice(), LOGITS[:, 0], MASK[:, 0], r"dice loss: logits of shape \(3, 5, 3\)"),
        (
            Dice(),
            LOGITS,
            MASK[:, :3],
            r"dice loss: masks of shape \(3, 3, 5\) do not fit logits of shape \(3, 4, 5, 3\)",
        ),
        (SoftmaxCrossEntropy(), LOGITS, MASK / 2, "softmax loss: a mask of float32; it must hold class ids"),
        (Dice(), ONE, MASK, "dice loss: 1 output a pixel"),
        (SoftmaxCrossEntropy(), ONE, MASK, "softmax loss: 1 output; a choice needs two"),
        (SoftmaxCrossEntropy(class_weights=(1.0, 2.0)), LOGITS, MASK, "2 class_weights for 3 outputs"),
        (Poisson(), LOGITS, MASK, "poisson loss: int32 labels"),
    ],
)
def test_what_does_not_fit(loss, logits, mask, message):
    with pytest.raises(ShapeError, match=message):
        loss.on_maps(jnp.asarray(logits), jnp.asarray(mask))


def test_dice_is_of_masks_alone():
    with pytest.raises(ShapeError, match="dice loss: it is of masks.* take another loss, such as softmax"):
        Dice()(jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32))


def test_class_weights_of_labels_are_factors():
    logits, labels = jnp.asarray(LOGITS[0, 0]), jnp.asarray(MASK[0, 0])
    plain, weighted = SoftmaxCrossEntropy(), SoftmaxCrossEntropy(class_weights=WEIGHTS)
    np.testing.assert_allclose(weighted(logits, labels), plain(logits, labels) * np.array(WEIGHTS)[labels], **CLOSE)
    with pytest.raises(ConfigError, match="all are 0"):
        SoftmaxCrossEntropy(class_weights=(0.0, 0.0))
    with pytest.raises(ConfigError, match="greater than or equal to 0"):
        SoftmaxCrossEntropy(class_weights=(1.0, -1.0))


def test_json_and_ranges():
    assert Loss.from_json('{"name": "softmax_dice", "dice_weight": 0.5}') == SoftmaxDice(dice_weight=0.5)
    with pytest.raises(ConfigError, match="greater than 0"):
        Dice(smoothing=0.0)


def test_squared_error_of_a_mask_is_that_of_its_one_hot_pixels():
    expected = ((LOGITS - np.eye(K)[MASK]) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(SquaredError().on_maps(jnp.asarray(LOGITS), MASK), expected, **CLOSE)
