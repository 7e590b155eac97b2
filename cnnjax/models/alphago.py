"""AlphaGo's policy network (Silver et al. 2016, Nature 529, Methods: neural network architecture).

48 feature planes of the 19x19 board; a 5x5 and eleven 3x3 convolutions of k filters at full size, all padded with
zeros; a 1x1 convolution to one plane with a bias of its own for each place; a softmax over the 361 places. No pooling.
"""

from __future__ import annotations

from collections.abc import Iterator

import flax.linen as linen
from pydantic import Field

from cnnjax.config import Named
from cnnjax.models.convnet import Activation, Conv, ConvNetwork, Flatten, Layer, Normalize, PositionBias, stage_ends
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import ActivationName, Count, Depth, Pair
from cnnjax.models.model import Model
from cnnjax.models.norm import NoNorm, Norm


class AlphaGoPolicy(Model, tag="alphago_policy"):
    """3,882,793 parameters at k = 192, the match version; 128, 256 and 384 were compared.

    features: k. depth: convolutions of k filters, the first with `first_kernel_size`, the others with `kernel_size`.
    The number of classes is that of the board's places.
    """

    num_classes: int | None = Field(default=361, ge=1)
    features: Count = 192
    depth: Depth = 12
    first_kernel_size: Pair = 5
    kernel_size: Pair = 3
    norm: Norm = NoNorm()
    activation: ActivationName = "relu"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (19, 19, 48)

    @property
    def published_classes(self) -> int:
        return 361

    def rescaled(self, factor: float) -> Iterator[AlphaGoPolicy]:
        yield self.model_copy(update={"features": max(1, round(self.features * factor))})

    @property
    def layers(self) -> Named[Layer]:
        """The layers these knobs stand for."""
        layers: dict[str, Layer] = {}
        for number in range(1, self.depth + 1):
            size = self.first_kernel_size if number == 1 else self.kernel_size
            layers[f"conv{number}"] = Conv(features=self.features, kernel_size=size, bias=not self.norm.shifts)
            if self.norm.tag != "none":
                layers[f"norm{number}"] = Normalize(norm=self.norm)
            layers[f"activation{number}"] = Activation(name=self.activation)
        layers |= {
            self._classifier: Conv(features=1, kernel_size=1, bias=False),
            f"bias{self.depth + 1}": PositionBias(),
            "flatten": Flatten(),
        }
        return Named(layers)

    @property
    def _classifier(self) -> str:
        """The convolution to one plane."""
        return f"conv{self.depth + 1}"

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(stage_ends(self.layers, classifier=self._classifier).values())

    def network(self) -> linen.Module:
        return ConvNetwork(self, classifier=self._classifier)
