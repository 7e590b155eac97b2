"""Building blocks as Flax Linen modules: NHWC, float32 parameters, computing in the dtype of the input."""

from cnnjax.nn.activation import ACTIVATIONS, activation
from cnnjax.nn.auxiliary import add_auxiliary_logits
from cnnjax.nn.convolution import Convolution, convolve
from cnnjax.nn.dense import Dense
from cnnjax.nn.dropout import Dropout, StochasticDepth
from cnnjax.nn.mesh import manual_axes, shards
from cnnjax.nn.normalization import (
    NORMALIZATIONS,
    BatchNorm,
    GroupNorm,
    LayerNorm,
    LocalResponseNorm,
    NoNorm,
    normalization,
)
from cnnjax.nn.pooling import GlobalPool, Pool
from cnnjax.nn.position_bias import PositionBias
from cnnjax.nn.squeeze_excite import SqueezeExcite

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "BatchNorm",
    "Convolution",
    "Dense",
    "Dropout",
    "GlobalPool",
    "GroupNorm",
    "LayerNorm",
    "LocalResponseNorm",
    "NoNorm",
    "Pool",
    "PositionBias",
    "SqueezeExcite",
    "StochasticDepth",
    "activation",
    "add_auxiliary_logits",
    "convolve",
    "manual_axes",
    "normalization",
    "shards",
]
