"""The devices that a trial will run on, which a plan has to know: they may be on another machine."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from cnnjax.documents.quantities import short_bytes
from cnnjax.errors import ConfigError, unknown
from cnnjax.run.hardware import Hardware

GB = 10**9
MEMORY = {
    "v100": 16,
    "t4": 16,
    "a10": 24,
    "l4": 24,
    "rtx4090": 24,
    "a100": 40,
    "a100-80gb": 80,
    "l40s": 48,
    "h100": 80,
    "h200": 141,
    "b200": 180,
    "tpu-v2": 8,
    "tpu-v3": 16,
    "tpu-v4": 32,
    "tpu-v5e": 16,
    "tpu-v5p": 95,
    "tpu-v6e": 32,
}
"""GB of a device that JAX sees as one, by kind, from the makers' data sheets; of several sizes the smallest."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(GiB|GB|MiB|MB|)", re.IGNORECASE)
_UNITS = {"gib": 2**30, "gb": GB, "mib": 2**20, "mb": 10**6}


@dataclass(frozen=True)
class Devices:
    """The devices one training is spread over.

    memory: bytes of each; None where it is not known, and not checked. split: whether a state is split over them
    (`Hardware.shard_state`).
    """

    count: int = 1
    kind: str = ""
    memory: int | None = None
    split: bool = False

    def to_json(self) -> dict[str, Any]:
        """By name; `split` where the state is."""
        return {name: value for name, value in asdict(self).items() if value or name != "split"}

    def __str__(self) -> str:
        known = "" if self.memory is None else f" with {short_bytes(self.memory)} each"
        of = f"{self.count} x {self.kind}" if self.kind else f"{self.count} device{'s' if self.count > 1 else ''}"
        return f"{of}{known}{', which the state is split over' if self.split else ''}"


def here(hardware: Hardware) -> Devices:
    """The devices of this process that `hardware` uses. Raises ConfigError where there are not so many."""
    mesh = hardware.mesh()
    return Devices(mesh.size, mesh.devices.flat[0].device_kind, hardware.device_memory, hardware.shard_state)


def declared(count: int | None, kind: str | None, memory: str | None) -> Devices:
    """Devices elsewhere: `count` (None: 1) of a kind in MEMORY, or of any kind where `memory`, such as 80GB, is given.

    Raises ConfigError for a kind that is not known and has no memory, and for what is no size.
    """
    size = None if memory is None else memory_of(memory)
    if kind is not None and size is None:
        if kind.lower() not in MEMORY:
            hint = "; of another kind, say how much memory one has: --device-memory 80GB"
            raise ConfigError(f"--device-kind: {unknown('kind of device', kind.lower(), sorted(MEMORY))}{hint}")
        size = MEMORY[kind.lower()] * GB
    return Devices(count or 1, (kind or "").lower(), size)


def split_over(devices: Hardware | Devices) -> Hardware | Devices:
    """The same, over which a training's state is split (`Hardware.shard_state`)."""
    return replace(devices, shard_state=True) if isinstance(devices, Hardware) else replace(devices, split=True)


def memory_of(text: str) -> int:
    """The bytes that `--device-memory` says: `80GB`, `16GiB`, or a number of GB. Raises ConfigError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise ConfigError(f"--device-memory {text}: must be a size, such as 80GB or 16GiB")
    return int(float(found[1]) * _UNITS[found[2].lower() or "gb"])
