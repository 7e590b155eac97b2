"""The devices that a program runs on, and how they get their data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from cnnjax.errors import ConfigError
from cnnjax.machine import check_address_space, physical_memory
from cnnjax.training.parallel import Parallel, make_mesh


@dataclass(frozen=True)
class Hardware:
    """The devices a program runs on, and how they get their data. None of it changes results, but for round-off.

    devices: how many devices of each process one training uses (None: all), from the one with number `first`,
    counted from 0, on. resident: a set that takes at most this share of a device's memory lives there; others are
    streamed. memory: bytes that each device has, above which a training is refused; None for what it tells, of a
    CPU what this machine has. workers: processes that read images for a streamed set; 0 for threads of this one, as
    many as there are cores. shard_state: each device keeps a part of large parameters, optimizer state and what
    methods keep (`training.sharding`), instead of all; checkpoints are the same.
    """

    devices: int | None = None
    parallel: Parallel = "jit"
    resident: float = 0.25
    workers: int = 0
    shard_state: bool = False
    first: int = 0
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.devices is not None and self.devices < 1:
            raise ConfigError(f"devices = {self.devices}: must be at least 1")
        if self.first < 0 or (self.first and self.devices is None):
            raise ConfigError(f"first = {self.first}: a device's number from 0, beside `devices`")
        if not 0 <= self.resident <= 1:
            raise ConfigError(f"resident = {self.resident}: it is a share of the device's memory, 0 to 1")
        if self.memory is not None and self.memory < 1:
            raise ConfigError(f"memory = {self.memory}: bytes of each device, 1 or more")
        if self.workers < 0:
            raise ConfigError(f"workers = {self.workers}: must be 0 (threads) or a number of processes")
        if self.shard_state and self.parallel != "jit":
            raise ConfigError(f"shard_state with parallel = {self.parallel!r}: only with jit")

    def mesh(self) -> Mesh:
        """The mesh of these devices, those of all processes that train together. Raises ConfigError where there are not
        that many, or processes have unequal numbers of them; RunError where there are too few addresses (`ulimit -v`).
        """
        check_address_space()
        hosts: dict[int, list[Any]] = {}
        for device in sorted(jax.devices(), key=lambda device: device.process_index):
            hosts.setdefault(device.process_index, []).append(device)
        if self.devices is not None and self.first + self.devices > len(available := hosts[jax.process_index()]):
            beside = f" from number {self.first} on" if self.first else ""
            raise ConfigError(f"devices = {self.devices}{beside}: this process has {len(available)}")
        counts = {host: len(devices) for host, devices in hosts.items()}
        if self.devices is None and len(set(counts.values())) > 1:
            told = ", ".join(f"process {host} has {count}" for host, count in counts.items())
            raise ConfigError(
                f"processes that train together need the same number of devices: {told}; --devices "
                f"{min(counts.values())} uses as many of each"
            )
        if len(hosts) > 1 and self.parallel == "pmap":
            raise ConfigError("--parallel pmap: not with several processes; take jit or shard_map")
        end = None if self.devices is None else self.first + self.devices
        return make_mesh([device for devices in hosts.values() for device in devices[self.first : end]])

    def has_room(self, nbytes: int) -> bool:
        """Whether a set of so many bytes is small enough to live on each device."""
        return nbytes <= self.resident * self.device_memory

    @property
    def device_memory(self) -> int:
        """Bytes of each device's memory; those that are used of the parts of one processor share its memory."""
        known = jax.local_devices()[0].memory_stats() or {}
        used = self.devices or jax.local_device_count()
        return self.memory or known.get("bytes_limit") or physical_memory() // used


def memory_in_use(mesh: Mesh) -> int | None:
    """The most bytes of memory that any device of the mesh has in use; None where the devices do not tell."""
    held = [(device.memory_stats() or {}).get("bytes_in_use") for device in mesh.local_devices]
    return max((nbytes for nbytes in held if nbytes is not None), default=None)
