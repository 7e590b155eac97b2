"""Compiled programs on disk, each with a digest: one that was damaged is never run, but removed and compiled again.

JAX's own cache would run what its decompression lets through, and warn of each other one at every start.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import jax

try:
    from jax._src import compilation_cache
    from jax._src.lru_cache import LRUCache
except ImportError:  # Another JAX has its cache elsewhere, which is used as it is.
    compilation_cache, LRUCache = None, object

SIZE = 16
"""Bytes of a digest, which stands before the program."""


class ProgramCache(LRUCache):  # pyright: ignore[reportGeneralTypeIssues]
    """JAX's cache of files, whose entries are checked."""

    def get(self, key: str) -> bytes | None:
        """The program, None where there is none, or none that is whole."""
        try:
            held = super().get(key)
        except OSError:
            held = b""
        if held is None or held[:SIZE] == _digest(key, held[SIZE:]):
            return held and held[SIZE:]
        _say(f"of the compiled programs in {self.path} some are damaged or cannot be read: they are compiled again")
        remove(Path(self.path), key)
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keep a program, where it can be kept."""
        try:
            super().put(key, _digest(key, value) + value)
        except OSError as error:
            remove(Path(self.path), key)
            say_not_kept(self.path, error)


def say_not_kept(place: Path | str, error: OSError) -> None:
    """Warn, once, that nothing can be kept in a folder."""
    reason = error.strerror or type(error).__name__
    _say(f"compiled programs cannot be kept in {place} ({reason}): next time they are compiled again")


def check_programs() -> None:
    """Let JAX keep what it compiles from now on in a `ProgramCache`."""
    cache: Any = compilation_cache
    if cache is not None and not cache.config.compilation_cache_check_contents.value:
        cache.get_file_cache = _file_cache


def remove_torn(place: Path) -> None:
    """Remove entries that a killed process began to write, which have no time of use yet, and what is no file."""
    for entry in place.glob("*-cache"):
        key = entry.name.removesuffix("-cache")
        if not (entry.is_file() and (place / f"{key}-atime").is_file()):
            remove(place, key)


def remove(place: Path, key: str) -> None:
    """Remove an entry, whatever stands in its place."""
    for path in (place / f"{key}-cache", place / f"{key}-atime"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _file_cache(path: str) -> tuple[ProgramCache, str]:
    return ProgramCache(path, max_size=jax.config.jax_compilation_cache_max_size), path  # pyright: ignore[reportAttributeAccessIssue]


def _digest(key: str, program: bytes) -> bytes:
    """Of a program and of its name, so that none stands in for another."""
    return hashlib.blake2b(program, digest_size=SIZE, key=hashlib.sha256(key.encode()).digest()).digest()


@cache
def _say(sentence: str) -> None:
    """Once, however many programs it is true of."""
    warnings.warn(sentence, stacklevel=2)
