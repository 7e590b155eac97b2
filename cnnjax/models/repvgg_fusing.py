"""The branches of a RepVGG block as one convolution (Ding et al. 2021, arXiv:2101.03697, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnjax.errors import ConfigError
from cnnjax.models.norm import BatchNorm

Tree = Mapping[str, Any]
# A kernel (height, width, channels / groups, features) and a bias (features).
Branch = tuple[np.ndarray, np.ndarray]


def fuse(config: Any, variables: Tree) -> dict[str, Any]:
    """The variables (NumPy, float32) of the fused network that computes in evaluation what these do.

    config: of the network with branches (RepVGG). variables: its `params` and `batch_stats`. A normalization in
    evaluation is a scale and a shift; they are taken into kernel and bias in float64. Raises ConfigError where the
    network is fused already, or its normalization is not over the batch.
    """
    if config.fused:
        raise ConfigError("fused: the network has no branches any more")
    if not isinstance(config.norm, BatchNorm):
        raise ConfigError(
            f"norm = {config.norm.tag}: only a batch normalization, which by then is a scale and a shift of each "
            "channel, becomes part of the weights; train with norm=batch to fuse"
        )
    params, statistics = variables["params"], variables["batch_stats"]
    fused = {
        name: {"fused": _block(config, module, statistics[name])}
        for name, module in params.items()
        if name == "stem" or "_block" in name
    }
    return {"params": {**params, **fused}, "batch_stats": {}}


def _block(config: Any, params: Tree, statistics: Tree) -> dict[str, np.ndarray]:
    kernel, bias = _convolution(config, params["conv"], statistics["conv"])
    if "pointwise" in params:
        narrow, shift = _convolution(config, params["pointwise"], statistics["pointwise"])
        rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
        kernel[rows, columns] += narrow[0, 0]
        bias += shift
    if "identity" in params:
        scale, shift = _scale(config, params["identity"], statistics["identity"])
        _add_identity(kernel, scale)
        bias += shift
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def _convolution(config: Any, params: Tree, statistics: Tree) -> Branch:
    """Of a convolution and its normalization."""
    scale, shift = _scale(config, params["norm"], statistics["norm"])
    return np.asarray(params["conv"]["kernel"], np.float64) * scale, shift


def _scale(config: Any, params: Tree, statistics: Tree) -> Branch:
    """What a batch normalization multiplies each channel by in evaluation, and what it adds then."""
    mean, var = (np.asarray(statistics[name], np.float64) for name in ("mean", "var"))
    scale = np.asarray(params.get("scale", 1.0), np.float64) / np.sqrt(var + config.norm.epsilon)
    return scale, np.asarray(params["bias"], np.float64) - mean * scale


def _add_identity(kernel: np.ndarray, scale: np.ndarray) -> None:
    """Each feature reads its own channel in the middle; of a kernel in groups, its place within the group."""
    rows, columns, channels, features = kernel.shape
    numbers = np.arange(features)
    kernel[rows // 2, columns // 2, numbers % channels, numbers] += scale
