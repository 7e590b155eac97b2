"""What processes that train together must agree on; alone, all of it is as if there were no others.

Every process makes the same calls in the same order. What is told goes through JAX's coordinator as JSON, not through
devices, so it neither waits for steps nor changes what is compiled.
"""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Mapping
from typing import Any

from cnnjax.errors import ConfigError, RunError

SECONDS_TO_WAIT = 3600.0
"""For what another process says: it may read a large set first. One that failed or was lost ends the others at once."""

_SLICE_MS = 2000
_calls = itertools.count()


def client() -> Any:
    """JAX's connection to the coordinator; None where this process trains alone."""
    from jax._src import distributed

    return distributed.global_state.client


def processes() -> int:
    """How many processes train together; 1 alone."""
    import jax

    return jax.process_count()


def is_first() -> bool:
    """Whether this process decides and writes: process 0, or one that is alone."""
    import jax

    return jax.process_index() == 0


def from_first(value: Any, *, what: str) -> Any:
    """The value (JSON) that process 0 gives, on every process. what: its name, for messages."""
    if processes() == 1:
        return value
    key = f"cnnjax/told/{next(_calls)}/{what}"
    if is_first():
        client().key_value_set(key, json.dumps(value))
        return value
    return json.loads(wait_for(key, f"process 0 to say {what}"))


def gathered(value: Any, *, what: str) -> list[Any]:
    """What each process gives (JSON), by its number."""
    if processes() == 1:
        return [value]
    import jax

    key = f"cnnjax/gathered/{next(_calls)}/{what}"
    client().key_value_set(f"{key}/{jax.process_index()}", json.dumps(value))
    return [json.loads(wait_for(f"{key}/{n}", f"process {n} to say {what}")) for n in range(processes())]


def check_alike(facts: Mapping[str, Any]) -> None:
    """Raise ConfigError, on every process, unless `facts` (JSON, by what they are of) are the same on all."""
    every = gathered({"host": socket.gethostname(), "facts": dict(facts)}, what="what it trains")
    differing = [
        f"{name} is {told['facts'].get(name)} on process {number} ({told['host']}) and {facts_0.get(name)} on process 0"
        for facts_0 in [every[0]["facts"]]
        for number, told in enumerate(every)
        for name in {**facts_0, **told["facts"]}
        if told["facts"].get(name) != facts_0.get(name)
    ]
    if differing:
        raise ConfigError(
            f"the processes would not train the same: {'; '.join(differing[:6])}; give all of them the same files, "
            "options and kind of machine"
        )


def wait_for(key: str, what: str, *, seconds: float = SECONDS_TO_WAIT) -> str:
    """What a process has put at `key` of the coordinator. Raises RunError where that takes more than `seconds`."""
    for _ in range(max(1, round(1000 * seconds / _SLICE_MS))):
        # In slices, so that Ctrl-C is heard.
        value = peek(key, wait_ms=_SLICE_MS)
        if value is not None:
            return value
    raise RunError(f"waited {seconds:g} s for {what}: it goes another way than this process; see its log")


def peek(key: str, *, wait_ms: int = 1) -> str | None:
    """What is at `key` of the coordinator, or comes within `wait_ms`; None where nothing does."""
    import jax

    try:
        return client().blocking_key_value_get(key, wait_ms)
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("DEADLINE_EXCEEDED"):
            raise
        return None
