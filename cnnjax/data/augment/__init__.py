"""Augmentation as pure functions of an image and a key; each example has a key of its own.

The configs import no JAX; the functions they call stand in boxes, resample, pixels, jitter and operations.
"""

from cnnjax.data.augment.augmentation import Augmentation
from cnnjax.data.augment.color import ColorJitter, GaussianBlur, Greyscale
from cnnjax.data.augment.crop import RandomCrop, RandomResizedCrop
from cnnjax.data.augment.erase import Cutout, RandomErasing
from cnnjax.data.augment.flip import AlternatingFlip, Flip
from cnnjax.data.augment.large_scale_jitter import LargeScaleJitter
from cnnjax.data.augment.lighting import Lighting
from cnnjax.data.augment.mixing import CutMix, Mixing, Mixup, Switch
from cnnjax.data.augment.mosaic import Mosaic
from cnnjax.data.augment.policy import AugMix, AutoAugment, RandAugment, TrivialAugment
from cnnjax.data.augment.spectrograms import SpecAugment, TimeShift
from cnnjax.data.augment.views import FlipViews, MultiCrop, SingleView, TenCrop, TestTime

__all__ = [
    "AlternatingFlip",
    "AugMix",
    "Augmentation",
    "AutoAugment",
    "ColorJitter",
    "CutMix",
    "Cutout",
    "Flip",
    "FlipViews",
    "GaussianBlur",
    "Greyscale",
    "LargeScaleJitter",
    "Lighting",
    "Mixing",
    "Mixup",
    "Mosaic",
    "MultiCrop",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "SingleView",
    "SpecAugment",
    "Switch",
    "TenCrop",
    "TestTime",
    "TimeShift",
    "TrivialAugment",
]
