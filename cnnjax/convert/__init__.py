"""Weights from PyTorch and back: names, layouts, and everything that does not fit listed at once.

Each architecture says what its modules are called in PyTorch (`Model.torch_name`, `Model.timm_name`). State dicts of
torchvision and timm have those names, Hugging Face's ResNet is translated to them first. Kernels go from (out, in,
height, width) to (height, width, in, out), dense kernels from (out, in) to (in, out), and the inputs of a dense layer
after a flattening from (channels, height, width) order to (height, width, channels).
"""

from __future__ import annotations

from cnnjax.convert.state_dict import from_torch, to_torch
from cnnjax.convert.weights_file import WeightsFile, read_file, read_weights

__all__ = ["WeightsFile", "from_torch", "read_file", "read_weights", "to_torch"]
