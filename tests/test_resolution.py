"""Sizes of images by step: the rules of their sources, what is resized, one network for all, one compilation each."""

from __future__ import annotations

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import (
    BatchNorm,
    Experiment,
    FixedSize,
    Flip,
    FlipViews,
    Hardware,
    Mixup,
    Options,
    ProgressiveResizing,
    Resolution,
    Segmentation,
    Shapes,
    SizeSchedule,
    SmallCNN,
    StagedResizing,
    Study,
    Synthetic,
    TenCrop,
    UNet,
)
from cnnjax.config import replace
from cnnjax.data.augment import spatial
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.experiment import analysis_of, check, functions_of, length_of
from cnnjax.experiment.sizes import evaluation_size, training_spans
from cnnjax.records.resolved import Resolved
from cnnjax.run.evaluate import evaluate
from cnnjax.run.program import Program
from tests.marks import slow
from tests.programs import program_of

ONE = Options(Hardware(devices=1))
DATA = Synthetic(height=8, width=8, channels=1, classes=3, examples=48, test_examples=12)
TWO = SizeSchedule(sizes=((0, 6), (1, 8)), evaluation=10)
BASE = Experiment(
    model=SmallCNN(features=4, head="average", norm=BatchNorm()),
    data=DATA,
    augment=(Flip(),),
    batch_size=16,
    epochs=2,
    validation=0,
    resolution=TWO,
)


# --- the sizes


def ffcv(epoch, *, low, high, start_ramp, end_ramp):
    """The size in an epoch, as FFCV's ImageNet example has it."""
    if epoch <= start_ramp:
        return low
    if epoch >= end_ramp:
        return high
    return int(np.round(np.interp([epoch], [start_ramp, end_ramp], [low, high])[0] / 32)) * 32


@pytest.mark.parametrize(
    ("low", "high", "ramp", "epochs"),
    [(160, 192, (65, 76), 88), (128, 224, (0, 15), 16), (96, 352, (3, 40), 41), (224, 128, (2, 9), 12)],
)
def test_progressive_resizing_is_ffcvs(low, high, ramp, epochs):
    start_ramp, end_ramp = ramp
    rule = ProgressiveResizing(start=low, final=high, start_ramp=start_ramp, end_ramp=end_ramp, multiple=32)
    begins = rule.begins(steps=10 * epochs, epochs=range(0, 10 * epochs, 10))
    expected = [ffcv(epoch, low=low, high=high, start_ramp=start_ramp, end_ramp=end_ramp) for epoch in range(epochs)]
    assert [size for _, size in begins] == expected
    assert [step for step, _ in begins] == list(range(0, 10 * epochs, 10))


@pytest.mark.parametrize(
    ("epochs", "ramp"), [(16, (11, 13)), (24, (17, 20)), (32, (23, 27)), (40, (29, 34)), (56, (41, 48)), (88, (65, 76))]
)
def test_a_ramp_in_shares_follows_the_epochs_as_ffcvs_configs_do(epochs, ramp):
    sizes = {"start": 160, "final": 192, "multiple": 32}
    shares = ProgressiveResizing(start_ramp=0.74, end_ramp=0.865, **sizes)
    numbers = ProgressiveResizing(start_ramp=ramp[0], end_ramp=ramp[1], **sizes)
    firsts = range(0, 10 * epochs, 10)
    assert shares.begins(steps=10 * epochs, epochs=firsts) == numbers.begins(steps=10 * epochs, epochs=firsts)


def test_stages_are_efficientnet_v2s():
    """Section 4: S goes from 128 to 300, L to 380, in four stages of N / 4 steps."""
    small = StagedResizing(start=128, final=300).begins(steps=1000, epochs=[0])
    assert small == ((0, 128), (250, 185), (500, 243), (750, 300))
    large = StagedResizing(start=128, final=380, multiple=4).begins(steps=1000, epochs=[0])
    assert large == ((0, 128), (250, 212), (500, 296), (750, 380))
    uneven = StagedResizing(start=4, final=8, stages=3).begins(steps=10, epochs=[0])
    assert uneven == ((0, 4), (3, 6), (6, 8))


def spans(resolution, **fields):
    experiment = replace(BASE, {"resolution": resolution, **fields})
    found = training_spans(experiment, experiment.data.load(), length_of(experiment))
    return [(span.first, span.last, span.size) for span in found]


def test_steps_have_the_size_of_their_epoch():
    # 48 examples in batches of 20: epochs begin at steps 0, 3, 5.
    rule = SizeSchedule(sizes=((0, 4), (1, 6), (2, 8)))
    assert spans(rule, batch_size=20, epochs=3) == [(0, 2, (4, 4)), (3, 4, (6, 6)), (5, 7, (8, 8))]
    assert spans(rule, batch_size=20, steps=6) == [(0, 2, (4, 4)), (3, 4, (6, 6)), (5, 5, (8, 8))]
    assert spans(FixedSize()) == spans(None) == [(0, 5, (8, 8))]
    # Neighbours of one size are one span.
    assert spans(SizeSchedule(sizes=((0, 6), (1, 6)))) == [(0, 5, (6, 6))]


def test_the_longer_side_keeps_the_proportions():
    wide = Synthetic(height=10, width=16, channels=1, classes=3, examples=48, test_examples=12)
    assert spans(FixedSize(train=5), data=wide) == [(0, 5, (5, 8))]
    assert spans(FixedSize(train=7), data=replace(wide, {"height": 16, "width": 10})) == [(0, 5, (11, 7))]
    rule = StagedResizing(start=4, final=8, stages=2, multiple=4)
    assert spans(rule, data=wide) == [(0, 2, (4, 8)), (3, 5, (8, 12))], "6.4 and 12.8 to the nearest multiple"
    one = replace(BASE, {"data": wide, "resolution": FixedSize(evaluation=20)})
    assert evaluation_size(one, wide.load()) == (20, 32)


class Odd(Resolution, tag="odd_sizes_of_a_test"):
    """Sizes of a user's own, here those that begin too late."""

    first: int = 1

    def begins(self, *, steps, epochs):
        return ((self.first, 4),)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ProgressiveResizing(start=20, final=32, end_ramp=3, multiple=32), "start = 20 is no multiple of"),
        (lambda: ProgressiveResizing(start=4, final=8, start_ramp=3, end_ramp=3, multiple=4), "must come before"),
        (lambda: ProgressiveResizing(start=4, final=8, start_ramp=0.2, end_ramp=3, multiple=4), "both as shares"),
        (
            lambda: ProgressiveResizing(start=4, final=8, start_ramp=0.5, end_ramp=0.6, multiple=4).begins(
                steps=4, epochs=range(4)
            ),
            "which is no later",
        ),
        (lambda: StagedResizing(start=4, final=9, multiple=2), "final = 9 is no multiple of"),
        (lambda: SizeSchedule(sizes=((1, 4),)), "must begin with 0 and ascend"),
        (lambda: SizeSchedule(sizes=((0, 4), (0, 8))), "must begin with 0 and ascend"),
        (lambda: FixedSize(train=0), "greater than or equal to 1"),
        (
            lambda: check(replace(BASE, {"resolution.sizes": ((0, 6), (2, 8))})),
            "the training has 2 epochs, so none is trained at 8 from epoch 2 on; it must be at most 1",
        ),
        (
            lambda: spans(ProgressiveResizing(start=4, final=8, end_ramp=2, multiple=4)),
            "resolution.end_ramp = 2: the training has 2 epochs, so none is trained at final = 8",
        ),
        (lambda: spans(StagedResizing(start=4, final=8, stages=7)), "resolution.stages = 7: the training has 6 steps"),
        (lambda: spans(Odd()), "its sizes begin at steps .1.; they must begin with 0"),
    ],
)
def test_sizes_that_do_not_fit_the_training_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


# --- what is resized


@pytest.mark.parametrize("size", [(5, 6), (13, 20)])
def test_images_are_resized_as_jax_and_torch_do(size):
    image = jnp.asarray(np.random.default_rng(0).random((8, 12, 3), np.float32))
    made = spatial.resized({"image": image}, {"image": "image"}, size)["image"]
    np.testing.assert_allclose(made, jax.image.resize(image, (*size, 3), "linear", antialias=True), atol=2e-6)


@pytest.mark.torch
@pytest.mark.parametrize("size", [(5, 6), (13, 20), (8, 9)])
def test_images_and_masks_are_resized_as_torchs(size):
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    image, mask = generator.random((8, 12, 3), np.float32), generator.integers(9, size=(8, 12), dtype=np.uint8)
    made = spatial.resized(
        {"image": jnp.asarray(image), "mask": jnp.asarray(mask)}, {"image": "image", "mask": "mask"}, size
    )
    theirs = torch.nn.functional.interpolate(
        torch.tensor(image).permute(2, 0, 1)[None], size=size, mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(made["image"], theirs[0].permute(1, 2, 0).numpy(), atol=2e-6)
    theirs = torch.nn.functional.interpolate(torch.tensor(mask)[None, None], size=size, mode="nearest-exact")
    np.testing.assert_array_equal(made["mask"], theirs[0, 0].numpy())


def test_masks_boxes_and_keypoints_follow():
    entries = {
        "image": jnp.zeros((4, 6, 1)),
        "mask": jnp.arange(24, dtype=jnp.uint8).reshape(4, 6),
        "boxes": jnp.array([[0.0, 0, 6, 4], [1, 1, 3, 2], [0, 0, 0, 0]]),
        "box_valid": jnp.array([True, True, False]),
        "keypoints": jnp.array([[3.0, 2, 1], [0, 0, 0]]),
        "label": jnp.int32(2),
    }
    kinds = {name: name if name in ("image", "mask", "boxes", "keypoints") else "value" for name in entries}
    half = jax.jit(lambda entries: spatial.resized(entries, kinds, (2, 3)))(entries)
    assert half["mask"].tolist() == [[7, 9, 11], [19, 21, 23]]
    assert half["boxes"].tolist() == [[0, 0, 3, 2], [0.5, 0.5, 1.5, 1], [0, 0, 0, 0]]
    assert half["box_valid"].tolist() == [True, True, False]
    assert half["keypoints"].tolist() == [[1.5, 1, 1], [0, 0, 0]]
    assert half["label"] == 2
    assert half["image"].shape == (2, 3, 1)
    whole = jax.jit(lambda entries: spatial.resized(entries, kinds, (4, 6)))(half)
    assert whole["mask"][::2, ::2].tolist() == half["mask"].tolist()
    np.testing.assert_allclose(whole["boxes"], entries["boxes"])


def test_the_network_sees_the_size_of_the_step_and_of_evaluation():
    experiment = replace(BASE, {"test_time": FlipViews(), "mixing": Mixup()})
    data, length = experiment.data.load(), length_of(experiment)
    images = jnp.asarray(data.train.images[:16])
    number = jnp.arange(16)
    own = {"image": images, "label": jnp.zeros(16, jnp.int32), "position": number, "index": number}
    batch = own | {f"partner_{name}": array[::-1] for name, array in own.items()}
    for size in ((6, 6), (8, 8)):
        inputs = functions_of(experiment, length, size=size).inputs
        assert jax.eval_shape(inputs, batch, jax.random.key(0), jnp.int32(0))[0].shape == (16, *size, 1)
    functions = functions_of(experiment, length)
    first = jax.eval_shape(functions.inputs, batch, jax.random.key(0), jnp.int32(0))[0]
    assert first.shape == (16, 6, 6, 1)
    views = jax.jit(functions.views)(images)
    assert views.shape == (16, 2, 10, 10, 1)
    mean, std = data.scale
    expected = (jax.image.resize(images / 255, (16, 10, 10, 1), "linear") - mean[0]) / std[0]
    np.testing.assert_allclose(views[:, 0], expected, atol=1e-5)


# --- windows in place of smaller images


def test_windows_are_cut_out_at_random_places_and_all_moves_with_them():
    kinds = {"image": "image", "mask": "mask", "boxes": "boxes", "box_valid": "value", "keypoints": "keypoints"}
    grid = jnp.arange(8 * 6).reshape(8, 6)
    example = {
        "image": grid[..., None] / 64,
        "mask": grid.astype(jnp.uint8),
        "boxes": jnp.array([[1.0, 2, 5, 7], [0, 0, 0, 0]]),
        "box_valid": jnp.array([True, False]),
        "keypoints": jnp.array([[3.5, 4.5, 1.0]]),
    }
    keys = jax.random.split(jax.random.key(0), 200)
    cut = jax.jit(jax.vmap(lambda key: spatial.cropped(example, kinds, (5, 4), key)))(keys)
    corner = np.asarray(cut["mask"][:, 0, 0])
    rows, columns = corner // 6, corner % 6
    assert {*map(tuple, np.stack([rows, columns], 1).tolist())} == {(r, c) for r in range(4) for c in range(3)}
    for place in range(9):
        row, column = rows[place], columns[place]
        window = np.asarray(grid)[row : row + 5, column : column + 4]
        np.testing.assert_array_equal(cut["mask"][place], window)
        np.testing.assert_array_equal(cut["image"][place, ..., 0], window / 64)
        np.testing.assert_array_equal(cut["keypoints"][place, 0, :2], [3.5 - column, 4.5 - row])
        low, high = np.array([1, 2]) - [column, row], np.array([5, 7]) - [column, row]
        expected = [*np.clip(low, 0, [4, 5]), *np.clip(high, 0, [4, 5])]
        np.testing.assert_array_equal(cut["boxes"][place, 0], expected)


def test_a_network_may_be_trained_on_windows_and_tested_on_ten():
    """AlexNet's protocol: a dense layer behind windows of 6 pixels, out of images of 8."""
    windows = {"resolution": FixedSize(train=6, by="crop"), "model": SmallCNN(features=2, head="flatten")}
    experiment = replace(BASE, {**windows, "test_time": TenCrop(size=6, shorter=None), "mixing": Mixup()})
    checked = check(experiment)
    assert checked.analysis.input_shape == (6, 6, 1)
    assert [row.size for row in checked.analysis.sizes] == [(6, 6)]
    with pytest.raises(ConfigError, match="evaluated at 8x8 and trained on at 6x6"):
        check(replace(experiment, {"test_time": TenCrop(size=8, shorter=None)}))
    with pytest.raises(ConfigError, match="a window of 9x9 does not fit into images of 8x8; by='resize' enlarges"):
        check(replace(BASE, {"resolution": FixedSize(train=9, evaluation=9, by="crop")}))


# --- training


def trained(experiment, *, seeds=(0,), **hardware):
    program = program_of(experiment, packed=len(seeds), **hardware)
    experiments = [replace(experiment, {"seed": seed}) for seed in seeds]
    state = program.init(experiments)
    for step in range(program.steps):
        rows = program.rows(experiments, step)
        state, _ = jax.block_until_ready(program.train(state, rows, program.size_at(step)))
    return jax.device_get(state), program


@pytest.fixture(scope="module")
def two():
    return trained(BASE)


@pytest.mark.compiled
def test_two_sizes_are_two_trainings_glued(two):
    """Three steps at 6x6, then three at 8x8, by two programs of one size each: bitwise."""
    programs = [
        Program(replace(BASE, {"resolution": FixedSize(train=size, evaluation=10)}), hardware=Hardware(devices=1))
        for size in (6, 8)
    ]
    state = programs[0].init([BASE])
    for step in range(6):
        program = programs[step // 3]
        state, _ = program.train(state, program.rows([BASE], step))
    chex.assert_trees_all_equal(jax.device_get(state), two[0])


def test_one_compilation_a_size(two):
    state, program = two
    assert sorted(program._compiled) == ["train", "train 8x8"]
    assert [span.size for span in program.spans] == [(6, 6), (8, 8)]
    with pytest.raises(ValueError, match="too many values"):
        program.train(program.place([state]), program.rows([BASE], 0))
    again = replace(BASE, {"resolution.sizes": ((0, 6), (1, 8), (2, 6)), "epochs": 3, "steps": 7})
    checked = check(again).analysis
    assert [(row.size, row.epochs, row.steps) for row in checked.sizes] == [
        ((6, 6), (1, 1), 3),
        ((8, 8), (2, 2), 3),
        ((6, 6), (3, 3), 1),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "hardware"),
    [
        ({"accumulate": 2, "model.norm": "none"}, {"parallel": "jit"}),
        ({}, {"parallel": "shard_map"}),
        ({}, {"parallel": "pmap"}),
    ],
)
def test_any_spread_over_devices_agrees(changes, hardware):
    experiment = replace(BASE, changes)
    # Sums in another order: float32 round-off, a few units in the seventh digit a step.
    chex.assert_trees_all_close(
        trained(experiment, devices=2, **hardware)[0].params, trained(experiment)[0].params, rtol=2e-4, atol=2e-6
    )


@pytest.mark.slow
def test_a_packed_trial_is_the_trial_alone(two):
    packed, _ = trained(BASE, seeds=(0, 3))
    lane = jax.tree.map(lambda x: x[0], packed.params)
    chex.assert_trees_all_close(lane, two[0].params, rtol=2e-4, atol=2e-6)


class Stop(Exception):
    pass


@pytest.mark.parametrize("step", [3, *slow(2, 4)])
def test_a_training_that_is_cut_off_continues_bitwise(tmp_path, step, whole):
    """In the midst of a size, where it changes, and after that."""

    def cut(event):
        if getattr(event, "step", 0) == step and type(event).__name__ == "Saved":
            raise Stop

    options = Options(Hardware(devices=1), checkpoint_steps=1)
    with pytest.raises(Stop):
        cnnjax.train(BASE, tmp_path / "cut", options=options, sinks=(cut,))
    result = cnnjax.train(BASE, tmp_path / "cut", options=ONE)
    assert result["metrics"] == whole[1]["metrics"]
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (whole[0] / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, cnnjax.train(BASE, path, options=ONE)


# --- in use


def test_evaluation_and_prediction_are_at_the_size_of_evaluation(whole):
    path, result = whole
    resolved = Resolved.read(Resolved.at(path), remedy="")
    assert resolved is not None
    assert (resolved.input_shape, resolved.evaluated_shape) == ((8, 8, 1), (10, 10, 1))
    evaluated = evaluate(path, hardware=Hardware(devices=1))["test"]
    assert evaluated["loss"] == pytest.approx(result["metrics"]["test_loss"], rel=1e-6)
    other = evaluate(path, overrides={"resolution.evaluation": "6"}, hardware=Hardware(devices=1))["test"]
    assert other["loss"] != evaluated["loss"]
    # What is given are images as the data have them.
    held = cnnjax.load(path)
    test = BASE.data.load().test
    predicted = held.predict(test.images)
    right = np.asarray(predicted.labels) == test.labels
    assert right.mean() == pytest.approx(result["metrics"]["test_accuracy"])
    by_hand = held.network.apply(
        held.variables,
        (jax.image.resize(test.images / 255.0, (12, 10, 10, 1), "linear") - resolved.mean[0]) / resolved.std[0],
        train=False,
    )
    np.testing.assert_allclose(predicted.logits, by_hand, atol=1e-4)


@pytest.mark.slow
def test_masks_are_learned_and_evaluated_at_their_sizes(tmp_path):
    experiment = Experiment(
        model=UNet(depth=1, features=(2, 4)),
        data=Shapes(size=16, radius=(2.0, 4.0), examples=8, test_examples=4),
        task=Segmentation(),
        batch_size=4,
        steps=2,
        validation=0,
        test_time=FlipViews(),
        resolution=StagedResizing(start=8, final=16, stages=2, multiple=8, evaluation=24),
    )
    result = cnnjax.train(experiment, tmp_path / "run", options=ONE)
    assert np.isfinite(result["metrics"]["test_loss"])
    masks = cnnjax.load(tmp_path / "run").predict(experiment.data.load().test.images)
    assert masks.masks.shape == (4, 24, 24)
    odd = replace(experiment, {"resolution": FixedSize(train=9)})
    with pytest.raises(ShapeError, match="resolution: trained at 9x9: "):
        check(odd)


# --- whether it can be, and what it costs


def test_a_network_with_weights_for_each_pixel_is_refused():
    flat = replace(BASE, {"model.head": "flatten", "model.norm": "none", "model.dense": 16})
    with pytest.raises(
        ConfigError,
        match="images are evaluated at 10x10 and trained on at 6x6, but the network has other parameters for them: "
        r"dense has 528 for an input of 32 at 10x10 and 144 for an input of 8 at 6x6",
    ):
        check(flat)
    assert check(replace(flat, {"resolution": FixedSize(train=6, evaluation=6)})).analysis.input_shape == (6, 6, 1)
    with pytest.raises(ShapeError, match=r"resolution: evaluated at 4x4: model\.layers\.conv3: kernel 5 does not fit"):
        check(replace(BASE, {"model": "lenet5", "resolution": FixedSize(train=8, evaluation=4)}))


def test_macs_count_each_step_at_its_size():
    analysis = analysis_of(BASE)
    alone = {
        size: analysis_of(replace(BASE, {"resolution": FixedSize(train=size, evaluation=size)})).macs
        for size in (6, 8, 10)
    }
    assert analysis.macs == alone[10], "of an image in evaluation"
    assert [row.macs for row in analysis.sizes] == [alone[6], alone[8]]
    assert analysis.training_macs == (alone[6] + alone[8]) / 2
    assert analysis_of(replace(BASE, {"resolution": None})).training_macs == alone[8]
    assert "sizes" not in analysis_of(replace(BASE, {"resolution": None})).to_json()
    assert any(warning.startswith("at 6x6: pool2: ") for warning in analysis.warnings)


def test_the_plan_says_sizes_and_compilations():
    study = Study(BASE, axes={"resolution": [None, TWO]}, seeds=1)
    found = cnnjax.plan(study, hardware=Hardware(devices=1))
    plain, sized = found.to_json()["trials"]
    assert not {"sizes", "steps_compiled", "training_macs"} & plain.keys()
    assert sized["steps_compiled"] == 2
    assert [(row["size"], row["epochs"], row["steps"]) for row in sized["sizes"]] == [
        ([6, 6], [1, 1], 3),
        ([8, 8], [2, 2], 3),
    ]
    assert json.dumps(sized)


def test_matched_arms_cost_the_same_in_training():
    wide = replace(BASE, {"model.features": 16, "model.norm": "none", "resolution": None})
    study = Study(wide, axes={"resolution": [None, FixedSize(train=6)]}, match={"resolution": "macs"}, seeds=1)
    plain, small = cnnjax.plan(study, hardware=Hardware(devices=1)).trials
    assert small.training_macs == pytest.approx(plain.training_macs, rel=0.02)
    assert small.params > plain.params
