"""Crops of evaluation against torchvision's Resize and CenterCrop, of whole files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cnnjax import CentreFit, SquashFit, models
from cnnjax.data.decode import decode_crop
from cnnjax.run.weights import _imagenet

torch = pytest.importorskip("torch")
from tests.test_decode import REAL, encoded, photograph, real_photographs  # noqa: E402
from tests.torch_peers import torchvision  # noqa: E402

pytestmark = pytest.mark.torch

SHAPES = [(375, 500), (500, 334), (256, 256), (301, 299), (120, 640), (90, 130)]


def theirs(data: bytes, resized, size) -> np.ndarray:
    from torchvision.transforms import functional

    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(functional.center_crop(functional.resize(image, resized), size)).astype(int)


def ours(data: bytes, fit, size) -> np.ndarray:
    def box(shape):
        return fit.box(shape, size, None)

    return decode_crop(data, box=box, size=size, exact=True)


@pytest.mark.parametrize(("resized", "side"), [(256, 224), (232, 224), (342, 299), (64, 64)])
def test_evaluation_crops_are_torchvisions(resized, side):
    """Not a level apart in the mean: a region of whole pixels is 4 levels off, for it is up to two pixels elsewhere."""
    assert torchvision
    for seed, shape in enumerate(SHAPES):
        data = encoded(photograph(*shape, seed), quality=90)
        for file in (data, encoded(Image.open(io.BytesIO(data)).convert("RGB"), "PNG")):
            difference = np.abs(ours(file, CentreFit(share=side / resized), (side, side)) - theirs(file, resized, side))
            # Both round to whole levels twice, Pillow in an order of rows and columns that depends on its version.
            assert difference.mean() < 0.2, shape
            assert difference.max() <= 2, shape


def test_a_whole_image_is_resized_as_torchvision_does():
    for seed, shape in enumerate(SHAPES):
        data = encoded(photograph(*shape, seed))
        difference = np.abs(ours(data, SquashFit(), (64, 96)) - theirs(data, (64, 96), (64, 96)))
        assert difference.mean() < 0.2
        assert difference.max() <= 2


def test_large_photographs_are_decoded_smaller_without_being_seen():
    """From eight times the size on: half of the pixels are decoded, within the rounding of a byte on the average."""
    data = encoded(photograph(900, 1200), quality=90)
    difference = np.abs(ours(data, CentreFit(share=0.875), (84, 84)) - theirs(data, 96, 84))
    assert 0 < difference.mean() < 0.3


# Presets of which torchvision has weights; EfficientNet-B2 it evaluates at 288, not at the published 260.
NAMES = "alexnet vgg16 resnet50 googlenet inception_v3 densenet121 squeezenet1_0 mobilenet_v2 mobilenet_v3_large "
NAMES += "shufflenet_v2_x1_0 regnet_y_400mf convnext_tiny convnext_small convnext_base "
NAMES += (
    "efficientnet_b0 efficientnet_b1 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7 "
)
NAMES += "resnext101_32x8d resnext101_64x4d wide_resnet101_2 convnext_large regnet_y_32gf"


@pytest.mark.parametrize("name", NAMES.split())
def test_imports_are_evaluated_at_torchvisions_sizes(name):
    weights = torchvision.models.get_model_weights(name)
    expected = weights["IMAGENET1K_V1"].transforms()
    data = _imagenet(models.config(name))
    assert data.size == (expected.crop_size[0],) * 2
    assert isinstance(data.fit, CentreFit)
    assert round(data.size[0] / data.fit.share) == expected.resize_size[0]
    # These two networks scale what they are given again there, in `transform_input`.
    if name not in ("googlenet", "inception_v3"):
        assert (list(data.mean), list(data.std)) == (list(expected.mean), list(expected.std))


def test_evaluation_crops_of_imagenet_are_torchvisions():
    if not REAL.is_file():
        pytest.skip(f"needs real photographs in {REAL}")
    means = []
    for data in real_photographs(40):
        means.append(np.abs(ours(data, CentreFit(share=0.875), (224, 224)) - theirs(data, 256, 224)).mean())
    assert np.mean(means) < 0.01
    assert max(means) < 0.2
