"""Building blocks as Flax Linen modules: NHWC, float32 parameters, computing in the dtype of the input."""

from cnnjax.nn.activation import ACTIVATIONS, activation
from cnnjax.nn.auxiliary import add_auxiliary_logits
from cnnjax.nn.cbam import ChannelAttention, ConvolutionalBlockAttention, SpatialAttention
from cnnjax.nn.convolution import Convolution, convolve
from cnnjax.nn.drop_block import DropBlock
from cnnjax.nn.dropout import InvertedDropout, StochasticDepth
from cnnjax.nn.efficient_channel_attention import EfficientChannelAttention
from cnnjax.nn.fully_connected import FullyConnected
from cnnjax.nn.mesh import manual_axes, shards
from cnnjax.nn.normalization import (
    NORMALIZATIONS,
    BatchNormalization,
    FrozenBatchNormalization,
    GroupNormalization,
    LayerNormalization,
    LocalResponseNormalization,
    NoNormalization,
    normalization,
)
from cnnjax.nn.pixel_shuffle import PixelShuffle
from cnnjax.nn.pooling import GlobalPooling, Pooling
from cnnjax.nn.region_pooling import REGION_POOLINGS, RegionPooling, roi_align, roi_pool
from cnnjax.nn.resize import Resize
from cnnjax.nn.squeeze_excite import SqueezeExcite
from cnnjax.nn.transposed_convolution import TransposedConvolution, bilinear_kernel, convolve_transposed
from cnnjax.nn.untied_bias import UntiedBias
from cnnjax.nn.weight_standardization import standardized

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "REGION_POOLINGS",
    "BatchNormalization",
    "ChannelAttention",
    "Convolution",
    "ConvolutionalBlockAttention",
    "DropBlock",
    "EfficientChannelAttention",
    "FrozenBatchNormalization",
    "FullyConnected",
    "GlobalPooling",
    "GroupNormalization",
    "InvertedDropout",
    "LayerNormalization",
    "LocalResponseNormalization",
    "NoNormalization",
    "PixelShuffle",
    "Pooling",
    "RegionPooling",
    "Resize",
    "SpatialAttention",
    "SqueezeExcite",
    "StochasticDepth",
    "TransposedConvolution",
    "UntiedBias",
    "activation",
    "add_auxiliary_logits",
    "bilinear_kernel",
    "convolve",
    "convolve_transposed",
    "manual_axes",
    "normalization",
    "roi_align",
    "roi_pool",
    "shards",
    "standardized",
]
