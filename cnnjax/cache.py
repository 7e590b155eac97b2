"""What was found out, of data say, in the user's cache folder. It only saves time: what is damaged is made again.

The folder is $XDG_CACHE_HOME/cnnjax, or ~/.cache/cnnjax; it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.errors import RunError
from cnnjax.files import home, read_json, write_bytes, write_json


def folder(kind: str) -> Path:
    """The folder for what is remembered of a kind; it may not be there yet. Raises RunError where there is no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "cnnjax" / kind


def place(kind: str, key: bytes | str, suffix: str = "json") -> Path:
    """The file in which what is found out of `key` is remembered."""
    key = key if isinstance(key, bytes) else key.encode()
    return folder(kind) / f"{hashlib.blake2b(key, digest_size=8).hexdigest()}.{suffix}"


def recall(path: Path) -> dict[str, Any]:
    """The JSON object remembered in `path`; empty where there is none."""
    with contextlib.suppress(RunError):
        known = read_json(path, remedy="it is made again")
        if isinstance(known, dict):
            return known
    return {}


def remember(path: Path, known: Mapping[str, Any]) -> None:
    """Remember a JSON object; where that cannot be written, go on without."""
    with contextlib.suppress(RunError):
        write_json(path, dict(known))


def recall_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays remembered in `path`, by name; empty where there are none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception:
        # What zipfile and NumPy raise of damaged files is of no common kind.
        return {}


def remember_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Remember arrays by name; where they cannot be written, go on without."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    with contextlib.suppress(RunError):
        write_bytes(path, file.getvalue())
