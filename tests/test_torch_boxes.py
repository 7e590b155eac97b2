"""Boxes against torchvision's: overlap, codes and suppression on random ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import Focal, GIoU, SmoothL1
from cnnjax import boxes as b

torch = pytest.importorskip("torch")
from tests.torch_peers import torchvision  # noqa: E402

pytestmark = pytest.mark.torch
ops, detection = torchvision.ops, torchvision.models.detection._utils


def some(count: int, seed: int, *, whole: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (count, 2))
    made = np.concatenate([low, low + rng.uniform(2, 30, (count, 2))], 1)
    return (np.floor(made) if whole else made).astype(np.float32)


def test_areas_and_overlaps():
    one, other = some(60, 1), some(50, 2)
    tensors = torch.tensor(one), torch.tensor(other)
    np.testing.assert_allclose(b.area(one), ops.box_area(tensors[0]), rtol=1e-6)
    np.testing.assert_allclose(b.iou(one[:, None], other[None]), ops.box_iou(*tensors), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        b.giou(one[:, None], other[None]), ops.generalized_box_iou(*tensors), rtol=1e-5, atol=1e-6
    )


def test_codes():
    boxes, references = some(80, 3), some(80, 4)
    tensors = torch.tensor(boxes), torch.tensor(references)
    coder = detection.BoxCoder((1.0, 1.0, 1.0, 1.0))
    codes = b.centre_codes(boxes, references)
    np.testing.assert_allclose(codes, coder.encode_single(*tensors), rtol=1e-5, atol=1e-5)
    wild = 6 * np.random.default_rng(5).normal(size=(80, 4)).astype(np.float32)
    expected = coder.decode_single(torch.tensor(wild), tensors[1])
    np.testing.assert_allclose(b.of_centre_codes(wild, references), expected, rtol=1e-4, atol=1e-3)
    linear = detection.BoxLinearCoder(normalize_by_size=True)
    np.testing.assert_allclose(b.side_codes(boxes, references), linear.encode(*tensors[::-1]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        b.of_side_codes(wild, references), linear.decode(torch.tensor(wild), tensors[1]), rtol=1e-5, atol=1e-3
    )


@pytest.mark.skipif(not torchvision.extension._has_ops(), reason="needs a torchvision whose compiled operators load")
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8])
def test_suppression(threshold):
    """As torchvision's on 200 boxes of three classes, many of them equally strong."""
    boxes = some(200, 6, whole=True)
    rng = np.random.default_rng(7)
    scores, labels = np.round(rng.uniform(0, 1, 200), 2).astype(np.float32), rng.integers(0, 3, 200)
    tensors = torch.tensor(boxes), torch.tensor(scores)
    order = np.argsort(-scores, kind="stable")
    keep = jax.jit(lambda *given: b.suppressed(*given, threshold=threshold))
    alike = keep(boxes[order], np.zeros(200, np.int32), np.ones(200, bool))
    np.testing.assert_array_equal(order[np.asarray(alike)], ops.nms(*tensors, threshold))
    apart = keep(boxes[order], labels[order].astype(np.int32), np.ones(200, bool))
    # It moves the classes apart by adding to coordinates, which is exact of whole ones.
    np.testing.assert_array_equal(order[np.asarray(apart)], ops.batched_nms(*tensors, torch.tensor(labels), threshold))
    assert 0 < alike.sum() < apart.sum() < 200


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_losses(beta):
    """The sum over the four numbers of PyTorch's smooth L1; torchvision's GIoU loss."""
    rng = np.random.default_rng(8)
    codes, true_codes = rng.normal(size=(2, 40, 4)).astype(np.float32)
    given = codes, true_codes, some(40, 9), some(40, 10)
    tensors = [torch.tensor(x) for x in given]
    expected = torch.nn.functional.smooth_l1_loss(*tensors[:2], beta=beta, reduction="none").sum(-1)
    np.testing.assert_allclose(jax.jit(SmoothL1(beta=beta))(*given), expected, rtol=1e-5, atol=1e-6)
    expected = ops.generalized_box_iou_loss(*tensors[2:])
    np.testing.assert_allclose(jax.jit(GIoU())(*given), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.7), (2.0, None)])
def test_focal(gamma, alpha):
    """torchvision's, of which -1 is no alpha, and its gradient, NaN for gamma below 1 far from 0, where ours is not."""
    rng = np.random.default_rng(11)
    far = [[-60, 60, 0, 30, -30]] if gamma >= 1 else [[-6, 6, 0, 3, -3]]
    logits = np.concatenate([rng.normal(size=(6, 5)) * 3, far]).astype(np.float32)
    targets = rng.integers(0, 2, (7, 5)).astype(np.float32)
    tensor = torch.tensor(logits, requires_grad=True)
    expected = ops.sigmoid_focal_loss(tensor, torch.tensor(targets), alpha=-1 if alpha is None else alpha, gamma=gamma)
    expected.sum().backward()
    loss = Focal(gamma=gamma, alpha=alpha)
    found, gradient = jax.jit(jax.value_and_grad(lambda z: loss.of_outputs(z, targets).sum()))(logits)
    np.testing.assert_allclose(found, expected.sum().item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-4, atol=1e-6)
    assert np.isfinite(jax.grad(lambda z: loss.of_outputs(z, jnp.ones(2)).sum())(jnp.array([-90.0, 90.0]))).all()
