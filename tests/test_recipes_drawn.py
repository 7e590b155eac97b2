"""What recipes draw: the same boxes, shares and examples as PyTorch's and timm's code from the same random numbers."""

from __future__ import annotations

import importlib
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax import CutMix, Mixup
from cnnjax.data.augment import boxes
from cnnjax.data.crop_boxes import random_box
from cnnjax.data.order import Order
from tests.torch_peers import timm, torch, torchvision

pytestmark = pytest.mark.torch

v2 = importlib.import_module(f"{torchvision.__name__}.transforms.v2")
samplers = importlib.import_module(f"{timm.__name__}.data.distributed_sampler")


class Numbers:
    """Numbers in 0..1 that stand for all that is drawn, one after the other: by PyTorch, and as NumPy's generator."""

    def __init__(self, numbers):
        self.numbers = iter(numbers)

    def uniform(self, low, high):
        return low + (high - low) * float(next(self.numbers))

    def integers(self, count):
        return min(int(np.float32(next(self.numbers)) * np.float32(count)), count - 1)

    def given_to(self, monkeypatch):
        """In the place of PyTorch's random numbers."""
        monkeypatch.setattr(torch.Tensor, "uniform_", lambda made, low, high: made.fill_(self.uniform(low, high)))
        randint = lambda low, high, size: torch.full(size, low + self.integers(high - low))  # noqa: E731
        monkeypatch.setattr(torch, "randint", randint)


SHAPES = [(375, 500), (500, 334), (100, 640), (640, 100), (33, 47)]


@pytest.mark.parametrize("shape", SHAPES)
def test_training_crops_are_torchvisions(shape, monkeypatch):
    """Of images that are decoded by regions, and where none of ten regions fits."""
    drawn = np.random.default_rng(0).random((100, 42))
    peer, image = v2.RandomResizedCrop(8), torch.zeros(3, *shape)
    for numbers in drawn:
        ours = random_box(Numbers(numbers), shape)
        with monkeypatch.context() as patch:
            Numbers(numbers).given_to(patch)
            theirs = peer.make_params([image])
        assert ours == tuple(theirs[name] for name in ("top", "left", "height", "width"))


def test_erased_boxes_are_torchvisions(monkeypatch):
    height, width, count = 22, 33, 200
    scale, ratio = (0.02, 0.33), (0.3, 3.3)

    def ours(key):
        box, found = boxes.first_that_fits(
            key, limits=(height - 1, width - 1), image=(height, width), scale=scale, ratio=(1 / ratio[1], 1 / ratio[0])
        )
        return jnp.stack(box), found

    keys = jax.random.split(jax.random.key(0), count)
    found, fits = jax.jit(jax.vmap(ours))(keys)
    numbers = np.asarray(jax.vmap(lambda key: jax.random.uniform(key, (4, boxes.TRIES)))(keys))
    peer, image = v2.RandomErasing(p=1.0, scale=scale, ratio=ratio), torch.zeros(3, height, width)
    assert fits.all()
    for box, (shares, ratios, rows, columns) in zip(found, numbers, strict=True):
        with monkeypatch.context() as patch:
            # torchvision draws height / width where we draw width / height, and a place only for a box that fits.
            tries = zip(shares, 1 - ratios, strict=True)
            Boxes(tries, zip(rows, columns, strict=True)).given_to(patch)
            theirs = peer.make_params([image])
        assert box.tolist() == [theirs[name] for name in ("i", "j", "h", "w")]


class Boxes(Numbers):
    """Numbers of several tries, of which each has a share, a ratio and, drawn only if it fits, a row and a column."""

    def __init__(self, tries, places):
        self.sizes, self.places = (number for one in tries for number in one), list(places)
        self.drawn, self.numbers = 0, None

    def uniform(self, low, high):
        self.drawn += 1
        return low + (high - low) * float(next(self.sizes))

    def integers(self, count):
        if self.numbers is None:
            self.numbers = iter(self.places[self.drawn // 2 - 1])
        return super().integers(count)


MIXUP, CUTMIX = jax.jit(Mixup(alpha=0.2).mix), jax.jit(CutMix(alpha=1.0).mix)
PAIR = np.random.default_rng(0).random((2, 20, 30, 3), np.float32)


def mixed_by_torchvision(peer, share, places, monkeypatch):
    """The first of both images and the weight of its label, the share and the box's centre given."""
    images = torch.from_numpy(PAIR.transpose(0, 3, 1, 2).copy())
    with monkeypatch.context() as patch:
        patch.setattr(
            peer._dist, "sample", lambda shape=(): torch.tensor([float(share), 1 - float(share)])[:1].squeeze(0)
        )
        places = iter(places)
        patch.setattr(torch, "randint", lambda high, size: torch.full(size, int(next(places))))
        made, labels = peer(images, torch.tensor([0, 1]))
    return made[0].numpy().transpose(1, 2, 0), float(labels[0, 0])


@pytest.mark.parametrize("seed", range(4))
def test_mixup_is_torchvisions(seed, monkeypatch):
    key = jax.random.key(seed)
    ours, share = MIXUP(*map(jnp.asarray, PAIR), key)
    image, weight = mixed_by_torchvision(v2.MixUp(alpha=0.2, num_classes=2), share, (), monkeypatch)
    assert_allclose(ours, image, atol=1e-6)
    assert_allclose(share, weight, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_cutmix_is_torchvisions(seed, monkeypatch):
    key, (height, width) = jax.random.key(seed), PAIR.shape[1:3]
    ours, share = CUTMIX(*map(jnp.asarray, PAIR), key)
    of_share, of_place = jax.random.split(key)
    row, column = (np.asarray(jax.random.uniform(of_place, (2,))) * [height, width]).astype(int)
    before = jax.random.beta(of_share, 1.0, 1.0)
    image, weight = mixed_by_torchvision(v2.CutMix(alpha=1.0, num_classes=2), before, (column, row), monkeypatch)
    assert_array_equal(ours, image)
    assert_allclose(share, weight, atol=1e-6)


@pytest.mark.parametrize("repeats", [3, 4])
def test_repeated_augmentation_is_that_of_the_samplers(repeats):
    """A step of all devices holds each of its images `repeats` times, in the order of one permutation."""
    devices, batch, examples = 4, 24, 1024
    order = Order(seed=0, batch_size=batch, examples=examples, repeats=repeats)
    permutation = np.concatenate([Order(0, batch, examples).indices(step) for step in range(examples // batch)])
    ranks = [
        list(
            samplers.RepeatAugSampler(
                range(examples), num_replicas=devices, rank=rank, shuffle=False, num_repeats=repeats
            )
        )
        for rank in range(devices)
    ]
    each = batch // devices
    for step in range(8):
        places = np.concatenate([rank[step * each : (step + 1) * each] for rank in ranks])
        assert Counter(order.indices(step).tolist()) == Counter(permutation[places].tolist())
        assert set(Counter(order.indices(step).tolist()).values()) == {repeats}
