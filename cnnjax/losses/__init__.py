"""Losses: of one answer an image, and of one a pixel."""

from cnnjax.losses.dice import Dice, SoftmaxDice
from cnnjax.losses.loss import (
    AbsoluteError,
    Loss,
    Poisson,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
)

__all__ = [
    "AbsoluteError",
    "Dice",
    "Loss",
    "Poisson",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "SoftmaxDice",
    "SquaredError",
]
