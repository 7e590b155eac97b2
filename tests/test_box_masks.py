"""Masks of objects: bits and what is cut out and put back, against loops."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import Shapes, box_masks
from cnnjax.data import Examples, packed_masks
from cnnjax.data.shapes import box_of
from cnnjax.errors import DataError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("objects", [1, 8, 11])
def test_bits_of_masks_that_overlap(objects):
    masks = RNG.random((2, objects, 3, 5)) < 0.5
    bits = packed_masks.packed(masks)
    assert (bits.shape, bits.dtype) == ((2, 3, 5, packed_masks.layers(objects)), np.uint8)
    for image, row, y, x in np.ndindex(masks.shape):
        assert (bits[image, y, x, row // 8] >> row % 8) % 2 == masks[image, row, y, x]
    np.testing.assert_array_equal(packed_masks.unpacked(bits, objects), masks)
    rows = np.array([objects - 1, 0, objects - 1])
    found = jax.jit(jax.vmap(lambda own: box_masks.of_rows(own, jnp.asarray(rows))))(bits)
    np.testing.assert_array_equal(found, masks[:, rows])


def at(grid: np.ndarray, y: float, x: float) -> float:
    """Bilinear between the middles of places, 0 outside."""
    total = 0.0
    for row, column in np.ndindex(grid.shape):
        total += grid[row, column] * max(1 - abs(y - row - 0.5), 0) * max(1 - abs(x - column - 0.5), 0)
    return total


def test_what_of_a_box_is_of_an_object_by_loops():
    """Boxes between pixels, of less than a pixel, and partly outside of the image."""
    masks = np.zeros((4, 9, 12), bool)
    masks[0, 2:7, 3:9] = masks[1, :, :5] = masks[2, 4, 4] = masks[3, 5:, 8:] = True
    boxes = np.array([[1.3, 0.6, 10.2, 8.9], [2.1, 2, 8, 6], [4.1, 4.2, 4.8, 4.7], [7, 4, 14, 11]], np.float32)
    found = jax.jit(lambda *given: box_masks.within(*given, size=5, points=3))(masks, boxes)
    for number, (mask, (left, top, right, bottom)) in enumerate(zip(masks, boxes, strict=True)):
        for i, j in np.ndindex(5, 5):
            samples = [
                at(
                    mask,
                    top + (i + (a + 0.5) / 3) / 5 * (bottom - top),
                    left + (j + (b + 0.5) / 3) / 5 * (right - left),
                )
                for a, b in np.ndindex(3, 3)
            ]
            assert found[number, i, j] == (np.mean(samples) >= 0.5), (number, i, j)
    assert found[2].all()


def test_parts_are_put_back_by_loops():
    parts, size = RNG.random((3, 4, 4)).astype(np.float32), (7, 9)
    boxes = np.array([[1.2, 0.4, 7.7, 6.1], [-2, 3, 12, 9.5], [3, 3, 3, 5]], np.float32)
    found = np.asarray(jax.jit(lambda *given: box_masks.pasted(*given, size))(parts, boxes))
    for number, (left, top, right, bottom) in enumerate(boxes[:2]):
        for y, x in np.ndindex(size):
            place = (y + 0.5 - top) / (bottom - top) * 4, (x + 0.5 - left) / (right - left) * 4
            np.testing.assert_allclose(found[number, y, x], at(parts[number], *place), atol=1e-6)
    assert not found[2].any()


def test_a_mask_that_is_cut_out_along_its_box_is_put_back():
    """To the pixel, of a box of 28 x 28 pixels and as many parts."""
    mask = RNG.random((1, 40, 40)) < 0.5
    box = np.array([[5, 7, 33, 35]], np.float32)
    own = box_masks.within(jnp.asarray(mask), jnp.asarray(box), size=28, points=1)
    back = np.asarray(box_masks.pasted(own.astype(jnp.float32), jnp.asarray(box), (40, 40)) >= box_masks.FROM)
    np.testing.assert_array_equal(back[0, 7:35, 5:33], mask[0, 7:35, 5:33])
    assert not back[0, :7].any()
    assert not back[0, :, 33:].any()


def test_shared_pixels():
    some, others = RNG.random((3, 6, 7)) < 0.5, RNG.random((2, 6, 7)) < 0.5
    np.testing.assert_array_equal(
        box_masks.shared(jnp.asarray(some), jnp.asarray(others)), [[(a & b).sum() for b in others] for a in some]
    )


def test_shapes_have_the_mask_of_each_box():
    """What is seen of each: pixels of its class, of one object at most, whose hull is its box; the rest stays."""
    fields = {"size": 32, "objects": 4, "radius": (4.0, 9.0), "examples": 20, "test_examples": 1}
    with_masks, without = (Shapes(**fields, masks=held).read().train for held in (True, False))
    values, before = with_masks.values, without.values
    assert set(values) - set(before) == {"box_mask"}
    for name, array in before.items():
        np.testing.assert_array_equal(values[name], array)
    masks = packed_masks.unpacked(values["box_mask"], 4)
    assert masks.sum(1).max() == 1
    for image, row in np.ndindex(masks.shape[:2]):
        own = masks[image, row]
        assert own.any() == values["box_valid"][image, row]
        if own.any():
            np.testing.assert_array_equal(box_of(own), values["boxes"][image, row])
            assert set(values["mask"][image][own]) == {values["box_label"][image, row]}
    assert with_masks.entries["box_mask"].kind == "masks"


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (np.zeros((2, 4, 5, 2), np.uint8), r"box_mask must be uint8 \[N, H, W, 1\], bits of 3 objects .*, got uint8"),
        (np.zeros((2, 4, 5, 1), bool), r"box_mask must be uint8 \[N, H, W, 1\].*, got bool"),
        (np.zeros((2, 5, 4, 1), np.uint8), "box_mask are 4x5, their images 5x4: they must be as large"),
    ],
)
def test_masks_that_do_not_fit_are_refused(bits, message):
    images = np.zeros((2, 4, 5, 3), np.uint8)
    boxes = {"boxes": np.zeros((2, 3, 4), np.float32), "box_valid": np.zeros((2, 3), bool)}
    with pytest.raises(DataError, match=message):
        Examples(images, **boxes, box_mask=bits)
    with pytest.raises(DataError, match="box_mask are masks of the objects of boxes"):
        Examples(images, box_mask=np.zeros((2, 4, 5, 1), np.uint8))
