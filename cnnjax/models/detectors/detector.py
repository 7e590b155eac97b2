"""What detectors in one stage and in two have in common: what a task asks of their heads."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import flax.linen as linen
import jax

from cnnjax import boxes as arithmetic
from cnnjax.config import Config
from cnnjax.errors import ConfigError
from cnnjax.losses import BoxLoss, Loss
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.heads.head import HeadConfig

ABSENT = -1
"""The class id of what is no box."""


class Costs(NamedTuple):
    """What boxes cost: the loss of one, its weight beside that of the classes, and that of the head's `quality`."""

    boxes: BoxLoss
    box_weight: jax.Array | float
    quality_weight: jax.Array | float


class Limits(NamedTuple):
    """What is told of an image: `most` objects of a score above `least`, of the `candidates` strongest pairs of place
    and class, without the weaker of two of a class that overlap by more than `overlap` of IoU."""

    most: int = 100
    candidates: int = 300
    overlap: float = 0.5
    least: float = 0.05


class Detector(Config, union="name"):
    """Config of a detector's head.

    A subclass defines all that raises here. Outputs are arrays [B, ...], one or several by name; functions of one image
    have them without the first axis. Boxes are in pixels of the images that the network sees.

    sees_target: whether its network is called with `target=`, [B, M, 6] as `loss_of_one` has it, in training.
    has_masks: whether it says masks of objects, too. It is shown the target in evaluation then, and a target is a
    mapping: `objects`, the array, and `masks`, uint8 [B, H, W, L], packed (`cnnjax.box_masks`).
    """

    sees_target: ClassVar[bool] = False
    has_masks: ClassVar[bool] = False

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        """The head on a backbone of these endpoints, for so many classes.

        The module is called as `module(maps, size=(H, W), train=...)`, maps being those of the endpoints by name.
        Raises ConfigError where the backbone lacks a map.
        """
        raise ConfigError(f"{type(self).__name__} does not define network(endpoints, outputs)")

    def limited(self, limits: Limits) -> HeadConfig:
        """What makes the network of a head that itself tells objects apart, within these limits; by default this."""
        return self

    def check_loss(self, loss: Loss) -> None:
        """Raise ConfigError where the loss has no meaning for the classes that the head says."""

    def checked(self, returned: Any, *, batch: int, classes: int) -> Any:
        """The outputs, as the network returned them for `batch` images. Raises ShapeError where they do not fit."""
        raise ConfigError(f"{type(self).__name__} does not define checked(returned, batch=, classes=)")

    def loss_of_one(self, outputs: Any, target: Any, *, loss: Loss, costs: Costs) -> jax.Array:
        """The loss of one image, a number. target: float32 [M, 6], class id (`ABSENT` in rows that are no box), box,
        and whether it is a crowd, which is not to be found."""
        raise ConfigError(f"{type(self).__name__} does not define loss_of_one(outputs, target, loss=, costs=)")

    def classes_of(self, outputs: int) -> int:
        """How many classes there are where the layer of logits has so many outputs at a place."""
        return outputs

    def torch_name(self, path: str) -> str:
        """torchvision's name of the module at the dotted `path` in the head."""
        raise ConfigError(f"{self.tag} has no counterpart in torchvision whose names are known here")

    def said(self, outputs: Any, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
        """The boxes that are said of one image of that (height, width), clipped to it, [N, 4], or [N, K, 4] where each
        class has its own, and the scores of each class, [N, K]."""
        raise ConfigError(f"{type(self).__name__} does not define said(outputs, size)")

    def found(self, outputs: Any, size: tuple[int, int], limits: Limits) -> arithmetic.Found:
        """The strongest objects of one image of that (height, width), in pixels."""
        boxes, scores = self.said(outputs, size)
        return arithmetic.strongest(
            boxes,
            scores,
            most=limits.most,
            candidates=limits.candidates,
            threshold=limits.overlap,
            least=limits.least,
        )

    def masks_of(self, outputs: Any) -> jax.Array:
        """Of a head that says masks, those of the objects that are `found` in one image: probabilities [D, S, S] of
        S x S parts of their boxes."""
        raise ConfigError(f"{type(self).__name__} says no masks")
