"""RoIAlign and RoI pooling against their definitions, written out in loops over every sample of every box."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ConfigError, ShapeError, nn

MAPS = np.random.default_rng(0).normal(size=(6, 9, 3)).astype(np.float32)
# Within, over each border, outside, without area, of less than a place, and the whole.
BOXES = np.array(
    [
        [3.0, 5.5, 21.0, 17.2],
        [-9.0, -6.0, 12.0, 10.0],
        [20.0, 10.0, 50.0, 40.0],
        [60.0, 60.0, 70.0, 80.0],
        [8.0, 8.0, 8.0, 8.0],
        [5.1, 6.2, 6.0, 7.9],
        [0.0, 0.0, 36.0, 24.0],
    ],
    np.float32,
)


def bilinear(y, x):
    """The map at a point (He et al. 2017): of the four places around it, by how near they are."""
    height, width, _ = MAPS.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(3)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - top, x - left
    upper = (1 - u) * MAPS[top, left] + u * MAPS[top, right]
    return (1 - v) * upper + v * ((1 - u) * MAPS[below, left] + u * MAPS[below, right])


def aligned_by_loops(stride, size, points):
    made = np.zeros((len(BOXES), size, size, 3))
    for number, box in enumerate(BOXES.astype(np.float64) / stride):
        width, height = np.maximum(box[2:] - box[:2], 1)
        for row in range(size):
            for column in range(size):
                for i in range(points):
                    for j in range(points):
                        y = box[1] + (row + (i + 0.5) / points) * height / size
                        x = box[0] + (column + (j + 0.5) / points) * width / size
                        made[number, row, column] += bilinear(y, x) / points**2
    return made


@pytest.mark.parametrize(("stride", "size", "points"), [(4, 3, 2), (2, 2, 1), (8, 4, 3)])
def test_roi_align(stride, size, points):
    def align(maps, boxes):
        return nn.roi_align(maps, boxes, stride=stride, size=size, points=points)

    np.testing.assert_allclose(jax.jit(align)(MAPS, BOXES), aligned_by_loops(stride, size, points), atol=2e-6)


def pooled_by_loops(stride, size):
    made = np.zeros((len(BOXES), size, size, 3))
    height, width, _ = MAPS.shape
    for number, box in enumerate(np.floor(BOXES / stride + 0.5).astype(int)):
        sides = np.maximum(box[2:] - box[:2] + 1, 1)
        for row in range(size):
            for column in range(size):
                spans = []
                for part, low, side, places in ((row, box[1], sides[1], height), (column, box[0], sides[0], width)):
                    first, last = low + part * side // size, low - (-(part + 1) * side // size)
                    spans.append(slice(min(max(first, 0), places), min(max(last, 0), places)))
                inside = MAPS[spans[0], spans[1]].reshape(-1, 3)
                made[number, row, column] = inside.max(0) if len(inside) else 0
    return made


@pytest.mark.parametrize(("stride", "size"), [(4, 3), (2, 2), (8, 4)])
def test_roi_pool(stride, size):
    pool = jax.jit(lambda maps, boxes: nn.roi_pool(maps, boxes, stride=stride, size=size))
    np.testing.assert_array_equal(pool(MAPS, BOXES), pooled_by_loops(stride, size).astype(np.float32))


@pytest.mark.parametrize("method", ["align", "max"])
def test_each_box_is_read_from_its_own_map(method):
    finer = np.repeat(np.repeat(MAPS, 2, 0), 2, 1)[:, :, :2]
    maps = [np.stack([x, 2 * x]) for x in (finer, MAPS[..., :2])]
    level = np.array([[0, 1, 0, 1, 1, 0, 0]] * 2)
    module = nn.RegionPooling(method, 2, (2, 4), 2)
    found = jax.jit(module.apply)({}, maps, np.stack([BOXES, BOXES]), level)
    assert found.shape == (14, 2, 2, 2)
    pool = jax.jit({"align": nn.roi_align, "max": nn.roi_pool}[method], static_argnames=("stride", "size"))
    of_maps = [pool(maps[number][1], BOXES, stride=stride, size=2) for number, stride in enumerate((2, 4))]
    wanted = np.where((level[0] == 0)[:, None, None, None], *of_maps)
    np.testing.assert_allclose(found[7:], wanted, atol=1e-6)
    np.testing.assert_allclose(found[:7], wanted / 2, atol=1e-6)


def test_its_gradient_is_that_of_a_mean():
    """A box of one place: a quarter of the gradient for each of the four samples, all of it at the places around."""

    def total(maps):
        return nn.roi_align(maps, jnp.array([[4.0, 4.0, 8.0, 8.0]]), stride=4, size=1)[0, 0, 0, 0]

    gradient = np.zeros(MAPS.shape)
    # Samples at 1.25 and 1.75 along each axis: both places count half.
    gradient[1:3, 1:3, 0] = 0.25
    np.testing.assert_allclose(jax.jit(jax.grad(total))(MAPS), gradient, atol=1e-7)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"1 maps, but strides \(4, 8\)"):
        nn.RegionPooling(strides=(4, 8)).apply({}, [MAPS[None]], BOXES[None], np.zeros((1, 7)))
    with pytest.raises(ConfigError, match="'maximum'.*Did you mean"):
        nn.RegionPooling("maximum", strides=(4,)).apply({}, [MAPS[None]], BOXES[None], np.zeros((1, 7)))  # type: ignore
