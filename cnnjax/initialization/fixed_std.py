"""One standard deviation for all kernels."""

from __future__ import annotations

import jax

from cnnjax.config import lane
from cnnjax.initialization.distribution import Distribution, draw
from cnnjax.initialization.initialization import Initialization
from cnnjax.initialization.kernel import Kernel


class FixedStd(Initialization):
    """Kernels of standard deviation `std` (a lane, greater than 0), whatever their fans.

    The default is AlexNet's (Krizhevsky et al. 2012, section 5). distribution: "normal", "truncated_normal" (cut at
    2.27 std, so that std is that of the numbers) or "uniform" (up to 1.73 std).
    """

    std: float = lane(0.01, gt=0)
    distribution: Distribution = "normal"

    def draw(self, kernel: Kernel, key: jax.Array) -> jax.Array:
        return draw(self.distribution, key, kernel.layout, self.std)
