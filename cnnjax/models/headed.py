"""A backbone and a head as one network, and the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import flax.linen as linen

from cnnjax.errors import ConfigError
from cnnjax.models.heads import FCN, DeepLabV3, Head, TorchFCN, with_head
from cnnjax.models.model import Model, Shape, config, preset
from cnnjax.models.resnet import ResNet


class WithHead(Model, tag="with_head"):
    """A head on the endpoints of a backbone: images [B, H, W, C] -> [B, H, W, num_classes].

    backbone: any architecture with endpoints; its classifier is left out, its `num_classes` means nothing. head: what
    makes maps of its endpoints.
    """

    makes: ClassVar[Literal["logits", "maps", "objects"]] = "maps"
    logits_path: ClassVar[str] = "head.logits"

    backbone: Model = ResNet()
    head: Head = FCN()

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        shape, size = self.backbone.input_shape, self.head.image_size
        return shape if shape is None or size is None else (size, size, shape[2])

    @property
    def published_classes(self) -> int:
        """PASCAL VOC's, the background one of them."""
        return 21

    def rescaled(self, factor: float) -> Iterator[WithHead]:
        """The backbone's widths; a head's own, where it has any, stay."""
        for backbone in self.backbone.rescaled(factor):
            yield self.model_copy(update={"backbone": backbone})

    def network(self) -> linen.Module:
        if self.num_classes is None:
            raise ConfigError("num_classes is not set")
        return with_head(self.backbone, self.head, self.num_classes)

    def torch_name(self, path: str) -> str:
        part, _, rest = path.partition(".")
        return f"backbone.{self.backbone.torch_name(rest)}" if part == "backbone" else self.head.torch_name(rest)

    def torch_shape(self, path: str, shape: Shape) -> Shape:
        part, _, rest = path.partition(".")
        return self.backbone.torch_shape(rest, shape) if part == "backbone" else shape

    def torch_ignores(self, name: str) -> bool:
        return self.head.torch_ignores(name)


# --- presets, with parameters for PASCAL VOC's 21 classes


@preset
def fcn32s_vgg16() -> WithHead:
    """As published, but that borders are padded layer by layer. 134,346,581 parameters."""
    return WithHead(backbone=config("vgg16"), head=FCN(stride=32))


@preset
def fcn16s_vgg16() -> WithHead:
    """134,364,410 parameters."""
    return WithHead(backbone=config("vgg16"), head=FCN(stride=16))


@preset
def fcn8s_vgg16() -> WithHead:
    """134,376,863 parameters."""
    return WithHead(backbone=config("vgg16"), head=FCN(stride=8))


@preset
def fcn_resnet50() -> WithHead:
    """torchvision's, with the auxiliary head of its weights. 35,322,218 parameters."""
    return WithHead(backbone=config("resnet50", output_stride=8), head=TorchFCN(auxiliary="stage3"))


@preset
def fcn_resnet101() -> WithHead:
    """torchvision's, with the auxiliary head of its weights. 54,314,346 parameters."""
    return WithHead(backbone=config("resnet101", output_stride=8), head=TorchFCN(auxiliary="stage3"))


@preset
def deeplabv3_resnet50() -> WithHead:
    """torchvision's, with the auxiliary head of its weights. 42,004,074 parameters."""
    return WithHead(backbone=config("resnet50", output_stride=8), head=DeepLabV3(auxiliary="stage3"))


@preset
def deeplabv3_resnet101() -> WithHead:
    """torchvision's, with the auxiliary head of its weights. 60,996,202 parameters."""
    return WithHead(backbone=config("resnet101", output_stride=8), head=DeepLabV3(auxiliary="stage3"))
