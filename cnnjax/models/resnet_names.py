"""What the modules of residual networks are called in PyTorch."""

from __future__ import annotations

import re

_UNITS = {
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
    **{f"conv{i}.conv": f"conv{i}" for i in (1, 2, 3)},
    **{f"conv{i}.norm": f"bn{i}" for i in (1, 2, 3)},
    # timm's: torchvision has no residual networks with attention.
    "squeeze_excite.reduce": "se.fc1",
    "squeeze_excite.expand": "se.fc2",
    "eca": "se.conv",
    "cbam.channel.reduce": "se.channel.fc1",
    "cbam.channel.expand": "se.channel.fc2",
    "cbam.spatial.conv": "se.spatial.conv.conv",
    "cbam.spatial.norm": "se.spatial.conv.bn",
}
# Behind the pooling, which is there in every one.
_TIMM_SHORTCUT_D = {"shortcut.conv": "downsample.1", "shortcut.norm": "downsample.2"}
_TIMM_V2 = {"stem.conv1.conv": "stem.conv", "logits": "head.fc"}


def torchvision_name(path: str, *, depth: int, shortcut: str) -> str:
    """Of the module at `path`, with a stem of `depth` convolutions; timm's, where only timm has such a shortcut."""
    if found := re.fullmatch(r"stage(\d+)_block(\d+)\.(.+)", path):
        stage, block, rest = int(found[1]), int(found[2]) - 1, found[3]
        units = _UNITS | (_TIMM_SHORTCUT_D if shortcut == "D" else {})
        return f"layer{stage}.{block}.{units.get(rest, rest)}"
    if found := re.fullmatch(r"stem\.conv(\d+)\.(conv|norm)", path):
        return _stem(int(found[1]), depth, found[2])
    return {"logits": "fc"}.get(path, path)


def _stem(number: int, depth: int, unit: str) -> str:
    """Of the stem's convolution `number` of `depth`: a sequence of them, but for the last normalization."""
    if unit == "norm" and number == depth:
        return "bn1"
    return "conv1" if depth == 1 else f"conv1.{3 * (number - 1) + (unit == 'norm')}"


def timm_v2_name(path: str, *, depth: int) -> str:
    """timm's, of the module at `path` of a pre-activation network with a stem of `depth` convolutions."""
    if found := re.fullmatch(r"stage(\d+)_block(\d+)\.(.+)", path):
        unit = "downsample.conv" if found[3] == "shortcut.conv" else found[3]
        if unit.startswith("conv"):
            unit = unit.removesuffix(".conv")
        return f"stages.{int(found[1]) - 1}.blocks.{int(found[2]) - 1}.{unit}"
    if depth > 1 and (found := re.fullmatch(r"stem\.conv(\d+)\.(conv|norm)", path)):
        return f"stem.{found[2]}{found[1]}"
    return _TIMM_V2.get(path, path)
