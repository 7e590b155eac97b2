"""A Ray cluster, looked at before anything is trained: whether it answers, what its nodes have, what they see.

Ray itself tries for minutes where nothing answers, and lets a task that no node can hold wait for ever.
"""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnjax.errors import ConfigError, RunError
from cnnjax.launch.ray_settings import RaySettings
from cnnjax.launch.worker_process import not_shared

if TYPE_CHECKING:
    from cnnjax.run.options import Options

PACKAGES = ("cnnjax", "jax", "jaxlib", "flax", "optax", "numpy")
"""Their versions decide what a training computes: nodes must have those of this process."""

SECONDS_FOR_NODES = 120.0
"""So long all nodes together are waited for to say what they see: their disks may be cold."""

SECONDS_FOR_FOLDER = 10.0
"""So late shared folders may show a file."""

_SECONDS_FOR_PORT = 5.0
_PORTS = {"ray://": 10001, "": 6379}
_CONNECT = """
import json, sys
try:
    import ray
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
    said = {"nodes": [node["Resources"] for node in ray.nodes() if node["Alive"]]}
except (Exception, SystemExit) as error:
    said = {"error": f"{type(error).__name__}: {error}"}
print("\\n" + json.dumps(said))
"""


def check(settings: RaySettings, options: Options) -> None:
    """Raise ConfigError where no cluster answers within `connect_seconds`, or no node has what a worker asks for."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        nodes = resources(ray)
    elif settings.where == "local":
        return  # it is started when it is used, and then looked at
    else:
        nodes = _asked(settings.where, settings.connect_seconds)
    check_needs(nodes, settings)


def resources(ray: Any) -> list[dict[str, float]]:
    """What each node of the cluster has, by Ray's names."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def check_needs(nodes: Sequence[Mapping[str, float]], settings: RaySettings) -> int:
    """How many workers the nodes can hold. Raises ConfigError where it is none, unless nodes are waited for."""
    needs = settings.needs
    fit = sum(_room(has, needs) for has in nodes)
    if not fit and not settings.wait_for_nodes:
        have = "; ".join(sorted({_amounts({name: has.get(name, 0.0) for name in needs}) for has in nodes}))
        raise ConfigError(
            f"no node of the Ray cluster has what a worker asks for, {_amounts(needs)}: nodes have {have}. Ask for "
            "less, or where the cluster grows by itself set wait_for_nodes = true in the file of --cluster"
        )
    return fit


def _room(has: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How many workers a node can hold."""
    # Ray counts in ten-thousandths, so that ten workers of 0.1 cores share a core.
    return int(min((has.get(name, 0.0) / amount for name, amount in needs.items()), default=1.0) + 1e-6)


def _amounts(amounts: Mapping[str, float]) -> str:
    units = {"memory": 2.0**30}
    said = (f"{amount / units.get(name, 1.0):.4g} {name}" for name, amount in amounts.items())
    return ", ".join(f"{each} (GiB)" if each.endswith(" memory") else each for each in said)


def _asked(address: str, seconds: float) -> list[dict[str, float]]:
    """What each node of the cluster at an address has; asked by another process, which can be given up."""
    if address != "auto":
        _check_port(address, min(seconds, _SECONDS_FOR_PORT))
    command = [sys.executable, "-c", _CONNECT, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"no Ray cluster answers at {address} within {seconds:g} s: something else listens there, or a Ray of "
            "another version, or one that asks for a token (RAY_AUTH_MODE=token)"
        ) from None
    try:
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = {"error": " ".join(done.stderr.split())[-400:] or f"exit code {done.returncode}"}
    if "error" in said:
        raise ConfigError(
            f"no Ray cluster is to be had at {address}: {' '.join(said['error'].split())}{_hint(address)}"
        )
    return said["nodes"]


def _hint(address: str) -> str:
    if address == "auto":
        return ". auto is a cluster that runs on this machine: `ray start --head` starts one"
    if address.startswith("ray://"):
        return ". ray:// needs pip install 'ray[client]', here and on the head node"
    return f". From a machine that is no node of the cluster it is ray://{address.partition(':')[0]}:10001"


def _check_port(address: str, seconds: float) -> None:
    scheme = "ray://" if address.startswith("ray://") else ""
    host, _, port = address.removeprefix(scheme).partition(":")
    if not host or (port and not port.isdecimal()):
        raise ConfigError(f"address = {address!r}: must be HOST:PORT, ray://HOST:PORT, auto or local")
    try:
        socket.create_connection((host, int(port or _PORTS[scheme])), timeout=seconds).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({getattr(error, 'strerror', None) or error}): is it running (`ray "
            "status` on its head node), and may this machine reach that port?"
        ) from error


# --- what nodes see


def check_nodes(ray: Any, settings: RaySettings, out: Path, token: Path) -> None:
    """Raise RunError where a node that can hold a worker lacks the study's folder, or has other versions.

    token: a file in the study's folder. Nodes that do not answer are left to Ray; so are those that join later, whose
    workers look for the folder themselves.
    """
    strategy = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    here = sys.modules[__name__]
    # By its text, since cnnjax may be missing there.
    ray.cloudpickle.register_pickle_by_value(here)
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(_seen)
        asked = {
            task.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(str(token), PACKAGES): node
            for node in ray.nodes()
            if node["Alive"] and _room(node["Resources"], settings.needs)
        }
    finally:
        ray.cloudpickle.unregister_pickle_by_value(here)
    done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=SECONDS_FOR_NODES) if asked else ([], [])
    ours = (*sys.version_info[:2], *map(_version, PACKAGES))
    said = [_fault(ray, task, asked[task]["NodeManagerHostname"], out, ours) for task in done]
    if any(said):
        raise RunError("\n".join(sorted(set(filter(None, said)))))


def _seen(token: str, packages: Sequence[str]) -> tuple[bool, str, list[Any]]:
    """On a node: whether it sees the file `token`; its Python; what that has, asked as a worker is started."""
    import json
    import os
    import subprocess
    import sys
    import time

    until = time.monotonic() + SECONDS_FOR_FOLDER
    while not os.path.exists(token) and time.monotonic() < until:
        time.sleep(0.2)
    lines = [
        "import importlib.util, json, sys",
        "from importlib import metadata",
        "def version(name):",
        "    try: return metadata.version(name) if importlib.util.find_spec(name) else None",
        "    except metadata.PackageNotFoundError: return None",
        "print(json.dumps([*sys.version_info[:2], *map(version, sys.argv[1:])]))",
    ]
    command = [sys.executable, "-c", "\n".join(lines), *packages]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return os.path.exists(token), sys.executable, found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _fault(ray: Any, task: Any, machine: str, out: Path, ours: Sequence[Any]) -> str:
    """What keeps a node from training the study; "" where nothing does."""
    try:
        sees, python, theirs = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        return f"{machine}: {' '.join(str(error.cause).split())[:300]}"
    except ray.exceptions.RayError:
        return ""  # the node was lost meanwhile
    if not sees:
        return not_shared(out, machine)
    names = ("Python", *PACKAGES)
    pairs = zip(names, (ours[:2], *ours[2:]), (tuple(theirs[:2]), *theirs[2:]), strict=True)
    other = [f"{name} {_said(theirs)}, here {_said(ours)}" for name, ours, theirs in pairs if ours != theirs]
    return f"{python} on {machine} has {'; '.join(other)}: install there what is here" if other else ""


def _said(version: Any) -> str:
    return "none" if version is None else ".".join(map(str, version)) if isinstance(version, tuple) else str(version)
