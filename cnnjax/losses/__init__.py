"""Losses: of one answer an image, and of one a pixel."""

from cnnjax.losses.loss import Loss, Poisson, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError

__all__ = ["Loss", "Poisson", "SigmoidCrossEntropy", "SoftmaxCrossEntropy", "SquaredError"]
