"""Architectures: one file each, made by name (`build("lenet5", num_classes=10)`) or by config."""

from cnnjax.models import lenet as _lenet  # registers its presets
from cnnjax.models.convnet import (
    Activation,
    Conv,
    ConvNet,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Normalize,
    Pool,
)
from cnnjax.models.model import Model, build, config, names, preset
from cnnjax.models.norm import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm, NoNorm, Norm
from cnnjax.models.resnet import ResNet
from cnnjax.models.small_cnn import SmallCNN

__all__ = [
    "Activation",
    "BatchNorm",
    "Conv",
    "ConvNet",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalPool",
    "GroupNorm",
    "Layer",
    "LayerNorm",
    "LocalResponseNorm",
    "Model",
    "NoNorm",
    "Norm",
    "Normalize",
    "Pool",
    "ResNet",
    "SmallCNN",
    "build",
    "config",
    "names",
    "preset",
]
