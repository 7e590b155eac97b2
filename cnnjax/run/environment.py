"""What a result was made with: versions, hardware and code, so that it can be traced."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from cnnjax.machine import cores
from cnnjax.records.environment_json import EnvironmentRecord

SETTINGS = {
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_enable_x64": False,
    "jax_threefry_partitionable": True,
}
"""Settings of JAX that change numbers, with JAX's own values, which are left out."""
VARIABLES = ("XLA_FLAGS", "CNNJAX_LOWERING")

PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets")


SECONDS_AT_A_COMMIT = 5
"""How long the answer of git for a folder is taken for the present one: trials of a study begin many times a second."""


def environment() -> EnvironmentRecord:
    """Versions, devices, processor, and the commit of cnnjax and of the folder the experiment runs in.

    One process may train several times, in different folders and with other settings: in a notebook, say.
    """
    moment = int(time.monotonic() // SECONDS_AT_A_COMMIT)
    present = {"command": " ".join(sys.argv), "settings": settings(), "commit": _commit_at(Path.cwd(), moment)}
    return of_process().model_copy(update=present)


@lru_cache(maxsize=1)
def _commit_at(folder: Path, moment: int) -> str | None:
    return commit(folder)


@cache
def of_process() -> EnvironmentRecord:
    """What stays the same while a process runs."""
    devices = jax.devices()
    return EnvironmentRecord(
        cnnjax=metadata.version("cnnjax"),
        cnnjax_commit=commit(PACKAGE),
        cnnjax_source=source(),
        python=platform.python_version(),
        versions={name: _version(name) for name in LIBRARIES},
        platform=platform.platform(),
        hardware=_hardware(devices),
        devices=tuple(device.device_kind for device in devices),
        processor=_processor(),
        cores=cores(),
        hosts=jax.process_count(),
    )


def settings() -> dict[str, Any]:
    """What is set for JAX, by the user's code or environment, that changes the numbers of a training."""
    chosen = {name: getattr(jax.config, name) for name in SETTINGS}
    variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return {name: value for name, value in chosen.items() if value != SETTINGS[name]} | variables


@cache
def source(package: Path = PACKAGE) -> str:
    """A digest of the package's source: outside git no commit names it, and one with changes may be any of many.

    Without the recipes, which are experiments, and lie inside the package where that is installed.
    """
    content = hashlib.sha256()
    recipes = package / "recipes" / "experiments"
    for path in sorted(path for path in package.rglob("*.py") if recipes not in path.parents):
        content.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return content.hexdigest()[:12]


def _hardware(devices: list[Any]) -> str:
    if devices[0].platform == "cpu":
        split = f" as {len(devices)} devices" if len(devices) > 1 else ""
        return f"{_processor()}, {cores()} cores{split}"
    return f"{len(devices)} x {devices[0].device_kind}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit(folder: Path) -> str | None:
    """The git commit that `folder` is at, with "+changes" where its tree differs from it; None outside git."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "--short=12", "HEAD")
    return head and head + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
