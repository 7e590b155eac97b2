"""What the modules of networks of inverted residuals are called in torchvision and timm."""

from __future__ import annotations

from cnnjax.models.inverted_residual_blocks import Block
from cnnjax.models.norm import Norm

TORCH_LEAVES = {"conv": "0", "norm": "1"}
_TORCH_GATE = {"reduce": "fc1", "expand": "fc2"}
_TIMM_OUTER = {
    "stem.conv": "conv_stem",
    "stem.norm": "bn1",
    "head.conv": "conv_head",
    "head.norm": "bn2",
    "dense": "conv_head",
    "logits": "classifier",
}
_TIMM_EPSILON = 1e-5


def block_at(blocks: list[Block], path: str) -> tuple[Block, str, str] | None:
    """The block that the dotted path leads into, its unit and the leaf there; None where it leads into no block."""
    name, _, rest = path.partition(".")
    block = next((block for block in blocks if block.name == name), None)
    unit, _, leaf = rest.partition(".")
    return None if block is None else (block, unit, leaf)


def torchvision_unit(index: int, unit: str, leaf: str) -> str:
    """torchvision's name of a module of a block's unit, which is its `index`th."""
    return f"{index}.{_TORCH_GATE[leaf] if unit == 'squeeze_excite' else TORCH_LEAVES[leaf]}"


def timm_name(path: str, *, blocks: list[Block], stages: int, dense: bool) -> str:
    """timm's name of the module at `path` in a network of `stages`; dense: with a dense layer before the logits."""
    found = block_at(blocks, path)
    if found is None:
        # With a dense layer after the pooling, the convolution before it counts as one more stage.
        head = {"head.conv": f"blocks.{stages}.0.conv", "head.norm": f"blocks.{stages}.0.bn1"}
        return (_TIMM_OUTER | (head if dense else {})).get(path, path)
    block, unit, leaf = found
    return f"blocks.{block.stage - 1}.{block.number - 1}.{_timm_unit(block, unit, leaf)}"


def _timm_unit(block: Block, unit: str, leaf: str) -> str:
    if unit == "squeeze_excite":
        return f"se.conv_{leaf}"
    convolutions = [other for other in block.units if other != "squeeze_excite"]
    if leaf == "norm":
        return f"bn{convolutions.index(unit) + 1}"
    # A block that is not expanded first has one pointwise convolution, or, fused, one convolution.
    if "expand" in convolutions:
        return {"expand": "conv_exp" if block.fused else "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}[unit]
    return {"depthwise": "conv_dw", "project": "conv" if block.fused else "conv_pw"}[unit]


def timm_epsilon(norm: Norm) -> str | None:
    """How `norm` differs from the normalization in timm's network, and the remedy; None where it does not."""
    epsilon = getattr(norm, "epsilon", _TIMM_EPSILON)
    if epsilon == _TIMM_EPSILON:
        return None
    return f"it adds {_TIMM_EPSILON} to variances, this network {epsilon}; give model.norm.epsilon={_TIMM_EPSILON}"
