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
    LargeScaleJitter,
    Lighting,
    Mixing,
    Mixup,
    Mosaic,
    MultiCrop,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    SingleView,
    SpecAugment,
    Switch,
    TenCrop,
    TestTime,
    TimeShift,
    TrivialAugment,
)
from cnnjax.data.bands import BandFolder
from cnnjax.data.coco import Coco
from cnnjax.data.dataset import Dataset
from cnnjax.data.digits import Digits
from cnnjax.data.examples import Examples, Part
from cnnjax.data.fit_to_size import CentreFit, Fit, RandomFit, RandomScaleFit, SquashFit
from cnnjax.data.folder import ImageFolder
from cnnjax.data.go_captures import GoCaptures
from cnnjax.data.mask_folder import MaskFolder
from cnnjax.data.resolution import FixedSize, ProgressiveResizing, Resolution, SizeSchedule, StagedResizing
from cnnjax.data.scenes import Scenes
from cnnjax.data.sentences import sentence_rows
from cnnjax.data.shapes import Shapes
from cnnjax.data.skeleton import Skeleton
from cnnjax.data.sound.chirps import Chirps
from cnnjax.data.sound.clips import Clips
from cnnjax.data.sound.front_end import FrontEnd, LogMel, Spectrogram
from cnnjax.data.sound.sound import Sound
from cnnjax.data.sound.wav_folder import WavFolder
from cnnjax.data.source import Data
from cnnjax.data.stick_figures import StickFigures
from cnnjax.data.synthetic import Synthetic
from cnnjax.data.tfds import TFDS
from cnnjax.data.tinted_digits import TintedDigits
from cnnjax.data.tissue import Tissue
from cnnjax.data.voc import Voc

__all__ = [
    "TFDS",
    "AlternatingFlip",
    "AugMix",
    "Augmentation",
    "AutoAugment",
    "BandFolder",
    "CentreFit",
    "Chirps",
    "Clips",
    "Coco",
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
    "FrontEnd",
    "GaussianBlur",
    "GoCaptures",
    "Greyscale",
    "ImageFolder",
    "LargeScaleJitter",
    "Lighting",
    "LogMel",
    "MaskFolder",
    "Mixing",
    "Mixup",
    "Mosaic",
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
    "Scenes",
    "Shapes",
    "SingleView",
    "SizeSchedule",
    "Skeleton",
    "Sound",
    "SpecAugment",
    "Spectrogram",
    "SquashFit",
    "StagedResizing",
    "StickFigures",
    "Switch",
    "Synthetic",
    "TenCrop",
    "TestTime",
    "TimeShift",
    "TintedDigits",
    "Tissue",
    "TrivialAugment",
    "Voc",
    "WavFolder",
    "sentence_rows",
]
