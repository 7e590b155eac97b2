"""Large numbers written short: three digits and a unit."""

from __future__ import annotations

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
