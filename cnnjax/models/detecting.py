"""A backbone and a detector's head as one network, and the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import flax.linen as linen
import jax

from cnnjax.errors import ConfigError
from cnnjax.models.detectors import AnchorFree, Detector, FasterRCNN, MaskRCNN
from cnnjax.models.heads import with_head
from cnnjax.models.model import Model, Shape, config, preset
from cnnjax.models.norm import FrozenBatchNorm
from cnnjax.models.outputs import joined


class WithDetector(Model, tag="with_detector"):
    """A detector's head on the endpoints of a backbone: images [B, H, W, C] -> what the head says.

    For weights that were published, and for use by itself. An experiment has the two apart, `model` and
    `Detection.head`; its network and its variables are the same.

    backbone: any architecture with endpoints; its classifier is left out, its `num_classes` means nothing. detector:
    what finds objects in their maps. num_classes: of objects, background none of them.
    """

    makes: ClassVar[Literal["logits", "maps", "objects"]] = "objects"
    logits_path: ClassVar[str] = "head.logits"

    backbone: Model
    detector: Detector = AnchorFree()

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        return self.backbone.input_shape

    @property
    def published_classes(self) -> int:
        """Of COCO, with the ids that it does not use: 91 outputs, the first of which is background."""
        return 90

    def rescaled(self, factor: float) -> Iterator[WithDetector]:
        """The backbone's widths; those of the detector stay."""
        for backbone in self.backbone.rescaled(factor):
            yield self.model_copy(update={"backbone": backbone})

    def network(self) -> linen.Module:
        if self.num_classes is None:
            raise ConfigError("num_classes is not set")
        return with_head(self.backbone, self.detector, self.num_classes)

    def logits(self, outputs: Any) -> jax.Array:
        """All that is said, as one array."""
        return joined(outputs)

    def classes_of(self, outputs: int) -> int:
        return self.detector.classes_of(outputs)

    def torch_name(self, path: str) -> str:
        part, _, rest = path.partition(".")
        if part == "backbone":
            return f"backbone.body.{self.backbone.torch_name(rest)}"
        return self.detector.torch_name(rest)

    def torch_shape(self, path: str, shape: Shape) -> Shape:
        part, _, rest = path.partition(".")
        return self.backbone.torch_shape(rest, shape) if part == "backbone" else shape


_ON_PYRAMIDS: dict[str, Any] = {
    "stride": 4,
    "levels": 4,
    "coarser": 1,
    "features": 256,
    "sizes": (8.0,),
    "candidates": 1000,
    "proposals": 1000,
    "anchors_drawn": 256,
    "proposals_drawn": 512,
    "hidden": 1024,
}


@preset
def fasterrcnn_resnet50_fpn() -> WithDetector:
    """torchvision's, with the frozen normalization of its weights. 41,755,286 parameters for 91 outputs.

    Its training has `Detection(head=..., box_loss=SmoothL1(beta=1 / 9), overlap=0.5)`, `loss=softmax`, and 2000
    candidates and proposals where these have 1000, as in its evaluation.
    """
    return WithDetector(backbone=config("resnet50", norm=FrozenBatchNorm()), detector=FasterRCNN(**_ON_PYRAMIDS))


@preset
def maskrcnn_resnet50_fpn() -> WithDetector:
    """torchvision's, with the frozen normalization of its weights. 44,401,393 parameters for 91 outputs.

    Its training is that of `fasterrcnn_resnet50_fpn`, with masks.
    """
    head = MaskRCNN(**_ON_PYRAMIDS, mask_features=256)
    return WithDetector(backbone=config("resnet50", norm=FrozenBatchNorm()), detector=head)
