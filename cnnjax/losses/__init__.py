"""Losses: of one answer an image, and of one a pixel."""

from cnnjax.losses.dice import Dice, SoftmaxDice
from cnnjax.losses.loss import Loss, Poisson, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError

__all__ = ["Dice", "Loss", "Poisson", "SigmoidCrossEntropy", "SoftmaxCrossEntropy", "SoftmaxDice", "SquaredError"]
