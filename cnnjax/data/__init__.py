"""Data sets, their splits, the order of examples and augmentation."""

from cnnjax.data.augment import (
    AlternatingFlip,
    Augmentation,
    AugMix,
    AutoAugment,
    ColorJitter,
    CutMix,
    Cutout,
    Flip,
    FlipViews,
    GaussianBlur,
    Greyscale,
    Lighting,
    Mixing,
    Mixup,
    MultiCrop,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    SingleView,
    Switch,
    TenCrop,
    TestTime,
    TrivialAugment,
)
from cnnjax.data.dataset import Dataset
from cnnjax.data.digits import Digits
from cnnjax.data.examples import Examples, Part
from cnnjax.data.fit_to_size import CentreFit, Fit, RandomFit, RandomScaleFit, SquashFit
from cnnjax.data.folder import ImageFolder
from cnnjax.data.go_captures import GoCaptures
from cnnjax.data.mask_folder import MaskFolder
from cnnjax.data.resolution import FixedSize, ProgressiveResizing, Resolution, SizeSchedule, StagedResizing
from cnnjax.data.shapes import Shapes
from cnnjax.data.source import Data
from cnnjax.data.synthetic import Synthetic
from cnnjax.data.tfds import TFDS
from cnnjax.data.tinted_digits import TintedDigits

__all__ = [
    "TFDS",
    "AlternatingFlip",
    "AugMix",
    "Augmentation",
    "AutoAugment",
    "CentreFit",
    "ColorJitter",
    "CutMix",
    "Cutout",
    "Data",
    "Dataset",
    "Digits",
    "Examples",
    "Fit",
    "FixedSize",
    "Flip",
    "FlipViews",
    "GaussianBlur",
    "GoCaptures",
    "Greyscale",
    "ImageFolder",
    "Lighting",
    "MaskFolder",
    "Mixing",
    "Mixup",
    "MultiCrop",
    "Part",
    "ProgressiveResizing",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomFit",
    "RandomResizedCrop",
    "RandomScaleFit",
    "Resolution",
    "Shapes",
    "SingleView",
    "SizeSchedule",
    "SquashFit",
    "StagedResizing",
    "Switch",
    "Synthetic",
    "TenCrop",
    "TestTime",
    "TintedDigits",
    "TrivialAugment",
]
