"""Large numbers written short, three digits and a unit, and read."""

from __future__ import annotations

import re
from decimal import Decimal

from cnnjax.errors import ConfigError

LEGEND = "k, M, G, T are 10^3, 10^6, 10^9, 10^12; a byte (B) is 8 bits"
"""What the units of `short` and `short_bytes` mean."""
_UNITS = ("", "k", "M", "G", "T", "P", "E")


def short(number: float) -> str:
    """Three significant digits and a unit: 999 -> "999", 86704128 -> "86.7 M"."""
    thousands = 0
    while abs(number) >= 999.5 * 1000**thousands and thousands < len(_UNITS) - 1:
        thousands += 1
    size = number / 1000**thousands
    whole = not thousands and float(number).is_integer()
    digits = 0 if whole or abs(size) >= 99.95 else 1 if abs(size) >= 9.995 else 2
    return f"{size:.{digits}f} {_UNITS[thousands]}".rstrip()


def short_bytes(number: float) -> str:
    """12845056 -> "12.8 MB"."""
    text = short(number)
    return f"{text}B" if " " in text else f"{text} B"


_AMOUNT = re.compile(r"(\d+(?:\.\d+)?(?:[eE]\d+)?)\s*([a-zA-Z]*)")
_BYTES = {unit + end: base**power for end, base in (("b", 1000), ("ib", 1024)) for power, unit in enumerate("kmgt", 1)}
_BYTES["b"] = 1


def number_of(text: str) -> int:
    """A whole number written short: "1000", "100k", "2.5M", "1e6". Raises ConfigError."""
    found = _AMOUNT.fullmatch(text.strip().replace("_", ""))
    units = {unit.lower(): 1000**power for power, unit in enumerate(_UNITS)}
    if found is not None and found[2].lower() in units:
        number = Decimal(found[1]) * units[found[2].lower()]
        if number == int(number):
            return int(number)
    raise ConfigError(f"{text!r}: must be a whole number, such as 1000000, 1e6 or 1M ({LEGEND})")


def bytes_of(text: str) -> int:
    """A size as bytes: "80GB", "16GiB". Raises ConfigError."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or found[2].lower() not in _BYTES or not float(found[1]):
        raise ConfigError(f"{text!r}: must be a size, such as 80GB or 16GiB")
    return int(float(found[1]) * _BYTES[found[2].lower()])
