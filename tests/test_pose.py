"""Pose: Gaussians, decoding, loss, metrics against pycocotools, joints under augmentation, and what is said in use."""

from __future__ import annotations

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import (
    AbsoluteError,
    ConfigError,
    DataError,
    Dataset,
    Examples,
    Experiment,
    Flip,
    FlipViews,
    Hardware,
    Options,
    Pose,
    RandomCrop,
    RandomResizedCrop,
    SimpleBaseline,
    Skeleton,
    SmallCNN,
    SoftmaxCrossEntropy,
    SquaredError,
    StickFigures,
    TenCrop,
)
from cnnjax.config import replace
from cnnjax.data.augment import moves, spatial
from cnnjax.data.dataset_statistics import statistics
from cnnjax.data.stick_figures import JOINTS, SKELETON
from cnnjax.experiment import check, parts_of, task_of
from cnnjax.metrics.pose import SIZES, Figures, pose_curves, similarity, summarize_poses
from cnnjax.models import config
from cnnjax.models.heads import with_head
from cnnjax.tasks.pose import decoded, gaussians

DATA = StickFigures(size=32, examples=16, test_examples=8)
BASE = Experiment(
    model=SmallCNN(features=2),
    data=DATA,
    task=Pose(head=SimpleBaseline(layers=1, features=4)),
    loss=SquaredError(),
    steps=2,
    batch_size=8,
    validation=0,
)
SQUARED = SquaredError()
COCO_SIGMAS = (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)
COCO_SIGMAS = tuple(sigma / 10 for sigma in COCO_SIGMAS)


# --- maps


@pytest.mark.parametrize("rounded", [False, True])
def test_gaussians_are_the_formula(rounded):
    """In NumPy, place by place, of maps of 6 x 9 places."""
    joints = np.array([[[0.31, 0.64], [0.02, 0.99]]], np.float32)
    made = np.asarray(gaussians(jnp.asarray(joints), (6, 9), 1.3, rounded=rounded))
    assert made.shape == (1, 2, 6, 9)
    for number, (x, y) in enumerate(joints[0]):
        x, y = x * 9, y * 6
        if rounded:
            x, y = int(x) + 0.5, int(y) + 0.5
        for row in range(6):
            for column in range(9):
                expected = np.exp(-((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2) / (2 * 1.3**2))
                assert made[0, number, row, column] == pytest.approx(expected, abs=1e-6)
    if rounded:
        np.testing.assert_allclose(made.max((2, 3)), 1.0)


def decoded_by_hand(one: np.ndarray, shift: float) -> tuple[float, float, float]:
    """x and y in places, and the score, of a map [h, w]: a loop over places."""
    height, width = one.shape
    best, at = -np.inf, (0, 0)
    for row in range(height):
        for column in range(width):
            if one[row, column] > best:
                best, at = one[row, column], (row, column)
    row, column = at
    x, y = column + 0.5, row + 0.5
    if 0 < column < width - 1:
        x += shift * np.sign(one[row, column + 1] - one[row, column - 1])
    if 0 < row < height - 1:
        y += shift * np.sign(one[row + 1, column] - one[row - 1, column])
    return x, y, best


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_joints_are_decoded_as_by_hand(shift):
    """Random maps, among them ones whose greatest value is at a side or in a corner, or whose neighbours are equal."""
    said = np.random.default_rng(0).integers(0, 30, (40, 4, 5, 3)).astype(np.float32)
    shares, scores = map(np.asarray, decoded(jnp.asarray(said), shift=shift))
    for image in range(len(said)):
        for joint in range(3):
            x, y, score = decoded_by_hand(said[image, ..., joint], shift)
            np.testing.assert_allclose(shares[image, joint] * (5, 4), (x, y), rtol=1e-6)
            assert scores[image, joint] == score


def test_the_shift_brings_a_joint_nearer():
    """Of exact Gaussians of joints anywhere, as far from the middle of their places as the rule says."""
    share = jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.8, (500, 1, 2)), jnp.float32)
    said = jnp.moveaxis(gaussians(share, (16, 16), 1.0), 1, -1)
    away = [np.abs(np.asarray(decoded(said, shift=shift)[0] - share)).mean() * 16 for shift in (0.0, 0.25)]
    # The mean of |u| for u even in -1/2..1/2 is 1/4; moved by a quarter towards where it is, 1/8.
    assert away == [pytest.approx(0.25, rel=0.05), pytest.approx(0.125, rel=0.05)]


# --- the loss


def test_joints_of_visibility_0_cost_nothing_and_others_the_mean_square():
    """A joint that is hidden (1) counts as one that is seen (2). Where it is not known, it may say anything."""
    task, form = Pose(sigma=1.5), DATA.load()
    said = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 13)), jnp.float32)
    target = np.random.default_rng(1).uniform(0, 1, (1, 15, 3)).astype(np.float32)
    target[0, :, 2] = [0, 1, 2, *[0] * 10, 1, 1]
    target[0, 0, :2] = np.nan

    def loss(said, which=SQUARED):
        return task.losses(said, jnp.asarray(target), loss=which, form=form)[0]

    true = np.asarray(gaussians(jnp.asarray(target[0, 1:3, :2]), (4, 4), 1.5, rounded=True))
    away = np.moveaxis(np.asarray(said[0, ..., 1:3]), -1, 0) - true
    assert float(loss(said)) == pytest.approx((away**2).mean((1, 2)).sum() / 13, rel=1e-5)
    assert float(loss(said, AbsoluteError())) == pytest.approx(np.abs(away).mean((1, 2)).sum() / 13, rel=1e-5)
    slopes = np.asarray(jax.grad(loss)(said))[0]
    assert np.isfinite(slopes).all()
    assert (np.abs(slopes).max((0, 1)) > 0).tolist() == [False, True, True, *[False] * 10]


# --- the network


def test_the_head_on_resnet50_has_the_published_size():
    """33,999,697 parameters: the sum is in the head's own text. 256 x 192 pixels make maps of 64 x 48."""
    network = with_head(config("resnet50"), SimpleBaseline(), 17)
    image = jax.ShapeDtypeStruct((1, 256, 192, 3), jnp.float32)
    outputs, variables = jax.eval_shape(lambda x: network.init_with_output(jax.random.key(0), x), image)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == 33_999_697
    assert outputs.shape == (1, 64, 48, 17)


# --- metrics


def random_poses(seed: int, images: int = 40) -> tuple[np.ndarray, np.ndarray, Figures]:
    """Figures of all sizes, some without known joints and images without figures; poses near them or far off, with
    equal scores too."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 100, (images, 2))
    boxes = np.concatenate([low, low + np.exp(rng.uniform(2.5, 5.5, (images, 2)))], 1)
    sides = boxes[:, 2:] - boxes[:, :2]
    places = boxes[:, None, :2] + rng.uniform(0, 1, (images, 17, 2)) * sides[:, None]
    visibility = rng.choice([0, 1, 2], (images, 17, 1), p=[0.3, 0.2, 0.5])
    visibility[:4] = 0
    wrong = np.exp(rng.uniform(-4, 0, (images, 1, 1))) * np.sqrt(sides.prod(1))[:, None, None] / 3
    found = places + wrong * rng.normal(size=(images, 17, 2))
    areas = sides.prod(1) * rng.uniform(0.3, 1, images)
    joints = np.concatenate([places, visibility], -1)
    figures = Figures(joints=joints, boxes=boxes, there=rng.random(images) < 0.9, areas=areas)
    return found, rng.random(images).round(1), figures


def by_pycocotools(found: np.ndarray, scores: np.ndarray, figures: Figures):
    """The evaluation of the same by the reference, with the OKS of each image that has both."""
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, results = [], []
    for image in range(len(found)):
        if figures.there[image]:
            left, top, right, bottom = map(float, figures.boxes[image])
            truths.append(
                {
                    "id": len(truths) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "keypoints": figures.joints[image].reshape(-1).tolist(),
                    "num_keypoints": int((figures.joints[image, :, 2] > 0).sum()),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": float(figures.area[image]),
                    "iscrowd": 0,
                }
            )
        said = np.concatenate([found[image], np.ones((17, 1))], 1)
        results.append(
            {
                "image_id": image,
                "category_id": 1,
                "keypoints": said.reshape(-1).tolist(),
                "score": float(scores[image]),
            }
        )
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": image} for image in range(len(found))],
            "annotations": truths,
            "categories": [{"id": 1}],
        }
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "keypoints")
        np.testing.assert_allclose(evaluation.params.kpt_oks_sigmas, COCO_SIGMAS)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_that_of_pycocotools(seed):
    found, scores, figures = random_poses(seed)
    evaluation = by_pycocotools(found, scores, figures)
    ours = similarity(found, figures, COCO_SIGMAS)
    for image in np.flatnonzero(figures.there):
        assert ours[image] == pytest.approx(evaluation.ious[image, 1].item(), abs=1e-9)
    made = pose_curves(found, scores, figures, COCO_SIGMAS)
    np.testing.assert_allclose(made.precision, evaluation.eval["precision"][:, :, 0, :, 0], atol=1e-9)
    np.testing.assert_allclose(made.recall, evaluation.eval["recall"][:, 0, :, 0], atol=1e-9)
    told = [
        of(**choice)
        for of in (made.ap, made.ar)
        for choice in ({}, {"threshold": 0.5}, {"threshold": 0.75}, {"size": "medium"}, {"size": "large"})
    ]
    np.testing.assert_allclose(told, evaluation.stats, atol=1e-9)
    assert 0.1 < told[0] < 0.9


def sums_of(**arrays: np.ndarray) -> dict[str, np.ndarray]:
    plain = {"count": 2, "loss": 3.0, "right": 3, "counted": 4, "away": 10.0, "known": 5}
    return {name: np.asarray(value) for name, value in (plain | arrays).items()}


def test_a_summary_by_hand():
    """Two figures of 100 x 100 pixels with one joint of sigma 0.05: at a distance of 10 OKS is exp(-100 / (2 * 1e4 *
    0.01)) = exp(-0.5) = 0.607, which is found up to a threshold of 0.6; the other is found exactly, with less score."""
    true = np.array([[[50, 50, 2]], [[50, 50, 1]]], np.float32)
    found = np.array([[[60, 50, 0.9]], [[50, 50, 0.4]]], np.float32)
    box = np.array([[0, 0, 100, 100, 1]] * 2, np.float32)
    arrays = {"found": found, "true": true, "box": box, "pose_score": found[..., 2].mean(1)}
    made = summarize_poses(sums_of(**arrays, joint_right=[3, 0], joint_counted=[4, 0]), sigmas=(0.05,))
    assert made["ap50"] == 1.0
    # Above it the first is wrong, and the other is found after it: precision 1/2 up to a recall of 1/2.
    assert made["ap75"] == pytest.approx(51 * 0.5 / 101)
    assert made["mean_ap"] == pytest.approx((3 + 7 * 51 * 0.5 / 101) / 10)
    assert made["mean_recall"] == pytest.approx((3 + 7 * 0.5) / 10)
    assert made["mean_oks"] == pytest.approx((np.exp(-0.5) + 1) / 2)
    # Both are large; a pose of one joint has no area, so that a wrong one does not count among the large.
    assert made["ap_by_size"] == [None, pytest.approx((3 + 7 * 51 / 101) / 10)]
    assert (made["count"], made["loss"], made["pck"], made["mean_error"]) == (2, 1.5, 0.75, 2.0)
    assert (made["per_class_pck"], made["per_class_joints"]) == ([0.75, None], [4, 0])
    assert list(SIZES) == ["all", "medium", "large"]


def test_in_training_there_are_the_sums_alone():
    assert summarize_poses(sums_of(), sigmas=(0.1,)) == {"count": 2, "loss": 1.5, "pck": 0.75, "mean_error": 2.0}
    assert np.isnan(summarize_poses(sums_of(counted=0, right=0), sigmas=(0.1,))["pck"])
    with pytest.raises(DataError, match="no example was measured"):
        summarize_poses(sums_of(count=0), sigmas=(0.1,))


@pytest.mark.parametrize(("length", "right", "counted"), [("box", 12, 12), ("torso", 11, 11)])
def test_pck_by_hand(length, right, counted):
    """Maps that are right, but for one joint that is wrong by 20 pixels of 32: of three figures, the second is padding,
    and the third's torso is not known."""
    form = DATA.load()
    task = Pose(rounded=False, length=length, fraction=0.2)
    joints = np.tile(np.random.default_rng(0).uniform(4, 28, (1, 13, 3)).astype(np.float32), (3, 1, 1))
    joints[0, 5, :2], joints[..., 2] = (6, 6), 2
    joints[2, 1:, 2] = 0
    shares = joints[..., :2] / 32
    said = np.moveaxis(np.asarray(gaussians(jnp.asarray(shares), (32, 32), 1.0)), 1, -1).copy()
    said[0, ..., 5] = np.roll(said[0, ..., 5], 20, axis=1)
    corners = np.tile(np.array([[0.1, 0.1, 1], [0.9, 0.9, 1]], np.float32), (3, 1, 1))
    target = np.concatenate([np.concatenate([shares, joints[..., 2:]], -1), corners], 1)
    given = {"valid": jnp.array([1, 0, 1]), "losses": jnp.zeros(3), "loss": SquaredError(), "form": form}
    sums = jax.jit(lambda said, target: task.measure(said, target, **given, detail=True))(said, target)
    wide = {"box": 1, "torso": 0}[length]
    assert (int(sums["right"]), int(sums["counted"])) == (12 + wide, 13 + wide)
    assert sums["joint_right"].tolist() == [1 + wide, *[1] * 4, 0, *[1] * 7]
    assert int(sums["known"]) == 14
    assert float(sums["away"]) == pytest.approx(20, abs=14 * 0.5)


# --- data and augmentation


def test_figures_are_as_they_say():
    """Seeded, the first are the same of more; joints outside have 0, joints under a square 1; left is on the right of a
    figure that faces the viewer, between its shoulders and its hips."""
    data = StickFigures(size=48, examples=40, test_examples=4)
    some, more = data.load(), replace(data, {"examples": 50}).load()
    np.testing.assert_array_equal(some.train.images, more.train.images[:40])
    np.testing.assert_array_equal(some.train.values["keypoints"], more.train.values["keypoints"][:40])
    assert not np.array_equal(some.train.images, replace(data, {"seed": 1}).load().train.images)
    joints = some.train.values["keypoints"]
    x, y, visibility = np.moveaxis(joints, -1, 0)
    inside = (x >= 0) & (x < 48) & (y >= 0) & (y < 48)
    np.testing.assert_array_equal(visibility > 0, inside)
    assert {0, 1, 2} == set(visibility.ravel())
    for left, right in ((1, 2), (7, 8)):
        assert (x[:, left] > x[:, right]).all()
    boxes = some.train.values["boxes"][:, 0]
    seen = np.where(inside, x, boxes[:, :1])
    assert (seen >= boxes[:, :1] - 0.5).all()
    assert (seen <= boxes[:, 2:3] + 0.5).all()
    never = replace(data, {"hidden": 0.0}).load().train.values["keypoints"][..., 2]
    assert (never == 1).mean() < (visibility == 1).mean()


def test_classes_that_are_joints_are_not_counted():
    told = statistics(DATA.load(), parts_of(BASE)).to_json()
    assert told["classes"] == [{"name": name} for name in JOINTS]
    assert told["examples"]["train"] == 16


def drawn(joints: np.ndarray, size: int) -> np.ndarray:
    """An image [size, size, K] in which each joint has a square of 3 pixels in a channel of its own."""
    image = np.zeros((size, size, len(joints)), np.float32)
    for channel, (x, y, _) in enumerate(joints):
        row, column = int(y), int(x)
        image[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2, channel] = 1
    return image


MIRROR = np.array(SKELETON.mirrored)


@pytest.mark.parametrize(
    ("augmentation", "mirrors"),
    [
        (Flip(probability=1.0), True),
        (Flip(probability=1.0, direction="vertical"), True),
        (RandomCrop(padding=6), False),
        (RandomResizedCrop(scale=(0.5, 0.9)), False),
    ],
    ids=["flip", "vertical flip", "crop", "resized crop"],
)
def test_joints_lie_where_the_pixels_lie(augmentation, mirrors):
    """Each joint is drawn in its channel, and the image moved: the middle of what is seen of it then is the joint that
    the mirrored name has; what left the image has visibility 0."""
    entries = StickFigures(size=48, examples=4, test_examples=1).load().train.values
    kinds = {"image": "image", "keypoints": "keypoints"}

    def change(example, key):
        mirrored = SKELETON.mirrored
        return spatial.change(augmentation, example, kinds, key, index=0, epoch=0, mirrored=mirrored)

    given = {
        "image": np.stack([drawn(joints, 48) for joints in entries["keypoints"]]),
        "keypoints": entries["keypoints"],
    }
    changed = jax.jit(jax.vmap(change))(given, jax.random.split(jax.random.key(0), 4))
    for number, joints in enumerate(entries["keypoints"]):
        image, moved = np.asarray(changed["image"][number]), np.asarray(changed["keypoints"][number])
        compared = 0
        for joint, (x, y, visibility) in enumerate(moved):
            came_from = MIRROR[joint] if mirrors else joint
            if not visibility:
                continue
            assert visibility == joints[came_from, 2]
            if not 3 <= min(x, y) <= max(x, y) <= 45 or not 2 <= joints[came_from, :2].min() <= 46:
                continue
            weight = image[..., came_from]
            rows, columns = np.mgrid[:48, :48] + 0.5
            middle = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
            np.testing.assert_allclose(middle, (x, y), atol=1.2)
            compared += 1
        assert compared >= 5
        outside = (moved[:, :2].min(1) < 0) | (moved[:, :2].max(1) > 48)
        assert not moved[outside, 2].any()


def test_what_mirrors():
    """A mirrored image and a shear with a mirror do, a half turn does not."""
    on, size = jnp.array(True), (8, 8)
    assert moves.Mirror(size, on).mirrors()
    assert not moves.Mirror(size, ~on).mirrors()
    assert moves.Affine(size, jnp.array([[-1.0, 0.3, 0], [0, 1, 2]])).mirrors()
    assert not moves.Affine(size, jnp.array([[-1.0, 0, 0], [0, -1, 0]])).mirrors()
    assert not moves.Window(jnp.array(1), jnp.array(2), 3).mirrors()


def test_training_sees_swapped_joints():
    """The step's own examples, and not only the function: a flip of every image, then the identity."""
    from cnnjax.experiment.training_examples import training_examples

    form = DATA.load()
    one = replace(BASE, {"augment": (Flip(probability=1.0),)})
    used = {name: form.entries[name] for name in task_of(one).uses(form)}
    number = np.arange(4, dtype=np.int32)
    batch = {**form.train.batch(number), "position": number, "index": number}
    [(seen, _)] = training_examples(one, form, used, examples=16)(batch, jax.random.key(0), jnp.array(0))
    before = batch["keypoints"]
    np.testing.assert_allclose(seen["keypoints"][..., 0], 32 - before[:, MIRROR, 0], atol=1e-4)
    np.testing.assert_allclose(seen["keypoints"][..., 1:], before[:, MIRROR, 1:], atol=1e-4)


def test_mirrored_views_are_put_back_with_their_joints_swapped():
    form, task = DATA.load(), Pose()
    said = np.random.default_rng(0).normal(size=(2, 2, 4, 6, 13)).astype(np.float32)
    merged = np.asarray(task.merged(jnp.asarray(said), FlipViews(), form))
    for joint, other in enumerate(MIRROR):
        expected = (said[:, 0, ..., joint] + np.flip(said[:, 1, ..., other], axis=2)) / 2
        np.testing.assert_allclose(merged[..., joint], expected, rtol=1e-6)


# --- what is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pairs": ((0, 1), (1, 2))}, "a joint is in two of them"),
        ({"limbs": ((0, 3),)}, "must be two of the 3 joints, 0 to 2"),
        ({"torso": (1, 1)}, "must be two of the 3 joints"),
        ({"sigmas": (0.1, 0.0, 0.1)}, "sigmas"),
    ],
)
def test_a_skeleton_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        Skeleton(**({"sigmas": (0.1, 0.1, 0.1)} | fields))


def test_a_skeleton_of_other_joints_than_the_data():
    points = np.zeros((2, 3, 3), np.float32)
    part = Examples(np.zeros((2, 8, 8, 1), np.uint8), keypoints=points)
    with pytest.raises(DataError, match="2 sigmas, 3 classes and keypoints"):
        Dataset("three", part, part, classes=("a", "b", "c"), skeleton=Skeleton(sigmas=(0.1, 0.1)))
    without = Examples(np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int32))
    with pytest.raises(DataError, match="examples have no keypoints"):
        Dataset("none", without, without, skeleton=Skeleton(sigmas=(0.1, 0.1)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": SoftmaxCrossEntropy()}, "take squared, absolute or sigmoid"),
        ({"data": cnnjax.Shapes(size=16, radius=(3.0, 6.0), examples=8, test_examples=8)}, "its target is 'keypoints'"),
        ({"test_time": TenCrop(size=16, shorter=None)}, "does not know which joints are left and right"),
        ({"task": Pose(head=None)}, "is of its pixels: give it a head"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        check(replace(BASE, fields))


# --- in use


def test_a_run_says_joints_in_pixels_and_draws_them(tmp_path):
    cnnjax.train(BASE, tmp_path / "run", options=Options(hardware=Hardware(devices=1)))
    trained = cnnjax.load(tmp_path / "run")
    images = DATA.load().test.images[:3]
    said = trained.predict(images)
    assert said.joints.shape == (3, 13, 3)
    assert said.names == JOINTS
    assert said.limbs == SKELETON.limbs
    assert said.size == (32, 32)
    assert ((said.joints[..., :2] >= 0) & (said.joints[..., :2] <= 32)).all()
    np.testing.assert_allclose(said.scores, said.joints[..., 2].mean(1), rtol=1e-6)
    [row, *_] = said.rows(1)
    assert [joint["joint"] for joint in row["joints"]] == list(JOINTS)
    assert row["joints"][3]["x"] == pytest.approx(float(said.joints[0, 3, 0]))
    heads, cells = said.cells()
    assert (len(heads), len(cells)) == (2, 3)
    assert "Poses of 13 joints in 3 images" in repr(said)


def test_a_skeleton_is_drawn_where_it_is():
    """On an image twice as large: a joint at 4, 6 of 16 pixels is a dot around 8, 12, and one without score is none."""
    joints = np.array([[[4, 6, 0.9], [12, 6, 0.8], [8, 14, 0.01]]], np.float32)
    said = cnnjax.Poses(joints=joints, scores=np.ones(1), names=("a", "b", "c"), limbs=((0, 1), (1, 2)), size=(16, 16))
    [picture] = said.overlay(np.zeros((1, 32, 32, 1), np.uint8))
    assert picture[12, 8].tolist() == [255, 0, 0]
    assert picture[12, 24].tolist() == [0, 255, 0]
    assert picture[12, 16].tolist() == [255, 255, 255]
    assert not picture[15:].any()
    [png] = said.pictures(np.zeros((1, 32, 32, 1), np.uint8))
    assert Image.open(io.BytesIO(png)).size == (32, 32)
    with pytest.raises(DataError, match="poses need uint8"):
        said.overlay(np.zeros((2, 32, 32, 3), np.uint8))
