"""The architectures as one table: what was published of each, and a small form of it that a test can train."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cnnjax import models


@dataclass(frozen=True)
class Network:
    """A preset. params, gmacs: published for `classes` at the published input size (gmacs: torchvision's table, or
    None where there is none). small, shape: overrides and input under which its family is quick to run.
    """

    name: str
    params: int
    gmacs: float | None = None
    classes: int = 1000
    small: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, int, int] = (32, 32, 3)

    @property
    def config(self) -> models.Model:
        return models.config(self.name, num_classes=self.classes)

    @property
    def small_config(self) -> models.Model:
        return models.config(self.name, **{"num_classes": 10, **self.small})


RESNET = {"stage_sizes": (1, 2, 1, 1), "features": (4, 4, 8, 8)}
CIFAR = {"stage_sizes": (1, 1, 1), "features": (4, 8, 8)}

TABLE = [
    # --- resnet
    Network("resnet18", 11_689_512, 1.814, small=RESNET),
    Network("resnet34", 21_797_672, 3.664, small=RESNET),
    Network("resnet50", 25_557_032, 4.089, small=RESNET),
    Network("resnet101", 44_549_160, 7.801, small=RESNET),
    Network("resnet152", 60_192_808, 11.514, small=RESNET),
    Network("resnet200", 64_673_832, small=RESNET),
    Network("resnet50_v1", 25_557_032, small=RESNET),
    Network("resnet101_v1", 44_549_160, small=RESNET),
    Network("resnet152_v1", 60_192_808, small=RESNET),
    Network("resnet50_v2", 25_549_352, small=RESNET),
    Network("resnet101_v2", 44_541_480, small=RESNET),
    Network("resnet152_v2", 60_185_128, small=RESNET),
    Network("resnet200_v2", 64_666_152, small=RESNET),
    Network("resnet50_d", 25_576_264, small=RESNET),
    Network("wide_resnet50_2", 68_883_240, 11.398, small=RESNET),
    Network("resnext50_32x4d", 25_028_904, 4.23, small={**RESNET, "groups": 4}),
    Network("resnet20", 269_722, classes=10, small=CIFAR),
    Network("resnet32", 464_154, classes=10, small=CIFAR),
    Network("resnet44", 658_586, classes=10, small=CIFAR),
    Network("resnet56", 853_018, classes=10, small=CIFAR),
    Network("resnet110", 1_727_962, classes=10, small=CIFAR),
    Network("wide_resnet28_10", 36_479_194, classes=10, small=CIFAR),
]
NETWORKS = {network.name: network for network in TABLE}
