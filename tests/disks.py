"""Disks of a test's own, in memory, of a size that it says: full ones, and media that can only be read."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """The folder, made if it is not there, with a disk in it: `size=400k`, `nr_inodes=8`. The test is skipped where
    this process may mount none."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def change(folder: Path, options: str) -> None:
    """Give the disk in the folder another size, or have it read only (`ro`)."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
