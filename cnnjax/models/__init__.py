"""Architectures: one file each, made by name (`build("lenet5", num_classes=10)`) or by config."""

# These register their presets.
from cnnjax.models import airbench as _airbench
from cnnjax.models import alexnet as _alexnet
from cnnjax.models import bit as _bit
from cnnjax.models import lenet as _lenet
from cnnjax.models import resnet_presets as _resnet_presets
from cnnjax.models import vgg as _vgg
from cnnjax.models.alphago import AlphaGoPolicy
from cnnjax.models.attention import CBAM, ECA, Attention, NoAttention, SqueezeExcitation
from cnnjax.models.autoencoder import Autoencoder
from cnnjax.models.captioners import Captioner, ShowAndTell
from cnnjax.models.convmixer import ConvMixer
from cnnjax.models.convnet import (
    Activation,
    Conv,
    ConvNet,
    Dense,
    DropBlock,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Normalize,
    Pool,
    PositionBias,
    Scale,
)
from cnnjax.models.convnext import ConvNeXt
from cnnjax.models.densenet import DenseNet
from cnnjax.models.detecting import WithDetector
from cnnjax.models.detectors import AnchorFree, CenterNet, Detector, FasterRCNN, GridDetector, MaskRCNN
from cnnjax.models.efficientnet import EfficientNet
from cnnjax.models.efficientnet_v2 import EfficientNetV2
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.generator import Generator
from cnnjax.models.googlenet import GoogLeNet
from cnnjax.models.headed import WithHead
from cnnjax.models.heads import FCN, DeepLabV3, Head, SimpleBaseline, TorchFCN, with_head
from cnnjax.models.inception_resnet_v2 import InceptionResNetV2
from cnnjax.models.inception_v3 import InceptionV3
from cnnjax.models.inception_v4 import InceptionV4
from cnnjax.models.keyword_resnet import KeywordResNet
from cnnjax.models.mnasnet import MNASNet
from cnnjax.models.mobilenet_v1 import MobileNetV1
from cnnjax.models.mobilenet_v2 import MobileNetV2
from cnnjax.models.mobilenet_v3 import MobileNetV3
from cnnjax.models.model import Model, build, config, names, preset
from cnnjax.models.nfnet import NFNet
from cnnjax.models.norm import BatchNorm, FrozenBatchNorm, GroupNorm, LayerNorm, LocalResponseNorm, NoNorm, Norm
from cnnjax.models.regnet import RegNet
from cnnjax.models.repvgg import RepVGG
from cnnjax.models.residual_layer import Residual
from cnnjax.models.resnet import ResNet
from cnnjax.models.resnet_stem import CifarStem, DeepStem, ImageNetStem
from cnnjax.models.shufflenet_v2 import ShuffleNetV2
from cnnjax.models.small_cnn import SmallCNN
from cnnjax.models.squeezenet import SqueezeNet
from cnnjax.models.super_resolution import ESPCN, SRCNN
from cnnjax.models.unet import UNet
from cnnjax.models.xception import Xception

__all__ = [
    "CBAM",
    "ECA",
    "ESPCN",
    "FCN",
    "SRCNN",
    "Activation",
    "AlphaGoPolicy",
    "AnchorFree",
    "Attention",
    "Autoencoder",
    "BatchNorm",
    "Captioner",
    "CenterNet",
    "CifarStem",
    "Conv",
    "ConvMixer",
    "ConvNeXt",
    "ConvNet",
    "DeepLabV3",
    "DeepStem",
    "Dense",
    "DenseNet",
    "Detector",
    "DropBlock",
    "Dropout",
    "EfficientNet",
    "EfficientNetV2",
    "Endpoint",
    "FasterRCNN",
    "Flatten",
    "FrozenBatchNorm",
    "Generator",
    "GlobalPool",
    "GoogLeNet",
    "GridDetector",
    "GroupNorm",
    "Head",
    "ImageNetStem",
    "InceptionResNetV2",
    "InceptionV3",
    "InceptionV4",
    "KeywordResNet",
    "Layer",
    "LayerNorm",
    "LocalResponseNorm",
    "MNASNet",
    "MaskRCNN",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "Model",
    "NFNet",
    "NoAttention",
    "NoNorm",
    "Norm",
    "Normalize",
    "Pool",
    "PositionBias",
    "RegNet",
    "RepVGG",
    "ResNet",
    "Residual",
    "Scale",
    "ShowAndTell",
    "ShuffleNetV2",
    "SimpleBaseline",
    "SmallCNN",
    "SqueezeExcitation",
    "SqueezeNet",
    "TorchFCN",
    "UNet",
    "WithDetector",
    "WithHead",
    "Xception",
    "build",
    "config",
    "names",
    "preset",
    "with_head",
]
