"""Mosaics: four images of a batch in one, against NumPy, pixel for pixel and box for box."""

from __future__ import annotations

import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnnjax import (
    AdamW,
    AnchorFree,
    Detection,
    Experiment,
    Flip,
    Focal,
    Hardware,
    LargeScaleJitter,
    Mosaic,
    Options,
    Shapes,
    SmallCNN,
    Switch,
    train,
)
from cnnjax.config import replace
from cnnjax.data import packed_masks
from cnnjax.data.entries import Kind
from cnnjax.errors import ConfigError
from cnnjax.events import StepTaken
from cnnjax.experiment import check, functions_of, length_of
from cnnjax.experiment.training_examples import training_examples
from cnnjax.run.feed import with_partners
from cnnjax.run.program import Program
from cnnjax.training.state import step_key
from tests.marks import slow
from tests.test_augment import keys
from tests.test_tasks import TASKS

HEIGHT, WIDTH, FILL, OUTSIDE = 15, 22, 0.25, 255
KINDS: dict[str, Kind] = {
    "image": "image",
    "image2": "image",
    "mask": "mask",
    "box_mask": "masks",
    "boxes": "boxes",
    "box_valid": "value",
    "box_label": "value",
    "keypoints": "keypoints",
}
BASE = Experiment(
    model=SmallCNN(features=2, blocks=2),
    data=Shapes(size=16, objects=2, radius=(2.0, 4.0), examples=24, test_examples=4),
    task=Detection(head=AnchorFree(stride=2, levels=1, features=8, depth=1)),
    loss=Focal(),
    augment=(Flip(),),
    mixing=Mosaic(scale=(0.5, 1.0)),
    optim=AdamW(learning_rate=0.01),
    batch_size=8,
    steps=4,
    validation=0,
)


def drawn(rng: np.random.Generator, objects: int) -> dict[str, np.ndarray]:
    """Four examples [4, ...] with so many rows for objects: rectangles with masks; the last row is none."""
    image = rng.random((4, HEIGHT, WIDTH, 3), np.float32)
    low = rng.integers(0, (WIDTH - 3, HEIGHT - 3), (4, objects, 2))
    high = np.minimum(low + rng.integers(1, 9, low.shape), (WIDTH, HEIGHT))
    boxes = np.concatenate([low, high], -1).astype(np.float32)
    masks = np.zeros((4, objects, HEIGHT, WIDTH), bool)
    for image_number, row in np.ndindex(4, objects):
        left, top, right, bottom = boxes[image_number, row].astype(int)
        masks[image_number, row, top:bottom, left:right] = True
    # No box keeps a tenth to the last bit.
    boxes[..., :2] += rng.random(low.shape, np.float32) * np.float32(0.3)
    valid = np.ones((4, objects), bool)
    valid[:, -1] = False
    boxes[~valid] = np.nan
    return {
        "image": image,
        "image2": 1 - image,
        "mask": rng.integers(0, 5, (4, HEIGHT, WIDTH)).astype(np.uint8),
        "box_mask": packed_masks.packed(masks),
        "boxes": boxes,
        "box_valid": valid,
        "box_label": rng.integers(0, 9, (4, objects)).astype(np.int32),
        "keypoints": np.concatenate(
            [rng.random((4, 5, 2)) * (WIDTH, HEIGHT), np.full((4, 5, 1), 2)], -1, dtype=np.float32
        ),
    }


def by_hand(mosaic: Mosaic, examples: dict[str, np.ndarray], uniform: np.ndarray) -> dict[str, np.ndarray]:
    """The mosaic of four examples, put together in NumPy by slices, from its seven numbers in 0..1."""
    size, objects = (HEIGHT, WIDTH), examples["boxes"].shape[1]
    ends = [[round(side * share) for share in mosaic.middle] for side in size]
    row, column = (
        int(low + min(np.floor(share * (high - low + 1)), high - low))
        for (low, high), share in zip(ends, uniform[1:3], strict=True)
    )
    factors = mosaic.scale[0] + (mosaic.scale[1] - mosaic.scale[0]) * uniform[3:]
    if uniform[0] >= mosaic.probability:
        row, column, factors = HEIGHT, WIDTH, np.array([1.0, 1.0, 1.0, 1.0])
    made = {
        "image": np.full((HEIGHT, WIDTH, 3), mosaic.fill, np.float32),
        "image2": np.full((HEIGHT, WIDTH, 3), mosaic.fill, np.float32),
        "mask": np.full((HEIGHT, WIDTH), OUTSIDE, np.uint8),
        "masks": np.zeros((4 * objects, HEIGHT, WIDTH), bool),
        "boxes": np.zeros((4 * objects, 4), np.float32),
        "box_valid": np.zeros(4 * objects, bool),
        "box_label": examples["box_label"].reshape(-1),
        "keypoints": np.zeros((20, 3), np.float32),
    }
    quadrants = [
        (0, row, 0, column),
        (0, row, column, WIDTH),
        (row, HEIGHT, 0, column),
        (row, HEIGHT, column, WIDTH),
    ]
    for number, (top, bottom, left, right) in enumerate(quadrants):
        tall, wide = (int(max(np.round(np.float32(factors[number] * side)), 1)) for side in size)
        # Where the resized image begins: it ends, or begins, at the middle point.
        start = (top if number >= 2 else bottom - tall, left if number % 2 else right - wide)
        rows = slice(max(top, start[0]), min(bottom, start[0] + tall))
        columns = slice(max(left, start[1]), min(right, start[1] + wide))
        own = (
            slice(rows.start - start[0], rows.stop - start[0]),
            slice(columns.start - start[1], columns.stop - start[1]),
        )
        nearest = (np.arange(tall) * 2 + 1) * HEIGHT // (2 * tall), (np.arange(wide) * 2 + 1) * WIDTH // (2 * wide)
        masks = packed_masks.unpacked(examples["box_mask"][number], objects)
        if rows.start < rows.stop and columns.start < columns.stop:
            for name in ("image", "image2"):
                image = examples[name][number]
                if (tall, wide) != size:
                    image = np.asarray(jax.image.resize(jnp.asarray(image), (tall, wide, 3), "bilinear"))
                made[name][rows, columns] = image[own]
            made["mask"][rows, columns] = examples["mask"][number][np.ix_(*nearest)][own]
            for object_, mask in enumerate(masks):
                made["masks"][number * objects + object_, rows, columns] = mask[np.ix_(*nearest)][own]
        for object_ in range(objects):
            if not examples["box_valid"][number, object_]:
                continue
            x0, y0, x1, y1 = examples["boxes"][number, object_].astype(np.float64)
            moved = np.array([x0 * wide / WIDTH, y0 * tall / HEIGHT, x1 * wide / WIDTH, y1 * tall / HEIGHT])
            moved += [start[1], start[0], start[1], start[0]]
            kept = np.clip(moved, (left, top, left, top), (right, bottom, right, bottom))
            area, left_of_it = ((each[2] - each[0]) * (each[3] - each[1]) for each in (moved, kept))
            if left_of_it > 0 and left_of_it >= 0.1 * area:
                made["boxes"][number * objects + object_] = kept
                made["box_valid"][number * objects + object_] = True
        for joint, (x, y, seen) in enumerate(examples["keypoints"][number]):
            x, y = x * wide / WIDTH + start[1], y * tall / HEIGHT + start[0]
            there = left <= x <= right and top <= y <= bottom and left < right and top < bottom
            made["keypoints"][number * 5 + joint] = x, y, seen if there else 0
    return made


def merged(mosaic: Mosaic, examples: dict[str, np.ndarray], count: int) -> list[dict[str, np.ndarray]]:
    """The mosaics of four examples with so many keys, compiled."""
    four = [{name: jnp.asarray(array[number]) for name, array in examples.items()} for number in range(4)]
    made = jax.jit(jax.vmap(lambda key: mosaic.merge(four, KINDS, key, outside=OUTSIDE)))(keys(count))
    return [{name: np.asarray(array[number]) for name, array in made.items()} for number in range(count)]


@pytest.mark.parametrize(
    ("mosaic", "objects"),
    [
        pytest.param(Mosaic(fill=FILL), 3, marks=pytest.mark.quick),
        *slow(
            (Mosaic(fill=FILL, scale=(0.4, 1.3)), 5),
            (Mosaic(fill=FILL, probability=0.5, scale=(0.5, 0.5), middle=(0.25, 0.75)), 8),
            (Mosaic(fill=FILL, scale=(0.1, 2.0), middle=(0.0, 1.0)), 11),
        ),
    ],
    ids=["as darknet", "scales", "canvas", "far"],
)
def test_a_mosaic_is_what_numpy_puts_together(mosaic, objects):
    examples = drawn(np.random.default_rng(objects), objects)
    # Each size that images are resized to is another program.
    seen, count = set(), 40 if mosaic.scale[0] == mosaic.scale[1] else 12
    for key, found in zip(keys(count), merged(mosaic, examples, count), strict=True):
        expected = by_hand(mosaic, examples, np.asarray(jax.random.uniform(key, (7,))))
        # Images that keep their size are copied; resized ones are sums in another order.
        atol = 0 if mosaic.scale == (1.0, 1.0) else 2e-6
        for name in ("image", "image2"):
            np.testing.assert_allclose(found[name], expected[name], atol=atol, err_msg=name)
        np.testing.assert_array_equal(found["mask"], expected["mask"])
        np.testing.assert_array_equal(found["box_mask"], packed_masks.packed(expected["masks"]))
        np.testing.assert_array_equal(found["box_valid"], expected["box_valid"])
        np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-4)
        np.testing.assert_array_equal(found["box_label"], expected["box_label"])
        seen_points = expected["keypoints"][:, 2:]
        np.testing.assert_array_equal(found["keypoints"][:, 2:], seen_points)
        where = np.broadcast_to(seen_points > 0, (20, 3))
        np.testing.assert_allclose(found["keypoints"][where], expected["keypoints"][where], atol=1e-4)
        assert {name: (array.shape, array.dtype) for name, array in found.items() if name != "box_mask"} == {
            name: (array.shape, array.dtype) for name, array in expected.items() if name != "masks"
        }
        seen |= {(number // objects, bool(valid)) for number, valid in enumerate(expected["box_valid"])}
    assert len(seen) == 8, "boxes of every quadrant stay and are dropped"


def test_boxes_and_masks_cover_the_objects_that_they_covered():
    """Objects are painted in colours of their own; where they are afterwards is read off the pixels alone."""
    objects, rng = 3, np.random.default_rng(5)
    examples = drawn(rng, objects)
    colours = np.zeros((4, HEIGHT, WIDTH), int)
    boxes = np.zeros((4, objects, 4), np.float32)
    for image in range(4):
        for row, (left, top) in enumerate([(1, 1), (9, 4), (16, 8)]):
            right, bottom = left + rng.integers(3, 7), top + rng.integers(3, 7)
            colours[image, top:bottom, left:right] = 1 + image * objects + row
            boxes[image, row] = left, top, right, bottom
    ids = 1 + np.arange(4 * objects).reshape(4, objects)
    covered = colours[:, None] == ids[..., None, None]
    examples |= {
        "image": np.repeat(colours[..., None] / np.float32(20), 3, -1).astype(np.float32),
        "boxes": boxes,
        "box_valid": np.ones((4, objects), bool),
        "box_label": ids.astype(np.int32),
        "box_mask": packed_masks.packed(covered),
    }
    kept, dropped, cut = 0, 0, 0
    for found in merged(Mosaic(), examples, 30):
        colour = np.round(found["image"][..., 0] * 20).astype(int)
        masks = packed_masks.unpacked(found["box_mask"], 4 * objects)
        for box, valid, label, mask in zip(found["boxes"], found["box_valid"], found["box_label"], masks, strict=True):
            rows, columns = np.nonzero(colour == label)
            np.testing.assert_array_equal(mask, colour == label)
            before = int(covered.reshape(-1, HEIGHT, WIDTH)[label - 1].sum())
            if valid:
                hull = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                np.testing.assert_array_equal(box, np.array(hull, np.float32))
                kept, cut = kept + 1, cut + (len(rows) < before)
            else:
                assert len(rows) < 0.1 * before
                np.testing.assert_array_equal(box, 0)
                dropped += 1
    assert min(kept, dropped, cut) > 10


def test_probability_0_changes_nothing():
    objects = 3
    examples = drawn(np.random.default_rng(0), objects)
    for found in merged(Mosaic(probability=0.0, scale=(0.3, 0.6), fill=FILL), examples, 3):
        for name in ("image", "image2", "mask"):
            np.testing.assert_array_equal(found[name], examples[name][0])
        np.testing.assert_array_equal(found["box_valid"], [True, True, *[False] * 10])
        np.testing.assert_array_equal(found["boxes"][:2], examples["boxes"][0, :2])
        np.testing.assert_array_equal(found["keypoints"][:5], examples["keypoints"][0])
        np.testing.assert_array_equal(found["keypoints"][5:, 2], 0)
        masks = packed_masks.unpacked(found["box_mask"], 4 * objects)
        np.testing.assert_array_equal(masks[:objects], packed_masks.unpacked(examples["box_mask"][0], objects))
        assert not masks[objects:].any()


def test_bits_that_no_object_has_are_no_other_s():
    examples = drawn(np.random.default_rng(0), 3)
    dirty = examples | {"box_mask": examples["box_mask"] | np.uint8(0b11111000)}
    for one, other in zip(merged(Mosaic(), dirty, 3), merged(Mosaic(), examples, 3), strict=True):
        np.testing.assert_array_equal(one["box_mask"], other["box_mask"])


def test_middle_points_and_mosaics_are_drawn_evenly():
    count, size = 4000, (10, 20)
    mosaic = Mosaic(probability=0.7)
    _, quadrant = jax.jit(jax.vmap(lambda key: [place[1] for place in mosaic.places(size, key)][::3]))(keys(count))
    tall, wide = np.asarray(quadrant.height), np.asarray(quadrant.width)
    assert np.array_equal(tall == 0, wide == 0)
    made = tall > 0
    # Four standard deviations of a share, and of a count.
    assert made.mean() == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / count))
    for lengths, side in ((tall, 10), (wide, 20)):
        values, counts = np.unique(lengths[made], return_counts=True)
        np.testing.assert_array_equal(values, np.arange(round(0.2 * side), round(0.8 * side) + 1))
        share = 1 / len(values)
        assert np.all(np.abs(counts - made.sum() * share) < 4 * np.sqrt(made.sum() * share))


# --- in a batch


def batch_of(experiment: Experiment) -> dict[str, jax.Array]:
    dataset, number = experiment.data.load(), np.arange(experiment.batch_size, dtype=np.int32)
    batch = dataset.train.batch(number) | {"position": number, "index": number}
    return {name: jnp.asarray(array) for name, array in batch.items()}


def test_the_images_are_those_of_the_next_positions():
    """A quadrant's pixels are those that its image has augmented alone, after the last one the first again."""
    plain = replace(BASE, {"mixing": None, "augment": (Flip(), LargeScaleJitter())})
    experiment = replace(plain, {"mixing": Mosaic(middle=(0.5, 0.5))})
    form, batch = experiment.data.load(), batch_of(experiment)
    used = {name: form.entries[name] for name in ("image", "boxes", "box_valid", "box_label")}
    key, step = step_key(0, jnp.int32(1)), jnp.int32(1)
    ((alone, _),) = jax.jit(training_examples(plain, form, used, examples=24))(batch, key, step)
    made = jax.jit(training_examples(experiment, form, used, examples=24))
    ((found, weight),) = made(with_partners(batch, 3), key, step)
    assert float(weight) == 1
    assert found["boxes"].shape == (8, 4 * alone["boxes"].shape[1], 4)
    images = np.asarray(alone["image"])
    for position, image in enumerate(np.asarray(found["image"])):
        first, second, third, fourth = (images[(position + ahead) % 8] for ahead in range(4))
        upper, lower = np.hstack([first[8:, 8:], second[8:, :8]]), np.hstack([third[:8, 8:], fourth[:8, :8]])
        np.testing.assert_allclose(image, np.vstack([upper, lower]), atol=1e-6)


def test_examples_share_a_mosaic_s_draw_as_asked():
    def middles(mixing: Mosaic) -> np.ndarray:
        experiment = replace(BASE, {"mixing": mixing, "augment": ()})
        form = experiment.data.load()
        used = {name: form.entries[name] for name in ("image", "boxes", "box_valid", "box_label")}
        black = batch_of(experiment)
        black |= {"image": jnp.where(jnp.arange(8).reshape(8, 1, 1, 1) % 2 == 1, 255, 0).astype(jnp.uint8)}
        black |= {"image": jnp.broadcast_to(black["image"], (8, 16, 16, 3))}
        made = jax.jit(training_examples(experiment, form, used, examples=24))
        ((found, _),) = made(with_partners(black, 3), step_key(0, jnp.int32(0)), jnp.int32(0))
        # Black and white images in turn: the first column of quadrants is black, or white, throughout.
        return np.asarray((found["image"][:, 0, :, 0] == found["image"][:, 0, :1, 0]).sum(1))

    assert len(set(middles(Mosaic()))) > 2
    assert len(set(middles(Mosaic(together="batch")))) == 1


@pytest.mark.parametrize(("devices", "batch"), [(2, 16), (4, 8), (8, 8), (8, 16)])
@pytest.mark.parametrize("partners", [1, 3])
def test_partners_are_the_same_however_the_batch_is_sharded(devices, batch, partners):
    rows = {"image": jnp.arange(batch * 2, dtype=jnp.uint8).reshape(batch, 2), "position": jnp.arange(batch)}
    mesh = Mesh(np.array(jax.devices()[:devices]), ("batch",))
    parts = PartitionSpec("batch")
    whole = jax.jit(lambda batch: with_partners(batch, partners))(rows)
    order = [np.arange(batch)[::-1]] if partners == 1 else [(np.arange(batch) + k) % batch for k in (1, 2, 3)]
    for prefix, expected in zip(("partner_", "partner2_", "partner3_"), order, strict=False):
        np.testing.assert_array_equal(whole[f"{prefix}position"], expected)
        np.testing.assert_array_equal(whole[f"{prefix}image"], np.asarray(rows["image"])[expected])
    split = jax.shard_map(lambda batch: with_partners(batch, partners), mesh=mesh, in_specs=parts, out_specs=parts)
    spread = jax.device_put(rows, NamedSharding(mesh, parts))
    for found in (jax.jit(split)(spread), jax.jit(lambda batch: with_partners(batch, partners))(spread)):
        jax.tree.map(np.testing.assert_array_equal, found, whole)


def stepped(experiment: Experiment, **hardware: Any) -> tuple[Any, list[Any]]:
    program, sums = Program(experiment, hardware=Hardware(**hardware)), []
    state = program.init([experiment])
    for step in range(2):
        state, one = program.train(state, program.rows([experiment], step))
        sums.append(jax.device_get(one))
    return jax.device_get(state.params), sums


@pytest.fixture(scope="module")
def alone():
    return stepped(BASE, devices=1)


@pytest.mark.parametrize(("parallel", "devices"), [("pmap", 2), *slow(("jit", 2), ("shard_map", 4))])
def test_a_step_is_the_same_however_the_batch_is_sharded(alone, parallel, devices):
    params, sums = stepped(BASE, devices=devices, parallel=parallel)
    # Sums in another order.
    for found, expected in zip(jax.tree.leaves((params, sums)), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


class Crash(Exception):
    pass


@pytest.mark.slow
def test_a_training_that_was_killed_continues_bitwise(tmp_path):
    def crash(event: object) -> None:
        if isinstance(event, StepTaken) and event.step == 3:
            raise Crash

    options = Options(Hardware(devices=1), checkpoint_steps=2)
    train(BASE, tmp_path / "whole", options=options)
    with pytest.raises(Crash):
        train(BASE, tmp_path / "killed", options=options, sinks=[crash])
    train(BASE, tmp_path / "killed", options=options)
    whole, killed = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "killed"))
    assert killed == whole
    shutil.rmtree(tmp_path)


def test_a_step_learns_from_all_four_images():
    """The loss of a mosaic is that of all of its boxes: without those of the partners it is another."""
    functions = functions_of(BASE, length_of(BASE))
    batch = with_partners(batch_of(BASE), 3)
    inputs = jax.jit(functions.inputs)
    key, step = step_key(0, jnp.int32(0)), jnp.int32(0)
    _, ((target, _),), _ = inputs(batch, key, step)
    nothing = {name: jnp.zeros_like(batch[name]) for name in batch if name.endswith("box_valid") and "partner" in name}
    _, ((less, _),), _ = inputs(batch | nothing, key, step)
    there, own = (np.asarray(each[..., 0] >= 0) for each in (target, less))
    rows = BASE.data.load().entries["boxes"].shape[0]
    np.testing.assert_array_equal(there[:, :rows], own[:, :rows])
    assert there[:, rows:].sum() > 4
    assert not own[:, rows:].any()


# --- what is refused


@pytest.mark.parametrize("name", sorted(TASKS))
def test_tasks_that_it_has_no_meaning_for_are_refused_at_plan_time(name):
    experiment = replace(TASKS[name][0], {"mixing": "mosaic"})
    if name in ("detection", "segmentation"):
        check(experiment)
    else:
        with pytest.raises(ConfigError, match="mixing = 'mosaic': (task|label is of one image, and a mosaic shows)"):
            check(experiment)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Mosaic(middle=(0.8, 0.2)), "the lower bound comes first"),
        (lambda: Mosaic(middle=(0.2, 1.2)), "less than or equal to 1"),
        (lambda: Mosaic(scale=(0.0, 1.0)), "greater than 0"),
        (lambda: Mosaic(probability=1.5), "less than or equal to 1"),
        (lambda: Switch(mixings=(Mosaic(),), probabilities=(0.5,)), "mixings.0 = mosaic: it makes one example of sev"),
        (lambda: check(replace(BASE, {"mixing": Mosaic(fill=(0.1, 0.2))})), "^mixing: fill = .* have 3 channels"),
    ],
)
def test_wrong_values_are_named(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_what_has_no_row_for_each_box_is_refused():
    examples = drawn(np.random.default_rng(0), 3) | {"box_count": np.full(4, 3, np.int32)}
    four = [{name: jnp.asarray(array[number]) for name, array in examples.items()} for number in range(4)]
    with pytest.raises(ConfigError, match=r"box_count is \[\], where what is called box_... has a row for each box"):
        jax.eval_shape(lambda key: Mosaic().merge(four, {**KINDS, "box_count": "value"}, key), jax.random.key(0))
