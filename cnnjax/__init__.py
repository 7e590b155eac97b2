"""Controlled ablation studies of convolutional networks in JAX: one Python file in, a defensible answer out.

Names are loaded when they are first used: importing cnnjax does no work and touches no device.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnjax.analysis import analyse
    from cnnjax.config import Config
    from cnnjax.data import (
        TFDS,
        AlternatingFlip,
        Augmentation,
        AugMix,
        AutoAugment,
        CentreFit,
        ColorJitter,
        CutMix,
        Cutout,
        Data,
        Dataset,
        Digits,
        Examples,
        Fit,
        Flip,
        FlipViews,
        GaussianBlur,
        Greyscale,
        ImageFolder,
        Mixing,
        Mixup,
        MultiCrop,
        Part,
        RandAugment,
        RandomCrop,
        RandomErasing,
        RandomFit,
        RandomResizedCrop,
        SingleView,
        SquashFit,
        Switch,
        Synthetic,
        TenCrop,
        TestTime,
        TrivialAugment,
    )
    from cnnjax.errors import CnnjaxError, ConfigError, DataError, RunError, ShapeError
    from cnnjax.experiment import Experiment
    from cnnjax.lane_fields import lane
    from cnnjax.losses import Loss, Poisson, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
    from cnnjax.models import (
        Activation,
        AlphaGoPolicy,
        BatchNorm,
        CifarStem,
        Conv,
        ConvNet,
        ConvNeXt,
        DeepStem,
        Dense,
        DenseNet,
        Dropout,
        EfficientNet,
        Flatten,
        GlobalPool,
        GoogLeNet,
        GroupNorm,
        ImageNetStem,
        InceptionV3,
        Layer,
        LayerNorm,
        LocalResponseNorm,
        MobileNetV2,
        MobileNetV3,
        Model,
        NoNorm,
        Norm,
        Normalize,
        Pool,
        PositionBias,
        RegNet,
        ResNet,
        Scale,
        ShuffleNetV2,
        SmallCNN,
        SqueezeNet,
    )
    from cnnjax.optim import SGD, AdamW, Constant, Cosine, Linear, OneCycle, Optim, Schedule, Step
    from cnnjax.reporting import report
    from cnnjax.run.hardware import Hardware
    from cnnjax.run.loop import Options, train
    from cnnjax.study.describe import describe
    from cnnjax.study.executor import sweep
    from cnnjax.study.plan import plan
    from cnnjax.study.study import Study

_HOMES = {
    "analysis": ["analyse"],
    "config": ["Config"],
    "data": [
        "AlternatingFlip",
        "AugMix",
        "Augmentation",
        "AutoAugment",
        "CentreFit",
        "Fit",
        "Part",
        "RandomFit",
        "SquashFit",
        "ColorJitter",
        "CutMix",
        "Cutout",
        "Data",
        "Dataset",
        "Digits",
        "Examples",
        "Flip",
        "FlipViews",
        "GaussianBlur",
        "Greyscale",
        "ImageFolder",
        "Mixing",
        "Mixup",
        "MultiCrop",
        "RandAugment",
        "RandomCrop",
        "RandomErasing",
        "RandomResizedCrop",
        "SingleView",
        "Switch",
        "Synthetic",
        "TFDS",
        "TenCrop",
        "TestTime",
        "TrivialAugment",
    ],
    "errors": ["CnnjaxError", "ConfigError", "DataError", "RunError", "ShapeError"],
    "experiment": ["Experiment"],
    "lane_fields": ["lane"],
    "losses": ["Loss", "Poisson", "SigmoidCrossEntropy", "SoftmaxCrossEntropy", "SquaredError"],
    "models": [
        "Activation",
        "AlphaGoPolicy",
        "BatchNorm",
        "CifarStem",
        "Conv",
        "ConvNeXt",
        "ConvNet",
        "DeepStem",
        "Dense",
        "DenseNet",
        "Dropout",
        "EfficientNet",
        "Flatten",
        "GlobalPool",
        "GoogLeNet",
        "GroupNorm",
        "ImageNetStem",
        "InceptionV3",
        "Layer",
        "LayerNorm",
        "LocalResponseNorm",
        "MobileNetV2",
        "MobileNetV3",
        "Model",
        "NoNorm",
        "Norm",
        "Normalize",
        "Pool",
        "PositionBias",
        "RegNet",
        "ResNet",
        "Scale",
        "ShuffleNetV2",
        "SmallCNN",
        "SqueezeNet",
    ],
    "optim": ["SGD", "AdamW", "Constant", "Cosine", "Linear", "OneCycle", "Optim", "Schedule", "Step"],
    "reporting": ["report"],
    "run.loop": ["Options", "train"],
    "run.hardware": ["Hardware"],
    "study.describe": ["describe"],
    "study.executor": ["sweep"],
    "study.plan": ["plan"],
    "study.study": ["Study"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = globals()[name] = getattr(importlib.import_module(f"cnnjax.{_HOME[name]}"), name)
        return value
    if not name.startswith("_") and importlib.util.find_spec(f"cnnjax.{name}"):
        return importlib.import_module(f"cnnjax.{name}")
    raise AttributeError(f"module 'cnnjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
