"""Amounts as clusters take them: memory such as 32G, times such as 1-12:00:00."""

from __future__ import annotations

import re

_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])i?B?", re.IGNORECASE)
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


def memory_bytes(text: str) -> int:
    """Bytes of a memory such as 500M, 32G or 32GB; the units are powers of 1024, as SLURM counts.

    Raises ValueError for anything else.
    """
    found = _MEMORY.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise ValueError("must be a number and a unit, such as 500M or 32G")
    return int(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2].upper())))


def time_seconds(text: str) -> int:
    """Seconds of a time as SLURM writes it: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS.

    Raises ValueError for anything else.
    """
    found = _TIME.fullmatch(text.strip())
    parts = [int(part) for part in found["parts"].split(":")] if found else []
    # After days come hours; else a single number is minutes, and two are minutes and seconds.
    units = [3600, 60, 1] if found and (found["days"] or len(parts) == 3) else [60, 1]
    seconds = sum(part * unit for part, unit in zip(parts, units, strict=False))
    seconds += 86400 * int(found["days"] or 0) if found else 0
    if not seconds:
        raise ValueError("must be minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS, and more than none")
    return seconds
