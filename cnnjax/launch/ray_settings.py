"""What a Ray cluster is asked for."""

from __future__ import annotations

import os
from typing import Any

from pydantic import field_validator

from cnnjax.config import Config
from cnnjax.errors import ConfigError
from cnnjax.launch.amounts import memory_bytes


class RaySettings(Config):
    """Where the cluster is, and what each worker, which trains one trial at a time, asks of it.

    address: HOST:PORT, ray://HOST:PORT, "auto" (a cluster that runs on this machine) or "local" (one is started here);
    None: $RAY_ADDRESS. cpus, gpus: shares of them count too. mem: such as 32G. resources: of the cluster's own, such as
    "trainer=1". jobs: how many workers (None: as many as fit, or one a trial that is missing). retries: how often a
    worker that was lost, with its node or alone, is started again. connect_seconds: how long an answer is waited for.
    wait_for_nodes: wait where no node has what a worker asks for, since the cluster will grow, instead of refusing.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    mem: str | None = None
    resources: tuple[str, ...] = ()
    jobs: int | None = None
    retries: int = 3
    connect_seconds: float = 30.0
    wait_for_nodes: bool = False

    @field_validator("mem")
    @classmethod
    def _check_mem(cls, text: str | None) -> str | None:
        if text is not None:
            memory_bytes(text)
        return text

    @field_validator("resources")
    @classmethod
    def _check_resources(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            _resource(word)
        return words

    @field_validator("cpus", "gpus", "jobs", "retries", "connect_seconds")
    @classmethod
    def _check_count(cls, count: float | None, info: Any) -> float | None:
        least = 1 if info.field_name == "jobs" else 0
        if count is not None and count < least:
            raise ValueError(f"must be at least {least}")
        if info.field_name == "gpus" and count is not None and count > 1 and count % 1:
            raise ValueError("above 1 it must be a whole number, as Ray shares out GPUs")
        return count

    @property
    def where(self) -> str:
        """The address. Raises ConfigError where there is none."""
        address = self.address or os.environ.get("RAY_ADDRESS")
        if not address:
            raise ConfigError(
                "--launcher ray: which cluster? Give --address HOST:6379, or set RAY_ADDRESS; on a machine of the "
                "cluster it is --address auto"
            )
        return address

    @property
    def needs(self) -> dict[str, float]:
        """What a worker takes of a node, by Ray's names; without what it takes nothing of."""
        memory = {} if self.mem is None else {"memory": float(memory_bytes(self.mem))}
        named = dict(_resource(word) for word in self.resources)
        needs = {"CPU": self.cpus, "GPU": self.gpus, **memory, **named}
        return {name: amount for name, amount in needs.items() if amount}


def _resource(word: str) -> tuple[str, float]:
    name, _, amount = word.rpartition("=")
    try:
        found = float(amount)
    except ValueError:
        found = 0.0
    if not name or not 0 < found < float("inf"):
        raise ValueError(f"{word!r} is no resource such as trainer=1")
    if name in ("CPU", "GPU", "memory"):
        raise ValueError(f"{word!r}: {name} is asked for by {'mem' if name == 'memory' else name.lower() + 's'}")
    return name, found
