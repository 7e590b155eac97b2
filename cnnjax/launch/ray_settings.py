"""What a Ray cluster is asked for, and whether it answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from cnnjax.config import Config
from cnnjax.errors import ConfigError
from cnnjax.launch.amounts import memory_bytes

if TYPE_CHECKING:
    from cnnjax.run.options import Options

_CONNECT = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
_PORTS = {"ray://": 10001, "": 6379}


class RaySettings(Config):
    """Where the cluster is, and what each worker, which trains one trial at a time, asks of it.

    address: HOST:PORT, ray://HOST:PORT, "auto" (a cluster that runs on this machine) or "local" (one is started here);
    None: $RAY_ADDRESS. cpus, gpus: shares of them count too. mem: such as 32G. resources: of the cluster's own, such as
    "trainer=1". jobs: how many workers (None: as many as fit, or one a trial that is missing). retries: how often a
    worker that was lost, with its node or alone, is started again. connect_seconds: how long an answer is waited for.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    mem: str | None = None
    resources: tuple[str, ...] = ()
    jobs: int | None = None
    retries: int = 3
    connect_seconds: float = 30.0

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
        """What a worker takes of a node, by Ray's names."""
        memory = {} if self.mem is None else {"memory": float(memory_bytes(self.mem))}
        named = dict(_resource(word) for word in self.resources)
        return {"CPU": self.cpus, "GPU": self.gpus, **memory, **named}


def _resource(word: str) -> tuple[str, float]:
    name, _, amount = word.rpartition("=")
    try:
        return name, float(amount) if name and float(amount) > 0 else float("")
    except ValueError:
        raise ValueError(f"{word!r} is no resource such as trainer=1") from None


def check(settings: RaySettings, options: Options) -> None:
    """Raise ConfigError where no cluster answers at the address, within seconds: Ray itself tries for minutes."""
    address = settings.where
    if address == "local":
        return
    if address != "auto":
        _check_port(address, min(settings.connect_seconds, 5.0))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CONNECT, address], capture_output=True, text=True, timeout=settings.connect_seconds
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"no Ray cluster answers at {address} within {settings.connect_seconds:g} s: something else listens there, "
            "or a Ray of another version"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"no Ray cluster is to be had at {address}: {last}")


def _check_port(address: str, seconds: float) -> None:
    scheme = "ray://" if address.startswith("ray://") else ""
    host, _, port = address.removeprefix(scheme).partition(":")
    if port and not port.isdecimal():
        raise ConfigError(f"address = {address!r}: must be HOST:PORT, ray://HOST:PORT, auto or local")
    try:
        socket.create_connection((host, int(port or _PORTS[scheme])), timeout=seconds).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error.strerror or error}): is it running (`ray status` on its head "
            "node), and may this machine reach that port?"
        ) from error
