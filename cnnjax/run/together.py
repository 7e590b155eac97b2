"""Several processes that train one experiment: the state is the first one's, and it alone has a run directory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from cnnjax.errors import HostLost
from cnnjax.hosts import check_alike, is_first, processes
from cnnjax.run.directory import RunDirectory
from cnnjax.run.environment import settings, source
from cnnjax.run.hardware import Hardware
from cnnjax.training.parallel import replicated

Tree = TypeVar("Tree")

_AT_ONCE = 64 * 2**20
"""Bytes of a state that are sent at once."""


def of_first(tree: Tree) -> Tree:
    """The arrays (on the host) that process 0 has, bit for bit; every process has some of the same shapes and types."""
    if processes() == 1:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    held = [np.asarray(leaf) for leaf in leaves]
    content = np.concatenate([np.frombuffer(array.tobytes(), np.uint8) for array in held])
    # As bytes: they are added to zeros on the way, which would lose the sign of -0.0.
    parts = [content[start : start + _AT_ONCE] for start in range(0, len(content), _AT_ONCE)]
    sent = np.concatenate([np.asarray(multihost_utils.broadcast_one_to_all(part)) for part in parts])
    ends = np.cumsum([array.nbytes for array in held])[:-1]
    made = [
        np.frombuffer(part.tobytes(), array.dtype).reshape(array.shape)
        for part, array in zip(np.split(sent, ends), held, strict=True)
    ]
    return jax.tree.unflatten(structure, made)


def addressable(tree: Tree) -> Tree:
    """The arrays as this process can read them whole: those that are split over processes are gathered, one by one."""

    def one(x: Any) -> Any:
        if x.is_fully_addressable or x.is_fully_replicated:
            return x
        # On the host, so that no device holds more than one of them.
        return np.asarray(jax.jit(_same, out_shardings=replicated(x.sharding.mesh))(x))

    return jax.tree.map(one, tree)


def _same(x: jax.Array) -> jax.Array:
    return x


@contextlib.contextmanager
def written_by_first(directories: Sequence[RunDirectory]) -> Iterator[Sequence[RunDirectory]]:
    """The run directories of process 0; others have empty ones that are deleted at the end, so that all do the same."""
    if is_first():
        yield directories
        return
    with tempfile.TemporaryDirectory(prefix="cnnjax-") as scratch:
        yield [RunDirectory(Path(scratch) / str(number)) for number in range(len(directories))]


@contextlib.contextmanager
def losses_explained() -> Iterator[None]:
    """Raise HostLost for what JAX says where the connection to another process breaks."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        text = " ".join(str(error).split())
        # Memory, on the other hand, is short on all alike.
        if processes() == 1 or "RESOURCE_EXHAUSTED" in text:
            raise
        raise HostLost(
            f"the connection to another process broke ({text[:200]}): see what that one says; start all of them again, "
            "and they continue from the last checkpoint"
        ) from error


def check_same_training(facts: dict[str, Any], hardware: Hardware) -> None:
    """Raise ConfigError, on every process, where they would train something else or in another way.

    facts: of the training, as JSON.
    """
    if processes() > 1:
        how = {name: getattr(hardware, name) for name in ("devices", "parallel", "shard_state")}
        kinds = {"kinds of device": sorted({device.device_kind for device in jax.local_devices()})}
        chosen = settings() | {"XLA_FLAGS": _flags(settings().get("XLA_FLAGS", ""))}
        check_alike({**facts, **how, **kinds, "cnnjax's source": source(), "settings": chosen})


def _flags(text: str) -> list[str]:
    """XLA's flags without the number of CPU devices, of which hosts may have more than they use."""
    return sorted(flag for flag in text.split() if not flag.startswith("--xla_force_host_platform_device_count="))
