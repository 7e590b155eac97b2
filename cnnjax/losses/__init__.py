"""Losses: of one answer an image, of one a pixel, and of boxes."""

from cnnjax.losses.boxes import BoxLoss, GIoU, SmoothL1
from cnnjax.losses.dice import Dice, SoftmaxDice
from cnnjax.losses.loss import (
    AbsoluteError,
    Focal,
    Loss,
    Poisson,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
)

__all__ = [
    "AbsoluteError",
    "BoxLoss",
    "Dice",
    "Focal",
    "GIoU",
    "Loss",
    "Poisson",
    "SigmoidCrossEntropy",
    "SmoothL1",
    "SoftmaxCrossEntropy",
    "SoftmaxDice",
    "SquaredError",
]
