"""Residual networks and their descendants, as one family of knobs.

- ResNet-18 to 152, and ResNet-20 to 110 for CIFAR: He, Zhang, Ren & Sun 2016a (arXiv:1512.03385, table 1, section 4.2).
  Version "v1" has a bottleneck's stride in its first 1x1 convolution, as published; "v1.5", the usual one today, in its
  3x3 convolution.
- Pre-activation, version "v2": He, Zhang, Ren & Sun 2016b (arXiv:1603.05027). Blocks normalize before they convolve.
- Wide ResNet: Zagoruyko & Komodakis 2016 (arXiv:1605.07146).
- ResNeXt: Xie, Girshick, Dollar, Tu & He 2017 (arXiv:1611.05431).
- The stem and shortcut "D": He, T. et al. 2019, Bag of tricks (arXiv:1812.01187).
- Dilation in place of late strides, `output_stride`: Chen et al. 2017 (arXiv:1706.05587, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import flax.linen as linen
from pydantic import Field, model_validator

from cnnjax.config import later
from cnnjax.models.attention import Attention, NoAttention
from cnnjax.models.endpoint import Endpoint, stages, times
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, Shape, roundings
from cnnjax.models.norm import BatchNorm, GroupNorm, Norm
from cnnjax.models.resnet_blocks import ResNetwork, Shortcut, Version
from cnnjax.models.resnet_names import timm_v2_name, torchvision_name
from cnnjax.models.resnet_stem import Edges, ImageNetStem, Stem


class ResNet(Model, tag="resnet"):
    """Stages of residual blocks, then pooling over the map and a dense layer of logits.

    Attributes:
        stage_sizes: blocks of each stage.
        features: filters of each stage's blocks before expansion; one number is the first stage's, and doubles from
            stage to stage.
        block: "basic", two convolutions of `kernel_size`; or "bottleneck", 1x1, `kernel_size` and 1x1 convolutions.
        version: where a block strides and normalizes: "v1", "v1.5" or "v2"; see the module.
        kernel_size: of a block's main convolutions, rows and columns, or one number for both.
        strides: of each stage's first block; one number is that of all stages but the first, which keeps its size.
        dilation: of the main convolutions of each stage; one number for all stages.
        groups: of channels in the main convolutions (ResNeXt).
        inner: a bottleneck's inner features as a multiple of `features` (Wide ResNet, ResNeXt); basic blocks have none.
        expansion: a bottleneck's outputs as a multiple of `features`; basic blocks have none.
        stem: what stands before the first stage: "imagenet", "deep" or "cifar", or a config of one.
        shortcut: how the input comes past a block. Where the block changes the shape: padded with zero channels ("A"),
            or through a 1x1 projection ("B"); "C" projects always, "D" averages 2x2 before the projection, "none"
            leaves shortcuts out: a plain network.
        norm: normalization after each convolution; in "v2" before it.
        activation: by name.
        zero_init: the scale of a block's last normalization starts at 0, so each block starts as its shortcut; not for
            "v2" (Goyal et al. 2017).
        squeeze_excite: hidden units of a block's squeeze-and-excitation gate as a share of its outputs; 0 is no gate.
        blur: convolutions and pooling step by blur pooling (Zhang 2019).
        blur_place: "after" a convolution that is computed at every place, as published, or "before" one that steps, at
            a quarter of its cost (FFCV, Composer): then zeros beyond the border count, and the stem's convolutions, on
            few channels, stay as they are.
        blur_pool: with `blur`, whether the stem's max pooling steps by it too.
        stochastic_depth: probability to drop the last block's branch; it rises linearly from 0 (Huang et al. 2016).
        block_dropout: dropout rate before a block's last main convolution (Wide ResNet).
        drop_block: share of the last stage's maps that DropBlock zeroes in training, after each unit of convolution,
            normalization and activation and on the shortcut; a fourth of it in the stage before (Ghiasi et al. 2018,
            section 4.1, whose keep_prob 0.9 is 0.1 here).
        drop_block_size: rows and columns of its blocks.
        head: pooling over the map, "average" or "max".
        dropout: rate before the logits.
        output_stride: of the last stage's maps in the image, for heads that want larger ones. Stages that would stride
            beyond it dilate what follows instead, so that every place of the map is computed (torchvision's
            replace_stride_with_dilation); None leaves the strides as they are.
        attention: what scales a block's outputs before the shortcut is added, "none", "squeeze_excite", "eca" or
            "cbam", or a config of one; not beside the field `squeeze_excite`.
        standardize: whether each feature's weights in a convolution are brought to mean 0 and variance 1 before they
            are used (Qiao et al. 2019, arXiv:1903.10520; BiT).
        padding: of convolutions and of the stem's pooling: "centred" pads both sides alike, as PyTorch's models do;
            "same" is TensorFlow's and Flax's, which at a stride of 2 on an even size pads one more at the end.
        logits_start: what the kernel of the logits starts as: "lecun", normal with variance 1 / inputs; "zero" (Big
            Vision); or "pytorch", evenly between -1 / sqrt(inputs) and that, and so the bias. `initialization` of an
            experiment that is for all kernels comes before the first and the last.
        logits_bias: what the bias of the logits starts at; -log(number of classes) for sigmoids that begin as rare as
            the classes are (Composer).
    """

    stage_sizes: tuple[Depth, ...] = Field(default=(2, 2, 2, 2), min_length=1)
    features: Count | tuple[Count, ...] = 64
    block: Literal["basic", "bottleneck"] = "basic"
    version: Version = "v1.5"
    kernel_size: Pair = 3
    strides: Count | tuple[Count, ...] = 2
    dilation: tuple[Count, ...] | Count = 1
    groups: int = Field(default=1, ge=1)
    inner: float = Field(default=1.0, gt=0)
    expansion: int = Field(default=4, ge=1)
    stem: Stem = ImageNetStem()
    shortcut: Shortcut = "B"
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    zero_init: bool = False
    squeeze_excite: float = Field(default=0.0, ge=0, le=1)
    blur: bool = False
    stochastic_depth: Rate = 0.0
    block_dropout: Rate = 0.0
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.0
    output_stride: Count | None = later(None)
    attention: Attention = later(NoAttention())
    standardize: bool = later(False)
    drop_block: Rate = later(0.0)
    drop_block_size: Count = later(7)
    blur_place: Literal["after", "before"] = later("after")
    blur_pool: bool = later(True)
    padding: Edges = later("centred")
    logits_start: Literal["lecun", "zero", "pytorch"] = later("lecun")
    logits_bias: float = later(0.0)

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> ResNet:
        for name in ("features", "strides", "dilation"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.stage_sizes):
                raise ValueError(f"{name}: {len(value)} entries for {len(self.stage_sizes)} stages")
        for name in ("inner", "expansion"):
            if self.block == "basic" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: basic blocks have none; it belongs to block='bottleneck'")
        if self.zero_init and (self.version == "v2" or not self.norm.shifts):
            raise ValueError("zero_init: there is no scale at the end of a block to start at zero")
        if not self.blur and (self.blur_place != "after" or not self.blur_pool):
            raise ValueError("blur_place, blur_pool: nothing is blurred; set blur=True")
        if self.padding == "same" and self.stem.pool_zeros:
            raise ValueError("stem.pool_zeros: its zeros are padded on both sides alike, which is not padding='same'")
        if self.logits_start == "pytorch" and self.logits_bias:
            raise ValueError("logits_bias: with logits_start='pytorch' the bias starts at random")
        if self.squeeze_excite and self.attention.tag != "none":
            raise ValueError(f"attention: {self.attention.tag} stands in the place of squeeze_excite: set that to 0")
        if self.output_stride is not None and self.endpoints()[-1].strides != (self.output_stride,) * 2:
            reached = [times(self._stem_strides, *self.steps[:stage]) for stage in range(len(self.steps) + 1)]
            shown = {str(rows) if rows == columns else f"{rows}x{columns}": None for rows, columns in reached}
            raise ValueError(
                f"output_stride: {self.output_stride} is not among the strides of the stem and the stages: "
                f"{', '.join(shown)}"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each stage, before expansion."""
        if isinstance(self.features, tuple):
            return self.features
        return tuple(self.features * 2**stage for stage in range(len(self.stage_sizes)))

    @property
    def steps(self) -> tuple[int, ...]:
        """The stride of each stage's first block."""
        if isinstance(self.strides, tuple):
            return self.strides
        return (1, *(self.strides,) * (len(self.stage_sizes) - 1))

    @property
    def stage_steps(self) -> tuple[tuple[int, int, int], ...]:
        """Of each stage: its first block's stride; by how much its convolutions up to there are dilated beyond
        `dilation`, and those behind.

        They are `steps`, 1 and 1 up to where `output_stride` is reached; from there on dilation takes the steps' place.
        """
        found: list[tuple[int, int, int]] = []
        reached, dilation = max(self._stem_strides), 1
        for step in self.steps:
            if self.output_stride is None or (dilation == 1 and reached * step <= self.output_stride):
                reached *= step
                found.append((step, dilation, dilation))
            else:
                found.append((1, dilation, dilation * step))
                dilation *= step
        return tuple(found)

    def drop_block_of(self, stage: int) -> float:
        """The rate of DropBlock in a stage, counted from 0: of the last two alone."""
        later_stages = len(self.stage_sizes) - 1 - stage
        return self.drop_block / 4**later_stages if later_stages < 2 else 0.0

    @property
    def _stem_strides(self) -> tuple[int, int]:
        return times((1, 1), self.stem.strides, 1 if self.stem.pool == "none" else self.stem.pool_strides)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """One a stage; of "v2" the last is normalized and activated, as the classifier reads it."""
        expansion = self.expansion if self.block == "bottleneck" else 1
        features = [width * expansion for width in self.widths]
        return stages(features, [step for step, *_ in self.stage_steps], stem=self._stem_strides)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (32, 32, 3) if self.stem.tag == "cifar" else (224, 224, 3)

    @property
    def published_classes(self) -> int:
        return 10 if self.stem.tag == "cifar" else 1000

    def rescaled(self, factor: float) -> Iterator[ResNet]:
        groups = math.lcm(self.groups, self.norm.groups if isinstance(self.norm, GroupNorm) else 1)
        multiple = next(n for n in range(1, groups + 1) if round(n * self.inner) % groups == 0)
        for rounded in roundings(sorted(set(self.widths)), factor, multiple=multiple):
            yield self.model_copy(update={"features": tuple(rounded[width] for width in self.widths)})

    def network(self) -> linen.Module:
        return ResNetwork(self)

    @property
    def torch_resized(self) -> int | None:
        # Of the published ones only ResNeXt-101 64x4d.
        return 232 if self.groups == 64 else None

    def torch_name(self, path: str) -> str:
        """As in torchvision; pre-activation and the stem and shortcuts of ResNet-D, which it has not, as in timm."""
        if self.version == "v2":
            return timm_v2_name(path, depth=self.stem.depth)
        return torchvision_name(path, depth=self.stem.depth, shortcut=self.shortcut)

    def torch_shape(self, path: str, shape: Shape) -> Shape:
        return (*shape, 1, 1) if self.version == "v2" and path == "logits.kernel" else shape
