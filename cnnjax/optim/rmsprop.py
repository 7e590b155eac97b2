"""RMSProp as PyTorch computes it, and as TensorFlow does."""

from __future__ import annotations

from typing import Literal

import optax

from cnnjax.config import lane
from cnnjax.optim.optim import Optim
from cnnjax.optim.promotion import promoting


class RMSProp(Optim, tag="rmsprop"):
    """Gradients divided by the root of their averaged squares (Tieleman and Hinton 2012, lecture 6.5), with momentum.

    With g the gradient plus `weight_decay` times the parameters: v = `alpha` v + (1 - `alpha`) g^2, and m = `momentum`
    m + g / (root of v). `alpha` and `momentum` in [0, 1), `eps` > 0. `centered` subtracts from v the square of the
    averaged g, so that it estimates the variance (Graves 2013, arXiv:1308.0850).

    form: "torch", as PyTorch's RMSprop: v begins at 0, `eps` is added to the root, and the step is the learning rate
    times m. "tensorflow", as tf.compat.v1.train.RMSPropOptimizer and timm's RMSpropTF, with which MobileNet, MNASNet
    and EfficientNet were trained: v begins at 1, `eps` is added below the root, and m gathers steps that are multiplied
    by the learning rates of their own time. With the large `eps` of those recipes (0.001 to 1) the two differ much.
    """

    learning_rate: float = lane(1e-2, gt=0)
    alpha: float = lane(0.99, ge=0, lt=1)
    momentum: float = lane(0.0, ge=0, lt=1)
    eps: float = lane(1e-8, gt=0)
    centered: bool = False
    form: Literal["torch", "tensorflow"] = "torch"

    def direction(self) -> optax.GradientTransformation:
        tensorflow = self.form == "tensorflow"
        scaled = (optax.scale_by_stddev if self.centered else optax.scale_by_rms)(
            self.alpha, self.eps, initial_scale=float(tensorflow), eps_in_sqrt=tensorflow
        )
        momentum = optax.identity() if tensorflow else optax.trace(self.momentum)
        return optax.chain(self.decay(), promoting(scaled), momentum)

    def accumulated(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum) if self.form == "tensorflow" else optax.identity()
