"""What detectors in one stage and in two have in common: what a task asks of their heads."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import flax.linen as linen
import jax

from cnnjax.config import Config
from cnnjax.errors import ConfigError
from cnnjax.losses import BoxLoss, Loss
from cnnjax.models.endpoint import Endpoint

ABSENT = -1
"""The class id of what is no box."""


class Costs(NamedTuple):
    """What boxes cost: the loss of one, its weight beside that of the classes, and that of the head's `quality`."""

    boxes: BoxLoss
    box_weight: jax.Array | float
    quality_weight: jax.Array | float


class Detector(Config, union="name"):
    """Config of a detector's head.

    A subclass defines all that raises here. Outputs are arrays [B, ...], one or several by name; functions of one image
    have them without the first axis. Boxes are in pixels of the images that the network sees.

    sees_target: whether its network is called with `target=`, [B, M, 6] as `loss_of_one` has it, in training.
    """

    sees_target: ClassVar[bool] = False

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        """The head on a backbone of these endpoints, for so many classes.

        The module is called as `module(maps, size=(H, W), train=...)`, maps being those of the endpoints by name.
        Raises ConfigError where the backbone lacks a map.
        """
        raise ConfigError(f"{type(self).__name__} does not define network(endpoints, outputs)")

    def check_loss(self, loss: Loss) -> None:
        """Raise ConfigError where the loss has no meaning for the classes that the head says."""

    def checked(self, returned: Any, *, batch: int, classes: int) -> Any:
        """The outputs, as the network returned them for `batch` images. Raises ShapeError where they do not fit."""
        raise ConfigError(f"{type(self).__name__} does not define checked(returned, batch=, classes=)")

    def loss_of_one(self, outputs: Any, target: jax.Array, *, loss: Loss, costs: Costs) -> jax.Array:
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
