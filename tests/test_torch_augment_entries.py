"""Masks, boxes and keypoints against torchvision's, moved by the same parameters."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.augment import boxes, moves, operations, spaces, spatial
from cnnjax.data.entries import Kind

torch = pytest.importorskip("torch")
from tests.test_torch_augment import GEOMETRY, transform  # noqa: E402
from tests.torch_peers import torchvision  # noqa: E402

tv = importlib.import_module(f"{torchvision.__name__}.transforms.v2").functional
tensors = importlib.import_module(f"{torchvision.__name__}.tv_tensors")

pytestmark = pytest.mark.torch

HEIGHT, WIDTH = 22, 17
KINDS: dict[str, Kind] = {
    "image": "image",
    "mask": "mask",
    "boxes": "boxes",
    "box_valid": "value",
    "keypoints": "keypoints",
}


def example() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, [WIDTH - 6, HEIGHT - 6], (6, 2))
    high = low + rng.uniform(4, 6, (6, 2))
    return {
        "image": np.zeros((HEIGHT, WIDTH, 1), np.float32),
        "mask": rng.integers(0, 5, (HEIGHT, WIDTH)).astype(np.uint8),
        "boxes": np.concatenate([low, high], 1).astype(np.float32),
        "box_valid": np.ones(6, bool),
        "keypoints": np.concatenate([rng.uniform(0, [WIDTH, HEIGHT], (8, 2)), np.ones((8, 1))], 1).astype(np.float32),
    }


def theirs(change, corner: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask, boxes clipped to the image, and points after torchvision's change of each."""
    entries, size = example(), (HEIGHT, WIDTH)
    mask = change(tensors.Mask(torch.from_numpy(entries["mask"])[None]))[0]
    hulls = change(
        tensors.BoundingBoxes(torch.from_numpy(entries["boxes"]), format="XYXY", canvas_size=size, clamping_mode="hard")
    )
    points = change(tensors.KeyPoints(torch.from_numpy(entries["keypoints"][:, :2] - corner), canvas_size=size))
    return mask.numpy(), tv.clamp_bounding_boxes(hulls).numpy(), points.numpy() + corner


def compare(move: moves.Move, change, *, wrong: float = 0.0, mask_is: bool = True, corner: float = 0.0) -> None:
    """wrong: share of the mask's pixels that rounding may give to a neighbour. corner: what torchvision subtracts from
    a point of ours, where it counts from the centre of the first pixel."""
    ours = jax.tree.map(np.asarray, spatial.moved(jax.tree.map(jnp.asarray, example()), KINDS, move))
    mask, hulls, points = theirs(change, corner)
    if mask_is:
        assert np.mean(ours["mask"] != mask) <= wrong
    valid = ours["box_valid"]
    np.testing.assert_allclose(ours["boxes"][valid], hulls[valid], atol=1e-4)
    # torchvision pulls points outside back to the border.
    visible = ours["keypoints"][:, 2] == 1
    np.testing.assert_allclose(ours["keypoints"][visible, :2], points[visible], atol=1e-4)


@pytest.mark.parametrize(("name", "magnitude"), GEOMETRY)
def test_geometric_operations_are_torchvision_s(name, magnitude):
    number = jnp.array(spaces.OPERATIONS.index(name))
    move = operations.move_of(number, jnp.float32(magnitude), (HEIGHT, WIDTH), names=spaces.OPERATIONS)
    # Coordinates of float32 that lie halfway between two pixels are rounded either way.
    compare(move, lambda entry: transform(name, entry, magnitude), wrong=0.01)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_flips_are_torchvision_s(direction):
    change = tv.horizontal_flip if direction == "horizontal" else tv.vertical_flip
    compare(moves.Mirror((HEIGHT, WIDTH), jnp.array(True), direction), change, corner=0.5)


@pytest.mark.parametrize(("row", "column"), [(0, 8), (3, 1), (5, 4)])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_windows_are_torchvision_s(mode, row, column):
    def change(entry):
        # Boxes and points know no mode: a window moves them, whatever the border holds.
        padded = tv.pad(entry, [4] * 4, padding_mode=mode if isinstance(entry, tensors.Mask) else "constant")
        return tv.crop(padded, row, column, HEIGHT, WIDTH)

    compare(moves.Window(jnp.int32(row), jnp.int32(column), 4, mode), change)


@pytest.mark.parametrize("box", [(0, 0, 22, 17), (3, 2, 11, 9), (10, 5, 7, 12), (1, 1, 5, 3)])
def test_resized_boxes_are_torchvision_s(box):
    def change(entry):
        return tv.resized_crop(entry, *box, size=[HEIGHT, WIDTH])

    move = moves.Resized((HEIGHT, WIDTH), boxes.Box(*map(jnp.int32, box)))
    compare(move, change, mask_is=False)
    # torchvision resizes masks by PyTorch's "nearest", half a pixel off; "nearest-exact" takes pixels by their centres.
    top, left, tall, wide = box
    crop = torch.from_numpy(example()["mask"])[None, None, top : top + tall, left : left + wide]
    expected = torch.nn.functional.interpolate(crop, size=(HEIGHT, WIDTH), mode="nearest-exact")[0, 0]
    np.testing.assert_array_equal(move.mask(jnp.asarray(example()["mask"]), 0), expected.numpy())
