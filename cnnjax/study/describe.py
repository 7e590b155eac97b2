"""Describe a network by a file, a name, a config or a module: what it costs, without training it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import flax.linen as linen

from cnnjax.analysis import Analysis, analyse
from cnnjax.config import replace_texts
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.experiment import Experiment
from cnnjax.models import Model, config, names
from cnnjax.study.file import load

InputShape = tuple[int, int, int]


def describe(target: linen.Module | Model | Experiment, input_shape: InputShape | None = None) -> Analysis:
    """Layers, parameters, MACs, memory and receptive field of a module, a config or an experiment.

    input_shape: (height, width, channels); an experiment takes its data's where it is not given. A config without
    num_classes is described with 1000. Raises ConfigError, or ShapeError with the layer and the arithmetic.
    """
    if isinstance(target, Experiment):
        return target.check() if input_shape is None else _analyse(target.network(), input_shape)
    if input_shape is None:
        raise ConfigError("give the image's shape: --input HxWxC, such as --input 224x224x3")
    if isinstance(target, Model):
        target = (target if target.num_classes else target.model_copy(update={"num_classes": 1000})).build()
    return _analyse(target, input_shape)


def describe_named(target: str, overrides: Mapping[str, str], input_text: str | None) -> Analysis:
    """`describe` of an experiment file or an architecture's name, with overrides and the shape written as text."""
    shape = _shape(input_text) if input_text else None
    if target.endswith(".py") or Path(target).is_file():
        return describe(replace_texts(load(target).experiment, overrides), shape)
    if "/" in target:
        raise ConfigError(f"{target!r} is neither an experiment file (.py) nor one of: {', '.join(names())}")
    changes = {path.removeprefix("model."): text for path, text in overrides.items()}
    return describe(replace_texts(config(target), changes), shape)


def _shape(text: str) -> InputShape:
    numbers = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if numbers is None:
        raise ConfigError(f"--input {text}: must be HEIGHTxWIDTHxCHANNELS, such as 32x32x3")
    height, width, channels = map(int, numbers.groups())
    return height, width, channels


def _analyse(module: linen.Module, input_shape: InputShape) -> Analysis:
    try:
        return analyse(module, input_shape)
    except ShapeError as error:
        raise ShapeError(f"model.{error}") from None
