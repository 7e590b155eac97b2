"""Detection in two stages against torchvision's: anchors, matching, levels, masks, and networks for the same weights.

torchvision's RoIAlign is compiled and may not load: tests/test_region_pooling.py has it by its definition. Here the box
head is given the regions that ours pools.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import FasterRCNN, FrozenBatchNorm, MaskRCNN, analyse, box_masks, convert, models, nn
from cnnjax.config import replace
from cnnjax.data import packed_masks
from cnnjax.models.detectors import Limits
from cnnjax.models.detectors.anchors import anchors_of, matched
from cnnjax.models.detectors.two_stage import SCALE
from cnnjax.models.heads import with_head

torch = pytest.importorskip("torch")
from tests.marks import slow  # noqa: E402
from tests.test_torch_boxes import some  # noqa: E402
from tests.torch_peers import cut, randomized, torchvision, uninitialized  # noqa: E402

pytestmark = pytest.mark.torch
detection = torchvision.models.detection
QUICK: Any = {"xla_backend_optimization_level": 0}
# torchvision divides the image's size by each map's: those of all maps are whole.
SIZE = (64, 128)


def test_anchors():
    """Of sizes that round, ratios that are no powers of two, and maps that are not square."""
    sizes, ratios = ((9.0, 21.0), (33.0, 50.0)), (0.5, 1.0, 3.0)
    theirs = detection.anchor_utils.AnchorGenerator(sizes, (ratios,) * 2)
    images = detection.image_list.ImageList(torch.zeros(1, 3, 40, 56), [(40, 56)])
    [expected] = theirs(images, [torch.zeros(1, 1, 10, 14), torch.zeros(1, 1, 5, 7)])
    ours = [anchors_of(40 // s, 56 // s, s, sizes=own, ratios=ratios) for s, own in zip((4, 8), sizes, strict=True)]
    np.testing.assert_array_equal(jnp.concatenate(ours), expected)


@pytest.mark.parametrize("best_too", [True, False])
def test_matching(best_too):
    """Many boxes on a coarse grid, so that overlaps are equal and some objects are overlapped by little."""
    references = np.concatenate([some(150, 1, whole=True), some(150, 1, whole=True)])
    boxes = np.concatenate([some(6, 2, whole=True), [[0, 0, 3, 60], [0, 0, 0, 0]]]).astype(np.float32)
    there = np.arange(8) != 7
    low, high = (0.3, 0.5) if best_too else (0.4, 0.4)
    overlaps = torchvision.ops.box_iou(torch.tensor(boxes[there]), torch.tensor(references))
    matcher = detection._utils.Matcher(high, low, allow_low_quality_matches=best_too)
    expected = matcher(overlaps).numpy()
    object_of, is_object, is_none = jax.jit(lambda *given: matched(*given, least=high, most=low, best_too=best_too))(
        references, boxes, there
    )
    assert {-1, 0} < set(expected)
    np.testing.assert_array_equal(np.where(is_object, object_of, -1), np.maximum(expected, -1))
    np.testing.assert_array_equal(is_none, expected == matcher.BELOW_LOW_THRESHOLD)


def test_levels():
    mapper = torchvision.ops.poolers.LevelMapper(2, 5, 224, 4)
    low = np.zeros((500, 2))
    sides = np.exp(np.random.default_rng(0).uniform(0, 8, (500, 2)))
    boxes = np.concatenate([low, low + sides], 1).astype(np.float32)
    ours = FasterRCNN(stride=4, levels=4).level_of(jnp.asarray(boxes))
    np.testing.assert_array_equal(ours, mapper([torch.tensor(boxes)]))


SHORT = (1, 2, 1, 1)


def short(name: str) -> Any:
    """The config of a backbone with the first blocks of each stage alone, as its peer has it."""
    return models.config(name, norm=FrozenBatchNorm(), stage_sizes=SHORT)


def peer(name: str, *, masks: bool = False) -> Any:
    with uninitialized():
        backbone = detection.backbone_utils.resnet_fpn_backbone(
            backbone_name=name, weights=None, norm_layer=torchvision.ops.misc.FrozenBatchNorm2d, trainable_layers=5
        )
        made = (detection.MaskRCNN if masks else detection.FasterRCNN)(backbone, num_classes=5)
    return randomized(cut(made, [f"backbone.body.layer{number}" for number in (1, 2, 3, 4)], SHORT))


@pytest.mark.parametrize("name", ["resnet18", *slow("resnet50")])
def test_a_network_says_what_torchvisions_says(name):
    """At every anchor, and of the regions that ours proposes."""
    theirs = peer(name)
    preset: Any = models.config("fasterrcnn_resnet50_fpn")
    ours = replace(preset, {"backbone": short(name), "detector.proposals": 20})
    state = theirs.state_dict()
    variables = convert.from_torch(ours, state, input_shape=(*SIZE, 3))
    assert variables["params"]["head"]["logits"]["bias"].shape == (5,)
    x = np.random.default_rng(1).normal(size=(2, *SIZE, 3)).astype(np.float32)
    module = ours.model_copy(update={"num_classes": 4}).build()

    def run(variables, x):
        return module.apply(variables, x, capture_intermediates=lambda module, _: module.name == "pool")

    said, held = jax.jit(run).lower(variables, x).compile(compiler_options=QUICK)(variables, x)
    [regions] = held["intermediates"]["head"]["pool"]["__call__"]
    with torch.no_grad():
        maps = theirs.backbone(torch.tensor(x.transpose(0, 3, 1, 2).copy()))
        objectness, codes = theirs.rpn.head(list(maps.values()))
        images = detection.image_list.ImageList(torch.zeros(2, 3, *SIZE), [SIZE] * 2)
        anchors = theirs.rpn.anchor_generator(images, list(maps.values()))
        flat = detection.rpn.concat_box_prediction_layers(objectness, codes)
        features = theirs.roi_heads.box_head(torch.tensor(np.asarray(regions).transpose(0, 3, 1, 2).copy()))
        logits, boxes = theirs.roi_heads.box_predictor(features)
        proposals = [torch.tensor(np.asarray(own)) for own in said["proposals"]]
        decoded = theirs.roi_heads.box_coder.decode(boxes, proposals)
    np.testing.assert_array_equal(said["anchors"], np.stack(anchors))
    for own, other in (
        (said["objectness"].reshape(-1, 1), flat[0]),
        (said["anchor_codes"].reshape(-1, 4), flat[1]),
        (said["logits"].reshape(-1, 5), logits),
        (said["codes"].reshape(-1, 20), boxes),
    ):
        assert np.abs(own - other.numpy()).max() < 1e-4 * np.abs(other.numpy()).max()
    found, _ = jax.jit(jax.vmap(lambda own: ours.detector.said(own, SIZE)))(said)
    limits = torch.tensor([SIZE[1], SIZE[0]] * 2)
    expected = torch.minimum(decoded.clamp(min=0), limits).reshape(2, 20, 5, 4)[:, :, 1:]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-2)
    assert tuple(theirs.roi_heads.box_coder.weights) == SCALE
    pooler = theirs.roi_heads.box_roi_pool
    assert (pooler.output_size, pooler.sampling_ratio) == ((ours.detector.pooled,) * 2, ours.detector.points)
    assert (pooler.canonical_scale / 16, theirs.rpn.nms_thresh) == (ours.detector.reach, ours.detector.proposal_overlap)
    returned = convert.to_torch(ours, variables, input_shape=(*SIZE, 3))
    assert all(np.array_equal(returned[key], value.numpy()) for key, value in state.items())
    if torchvision.extension._has_ops():
        pooler.scales = None
        with torch.no_grad():
            pooled = pooler(maps, proposals, [SIZE] * 2).numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(regions, pooled, rtol=1e-4, atol=1e-4 * np.abs(pooled).max())


def test_masks_are_what_torchvisions_says():
    """Of the regions that ours pools of what ours finds; and every weight goes there and back."""
    theirs = peer("resnet18", masks=True)
    preset: Any = models.config("maskrcnn_resnet50_fpn")
    backbone = short("resnet18")
    ours = replace(preset, {"backbone": backbone, "detector.proposals": 9})
    state = theirs.state_dict()
    variables = convert.from_torch(ours, state, input_shape=(*SIZE, 3))
    x = np.random.default_rng(1).normal(size=(2, *SIZE, 3)).astype(np.float32)
    module = with_head(backbone, ours.detector.limited(Limits(most=4, least=0.0)), 4)

    def run(variables, x):
        return module.apply(variables, x, capture_intermediates=lambda module, _: "pool" in (module.name or ""))

    said, held = jax.jit(run).lower(variables, x).compile(compiler_options=QUICK)(variables, x)
    [regions], [masked] = (held["intermediates"]["head"][name]["__call__"] for name in ("pool", "mask_pool"))
    assert masked.shape == (2 * 4, 14, 14, 256)
    with torch.no_grad():
        given = [torch.tensor(np.asarray(own).transpose(0, 3, 1, 2).copy()) for own in (regions, masked)]
        logits, boxes = theirs.roi_heads.box_predictor(theirs.roi_heads.box_head(given[0]))
        masks = theirs.roi_heads.mask_predictor(theirs.roi_heads.mask_head(given[1])).numpy().transpose(0, 2, 3, 1)
    for own, other in (
        (said["logits"].reshape(-1, 5), logits.numpy()),
        (said["codes"].reshape(-1, 20), boxes.numpy()),
        (said["found_masks"].reshape(-1, 28, 28, 5), masks),
    ):
        assert np.abs(own - other).max() < 1e-4 * np.abs(other).max()
    labels = np.asarray(said["found_labels"]).reshape(-1)
    assert np.asarray(said["found_valid"]).any()
    expected = detection.roi_heads.maskrcnn_inference(
        torch.tensor(masks.transpose(0, 3, 1, 2).copy()), [torch.tensor(1 + labels).long()]
    )[0].numpy()[:, 0]
    ours_said = jax.jit(jax.vmap(ours.detector.masks_of))(dict(said)).reshape(-1, 28, 28)
    np.testing.assert_allclose(ours_said, expected, atol=1e-4)
    pooler = theirs.roi_heads.mask_roi_pool
    assert (pooler.output_size, pooler.sampling_ratio) == ((ours.detector.mask_pooled,) * 2, ours.detector.points)
    returned = convert.to_torch(ours, variables, input_shape=(*SIZE, 3))
    assert all(np.array_equal(returned[key], value.numpy()) for key, value in state.items())


def test_the_loss_of_masks():
    """torchvision's takes the means over what is an object in all images together; of one image they are alike."""
    rng = np.random.default_rng(0)
    head = MaskRCNN(mask_pooled=4)
    logits = rng.normal(size=(6, 8, 8, 4)).astype(np.float32)
    proposals = some(6, 3)
    masks = rng.random((2, 70, 80)) < 0.5
    object_of, labels = np.array([1, 0, 1, 0, 0, 1]), np.array([2.0, 0.0])
    objects = np.concatenate([labels[:, None], np.zeros((2, 5))], 1).astype(np.float32)
    held = {"logits": logits, "proposals": proposals, "object": object_of, "valid": np.ones(6, bool)}
    ours = head._loss_of_masks(
        {f"mask_{name}": x for name, x in held.items()}, jnp.asarray(objects), jnp.asarray(packed_masks.packed(masks))
    )
    true = np.asarray(box_masks.within(jnp.asarray(masks[object_of]), jnp.asarray(proposals), size=8))
    own = torch.tensor(logits)[torch.arange(6), :, :, torch.tensor(1 + labels[object_of]).long()]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(own, torch.tensor(true.astype(np.float32)))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_masks_are_put_back_as_a_grid_is_sampled():
    parts, boxes = np.random.default_rng(0).random((5, 28, 28)).astype(np.float32), some(5, 4)
    ours = box_masks.pasted(jnp.asarray(parts), jnp.asarray(boxes), (60, 90))
    y, x = (torch.arange(count) + 0.5 for count in (60, 90))
    left, top, right, bottom = torch.tensor(boxes).T[..., None]
    across, down = 2 * (x - left) / (right - left) - 1, 2 * (y - top) / (bottom - top) - 1
    grid = torch.stack([across[:, None].expand(5, 60, 90), down[..., None].expand(5, 60, 90)], -1)
    expected = torch.nn.functional.grid_sample(torch.tensor(parts)[:, None], grid, align_corners=False)[:, 0]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_parameters_are_torchvisions():
    """Of its weights for COCO, whose normalization is frozen."""
    weights = detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    module = models.build("fasterrcnn_resnet50_fpn")
    assert analyse(module, (64, 64, 3)).params == weights.meta["num_params"] == 41_755_286
    weights = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    module = models.build("maskrcnn_resnet50_fpn")
    assert analyse(module, (64, 64, 3)).params == weights.meta["num_params"] == 44_401_393


def test_frozen_normalization():
    theirs = torchvision.ops.misc.FrozenBatchNorm2d(3)
    rng = np.random.default_rng(0)
    state = {key: torch.tensor(rng.uniform(0.5, 2, 3).astype(np.float32)) for key in theirs.state_dict()}
    theirs.load_state_dict(state)
    names = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
    held = {"batch_stats": {names[key]: np.asarray(value) for key, value in state.items()}}
    x = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    module = nn.normalization("frozen")
    expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2).copy())).numpy().transpose(0, 2, 3, 1)
    for train in (False, True):
        y, after = module.apply(held, x, train=train, mutable=["batch_stats"])
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        jax.tree.map(np.testing.assert_array_equal, dict(after), held)
    assert not module.init(jax.random.key(0), x).get("params")
