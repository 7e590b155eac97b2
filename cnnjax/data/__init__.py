"""Data sets, their splits, the order of examples and augmentation."""

from cnnjax.data.augment import Augmentation, Flip, RandomCrop
from cnnjax.data.digits import Digits
from cnnjax.data.source import Data, Dataset, Examples
from cnnjax.data.synthetic import Synthetic
from cnnjax.data.tfds import TFDS

__all__ = ["TFDS", "Augmentation", "Data", "Dataset", "Digits", "Examples", "Flip", "RandomCrop", "Synthetic"]
